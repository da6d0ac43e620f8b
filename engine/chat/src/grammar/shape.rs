//! How the calls of each format are forced.

use engine_api::{CallFormat, Delivery, ToolCall, ToolChoice};

use super::content::Content;
use super::harmony;
use super::lark::{Lark, regex};
use super::xml;
use super::{Assignment, CALLS_MAX, Tool};
use crate::format::reasoning_tags;

/// A part of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A text.
    Text(&'static str),
    /// A control token in some models, text in others.
    Marker(&'static str),
    /// The tool's name.
    Name,
    /// Its arguments.
    Arguments,
}
use Part::{Arguments, Marker, Name, Text};

/// `{"name": ..., "parameters": {...}}`.
const JSON_CALL: [Part; 5] =
    [Text("{\"name\": \""), Name, Text("\", \"parameters\": "), Arguments, Text("}")];

/// How calls are written.
#[derive(Debug)]
pub struct Shape {
    /// For the parser.
    pub calls: CallFormat,
    /// Whether the arguments are written as Qwen writes them.
    is_xml: bool,
    /// Before the first call.
    open: &'static [Part],
    call: &'static [Part],
    between: &'static [Part],
    close: &'static [Part],
}

impl Shape {
    /// The shape of a format, or our own for what has no grammar. `None`: there is none, and
    /// `is_free`, that is, the model may also answer with any text in its own way.
    pub fn of(asked: &Assignment, tools: &[Tool], is_free: bool) -> Option<Self> {
        match asked.calls {
            CallFormat::Qwen if xml::can_write(tools) => Some(Self::XML),
            // calls in Python begin as the model likes, and what is no XML is not Qwen's own way
            CallFormat::Pythonic | CallFormat::Gemma | CallFormat::Qwen if is_free => None,
            calls => Some(Self::plain(calls, &|marker| (asked.control_id)(marker).is_some())),
        }
    }

    /// The shape of a format whose arguments are JSON.
    pub fn plain(calls: CallFormat, has: &dyn Fn(&str) -> bool) -> Self {
        let (open, call, between, close): (&[_], &[_], &[_], &[_]) = match calls {
            CallFormat::Hermes | CallFormat::Qwen => (
                &[],
                &[
                    Marker("<tool_call>"),
                    Text("\n{\"name\": \""),
                    Name,
                    Text("\", \"arguments\": "),
                    Arguments,
                    Text("}\n"),
                    Marker("</tool_call>"),
                ],
                &[Text("\n")],
                &[],
            ),
            CallFormat::Llama3Json => (&[], &JSON_CALL, &[Text("; ")], &[]),
            CallFormat::Mistral if has("[ARGS]") => {
                (&[], &[Marker("[TOOL_CALLS]"), Name, Marker("[ARGS]"), Arguments], &[], &[])
            }
            CallFormat::Mistral => (
                &[Marker("[TOOL_CALLS]"), Text(" [")],
                &[Text("{\"name\": \""), Name, Text("\", \"arguments\": "), Arguments, Text("}")],
                &[Text(", ")],
                &[Text("]")],
            ),
            CallFormat::DeepSeek => (
                &[Marker("<｜tool▁calls▁begin｜>")],
                &[
                    Marker("<｜tool▁call▁begin｜>"),
                    Text("function"),
                    Marker("<｜tool▁sep｜>"),
                    Name,
                    Text("\n```json\n"),
                    Arguments,
                    Text("\n```"),
                    Marker("<｜tool▁call▁end｜>"),
                ],
                &[Text("\n")],
                &[Marker("<｜tool▁calls▁end｜>")],
            ),
            CallFormat::Harmony => (
                &[],
                &[
                    Marker("<|channel|>"),
                    Text("commentary to=functions."),
                    Name,
                    Text(" "),
                    Marker("<|constrain|>"),
                    Text("json"),
                    Marker("<|message|>"),
                    Arguments,
                    Marker("<|call|>"),
                ],
                &[Marker("<|start|>"), Text("assistant")],
                &[],
            ),
            // its calls are Python; it reads JSON of this form, too
            CallFormat::Gemma => (&[], &JSON_CALL, &[Text("\n")], &[]),
            CallFormat::Pythonic | CallFormat::OwnJson => return Self::OWN,
        };
        Self { calls, is_xml: false, open, call, between, close }
    }

    /// Ours.
    const OWN: Self = Self {
        calls: CallFormat::OwnJson,
        is_xml: false,
        open: &[Text("{\"tool_calls\": [")],
        call: &[Text("{\"name\": \""), Name, Text("\", \"arguments\": "), Arguments, Text("}")],
        between: &[Text(", ")],
        close: &[Text("]}")],
    };

    /// Qwen's own.
    const XML: Self = Self {
        calls: CallFormat::Qwen,
        is_xml: true,
        open: &[],
        call: &[
            Marker("<tool_call>"),
            Text("\n<function="),
            Name,
            Text(">\n"),
            Arguments,
            Text("</function>\n"),
            Marker("</tool_call>"),
        ],
        between: &[Text("\n")],
        close: &[],
    };

    /// The text of calls.
    pub fn text(&self, calls: &[ToolCall]) -> String {
        let written = |parts: &[Part], call: Option<&ToolCall>| {
            let part = |part: &Part| match (part, call) {
                (Text(text) | Marker(text), _) => text.to_owned(),
                (Name, Some(call)) => call.function.name.as_str(),
                (Arguments, Some(call)) => call.function.arguments.as_str(),
                (Name | Arguments, None) => "",
            };
            parts.iter().map(part).collect::<String>()
        };
        let each: Vec<String> = calls.iter().map(|call| written(self.call, Some(call))).collect();
        let between = written(self.between, None);
        written(self.open, None) + &each.join(&between) + &written(self.close, None)
    }

    /// When the parser may deliver what this grammar lets through.
    pub fn delivery(&self, is_required: bool) -> Delivery {
        // where a call begins with plain text, other texts that begin like it may be calls, too,
        // and Qwen's begin without their marker as well
        let is_certain = is_required || (self.head().is_some() && !self.is_xml);
        if is_certain { Delivery::AsTheyCome } else { Delivery::Whole }
    }

    /// Writes the whole grammar.
    pub fn write(
        &self,
        lark: &mut Lark,
        asked: &Assignment,
        tools: &[Tool],
        is_required: bool,
        content: Option<&Content>,
    ) {
        // who names a tool wants it once
        let demand = asked.demand;
        let is_parallel = demand.is_parallel && !matches!(demand.choice, ToolChoice::Named(_));
        let tail = self.tail(lark, is_parallel);
        match (is_required, content) {
            _ if self.calls == CallFormat::Harmony => {
                harmony::start(lark, is_required, content);
            }
            (true, _) => {
                let thought = thought(lark, asked);
                lark.rule("start", &format!("{thought}calls"));
            }
            (false, Some(content)) => {
                let thought = thought(lark, asked);
                lark.rule("start", &format!("{thought}(content | calls)"));
                lark.content("content", content);
            }
            (false, None) => self.write_free(lark),
        }
        match self.head() {
            Some(marker) => lark.rule("calls", &format!("{} tail", lark.marker(marker))),
            None => lark.rule("calls", "tail"),
        }
        lark.rule("tail", &tail);
        self.write_call(lark, tools);
    }

    /// All parts in order.
    fn parts(&self) -> impl Iterator<Item = Part> {
        self.open.iter().chain(self.call).copied()
    }

    /// The marker that begins everything.
    fn head(&self) -> Option<&'static str> {
        match self.parts().next() {
            Some(Marker(marker)) => Some(marker),
            _ => None,
        }
    }

    /// What follows the marker that begins everything: all calls.
    fn tail(&self, lark: &Lark, is_parallel: bool) -> String {
        let skipped = usize::from(self.head().is_some());
        let (open, first, again) = match self.open {
            [] if skipped == 1 => (&[][..], "call", format!("{} call", lark.row(&self.call[..1]))),
            [] => (&[][..], "call", "call".to_owned()),
            open => (&open[skipped..], "call", "call".to_owned()),
        };
        let between = lark.row(self.between);
        let repeat = match is_parallel {
            true => format!("({}){{0,{}}}", joined(&[&between, &again]), CALLS_MAX - 1),
            false => String::new(),
        };
        joined(&[&lark.row(open), first, &repeat, &lark.row(self.close)])
    }

    /// Any text, and calls once one has begun.
    fn write_free(&self, lark: &mut Lark) {
        match self.head() {
            Some(marker) if lark.is_control(marker) => {
                lark.rule("start", "TEXT? calls?");
                lark.text();
            }
            Some(marker) => {
                // the text before the first call and its marker are one piece
                lark.rule("start", "TEXT_ALONE? | begin tail");
                lark.rule("TEXT_ALONE", &format!("/(?s:.+)/ & ~/(?s:.*){}(?s:.*)/", regex(marker)));
                lark.text_up_to("begin", marker);
            }
            None => {
                let begin = match self.parts().next() {
                    Some(Text(text)) => regex(text),
                    _ => String::new(),
                };
                lark.rule("start", "TEXT_ALONE? | calls");
                lark.rule("TEXT_ALONE", &format!("/(?s:.+)/ & ~/[ \\n]*{begin}(?s:.*)/"));
            }
        }
    }

    fn write_call(&self, lark: &mut Lark, tools: &[Tool]) {
        let each: Vec<String> = (0..tools.len()).map(|index| format!("call_{index}")).collect();
        lark.rule("call", &each.join(" | "));
        // the marker of the first call has come, those of the others are between them
        let skipped = usize::from(self.open.is_empty() && self.head().is_some());
        for (index, tool) in tools.iter().enumerate() {
            let row = lark.row_of(&self.call[skipped..], &tool.name, index);
            lark.rule(&format!("call_{index}"), &row);
            let arguments = format!("arguments_{index}");
            match self.is_xml {
                true => xml::arguments(lark, tool, &arguments),
                false => lark.json(&arguments, &tool.schema),
            }
        }
    }
}

fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// The grammar of an answer that is JSON and no call.
pub fn write_content(lark: &mut Lark, asked: &Assignment, content: &Content) {
    if asked.calls == CallFormat::Harmony {
        harmony::start_content(lark, content);
        return;
    }
    let thought = thought(lark, asked);
    lark.rule("start", &format!("{thought}content"));
    lark.content("content", content);
}

/// The reasoning before what is forced.
fn thought(lark: &mut Lark, asked: &Assignment) -> String {
    let Some([begin, end]) = reasoning_tags(asked.reasoning) else { return String::new() };
    lark.rule("GAP", "/[ \\n]{1,2}/");
    lark.text_up_to("thought", end);
    match asked.begins_in_reasoning {
        true => "thought GAP? ".to_owned(),
        false => format!("({} thought GAP?)? ", lark.marker(begin)),
    }
}
