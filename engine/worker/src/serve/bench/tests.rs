#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine_api::{
    CacheNamespace, Choices, Constraint, FinishReason, Finished, MaxTokens, ModelDigest, ModelId,
    Priority, Prompt, RequestId, Sampling, Share, StopStrings, StopTokens, Stopping, Submission,
    Timings, Token, TokenId, Usage, ZoneId,
};
use engine_text::{GgufHeader, Tokenizer};
use engine_tiny::TinyModel;
use engine_wire::Step;
use engine_wire::bounds::STEP_EVENTS_MAX;

use super::*;
use crate::serve::mailbox::{Letters, mailbox};

/// Gives every request `rate` tokens a step, and ends it after `max_tokens` of them.
#[derive(Default)]
struct Fake {
    rate: u32,
    /// What is left of each.
    open: BTreeMap<SequenceKey, u32>,
}

impl Steps for Fake {
    fn grammars(&self) -> Option<Arc<Grammars>> {
        let bytes = TinyModel::default().to_bytes();
        let header = GgufHeader::parse(bytes.as_slice(), bytes.len() as u64).unwrap();
        Some(Arc::new(Grammars::new(Arc::new(Tokenizer::from_gguf(&header).unwrap()))))
    }

    fn submit(
        &mut self,
        key: SequenceKey,
        submit: Submit,
        guides: Vec<Guide>,
    ) -> Result<(), EngineError> {
        assert_eq!(guides.len(), usize::from(submit.submission.constraint.is_some()));
        if submit.submission.prompt.ids.len() > 1 {
            return Err(EngineError::Unsupported("prompt"));
        }
        self.open.insert(key, submit.submission.stopping.max_tokens.get());
        Ok(())
    }

    fn cancel(&mut self, key: &SequenceKey) {
        self.open.remove(key);
    }

    fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        let mut events = Vec::new();
        for (key, left) in &mut self.open {
            for _ in 0..self.rate.min(*left) {
                let token =
                    Token { choice: 0, index: 0, id: TokenId(1), text: "x".into(), logprob: None };
                events.push((key.clone(), CoreEvent::Token(token)));
                *left -= 1;
            }
            if *left == 0 {
                let (reason, text) = (FinishReason::Length, String::new());
                let finished = Finished { choice: 0, reason, text };
                events.push((key.clone(), CoreEvent::Finished(finished)));
                events.push((key.clone(), CoreEvent::Usage(Usage::default(), Timings::default())));
            }
        }
        self.open.retain(|_, left| *left > 0);
        events
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn load(&self) -> Load {
        Load { running: self.open.len() as u32, ..Load::default() }
    }
}

/// A bench on its thread, and its orders.
struct Running {
    orders: mpsc::Sender<Order>,
    pulse: Arc<Pulse>,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(rate: u32) -> Self {
        let (orders, waiting) = mpsc::channel(64);
        let bench = Bench::new(waiting, orders.downgrade(), 1, Fault::none());
        let pulse = bench.pulse();
        let thread = thread::spawn(move || bench.run(Fake { rate, ..Fake::default() }));
        Self { orders, pulse, thread }
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    async fn open(&self, connection: u64) -> Letters {
        let (mailbox, letters) = mailbox();
        self.order(Order::Open { connection, mailbox }).await;
        letters
    }

    async fn submit(&self, connection: u64, stream: u64, tokens: u32) {
        let submit = Box::new(submit(stream, tokens));
        self.order(Order::Submit { connection, submit }).await;
    }

    async fn until_running(&self, count: u32) {
        let mut loads = self.pulse.loads();
        loads.wait_for(|load| load.running == count).await.unwrap();
    }
}

fn submit(stream: u64, tokens: u32) -> Submit {
    let submission = Submission {
        id: RequestId::new(format!("r{stream}")),
        prompt: Prompt {
            model: ModelId::new("m"),
            model_digest: ModelDigest([0; 32]),
            ids: vec![TokenId(1)].into(),
            max_tokens: tokens,
            context: tokens + 1,
            answer: Default::default(),
        },
        choices: Choices::ONE,
        sampling: Sampling::default(),
        stopping: Stopping {
            max_tokens: MaxTokens::new(tokens).unwrap(),
            stop: StopStrings::default(),
            stop_tokens: StopTokens::default(),
            ignore_eos: true,
            min_tokens: 0,
        },
        constraint: None,
        markers: Vec::new(),
        namespace: CacheNamespace([0; 16]),
        share: Share { key: 0, weight: NonZeroU32::MIN },
        priority: Priority::default(),
        deadline: None,
        hold: None,
        zones: vec![ZoneId::new("z")],
        trace: None,
    };
    Submit { stream: StreamId(stream), submission, resume: Vec::new() }
}

/// Everything that is said until a request has ended.
async fn until_end(letters: &mut Letters, stream: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = letters.take().await.expect("the connection is open");
        let ended = step.usage.iter().any(|(of, ..)| *of == StreamId(stream))
            || step.failed.iter().any(|(of, ..)| *of == StreamId(stream));
        steps.push(step);
        if ended {
            return steps;
        }
    }
}

