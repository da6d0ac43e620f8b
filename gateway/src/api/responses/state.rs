//! What is known of a response so far.

use engine_api::{Event, FinishReason, TokenLogprob, Usage};

use super::shape::{
    Echo, ErrorShape, IncompleteShape, InputDetails, ItemShape, OutputDetails, PartShape,
    ResponseShape, Status, UsageShape,
};
use crate::api::answer::Gather;
use crate::api::logprobs::PositionShape;
use crate::api::parts::{Change, Kind, Part, Parts, State};
use crate::error::Refusal;
use crate::pipeline::Arrival;

/// A response in the making.
pub struct Answered {
    /// The request's id, which the ids of the response and of its items are made of.
    request: String,
    /// `resp_` and the request's id.
    id: String,
    created: i64,
    model: String,
    echo: Echo,
    parts: Parts,
    finished: Option<FinishReason>,
    usage: Option<Usage>,
}

impl Answered {
    /// Nothing yet.
    pub fn new(arrival: &Arrival, model: String, echo: Echo) -> Self {
        Self {
            request: arrival.id.to_string(),
            id: format!("resp_{}", arrival.id),
            created: arrival.unix_s,
            model,
            echo,
            parts: Parts::default(),
            finished: None,
            usage: None,
        }
    }

    /// Takes the next event, and says what it changed.
    pub fn take(&mut self, event: Event) -> Vec<Change> {
        match event {
            Event::Placed(_) => Vec::new(),
            Event::Token(token) => {
                self.parts.token(token.logprob);
                Vec::new()
            }
            Event::Output { output, .. } => self.parts.push(output),
            Event::Finished(finished) => {
                self.finished = Some(finished.reason);
                let mut changes = self.parts.say_nothing();
                changes.extend(self.parts.finish(finished.reason));
                changes
            }
            Event::Usage(usage, _) => {
                self.usage = Some(usage);
                Vec::new()
            }
        }
    }

    /// One of the parts.
    pub fn part(&self, index: usize) -> &Part {
        &self.parts.all()[index]
    }

    /// The id of an item.
    pub fn item_id(&self, index: usize) -> String {
        let kind = match self.part(index).kind {
            Kind::Text => "msg",
            Kind::Reasoning => "rs",
            Kind::Call { .. } => "fc",
        };
        format!("{kind}_{}{index:02x}", self.request)
    }

    /// An item as it is now.
    pub fn item(&self, index: usize) -> ItemShape<'_> {
        self.item_as(index, self.part(index).state)
    }

    /// An item as it was when it began: what it got since is told piece by piece.
    pub fn begun_item(&self, index: usize) -> ItemShape<'_> {
        self.item_as(index, State::Open)
    }

    fn item_as(&self, index: usize, state: State) -> ItemShape<'_> {
        let (id, part) = (self.item_id(index), self.part(index));
        let status = match state {
            State::Open => Status::InProgress,
            State::Whole => Status::Completed,
            State::Cut => Status::Incomplete,
        };
        let is_open = state == State::Open;
        let content =
            || if is_open { Vec::new() } else { self.content(index).into_iter().collect() };
        match &part.kind {
            Kind::Text => ItemShape::Message { id, role: "assistant", status, content: content() },
            Kind::Reasoning => ItemShape::Reasoning { id, summary: [], content: content(), status },
            Kind::Call { id: call_id, name } => {
                let arguments = if is_open { "" } else { part.text.as_str() };
                ItemShape::FunctionCall { id, call_id, name, arguments, status }
            }
        }
    }

    /// The content of an item, if it is of a kind that has any.
    pub fn content(&self, index: usize) -> Option<PartShape<'_>> {
        let part = self.part(index);
        self.content_of(index, &part.text, &part.logprobs)
    }

    /// The same as it was when the item began.
    pub fn no_content(&self, index: usize) -> Option<PartShape<'_>> {
        self.content_of(index, "", &[])
    }

    fn content_of<'a>(
        &self,
        index: usize,
        text: &'a str,
        logprobs: &[TokenLogprob],
    ) -> Option<PartShape<'a>> {
        match self.part(index).kind {
            Kind::Text => {
                let logprobs = positions(logprobs);
                Some(PartShape::OutputText { text, annotations: [], logprobs })
            }
            Kind::Reasoning => Some(PartShape::ReasoningText { text }),
            Kind::Call { .. } => None,
        }
    }

    /// The response as it is now.
    pub fn response(&self) -> ResponseShape<'_> {
        let usage = self.usage.filter(|_| self.finished.is_some());
        let status = match (usage, self.finished) {
            (Some(_), Some(FinishReason::Stop)) => Status::Completed,
            (Some(_), Some(FinishReason::Length)) => Status::Incomplete,
            _ => Status::InProgress,
        };
        let reason = IncompleteShape { reason: "max_output_tokens" };
        let now = || time::OffsetDateTime::now_utc().unix_timestamp();
        ResponseShape {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status,
            background: false,
            completed_at: (status == Status::Completed).then(now),
            error: None,
            incomplete_details: (status == Status::Incomplete).then_some(reason),
            model: &self.model,
            output: (0..self.parts.all().len()).map(|index| self.item(index)).collect(),
            previous_response_id: None,
            service_tier: "default",
            store: false,
            truncation: "disabled",
            usage: usage.map(|usage| self.usage_shape(usage)),
            echo: &self.echo,
        }
    }

    /// The response as one that failed.
    pub fn failed(&self, refusal: &Refusal) -> ResponseShape<'_> {
        let message = refusal.to_string();
        let error = Some(ErrorShape { code: "server_error", message });
        let (status, usage) = (Status::Failed, None);
        ResponseShape { status, error, usage, incomplete_details: None, ..self.response() }
    }

    fn usage_shape(&self, usage: Usage) -> UsageShape {
        let reasoning_tokens = self.parts.reasoning_tokens();
        UsageShape {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached_tokens,
                // every prompt is written to the cache; nothing is counted for it
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens },
            total_tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
        }
    }
}

/// Tokens as OpenAI's API shows them.
pub fn positions(logprobs: &[TokenLogprob]) -> Vec<PositionShape> {
    logprobs.iter().cloned().map(PositionShape::from).collect()
}

impl Gather for Answered {
    fn push(&mut self, _prompt: usize, event: Event) {
        self.take(event);
    }

    fn json(&self) -> Option<Vec<u8>> {
        let response = self.response();
        if response.status == Status::InProgress {
            return None;
        }
        Some(serde_json::to_vec(&response).expect("strings, numbers and arrays become JSON"))
    }
}
