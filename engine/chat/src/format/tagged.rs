//! Texts in which markers begin reasoning and calls: all formats but gpt-oss's.

use std::fmt;

use engine_api::CallFormat;

use super::marker_search::{Found, MarkerSearch};
use super::parser::ParserOptions;
use super::sink::Sink;
use super::{deepseek, gemma, hermes, llama, mistral, own_json, pythonic, qwen, reasoning_tags};

/// Longest run of spaces that is held back, in bytes: spaces beside a call are no content.
const SPACES_MAX: usize = 4096;

/// What stands between a marker and the end of the calls that it begins.
pub trait Dialect: Send + Sync + fmt::Debug {
    /// Takes a letter.
    fn push(&mut self, letter: char, sink: &mut Sink) -> Step;

    /// The output has ended. Says whether the calls are whole.
    fn end(&mut self, _: &mut Sink) -> bool {
        false
    }
}

/// What a letter was to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A part of it.
    More,
    /// The last of it.
    Closed,
    /// None of it: it had ended before.
    ClosedBefore,
    /// The proof that there is no call, or no further one.
    Broken,
}

/// A format's markers.
#[derive(Debug)]
pub struct Syntax {
    /// What begins calls.
    pub opens: &'static [Open],
    /// What surrounds calls and means nothing.
    pub layout: &'static [&'static str],
    /// What means nothing right after a call.
    pub closers: &'static [&'static str],
}

/// What begins calls.
#[derive(Debug)]
pub struct Open {
    /// The text.
    pub marker: &'static str,
    /// Only before any content, or right after a call or the reasoning.
    pub is_first: bool,
    /// Reads what follows the text.
    pub dialect: fn() -> Box<dyn Dialect>,
}

impl Syntax {
    /// The syntax of a format.
    pub fn of(format: CallFormat) -> &'static Self {
        match format {
            CallFormat::Hermes => &hermes::SYNTAX,
            CallFormat::Qwen => &qwen::SYNTAX,
            CallFormat::Llama3Json => &llama::SYNTAX,
            CallFormat::Mistral => &mistral::SYNTAX,
            CallFormat::Pythonic => &pythonic::SYNTAX,
            CallFormat::Gemma => &gemma::SYNTAX,
            CallFormat::DeepSeek => &deepseek::SYNTAX,
            // it has a machine of its own
            CallFormat::Harmony => &NOTHING,
            CallFormat::OwnJson => &own_json::SYNTAX,
        }
    }

    /// All texts.
    pub fn markers(&self) -> impl Iterator<Item = &'static str> {
        let opens = self.opens.iter().map(|open| open.marker);
        opens.chain(self.layout.iter().copied()).chain(self.closers.iter().copied())
    }
}

static NOTHING: Syntax = Syntax { opens: &[], layout: &[], closers: &[] };

/// What a marker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    BeginReasoning,
    EndReasoning,
    /// An index into the format's `opens`.
    Open(usize),
    Layout,
    Closer,
}

/// The machine.
#[derive(Debug)]
pub struct Tagged {
    syntax: &'static Syntax,
    search: MarkerSearch,
    /// For each marker.
    meanings: Vec<Meaning>,
    at: At,
    before: Before,
    /// Spaces of which it is not known what they are.
    spaces: String,
}

#[derive(Debug)]
enum At {
    Text,
    Reasoning,
    Calls(Box<dyn Dialect>),
}

/// What came before this place, spaces aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Nothing,
    Reasoning,
    Call,
    Text,
}

impl Tagged {
    pub fn new(options: &ParserOptions) -> Self {
        let calls = options.calls.filter(|_| !options.tools.is_empty());
        let syntax = calls.map_or(&NOTHING, Syntax::of);
        let mut all = Vec::new();
        if let Some([begin, end]) = reasoning_tags(options.reasoning) {
            all.extend([(begin, Meaning::BeginReasoning), (end, Meaning::EndReasoning)]);
        }
        let opens = syntax.opens.iter().enumerate();
        all.extend(opens.map(|(index, open)| (open.marker, Meaning::Open(index))));
        all.extend(syntax.layout.iter().map(|marker| (*marker, Meaning::Layout)));
        all.extend(syntax.closers.iter().map(|marker| (*marker, Meaning::Closer)));
        let (markers, meanings) = all.into_iter().unzip();
        let is_inside = options.begins_in_reasoning && reasoning_tags(options.reasoning).is_some();
        Self {
            syntax,
            search: MarkerSearch::new(markers),
            meanings,
            at: if is_inside { At::Reasoning } else { At::Text },
            before: if is_inside { Before::Reasoning } else { Before::Nothing },
            spaces: String::new(),
        }
    }