#[tokio::test]
async fn each_connection_hears_of_its_own_requests_in_order() {
    let running = Running::start(1);
    let (mut first, mut second) = (running.open(1).await, running.open(2).await);
    running.submit(1, 7, 20).await;
    // another fleet may give a request the same name and number
    running.submit(2, 7, 5).await;
    let mine = until_end(&mut first, 7).await;
    let theirs = until_end(&mut second, 7).await;
    assert_eq!(mine.iter().map(|step| step.tokens.len()).sum::<usize>(), 20);
    assert_eq!(theirs.iter().map(|step| step.tokens.len()).sum::<usize>(), 5);
    let numbers: Vec<_> = mine.iter().map(|step| step.sequence).collect();
    assert_eq!(numbers, (1..=mine.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_large_step_is_sent_in_several_frames() {
    let tokens = STEP_EVENTS_MAX as u32 * 2 + 5;
    let running = Running::start(tokens);
    let mut letters = running.open(1).await;
    running.submit(1, 1, tokens).await;
    let sizes: Vec<_> = until_end(&mut letters, 1).await.iter().map(Step::events).collect();
    assert_eq!(sizes, [STEP_EVENTS_MAX, STEP_EVENTS_MAX, 7]);
}

#[tokio::test]
async fn a_fleet_that_does_not_read_loses_its_connection_alone() {
    let running = Running::start(1000);
    let (slow, mut quick) = (running.open(1).await, running.open(2).await);
    let overrun = slow.overrun();
    running.submit(1, 1, u32::MAX / 2).await;
    running.submit(2, 2, 10).await;
    until_end(&mut quick, 2).await;
    overrun.await;
    running.until_running(0).await;
    running.submit(1, 3, 10).await;
    running.submit(2, 4, 10).await;
    until_end(&mut quick, 4).await;
}

#[tokio::test]
async fn what_is_cancelled_or_closed_is_heard_of_no_more() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    running.submit(1, 1, u32::MAX / 2).await;
    running.submit(1, 2, u32::MAX / 2).await;
    running.until_running(2).await;
    running.order(Order::Cancel { connection: 1, stream: StreamId(1) }).await;
    running.order(Order::Cancel { connection: 1, stream: StreamId(99) }).await;
    running.until_running(1).await;
    running.order(Order::Close { connection: 1 }).await;
    running.until_running(0).await;
    while letters.take().await.is_some() {}
}

#[tokio::test]
async fn a_drained_connection_ends_with_its_last_request() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    running.submit(1, 1, 50).await;
    running.order(Order::Drain { connection: 1 }).await;
    running.submit(1, 2, 5).await;
    let steps = until_end(&mut letters, 1).await;
    let refused: Vec<_> = steps.into_iter().flat_map(|step| step.failed).collect();
    assert_eq!(refused, [(StreamId(2), EngineError::Draining)]);
    assert!(letters.take().await.is_none());

    let mut other = running.open(2).await;
    running.submit(2, 1, 50).await;
    running.order(Order::DrainAll).await;
    until_end(&mut other, 1).await;
    assert!(other.take().await.is_none());
    running.thread.join().unwrap();
}

#[tokio::test]
async fn a_refusal_reaches_the_fleet() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    let mut refused = submit(1, 5);
    refused.submission.prompt.ids = vec![TokenId(1); 2].into();
    running.order(Order::Submit { connection: 1, submit: Box::new(refused) }).await;
    let steps = until_end(&mut letters, 1).await;
    assert_eq!(steps[0].failed, [(StreamId(1), EngineError::Unsupported("prompt"))]);
    // two requests of one id at once are a fault of the fleet's
    running.submit(1, 2, u32::MAX / 2).await;
    let mut twin = submit(3, 5);
    twin.submission.id = RequestId::new("r2");
    running.order(Order::Submit { connection: 1, submit: Box::new(twin) }).await;
    let steps = until_end(&mut letters, 3).await;
    assert_eq!(steps.last().unwrap().failed, [(StreamId(3), EngineError::Internal)]);
}

