//! A scheduler whose sequences draw a token whenever they may, and its scripts:
//! `submit request prompt=.. max=.. n=.. like=.. share=.. weight=.. namespace=.. priority=..
//! deadline=..`, `step n`, `run n`, `wait milliseconds`, `token milliseconds`, `draft request
//! tokens=.. right=..`, `cancel request`.

use std::fmt::Write;
use std::num::NonZeroU32;

use engine_api::{CacheNamespace, ModelDigest, Share};

use super::*;
use crate::kv::{Chain, Root};

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) prompt: u32,
    pub(super) max: u32,
    pub(super) choices: u8,
    /// Prompts of one seed begin alike.
    pub(super) seed: u32,
    pub(super) share: u64,
    pub(super) weight: u32,
    pub(super) namespace: u8,
    pub(super) priority: i32,
    pub(super) deadline: Option<Duration>,
}

impl Default for Wanted {
    fn default() -> Self {
        let (share, weight, namespace) = (0, 1, 0);
        let (priority, deadline) = (0, None);
        Self {
            prompt: 1,
            max: 1,
            choices: 1,
            seed: 0,
            share,
            weight,
            namespace,
            priority,
            deadline,
        }
    }
}

impl Wanted {
    fn arrivals(&self, request: u64) -> Vec<Arrival> {
        let namespace = CacheNamespace([self.namespace; 16]);
        let root = Root::new(&ModelDigest([0; 32]), namespace);
        let tokens = (0..self.prompt).map(|position| self.seed * 1000 + position);
        let arrival = |choice| Arrival {
            id: SequenceId { request, choice },
            prompt: self.prompt,
            whole: self.prompt + self.max,
            chain: Chain::new(root, tokens.clone()),
            share: Share {
                key: self.share,
                weight: NonZeroU32::new(self.weight).expect("a weight"),
            },
            priority: self.priority,
            deadline: self.deadline,
        };
        (0..self.choices).map(arrival).collect()
    }
}

/// A scheduler whose sequences draw a token whenever they may, until they are whole.
pub(super) struct Bench {
    pub(super) scheduler: Scheduler,
    /// Known, whole and seed of each sequence that has not ended.
    pub(super) lengths: BTreeMap<SequenceId, (u32, u32, u32)>,
    pub(super) now: Duration,
    /// How long a step takes a token.
    pub(super) token_takes: Duration,
    /// Drafts are right up to this one.
    pub(super) drafts_right: u32,
    pub(super) finished: usize,
    pub(super) shown: String,
}

impl Bench {
    pub(super) fn new(
        groups: &[(Option<u32>, u32)],
        step_tokens_max: u32,
        queue_max: usize,
    ) -> Self {
        let group =
            |(window, blocks): &(Option<u32>, u32)| LayerGroup { window: *window, blocks: *blocks };
        let groups: Vec<_> = groups.iter().map(group).collect();
        Self {
            scheduler: Scheduler::new(&groups, step_tokens_max, queue_max),
            lengths: BTreeMap::new(),
            now: Duration::ZERO,
            token_takes: Duration::ZERO,
            drafts_right: 0,
            finished: 0,
            shown: String::new(),
        }
    }

