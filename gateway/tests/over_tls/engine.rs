//! An engine that follows a script and remembers what it was asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use engine_api::{
    BoxFuture, EmbeddingEvent, EmbeddingInputs, EmbeddingRequest, EmbeddingSource, EmbeddingStream,
    EmbeddingSubmission, Engine, EngineError, Epoch, Event, EventStream, FinishReason, Finished,
    ModelCard, ModelDigest, ModelId, ModelKind, NumericsClass, OutputEvent, PartitionId, Placement,
    PrepareRequest, Prompt, PromptSource, Submission, Timings, Token, TokenId, Usage, ZoneId,
};
use futures_util::Stream;
use futures_util::stream::iter;
use tokio::sync::{mpsc, watch};

pub type Step = Result<Event, EngineError>;

/// What the next request gets.
pub enum Script {
    /// These events, and then the end of the stream.
    Events(Vec<Step>),
    /// What the test sends, as it sends it.
    Live(mpsc::UnboundedReceiver<Step>),
    /// No place in the queue.
    RefuseSubmit(EngineError),
    /// No prompt.
    RefusePrepare(EngineError),
    /// A bug.
    Panic,
}

#[derive(Default)]
pub struct ScriptedEngine {
    scripts: Mutex<VecDeque<Script>>,
    pub submissions: Mutex<Vec<Submission>>,
    pub embeddings: Mutex<Vec<EmbeddingSubmission>>,
    /// How many event streams were dropped.
    dropped: Arc<watch::Sender<usize>>,
}

pub const CONTEXT: u32 = 64;

impl ScriptedEngine {
    pub fn next(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }

    /// A request whose events the test sends by hand.
    pub fn live(&self) -> mpsc::UnboundedSender<Step> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.next(Script::Live(receiver));
        sender
    }

    pub fn submitted(&self) -> usize {
        self.submissions.lock().unwrap().len()
    }

    /// Resolves when so many event streams were dropped.
    pub async fn dropped(&self, streams: usize) {
        let mut dropped = self.dropped.subscribe();
        dropped.wait_for(|now| *now >= streams).await.unwrap();
    }
}

pub fn placed() -> Step {
    Ok(Event::Placed(Placement {
        partition: PartitionId::new("de-0"),
        zone: ZoneId::new("eu-de-1"),
        epoch: Epoch(3),
        model_digest: ModelDigest([0xab; 32]),
        numerics: NumericsClass::new("cpu-v1"),
    }))
}

pub fn token(choice: u8, index: u32, text: &str) -> Step {
    let text = text.to_owned();
    Ok(Event::Token(Token { choice, index, id: TokenId(1), text, logprob: None }))
}

pub fn finished(choice: u8) -> Step {
    Ok(Event::Finished(Finished { choice, reason: FinishReason::Stop, text: String::new() }))
}

pub fn usage(completion_tokens: u32) -> Step {
    let usage = Usage { prompt_tokens: 2, completion_tokens, cached_tokens: 1 };
    Ok(Event::Usage(usage, Timings::default()))
}

/// What a request without a script gets, for each of its choices.
fn hello(choices: u8) -> Vec<Step> {
    let mut steps = vec![placed()];
    (0..choices).for_each(|choice| steps.push(token(choice, 0, "Hel")));
    (0..choices).for_each(|choice| steps.push(token(choice, 1, "lo")));
    (0..choices).for_each(|choice| steps.push(finished(choice)));
    steps.push(usage(2 * u32::from(choices)));
    steps
}

/// `a` is token 0, and so on.
fn letters(text: &str) -> Vec<TokenId> {
    text.bytes().map(|letter| TokenId(u32::from(letter - b'a'))).collect()
}

struct Scripted {
    steps: VecDeque<Step>,
    live: Option<mpsc::UnboundedReceiver<Step>>,
    /// What the last token's text turned out to be.
    said: Option<Step>,
    dropped: Arc<watch::Sender<usize>>,
}

impl Stream for Scripted {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        if let Some(said) = self.said.take() {
            return Poll::Ready(Some(said));
        }
        let step = match &mut self.live {
            Some(live) => ready!(live.poll_recv(context)),
            None => self.steps.pop_front(),
        };
        if let Some(Ok(Event::Token(Token { choice, text, .. }))) = &step
            && !text.is_empty()
        {
            let (choice, output) = (*choice, OutputEvent::Content(text.clone()));
            self.said = Some(Ok(Event::Output { choice, output }));
        }
        Poll::Ready(step)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.dropped.send_modify(|dropped| *dropped += 1);
    }
}

