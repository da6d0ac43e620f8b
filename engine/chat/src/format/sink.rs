//! Where the machines put what they read.

use std::fmt;

use engine_api::{Delivery, OutputEvent};

use super::Tools;
use super::parser::ParserLimits;

/// What was taken for a call is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoCall;

/// Collects events. It keeps the text of a call that is not certain yet, to give it back as
/// content.
pub struct Sink {
    /// What the request offers.
    pub tools: Tools,
    /// The bounds.
    pub limits: ParserLimits,
    delivery: Delivery,
    call_id: Box<dyn Fn(usize) -> String + Send + Sync>,
    /// Index of the next call.
    next: usize,
    open: Option<OpenCall>,
    /// The text that becomes content should there be no call in it. `None`: it is certain.
    uncertain: Option<String>,
    events: Vec<OutputEvent>,
}

/// A call that has a name.
struct OpenCall {
    name: String,
    /// What was not delivered yet.
    arguments: String,
}

impl Sink {
    pub fn new(
        tools: Tools,
        limits: ParserLimits,
        delivery: Delivery,
        call_id: Box<dyn Fn(usize) -> String + Send + Sync>,
    ) -> Self {
        let (events, open, uncertain) = (Vec::new(), None, None);
        Self { tools, limits, delivery, call_id, next: 0, open, uncertain, events }
    }

    /// The events since it was last called.
    pub fn take(&mut self) -> Vec<OutputEvent> {
        std::mem::take(&mut self.events)
    }

    pub fn content(&mut self, text: &str) {
        match self.events.last_mut() {
            _ if text.is_empty() => {}
            Some(OutputEvent::Content(last)) => last.push_str(text),
            _ => self.events.push(OutputEvent::Content(text.to_owned())),
        }
    }

    pub fn reasoning(&mut self, text: &str) {
        match self.events.last_mut() {
            _ if text.is_empty() => {}
            Some(OutputEvent::Reasoning(last)) => last.push_str(text),
            _ => self.events.push(OutputEvent::Reasoning(text.to_owned())),
        }
    }

    /// From here on there may be calls. `text` is what made it seem so.
    pub fn begin_uncertain(&mut self, text: String) {
        self.uncertain = Some(text);
    }

    /// Keeps a letter that may have to be given back.
    pub fn keep(&mut self, letter: char) -> Result<(), NoCall> {
        if let Some(text) = &mut self.uncertain {
            text.push(letter);
            if text.len() > self.limits.call_bytes_max {
                return Err(NoCall);
            }
        }
        Ok(())
    }

    /// Takes the last letter out again.
    pub fn unkeep(&mut self) {
        if let Some(text) = &mut self.uncertain {
            text.pop();
        }
    }

    /// A call has its name.
    pub fn start_call(&mut self, name: &str) -> Result<(), NoCall> {
        debug_assert!(self.open.is_none(), "the call before has ended");
        if !self.tools.has(name) || self.next >= self.limits.calls_max {
            return Err(NoCall);
        }
        self.open = Some(OpenCall { name: name.to_owned(), arguments: String::new() });
        if self.delivery == Delivery::AsTheyCome {
            self.uncertain = None;
            self.deliver_start();
        }
        Ok(())
    }

    /// More JSON text of the open call's arguments.
    pub fn arguments(&mut self, text: &str) {
        let index = self.next;
        if self.delivery == Delivery::Whole {
            let call = self.open.as_mut().expect("a call is open");
            call.arguments.push_str(text);
            return;
        }
        match self.events.last_mut() {
            _ if text.is_empty() => {}
            Some(OutputEvent::Arguments { text: last, .. }) => last.push_str(text),
            _ => self.events.push(OutputEvent::Arguments { index, text: text.to_owned() }),
        }
    }

    /// The open call is whole. What follows is uncertain again.
    pub fn finish_call(&mut self) {
        let index = self.next;
        if self.delivery == Delivery::Whole {
            self.deliver_start();
            let call = self.open.as_mut().expect("a call is open");
            let text = std::mem::take(&mut call.arguments);
            self.events.push(OutputEvent::Arguments { index, text });
        }
        self.events.push(OutputEvent::CallFinished { index });
        self.open = None;
        self.next += 1;
        self.uncertain = Some(String::new());
    }

    /// A call that came in one piece.
    pub fn whole_call(&mut self, name: &str, arguments: &str) -> Result<(), NoCall> {
        self.start_call(name)?;
        self.arguments(arguments);
        self.finish_call();
        Ok(())
    }

    /// Nothing more is uncertain: the calls are over.
    pub fn end_uncertain(&mut self) {
        debug_assert!(self.open.is_none(), "no call is open");
        self.uncertain = None;
    }

    /// The output ends here. Under a grammar, what came after a call can only be on its way to the
    /// next one, whose name will never come: that is no content.
    pub fn drop_separator(&mut self) {
        if self.delivery == Delivery::AsTheyCome && self.next > 0 && self.open.is_none() {
            self.uncertain = None;
        }
    }

    /// What was kept is no call. Says whether something became content.
    pub fn give_back(&mut self) -> bool {
        let index = self.next;
        if self.open.take().is_some() && self.delivery == Delivery::AsTheyCome {
            self.events.push(OutputEvent::CallAbandoned { index });
            self.next += 1;
        }
        let text = self.uncertain.take().unwrap_or_default();
        self.content(&text);
        !text.is_empty()
    }

    fn deliver_start(&mut self) {
        let index = self.next;
        let id = (self.call_id)(index);
        let name = self.open.as_ref().expect("a call is open").name.clone();
        self.events.push(OutputEvent::CallStarted { index, id, name });
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Sink").field("next", &self.next).finish_non_exhaustive()
    }
}
