//! Keeps what clients write from acting as markup.
//!
//! Templates build one text out of markup and of what clients wrote, and in that text
//! `<|im_end|>` looks the same wherever it came from. So before rendering, a marker (a
//! character that occurs nowhere in the conversation) is put into every place in the client's
//! text that reads like a control token. After rendering the markers are taken out, and where
//! one stood inside the text of a control token, that text is the client's.

use std::collections::{BTreeSet, HashSet};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use crate::template::{Rendered, TemplateError};

/// Finds the control tokens' texts. A text of a single character is never markup here: nothing
/// can stand inside it.
#[derive(Debug)]
pub struct ControlMarks {
    search: AhoCorasick,
    /// Begins of control texts, shorter than the whole.
    heads: HashSet<String>,
    /// Ends of control texts, shorter than the whole.
    tails: HashSet<String>,
    /// Length of the longest control text in bytes.
    longest: usize,
    /// Marker characters that the template itself contains.
    in_template: HashSet<char>,
    /// The template decodes JSON, in which a control text can be spelled with escapes.
    decodes_json: bool,
}

impl ControlMarks {
    /// `template` is the source, in which the marker must not occur either.
    pub fn new(control_strings: &[String], template: &str) -> Result<Self, TemplateError> {
        let strings: Vec<&str> =
            control_strings.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let cuts = strings
            .iter()
            .flat_map(|text| text.char_indices().skip(1).map(|(place, _)| text.split_at(place)));
        let (heads, tails) = cuts.map(|(head, tail)| (head.to_owned(), tail.to_owned())).unzip();
        let mut in_template = HashSet::new();
        collect_candidates(template, &mut in_template);
        Ok(Self {
            search: AhoCorasick::new(&strings).map_err(|_| TemplateError::Control)?,
            heads,
            tails,
            longest: strings.iter().map(|text| text.len()).max().unwrap_or(0),
            in_template,
            decodes_json: template.contains("fromjson"),
        })
    }

    /// Puts markers into all texts of `input`. `None`: there was no need.
    pub fn mark(&self, input: &mut Value) -> Result<Option<char>, TemplateError> {
        let mut used = self.in_template.clone();
        let mut is_needed = self.decodes_json;
        each_text(input, &mut |text| {
            collect_candidates(text, &mut used);
            is_needed |= !self.places(text).is_empty();
        });
        if !is_needed {
            return Ok(None);
        }
        let marker = candidates().find(|letter| !used.contains(letter));
        let marker = marker.ok_or(TemplateError::NoMarker)?;
        map_texts(input, &|text| self.marked(text, marker));
        Ok(Some(marker))
    }

    /// Puts this marker into texts that the template made while it rendered.
    pub fn mark_more(&self, input: &mut Value, marker: char) {
        map_texts(input, &|text| self.marked(text, marker));
    }

    /// Takes the markers out and finds the control texts that they stood in.
    pub fn unmark(&self, text: String, marker: Option<char>) -> Rendered {
        let Some(marker) = marker else {
            return Rendered { text, literal_at: Vec::new() };
        };
        let mut clean = String::with_capacity(text.len());
        let mut marks = BTreeSet::new();
        for (index, part) in text.split(marker).enumerate() {
            if index > 0 {
                marks.insert(clean.len());
            }
            clean.push_str(part);
        }
        let literal_at: BTreeSet<usize> = self
            .search
            .find_overlapping_iter(&clean)
            .filter(|found| marks.range(found.start() + 1..found.end()).next().is_some())
            .map(|found| found.start())
            .collect();
        Rendered { text: clean, literal_at: literal_at.into_iter().collect() }
    }

    fn marked(&self, text: &str, marker: char) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        let mut done = 0;
        for place in self.places(text) {
            out.push_str(&text[done..place]);
            out.push(marker);
            done = place;
        }
        out.push_str(&text[done..]);
        out
    }

    /// Where markers belong, ascending: inside every control text, and inside what could
    /// become one together with what the template, or another text, puts next to it.
    fn places(&self, text: &str) -> BTreeSet<usize> {
        let after_first =
            |start: usize| start + text[start..].chars().next().map_or(0, char::len_utf8);
        let whole = self.search.find_overlapping_iter(text);
        let mut places: BTreeSet<usize> = whole.map(|found| after_first(found.start())).collect();
        let late = text.len().saturating_sub(self.longest);
        for start in (late..text.len()).filter(|start| text.is_char_boundary(*start)) {
            if self.heads.contains(&text[start..]) {
                places.insert(after_first(start));
            }
        }
        for end in (1..=text.len().min(self.longest)).filter(|end| text.is_char_boundary(*end)) {
            if self.tails.contains(&text[..end]) {
                let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
                places.insert(end - last);
            }
        }
        places
    }
}

/// Characters that no text needs: the non-characters of the Arabic block first, then the
/// private-use planes.
fn candidates() -> impl Iterator<Item = char> {
    ('\u{fdd0}'..='\u{fdef}').chain('\u{f0000}'..='\u{ffffd}').chain('\u{100000}'..='\u{10fffd}')
}

/// Whether a character may be a marker.
pub fn is_candidate(letter: char) -> bool {
    matches!(letter, '\u{fdd0}'..='\u{fdef}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

fn collect_candidates(text: &str, used: &mut HashSet<char>) {
    used.extend(text.chars().filter(|letter| is_candidate(*letter)));
}

/// Visits all texts and keys.
fn each_text(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, visit)),
        Value::Object(fields) => {
            for (key, item) in fields {
                visit(key);
                each_text(item, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces all texts and keys.
fn map_texts(value: &mut Value, map: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = map(text),
        Value::Array(items) => items.iter_mut().for_each(|item| map_texts(item, map)),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().map(|(key, mut item)| {
                map_texts(&mut item, map);
                (map(&key), item)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