fn constrained(stream: u64, grammar: &str) -> Box<Submit> {
    let mut submit = submit(stream, 5);
    submit.submission.constraint = Some(Constraint::new(grammar).unwrap());
    Box::new(submit)
}

#[tokio::test]
async fn a_grammar_is_compiled_before_its_request_runs() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    let order = |submit| Order::Submit { connection: 1, submit };
    running.order(order(constrained(1, "start: \"a\""))).await;
    let steps = until_end(&mut letters, 1).await;
    assert_eq!(steps.iter().map(|step| step.tokens.len()).sum::<usize>(), 5);
    // one that is none fails its request and no other
    running.order(order(constrained(2, "start: nothing"))).await;
    running.submit(1, 3, 5).await;
    let mut steps = until_end(&mut letters, 3).await;
    // either may end first
    if steps.iter().all(|step| step.failed.is_empty()) {
        steps = until_end(&mut letters, 2).await;
    }
    let failed: Vec<_> = steps.into_iter().flat_map(|step| step.failed).collect();
    assert!(
        matches!(&failed[..], [(StreamId(2), EngineError::Invalid { param: "grammar", .. })]),
        "{failed:?}"
    );
}

#[tokio::test]
async fn who_waits_for_a_grammar_can_be_cancelled_and_is_waited_for() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    for stream in 1..=20 {
        let submit = constrained(stream, &format!("start: \"a{stream}\""));
        running.order(Order::Submit { connection: 1, submit }).await;
        if stream < 20 {
            running.order(Order::Cancel { connection: 1, stream: StreamId(stream) }).await;
        }
    }
    running.order(Order::Drain { connection: 1 }).await;
    let steps = until_end(&mut letters, 20).await;
    assert!(steps.iter().all(|step| step.tokens.iter().all(|(of, _)| *of == StreamId(20))));
    assert!(letters.take().await.is_none(), "drained, and nothing else was heard");
    running.until_running(0).await;
}

#[tokio::test]
async fn a_request_whose_time_is_over_is_not_run() {
    let running = Running::start(1);
    let mut letters = running.open(1).await;
    let mut late = constrained(1, "start: \"a\"");
    late.submission.deadline = Some(Duration::from_nanos(1));
    running.order(Order::Submit { connection: 1, submit: late }).await;
    let steps = until_end(&mut letters, 1).await;
    let failed = &steps[0].failed;
    let is_late = matches!(&failed[..], [(_, EngineError::DeadlineExceeded { .. })]);
    assert!(is_late, "{failed:?}");
}
