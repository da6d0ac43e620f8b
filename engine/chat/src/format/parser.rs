//! The parser that callers see.

use engine_api::{CallFormat, Delivery, OutputEvent, ReasoningFormat};

use super::harmony::Harmony;
use super::sink::Sink;
use super::tagged::Tagged;
use super::{Reply, Tools};

/// What a parser may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParserLimits {
    /// Longest text of a call in bytes; a longer one is content.
    pub call_bytes_max: usize,
    /// Longest name of a tool in bytes.
    pub name_bytes_max: usize,
    /// Most calls in an answer; further ones are content.
    pub calls_max: usize,
    /// Most arguments of a call in the formats that do not write JSON.
    pub arguments_max: usize,
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self {
            call_bytes_max: 1024 * 1024,
            name_bytes_max: 256,
            calls_max: 128,
            arguments_max: 256,
        }
    }
}

/// What a parser needs to know.
#[derive(Clone, Debug, Default)]
pub struct ParserOptions {
    /// How the model writes calls. `None`: it writes none.
    pub calls: Option<CallFormat>,
    /// How it marks reasoning.
    pub reasoning: ReasoningFormat,
    /// The prompt ended with the tag that begins the reasoning.
    pub begins_in_reasoning: bool,
    /// What the request offers. Without tools, and for other tools than these, there are no
    /// calls.
    pub tools: Tools,
    /// When calls are delivered.
    pub delivery: Delivery,
    /// Bounds.
    pub limits: ParserLimits,
}

/// Reads one answer.
#[derive(Debug)]
pub struct OutputParser {
    machine: Machine,
    sink: Sink,
}

#[derive(Debug)]
enum Machine {
    Tagged(Tagged),
    Harmony(Harmony),
}

impl OutputParser {
    /// `call_id` names the call with an index. It is asked once for each call.
    pub fn new(
        options: ParserOptions,
        call_id: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let machine = match options.calls {
            Some(CallFormat::Harmony) => Machine::Harmony(Harmony::default()),
            _ => Machine::Tagged(Tagged::new(&options)),
        };
        let ParserOptions { tools, limits, delivery, .. } = options;
        Self { machine, sink: Sink::new(tools, limits, delivery, Box::new(call_id)) }
    }

    /// Reads more text. However the text is cut into pieces, the events are the same when
    /// neighbours of one kind are put together.
    pub fn push(&mut self, piece: &str) -> Vec<OutputEvent> {
        for letter in piece.chars() {
            match &mut self.machine {
                Machine::Tagged(tagged) => tagged.letter(letter, &mut self.sink),
                Machine::Harmony(harmony) => harmony.letter(letter, &mut self.sink),
            }
        }
        self.sink.take()
    }

    /// There is no more text.
    pub fn finish(mut self) -> Vec<OutputEvent> {
        match &mut self.machine {
            Machine::Tagged(tagged) => tagged.end(&mut self.sink),
            Machine::Harmony(harmony) => harmony.end(&mut self.sink),
        }
        self.sink.take()
    }

    /// Reads a whole answer.
    pub fn read(mut self, text: &str) -> Reply {
        let mut reply = Reply::default();
        self.push(text).into_iter().for_each(|event| reply.add(event));
        self.finish().into_iter().for_each(|event| reply.add(event));
        reply
    }
}