    pub fn letter(&mut self, letter: char, sink: &mut Sink) {
        let At::Calls(dialect) = &mut self.at else {
            self.search.push(letter);
            return self.take(sink);
        };
        let step = match sink.keep(letter) {
            Ok(()) => dialect.push(letter, sink),
            Err(_) => Step::Broken,
        };
        match step {
            Step::More => {}
            Step::Closed => self.calls_ended(sink),
            Step::ClosedBefore => {
                self.calls_ended(sink);
                self.letter(letter, sink);
            }
            Step::Broken => {
                sink.unkeep();
                self.give_back(sink);
                self.letter(letter, sink);
            }
        }
    }

    pub fn end(&mut self, sink: &mut Sink) {
        if let At::Calls(dialect) = &mut self.at {
            match dialect.end(sink) {
                true => self.calls_ended(sink),
                false => {
                    sink.drop_separator();
                    self.give_back(sink);
                }
            }
        }
        for letter in self.search.rest().chars() {
            self.text(letter, sink);
        }
        // the spaces beside a call or the reasoning are nothing
        if matches!(self.before, Before::Nothing | Before::Text) && matches!(self.at, At::Text) {
            sink.content(&self.spaces);
        }
    }

    fn take(&mut self, sink: &mut Sink) {
        loop {
            let Self { syntax, search, meanings, at, before, .. } = self;
            let is_text = matches!(at, At::Text);
            let found = search.take(|index| match meanings[index] {
                Meaning::BeginReasoning => is_text && *before != Before::Text,
                Meaning::EndReasoning => !is_text,
                Meaning::Open(open) => {
                    is_text && (!syntax.opens[open].is_first || *before != Before::Text)
                }
                Meaning::Layout => is_text,
                Meaning::Closer => is_text && *before == Before::Call,
            });
            match found {
                None => return,
                Some(Found::Text(letter)) => self.text(letter, sink),
                Some(Found::Marker(index)) => {
                    self.marker(index, sink);
                    // in a call it reads differently
                    for letter in self.search.rest().chars() {
                        self.letter(letter, sink);
                    }
                    return;
                }
            }
        }
    }

    fn marker(&mut self, index: usize, sink: &mut Sink) {
        let spaces = std::mem::take(&mut self.spaces);
        match self.meanings[index] {
            Meaning::BeginReasoning => {
                self.at = At::Reasoning;
                self.before = Before::Reasoning;
            }
            Meaning::EndReasoning => {
                self.at = At::Text;
                self.before = Before::Reasoning;
            }
            Meaning::Open(open) => {
                self.at = At::Calls((self.syntax.opens[open].dialect)());
                // spaces that belong to nothing before do not come back either
                let spaces = if self.drops_spaces() { String::new() } else { spaces };
                sink.begin_uncertain(spaces + self.search.marker(index));
            }
            Meaning::Layout if self.before == Before::Text => self.before = Before::Call,
            Meaning::Layout | Meaning::Closer => {}
        }
    }

    fn drops_spaces(&self) -> bool {
        matches!(self.before, Before::Reasoning | Before::Call)
    }

    fn text(&mut self, letter: char, sink: &mut Sink) {
        if letter.is_whitespace() && self.spaces.len() < SPACES_MAX {
            self.spaces.push(letter);
            return;
        }
        let mut text = std::mem::take(&mut self.spaces);
        if self.drops_spaces() {
            text.clear();
        }
        text.push(letter);
        self.before = Before::Text;
        match self.at {
            At::Reasoning => sink.reasoning(&text),
            At::Text | At::Calls(_) => sink.content(&text),
        }
    }

    fn calls_ended(&mut self, sink: &mut Sink) {
        sink.end_uncertain();
        self.at = At::Text;
        self.before = Before::Call;
    }

    fn give_back(&mut self, sink: &mut Sink) {
        self.at = At::Text;
        self.before = if sink.give_back() { Before::Text } else { Before::Call };
    }
}
