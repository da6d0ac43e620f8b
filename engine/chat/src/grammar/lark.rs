//! Writes Lark in llguidance's dialect (its docs/syntax.md).

use serde_json::Value;

use super::content::Content;
use super::shape::Part;

/// A grammar that is being written.
pub struct Lark<'a> {
    control_id: &'a dyn Fn(&str) -> Option<u32>,
    lines: Vec<String>,
}

impl<'a> Lark<'a> {
    pub fn new(control_id: &'a dyn Fn(&str) -> Option<u32>) -> Self {
        Self { control_id, lines: vec!["%llguidance {}".to_owned()] }
    }

    /// Adds a rule.
    pub fn rule(&mut self, name: &str, body: &str) {
        self.lines.push(format!("{name}: {body}"));
    }

    /// Adds a rule for JSON of a schema.
    pub fn json(&mut self, name: &str, schema: &Value) {
        self.rule(name, &format!("%json {schema}"));
    }

    /// Adds a rule for what an answer without calls has to be.
    pub fn content(&mut self, name: &str, content: &Content) {
        match content {
            Content::Json(schema) => self.json(name, schema),
            Content::Regex(regex) => self.rule(name, &format!("/{regex}/")),
            Content::Choice(texts) => {
                let each: Vec<String> = texts.iter().map(|text| literal(text)).collect();
                self.rule(name, &each.join(" | "));
            }
            // its rules have names of their own
            Content::Grammar(grammar) => self.rule(name, &format!("%lark {{\n{grammar}\n}}")),
        }
    }

    /// Adds a rule for any text that ends with the first `marker`, which belongs to it.
    pub fn text_up_to(&mut self, name: &str, marker: &str) {
        match (self.control_id)(marker) {
            // no text matches a control token
            Some(id) => {
                self.rule(name, &format!("TEXT? <[{id}]>"));
                self.text();
            }
            None => self.rule(&format!("{name}[suffix={}]", literal(marker)), "/(?s:.*)/"),
        }
    }

    /// Adds the terminal `TEXT`: any text but the empty one.
    pub fn text(&mut self) {
        let line = "TEXT: /(?s:.+)/".to_owned();
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Whether a marker is a control token.
    pub fn is_control(&self, marker: &str) -> bool {
        (self.control_id)(marker).is_some()
    }

    /// A marker, as a control token where there is one.
    pub fn marker(&self, text: &str) -> String {
        (self.control_id)(text).map_or_else(|| literal(text), |id| format!("<[{id}]>"))
    }

    /// Parts without a name and arguments.
    pub fn row(&self, parts: &[Part]) -> String {
        self.row_of(parts, "", 0)
    }

    /// Parts of the call of a tool. Neighbouring texts are one literal.
    pub fn row_of(&self, parts: &[Part], name: &str, index: usize) -> String {
        let mut row: Vec<String> = Vec::new();
        let mut text = String::new();
        for part in parts {
            let other = match part {
                Part::Text(more) => {
                    text.push_str(more);
                    continue;
                }
                Part::Name => {
                    text.push_str(name);
                    continue;
                }
                Part::Marker(marker) => self.marker(marker),
                Part::Arguments => format!("arguments_{index}"),
            };
            if !text.is_empty() {
                row.push(literal(&std::mem::take(&mut text)));
            }
            row.push(other);
        }
        if !text.is_empty() {
            row.push(literal(&text));
        }
        row.join(" ")
    }

    pub fn finish(self) -> String {
        self.lines.join("\n") + "\n"
    }
}

/// A text in a rule: Lark reads JSON's escapes.
pub fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// A regular expression for just this text, without its slashes.
pub fn regex(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$/#&-~".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