impl Engine for ScriptedEngine {
    fn models(&self) -> Vec<ModelCard> {
        let card = |id| ModelCard {
            id: ModelId::new(id),
            kind: if id == "vectors" { ModelKind::Embed } else { ModelKind::Generate },
            digest: ModelDigest([0xab; 32]),
            context: CONTEXT,
            vocabulary: 32,
            created: 1_700_000_000,
        };
        vec![card("small"), card("french"), card("org/other"), card("vectors")]
    }

    /// One token for each message, or for each letter.
    fn prepare(&self, request: PrepareRequest) -> BoxFuture<'_, Result<Prompt, EngineError>> {
        let mut scripts = self.scripts.lock().unwrap();
        if let Some(Script::RefusePrepare(error)) = scripts.front() {
            let error = error.clone();
            scripts.pop_front();
            return Box::pin(async move { Err(error) });
        }
        let ids: Vec<TokenId> = match request.source {
            PromptSource::Chat(chat) => chat.messages.iter().map(|_| TokenId(1)).collect(),
            PromptSource::Text(text) => letters(&text),
            PromptSource::Tokens(ids) => ids,
        };
        let room = CONTEXT.saturating_sub(ids.len() as u32);
        let max_tokens = request.max_tokens.unwrap_or(room).min(room);
        let (model, model_digest) = (request.model, ModelDigest([0xab; 32]));
        Box::pin(async move {
            let (ids, answer) = (ids.into(), Default::default());
            Ok(Prompt { model, model_digest, ids, max_tokens, context: CONTEXT, answer })
        })
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        let choices = submission.choices.get();
        self.submissions.lock().unwrap().push(submission);
        let script = self.scripts.lock().unwrap().pop_front();
        let (steps, live) = match script {
            None => (hello(choices), None),
            Some(Script::Events(steps)) => (steps, None),
            Some(Script::Live(live)) => (Vec::new(), Some(live)),
            Some(Script::RefuseSubmit(error)) => return Box::pin(async move { Err(error) }),
            Some(Script::RefusePrepare(_)) => panic!("the script is for prepare"),
            Some(Script::Panic) => return Box::pin(async { panic!("as the script says") }),
        };
        let dropped = Arc::clone(&self.dropped);
        let stream: EventStream =
            Box::pin(Scripted { steps: steps.into(), live, said: None, dropped });
        Box::pin(async move { Ok(stream) })
    }

    /// One token for each byte.
    fn prepare_embedding(
        &self,
        request: EmbeddingRequest,
    ) -> BoxFuture<'_, Result<EmbeddingInputs, EngineError>> {
        let EmbeddingSource::Texts(texts) = request.source else { panic!("only texts are sent") };
        let ids = |text: &String| text.bytes().map(|byte| TokenId(byte.into())).collect();
        let inputs = texts.iter().map(ids).collect();
        let dimensions = request.dimensions.map_or(2, std::num::NonZeroU32::get);
        let (model, model_digest) = (request.model, ModelDigest([0xab; 32]));
        Box::pin(async move { Ok(EmbeddingInputs { model, model_digest, inputs, dimensions }) })
    }

    /// The vectors come last first, unless the script says how it ends before.
    fn embed(&self, submission: EmbeddingSubmission) -> EmbeddingStream {
        let (tokens, count) = (submission.inputs.tokens(), submission.inputs.inputs.len() as u32);
        self.embeddings.lock().unwrap().push(submission);
        let Ok(Event::Placed(placement)) = placed() else { unreachable!() };
        let mut events = vec![Ok(EmbeddingEvent::Placed(placement))];
        match self.scripts.lock().unwrap().pop_front() {
            Some(Script::RefuseSubmit(error)) => return Box::pin(iter([Err(error)])),
            // no vectors, and no end
            Some(_) => return Box::pin(iter(events)),
            None => {}
        }
        let vector = |input| EmbeddingEvent::Vector { input, values: vec![input as f32, 0.5] };
        events.extend((0..count).rev().map(|input| Ok(vector(input))));
        let usage = Usage { prompt_tokens: tokens, ..Usage::default() };
        events.push(Ok(EmbeddingEvent::Usage(usage, Timings::default())));
        Box::pin(iter(events))
    }

    fn tokenize(&self, _model: &ModelId, text: &str) -> Result<Vec<TokenId>, EngineError> {
        Ok(letters(text))
    }

    fn detokenize(&self, _model: &ModelId, ids: &[TokenId]) -> Result<String, EngineError> {
        if ids.iter().any(|id| id.0 >= 26) {
            let message = "has a token that this model does not have".into();
            return Err(EngineError::Invalid { param: "tokens", message });
        }
        Ok(ids.iter().map(|id| char::from(b'a' + id.0 as u8)).collect())
    }

    fn is_ready(&self, _model: &ModelId) -> bool {
        true
    }
}
