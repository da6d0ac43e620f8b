//! A template's tags, found without parsing what is in them: enough to refuse a template that
//! would exhaust the parser's stack, and to rewrite what minijinja
//! lacks.

use std::ops::Range;

use super::{TemplateError, TemplateLimits, concatenation};

/// Words that are operators or open a branch.
const OPERATOR_WORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];
/// Statements that hold others until their `end`.
const BLOCKS: [&str; 10] =
    ["if", "for", "macro", "call", "filter", "with", "block", "autoescape", "generation", "set"];

/// `{{ ... }}` or `{% ... %}`.
struct Tag<'s> {
    /// What is between the delimiters and their `-` or `+`.
    inner: &'s str,
    /// Where `inner` is in the source, in bytes.
    range: Range<usize>,
    is_statement: bool,
}

/// What is in one tag.
#[derive(Default)]
struct Shape {
    brackets_max: usize,
    operators: usize,
    /// Where the first `=` outside of brackets is, in bytes, that is not part of a comparison.
    assignment: Option<usize>,
}

/// Refuses what is too long, too deep, or chained too far: the parser and the compiler recurse
/// on all of these.
pub fn check(source: &str, limits: &TemplateLimits) -> Result<(), TemplateError> {
    if source.len() > limits.source_bytes_max {
        let (bytes, limit) = (source.len(), limits.source_bytes_max);
        return Err(TemplateError::SourceTooLong { bytes, limit });
    }
    // levels that each open block adds
    let mut blocks: Vec<usize> = Vec::new();
    for tag in tags(source) {
        let shape = Shape::of(tag.inner);
        if tag.is_statement {
            match tag.word() {
                "elif" => blocks.last_mut().into_iter().for_each(|levels| *levels += 1),
                "set" if shape.assignment.is_some() => {}
                word if BLOCKS.contains(&word) => blocks.push(1),
                word if word.starts_with("end") => drop(blocks.pop()),
                _ => {}
            }
        }
        let depth = blocks.iter().sum::<usize>() + shape.brackets_max;
        let limit = if depth > limits.nesting_max {
            limits.nesting_max
        } else if shape.operators > limits.operators_max {
            limits.operators_max
        } else {
            continue;
        };
        let line = source[..tag.range.start].matches('\n').count() + 1;
        return Err(TemplateError::TooDeep { line, limit });
    }
    Ok(())
}

/// The source as minijinja gets it, line for line the same:
/// - `generation` blocks, which only mark the assistant's turns for training, become blocks
///   that do nothing;
/// - what is assigned goes through the filters of `super::depth`;
/// - what is joined with `~` goes through the filter `string` (see `super::concatenation`).
pub fn rewritten(source: &str) -> String {
    let source = &with_each_tag(source, |tag| {
        // the word of a statement is no operand
        let word = if tag.is_statement { tag.word() } else { "" };
        let (head, rest) = tag.inner.split_at(tag.inner.find(word)? + word.len());
        rest.contains('~').then(|| head.to_owned() + &concatenation::rewritten(rest))
    });
    with_each_tag(source, |tag| if tag.is_statement { statement(tag) } else { None })
}

/// The source with some of its tags replaced.
fn with_each_tag(source: &str, replacement: impl Fn(&Tag) -> Option<String>) -> String {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    let mut done = 0;
    for tag in tags(source) {
        if let Some(replacement) = replacement(&tag) {
            out.push_str(&source[done..tag.range.start]);
            out.push_str(&replacement);
            done = tag.range.end;
        }
    }
    out.push_str(&source[done..]);
    out
}

fn statement(tag: &Tag) -> Option<String> {
    match tag.word() {
        "generation" => Some(" if true ".to_owned()),
        "endgeneration" => Some(" endif ".to_owned()),
        "set" => Shape::of(tag.inner).assignment.map(|place| {
            let (target, value) = (&tag.inner[..place], &tag.inner[place + 1..]);
            let filter = if target.contains('.') { "kept_member" } else { "kept" };
            format!("{target}=({value})|{filter} ")
        }),
        _ => None,
    }
}

