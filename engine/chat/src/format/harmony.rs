//! Harmony, gpt-oss's format: messages with channels.
//!
//! `<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>commentary
//! to=functions.f <|constrain|>json<|message|>{...}<|call|>`. The prompt ends with
//! `<|start|>assistant`, so that an answer begins within a header.
//!
//! Source: openai/harmony, docs/format.md. `analysis` is reasoning. `final`, and a
//! `commentary` for nobody, are content. What is sent to `functions.f` is a call of `f`.

use super::json_scan::{JsonScan, Taken, is_space};
use super::marker_search::{Found, MarkerSearch};
use super::sink::Sink;

/// Its markers.
pub const MARKERS: [&str; 7] =
    [START, CHANNEL, "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"];
const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: usize = 2;
const CONSTRAIN: usize = 3;

/// Longest header in bytes, without the name of a tool.
const HEADER_BYTES_MAX: usize = 512;

/// The machine.
#[derive(Debug)]
pub struct Harmony {
    search: MarkerSearch,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Up to `<|message|>`.
    Header(Header),
    Content,
    Reasoning,
    /// A call's arguments, of which nothing came yet.
    BeforeArguments,
    Arguments(JsonScan),
    /// After the arguments.
    Called,
}

#[derive(Debug)]
struct Header {
    /// With the texts of its markers.
    text: String,
    /// Whether a marker said that this is a header.
    is_certain: bool,
}

impl Default for Harmony {
    fn default() -> Self {
        let header = Header { text: String::new(), is_certain: false };
        Self { search: MarkerSearch::new(MARKERS.to_vec()), at: At::Header(header) }
    }
}

impl Harmony {
    pub fn letter(&mut self, letter: char, sink: &mut Sink) {
        self.search.push(letter);
        while let Some(found) = self.search.take(|_| true) {
            match found {
                Found::Text(letter) => self.text(letter, sink),
                Found::Marker(index) => self.marker(index, sink),
            }
        }
    }

    pub fn end(&mut self, sink: &mut Sink) {
        let rest = self.search.rest();
        // what is cut off in a header says nothing
        if !matches!(self.at, At::Header(Header { is_certain: true, .. })) {
            rest.chars().for_each(|letter| self.text(letter, sink));
        }
        match &self.at {
            At::Header(header) if !header.is_certain => sink.content(&header.text),
            At::BeforeArguments | At::Arguments(_) => drop(sink.give_back()),
            _ => {}
        }
    }

    fn text(&mut self, letter: char, sink: &mut Sink) {
        match &mut self.at {
            At::Header(header) => {
                header.text.push(letter);
                if header.is_text(sink.limits.name_bytes_max) {
                    sink.content(&header.text);
                    self.at = At::Content;
                }
            }
            At::Content => sink.content(letter.encode_utf8(&mut [0; 4])),
            At::Reasoning => sink.reasoning(letter.encode_utf8(&mut [0; 4])),
            At::BeforeArguments | At::Arguments(_) => self.argument(letter, sink),
            At::Called if is_space(letter) => {}
            At::Called => {
                sink.content(letter.encode_utf8(&mut [0; 4]));
                self.at = At::Content;
            }
        }
    }

    fn argument(&mut self, letter: char, sink: &mut Sink) {
        let mut out = String::new();
        let is_kept = sink.keep(letter).is_ok();
        let taken = match &mut self.at {
            _ if !is_kept => None,
            At::BeforeArguments if is_space(letter) => return,
            At::BeforeArguments if letter != '{' => None,
            At::BeforeArguments => {
                let mut scan = JsonScan::default();
                let taken = scan.push(letter, &mut out).ok();
                self.at = At::Arguments(scan);
                taken
            }
            At::Arguments(scan) => scan.push(letter, &mut out).ok(),
            _ => None,
        };
        match taken {
            Some(taken) => {
                sink.arguments(&out);
                if taken == Taken::Last {
                    sink.finish_call();
                    sink.end_uncertain();
                    self.at = At::Called;
                }
            }
            None => {
                sink.unkeep();
                sink.give_back();
                sink.content(letter.encode_utf8(&mut [0; 4]));
                self.at = At::Content;
            }
        }
    }

    fn marker(&mut self, index: usize, sink: &mut Sink) {
        match (&mut self.at, index) {
            (At::Header(header), MESSAGE) => {
                let text = std::mem::take(&mut header.text);
                self.at = body(&text, sink);
                return;
            }
            (At::Header(header), _) if MARKERS[index] == CHANNEL || index == CONSTRAIN => {
                header.is_certain = true;
                header.text.push_str(MARKERS[index]);
                return;
            }
            // nothing in a message means anything but its end
            (at, MESSAGE | CONSTRAIN) if !matches!(at, At::Header(_)) => return,
            // a header that ends without a message was a text
            (At::Header(header), _) if !header.is_certain => sink.content(&header.text),
            // a call without arguments
            (At::BeforeArguments, _) => {
                sink.arguments("{}");
                sink.finish_call();
                sink.end_uncertain();
            }
            (At::Arguments(_), _) => drop(sink.give_back()),
            _ => {}
        }
        let text = if MARKERS[index] == CHANNEL { CHANNEL } else { "" };
        let is_certain = matches!(MARKERS[index], START | CHANNEL);
        self.at = At::Header(Header { text: text.into(), is_certain });
    }
}

impl Header {
    /// Whether this cannot be a header.
    fn is_text(&self, name_bytes_max: usize) -> bool {
        let begin = self.text.trim_start();
        let is_plain = !self.is_certain && !begin.starts_with("to=") && !"to=".starts_with(begin);
        is_plain || self.text.len() > HEADER_BYTES_MAX + name_bytes_max
    }
}

/// What follows a header.
fn body(header: &str, sink: &mut Sink) -> At {
    let channel = header.rsplit_once(CHANNEL).map_or("", |(_, rest)| rest.trim_start());
    let channel: &str =
        channel.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or("");
    let to = header.find("to=").map(|place| &header[place + "to=".len()..]);
    let to = to.map(|rest| rest.split(|letter: char| letter.is_whitespace() || letter == '<'));
    let tool = to.and_then(|mut words| words.next()).and_then(|to| to.strip_prefix("functions."));
    if let Some(tool) = tool {
        sink.begin_uncertain(String::new());
        if sink.start_call(tool).is_ok() {
            return At::BeforeArguments;
        }
        sink.end_uncertain();
        return At::Content;
    }
    if channel == "analysis" { At::Reasoning } else { At::Content }
}
