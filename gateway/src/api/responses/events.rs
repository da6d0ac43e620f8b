//! The response as server-sent events, in OpenAI's order: the response, each item with its parts,
//! the response again with its end.

use bytes::BytesMut;
use engine_api::{Event, TokenLogprob};
use serde::Serialize;

use super::shape::{ItemShape, PartShape, ResponseShape, Status};
use super::state::{Answered, positions};
use crate::api::logprobs::PositionShape;
use crate::api::parts::{Change, Kind, State};
use crate::api::stream::{EventWriter, named_event};
use crate::error::Refusal;

/// Turns events into OpenAI's.
pub struct Events {
    answered: Answered,
    /// How many were written.
    sequence: u32,
}

/// Any event. Those with a place are of an item.
#[derive(Serialize)]
struct Shape<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u32,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize)]
struct OfResponse<'a> {
    response: ResponseShape<'a>,
}

#[derive(Serialize)]
struct OfItem<'a> {
    output_index: usize,
    item: ItemShape<'a>,
}

#[derive(Serialize)]
struct OfPart<'a> {
    item_id: String,
    output_index: usize,
    content_index: u8,
    part: PartShape<'a>,
}

/// More of a part, or all of it. Of `delta`, `text` and `arguments` one is there.
#[derive(Serialize, Default)]
struct OfText<'a> {
    item_id: String,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<PositionShape>>,
}

#[derive(Serialize)]
struct OfFailure {
    code: &'static str,
    message: String,
    param: Option<String>,
}

impl Events {
    /// Nothing is written before the first placement.
    pub fn new(answered: Answered) -> Self {
        Self { answered, sequence: 0 }
    }

    /// Says that the response is there, once.
    fn begin(&mut self, out: &mut BytesMut) {
        if self.sequence == 0 {
            for kind in ["response.created", "response.in_progress"] {
                let response = self.answered.response();
                write(&mut self.sequence, kind, OfResponse { response }, out);
            }
        }
    }

    fn opened(&mut self, index: usize, out: &mut BytesMut) {
        let item = OfItem { output_index: index, item: self.answered.begun_item(index) };
        write(&mut self.sequence, "response.output_item.added", item, out);
        if let Some(part) = self.answered.no_content(index) {
            let (item_id, output_index) = (self.answered.item_id(index), index);
            let part = OfPart { item_id, output_index, content_index: 0, part };
            write(&mut self.sequence, "response.content_part.added", part, out);
        }
    }

    fn grew(&mut self, index: usize, text: &str, logprobs: &[TokenLogprob], out: &mut BytesMut) {
        let (item_id, output_index) = (self.answered.item_id(index), index);
        let delta = Some(text);
        let of_text = OfText { item_id, output_index, delta, ..OfText::default() };
        let (kind, of_text) = match self.answered.part(index).kind {
            Kind::Text => {
                let logprobs = Some(positions(logprobs));
                let of_text = OfText { content_index: Some(0), logprobs, ..of_text };
                ("response.output_text.delta", of_text)
            }
            Kind::Reasoning => {
                ("response.reasoning_text.delta", OfText { content_index: Some(0), ..of_text })
            }
            Kind::Call { .. } => ("response.function_call_arguments.delta", of_text),
        };
        write(&mut self.sequence, kind, of_text, out);
    }

    fn closed(&mut self, index: usize, out: &mut BytesMut) {
        let part = self.answered.part(index);
        let item_id = || self.answered.item_id(index);
        let whole = OfText { item_id: item_id(), output_index: index, ..OfText::default() };
        let text = Some(part.text.as_str());
        let done = match &part.kind {
            Kind::Text => {
                let logprobs = Some(positions(&part.logprobs));
                let whole = OfText { content_index: Some(0), text, logprobs, ..whole };
                Some(("response.output_text.done", whole))
            }
            Kind::Reasoning => {
                let whole = OfText { content_index: Some(0), text, ..whole };
                Some(("response.reasoning_text.done", whole))
            }
            // clients run what they are told is done
            Kind::Call { .. } if part.state == State::Cut => None,
            Kind::Call { name, .. } => {
                let whole = OfText { name: Some(name), arguments: text, ..whole };
                Some(("response.function_call_arguments.done", whole))
            }
        };
        if let Some((kind, whole)) = done {
            write(&mut self.sequence, kind, whole, out);
        }
        if let Some(part) = self.answered.content(index) {
            let part = OfPart { item_id: item_id(), output_index: index, content_index: 0, part };
            write(&mut self.sequence, "response.content_part.done", part, out);
        }
        let item = OfItem { output_index: index, item: self.answered.item(index) };
        write(&mut self.sequence, "response.output_item.done", item, out);
    }
}

fn write(sequence: &mut u32, kind: &str, more: impl Serialize, out: &mut BytesMut) {
    named_event(kind, &Shape { kind, sequence_number: *sequence, more }, out);
    *sequence += 1;
}

impl EventWriter for Events {
    fn write(&mut self, _prompt: usize, event: Event, out: &mut BytesMut) {
        self.begin(out);
        for change in self.answered.take(event) {
            match change {
                Change::Opened(index) => self.opened(index, out),
                Change::Grew { index, text, logprobs } => self.grew(index, &text, &logprobs, out),
                Change::Closed(index) => self.closed(index, out),
            }
        }
    }

    fn done(&mut self, out: &mut BytesMut) {
        let response = self.answered.response();
        let kind = match response.status {
            Status::Completed => "response.completed",
            _ => "response.incomplete",
        };
        write(&mut self.sequence, kind, OfResponse { response }, out);
    }

    /// Clients of the events read the first of the two, those of the response the last.
    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        self.begin(out);
        let (_, _, code) = refusal.kind();
        let (message, param) = (refusal.to_string(), refusal.param().map(str::to_owned));
        write(&mut self.sequence, "error", OfFailure { code, message, param }, out);
        let response = self.answered.failed(refusal);
        write(&mut self.sequence, "response.failed", OfResponse { response }, out);
    }
}

#[cfg(test)]
mod tests;