/// Whether a tag names this variable, and not as a member of something else.
pub fn reads(source: &str, variable: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    tags(source).any(|tag| {
        let mut code = String::new();
        let mut letters = Letters::new(tag.inner);
        let mut end = 0;
        while let Some((place, letter)) = letters.next_outside_strings() {
            if place > end {
                code.push('"');
            }
            code.push(letter);
            end = place + letter.len_utf8();
        }
        code.match_indices(variable).any(|(place, _)| {
            let before = code[..place].chars().next_back();
            let after = code[place + variable.len()..].chars().next();
            !before.is_some_and(|letter| is_word(letter) || letter == '.')
                && !after.is_some_and(is_word)
        })
    })
}

impl Tag<'_> {
    fn word(&self) -> &str {
        let inner = self.inner.trim_start();
        let end = inner.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        &inner[..end.unwrap_or(inner.len())]
    }
}

impl Shape {
    fn of(inner: &str) -> Self {
        let mut shape = Self::default();
        let mut depth = 0usize;
        let mut before = ' ';
        let mut letters = Letters::new(inner);
        while let Some((place, letter)) = letters.next_outside_strings() {
            let after = inner[place + letter.len_utf8()..].chars().next();
            match letter {
                '(' | '[' | '{' => {
                    depth += 1;
                    shape.operators += 1;
                }
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '=' if depth == 0 && after != Some('=') && !"=!<>".contains(before) => {
                    shape.assignment.get_or_insert(place);
                }
                _ if "+-*/%~|.<>=!".contains(letter) => shape.operators += 1,
                _ => {}
            }
            shape.brackets_max = shape.brackets_max.max(depth);
            before = letter;
        }
        let words = inner.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        shape.operators += words.filter(|word| OPERATOR_WORDS.contains(word)).count();
        shape
    }
}

/// All tags but comments, and none inside `raw` blocks.
fn tags(source: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut from = 0;
    let mut is_raw = false;
    std::iter::from_fn(move || {
        loop {
            let start = from + source[from..].find('{')?;
            let opener = source[start..].chars().nth(1)?;
            from = start + 1;
            if opener == '#' && !is_raw {
                from = start + source[start..].find("#}")? + 2;
            } else if opener == '%' || (opener == '{' && !is_raw) {
                let tag = tag_at(source, start, opener == '%')?;
                if is_raw && tag.word() != "endraw" {
                    continue;
                }
                from = tag.range.end;
                is_raw = tag.is_statement && tag.word() == "raw";
                return Some(tag);
            }
        }
    })
}

/// The tag whose delimiter is at `start`; `None` where it never ends.
fn tag_at(source: &str, start: usize, is_statement: bool) -> Option<Tag<'_>> {
    let rest = &source[start + 2..];
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let begin = source.len() - rest.len();
    let closer = if is_statement { "%}" } else { "}}" };
    let mut depth = 0usize;
    let mut letters = Letters::new(rest);
    while let Some((place, letter)) = letters.next_outside_strings() {
        if depth == 0 && rest[place..].starts_with(closer) {
            let inner = &rest[..place];
            let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
            let range = begin..begin + inner.len();
            return Some(Tag { inner, range, is_statement });
        }
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Walks over an expression and leaves its string literals out.
pub(super) struct Letters<'s> {
    letters: std::str::CharIndices<'s>,
}

impl<'s> Letters<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { letters: text.char_indices() }
    }

    pub(super) fn next_outside_strings(&mut self) -> Option<(usize, char)> {
        loop {
            let (place, letter) = self.letters.next()?;
            if letter != '\'' && letter != '"' {
                return Some((place, letter));
            }
            loop {
                match self.letters.next()?.1 {
                    '\\' => drop(self.letters.next()),
                    end if end == letter => break,
                    _ => {}
                }
            }
        }
    }
}
