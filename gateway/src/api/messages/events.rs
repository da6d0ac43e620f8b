//! The message as server-sent events, in Anthropic's order.

use bytes::{Bytes, BytesMut};
use engine_api::Event;
use serde::Serialize;
use serde_json::{Value, json};

use super::state::Answered;
use crate::api::parts::{Change, Kind};
use crate::api::stream::{EventWriter, KEEP_ALIVE, named_event};
use crate::error::Refusal;

/// Turns events into Anthropic's.
pub struct Events {
    answered: Answered,
    begun: bool,
}

/// What a block got.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct BlockDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    delta: Delta<'a>,
}

impl Events {
    /// Nothing is written before the first placement.
    pub fn new(answered: Answered) -> Self {
        Self { answered, begun: false }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            let message = self.answered.message();
            write("message_start", &json!({"type": "message_start", "message": message}), out);
            write("ping", &json!({"type": "ping"}), out);
        }
    }

    fn grew(&self, index: usize, text: &str, out: &mut BytesMut) {
        // the last tokens of an answer have no text, only probabilities
        if text.is_empty() {
            return;
        }
        let delta = match self.answered.part(index).kind {
            Kind::Text => Delta::Text { text },
            Kind::Reasoning => Delta::Thinking { thinking: text },
            Kind::Call { .. } => Delta::InputJson { partial_json: text },
        };
        let kind = "content_block_delta";
        named_event(kind, &BlockDelta { kind, index, delta }, out);
    }
}

fn write(name: &str, event: &Value, out: &mut BytesMut) {
    named_event(name, event, out);
}

impl EventWriter for Events {
    fn write(&mut self, _prompt: usize, event: Event, out: &mut BytesMut) {
        self.begin(out);
        for change in self.answered.take(event) {
            match change {
                Change::Opened(index) => {
                    let (kind, block) = ("content_block_start", self.answered.block(index));
                    let start = json!({"type": kind, "index": index, "content_block": block});
                    write(kind, &start, out);
                }
                Change::Grew { index, text, .. } => self.grew(index, &text, out),
                Change::Closed(index) => {
                    let kind = "content_block_stop";
                    write(kind, &json!({"type": kind, "index": index}), out);
                }
            }
        }
    }

    fn done(&mut self, out: &mut BytesMut) {
        let (reason, sequence) = (self.answered.stop_reason(), self.answered.stop_sequence());
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        let (kind, usage) = ("message_delta", self.answered.usage());
        write(kind, &json!({"type": kind, "delta": delta, "usage": usage}), out);
        write("message_stop", &json!({"type": "message_stop"}), out);
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut BytesMut) {
        named_event("error", &refusal.anthropic_body(None), out);
    }

    fn keep_alive(&self) -> Bytes {
        // clients take no event before the first of the message
        if !self.begun {
            return KEEP_ALIVE;
        }
        Bytes::from_static(b"event: ping\ndata: {\"type\":\"ping\"}\n\n")
    }
}

#[cfg(test)]
mod tests;