    pub(super) fn submit(&mut self, request: u64, wanted: Wanted) -> Result<(), Refusal> {
        self.scheduler.submit(wanted.arrivals(request), self.now)?;
        for arrival in wanted.arrivals(request) {
            self.lengths.insert(arrival.id, (wanted.prompt, arrival.whole, wanted.seed));
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, request: u64) {
        let ids: Vec<_> = self.lengths.keys().filter(|id| id.request == request).copied().collect();
        for id in ids {
            self.scheduler.remove(id);
            self.lengths.remove(&id);
        }
    }

    /// Plans, draws, and checks what every plan must keep.
    pub(super) fn step(&mut self) -> Plan {
        let plan = self.scheduler.plan(self.now);
        assert!(plan.tokens() <= self.scheduler.step_tokens_max);
        let stalled = plan.chunks.is_empty() && plan.preempted.is_empty();
        assert!(!stalled || self.scheduler.is_idle(), "whoever is here gets on");
        for id in &plan.expired {
            self.lengths.remove(id);
        }
        for chunk in &plan.chunks {
            // every planned position has a slot
            for table in self.scheduler.tables(chunk.sequence) {
                (chunk.start..chunk.start + chunk.length)
                    .for_each(|at| assert!(table.slot(at) < u32::MAX));
            }
        }
        self.show(&plan);
        for chunk in &plan.chunks {
            self.draw(chunk);
        }
        let took = self.token_takes * plan.tokens();
        self.now += took;
        self.scheduler.observe(&plan, took);
        plan
    }

    fn draw(&mut self, chunk: &Chunk) {
        let id = chunk.sequence;
        for row in 0..chunk.drawn {
            let (known, whole, seed) = self.lengths.get_mut(&id).expect("it was submitted");
            let end = chunk.start + chunk.length - chunk.drawn + row + 1;
            assert_eq!(end, *known, "a token is drawn from the last one that is known");
            *known += 1;
            if *known == *whole {
                self.finished += 1;
                self.lengths.remove(&id);
                self.scheduler.commit(id);
                return self.scheduler.remove(id);
            }
            // first choices draw what longer prompts of their seed go on with
            let token = (*seed + 100 * u32::from(id.choice)) * 1000 + *known - 1;
            let right = row + 1 < chunk.drawn && row < self.drafts_right;
            self.scheduler.grow(id, token, right);
            if !right {
                break;
            }
        }
        self.scheduler.commit(id);
    }

    fn show(&mut self, plan: &Plan) {
        let name = |id: SequenceId| format!("{}.{}", id.request, id.choice);
        let out = &mut self.shown;
        out.push_str("step");
        for chunk in &plan.chunks {
            let end = chunk.start + chunk.length;
            let mark = "!".repeat(chunk.drawn as usize);
            let _ = write!(out, " {}[{}..{end}]{mark}", name(chunk.sequence), chunk.start);
        }
        for id in &plan.preempted {
            let _ = write!(out, " -{}", name(*id));
        }
        for id in &plan.expired {
            let _ = write!(out, " late {}", name(*id));
        }
        for admitted in plan.admitted.iter().filter(|admitted| admitted.cached > 0) {
            let _ = write!(out, " {} cached {}", name(admitted.sequence), admitted.cached);
        }
        for (id, _) in &plan.copies {
            let _ = write!(out, " copy for {}", name(*id));
        }
        let Usage { held: used, total, .. } = self.scheduler.usage();
        let _ = writeln!(out, " | waiting {} blocks {used}/{total}", self.scheduler.waiting());
    }

    pub(super) fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |name: &str, otherwise: u32| {
            let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.map_or(otherwise, |value| value.parse().expect("a number"))
        };
        let request: u64 = words.get(1).map_or(0, |word| word.parse().expect("a number"));
        match words[0] {
            "submit" => {
                let deadline = number("deadline", 0);
                let wanted = Wanted {
                    prompt: number("prompt", 1),
                    max: number("max", 1),
                    choices: number("n", 1) as u8,
                    seed: number("like", request as u32),
                    share: number("share", 0).into(),
                    weight: number("weight", 1),
                    namespace: number("namespace", 0) as u8,
                    priority: number("priority", 0) as i32,
                    deadline: (deadline > 0).then(|| Duration::from_millis(deadline.into())),
                };
                if let Err(refusal) = self.submit(request, wanted) {
                    let _ = writeln!(self.shown, "{request} refused: {refusal:?}");
                }
            }
            "cancel" => self.cancel(request),
            "draft" => {
                let id = SequenceId { request, choice: 0 };
                self.scheduler.draft(id, number("tokens", 1));
                self.drafts_right = number("right", 0);
            }
            "wait" => self.now += Duration::from_millis(request),
            "token" => self.token_takes = Duration::from_millis(request),
            // the number of steps
            "step" => (0..request.max(1)).for_each(|_| drop(self.step())),
            // the same, of which only the last is shown
            "run" => {
                let shown = self.shown.len();
                (1..request).for_each(|_| drop(self.step()));
                self.shown.truncate(shown);
                self.step();
            }
            other => panic!("no such line: {other}"),
        }
    }
}
