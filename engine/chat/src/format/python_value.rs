//! Reads one Python literal letter by letter and writes it as JSON.

use super::json_scan::push_escaped;

/// Deepest value.
const DEPTH_MAX: usize = 120;
/// Longest number or word in bytes.
const WORD_BYTES_MAX: usize = 400;

/// What came is no literal, whatever follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPython;

/// What a letter was to the literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// A part of it.
    More,
    /// Its last letter.
    Last,
    /// None of it: the literal, a number or word, had ended before.
    Before,
}

/// A literal that is being read.
#[derive(Debug, Default)]
pub struct PythonValue {
    /// What is open, outermost first.
    open: Vec<Container>,
    at: At,
}

#[derive(Debug)]
struct Container {
    closer: char,
    has_items: bool,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Text(InText),
    /// A number, or `True` and its like.
    Word(String),
}

#[derive(Clone, Copy, Debug)]
struct InText {
    quote: char,
    is_key: bool,
    escape: Escape,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    Begun,
    Hex { left: u8, code: u32 },
}

impl PythonValue {
    /// Takes the next letter, and writes to `out` what is certain.
    pub fn push(&mut self, letter: char, out: &mut String) -> Result<Taken, NotPython> {
        match std::mem::take(&mut self.at) {
            At::Text(text) => self.text(text, letter, out),
            At::Word(word) => self.word(word, letter, out),
            at if letter.is_ascii_whitespace() => {
                self.at = at;
                Ok(Taken::More)
            }
            at => self.structure(&at, letter, out),
        }
    }

    fn structure(&mut self, at: &At, letter: char, out: &mut String) -> Result<Taken, NotPython> {
        let is_value = matches!(at, At::Value | At::ValueOrEnd);
        let is_key = matches!(at, At::KeyOrEnd);
        let is_closer = self.open.last().is_some_and(|open| open.closer == letter);
        if is_closer && !matches!(at, At::Value | At::Colon) {
            self.open.pop();
            out.push(if letter == '}' { '}' } else { ']' });
            return Ok(self.ended());
        }
        if matches!(at, At::ValueOrEnd | At::KeyOrEnd) {
            self.begin_item(out);
        }
        self.at = match letter {
            '[' | '(' | '{' if is_value && self.open.len() < DEPTH_MAX => self.open(letter, out),
            '"' | '\'' if is_value || is_key => {
                out.push('"');
                At::Text(InText { quote: letter, is_key, escape: Escape::None })
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '+' | '.' if is_value => {
                At::Word(letter.into())
            }
            ':' if matches!(at, At::Colon) => {
                out.push_str(": ");
                At::Value
            }
            ',' if matches!(at, At::CommaOrEnd) => match self.open.last() {
                Some(Container { closer: '}', .. }) => At::KeyOrEnd,
                _ => At::ValueOrEnd,
            },
            _ => return Err(NotPython),
        };
        Ok(Taken::More)
    }

    fn open(&mut self, letter: char, out: &mut String) -> At {
        let (closer, json) = match letter {
            '[' => (']', '['),
            // a tuple is a list
            '(' => (')', '['),
            _ => ('}', '{'),
        };
        self.open.push(Container { closer, has_items: false });
        out.push(json);
        if closer == '}' { At::KeyOrEnd } else { At::ValueOrEnd }
    }

    /// Python allows a comma after the last item and JSON does not, so commas are written
    /// before items.
    fn begin_item(&mut self, out: &mut String) {
        if let Some(open) = self.open.last_mut()
            && std::mem::replace(&mut open.has_items, true)
        {
            out.push_str(", ");
        }
    }

    /// A value has ended.
    fn ended(&mut self) -> Taken {
        self.at = At::CommaOrEnd;
        if self.open.is_empty() { Taken::Last } else { Taken::More }
    }

    fn word(
        &mut self,
        mut word: String,
        letter: char,
        out: &mut String,
    ) -> Result<Taken, NotPython> {
        if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '+' | '-') {
            word.push(letter);
            if word.len() > WORD_BYTES_MAX {
                return Err(NotPython);
            }
            self.at = At::Word(word);
            return Ok(Taken::More);
        }
        out.push_str(&json_word(&word).ok_or(NotPython)?);
        match self.ended() {
            Taken::Last => Ok(Taken::Before),
            _ => self.push(letter, out),
        }
    }

    fn text(
        &mut self,
        mut text: InText,
        letter: char,
        out: &mut String,
    ) -> Result<Taken, NotPython> {
        match text.escape {
            Escape::None if letter == text.quote => {
                out.push('"');
                if text.is_key {
                    self.at = At::Colon;
                    return Ok(Taken::More);
                }
                return Ok(self.ended());
            }
            Escape::None if letter == '\\' => text.escape = Escape::Begun,
            // a text on one line ends there
            Escape::None if letter == '\n' => return Err(NotPython),
            Escape::None => push_escaped(letter, out),
            Escape::Begun => text.escape = escaped(letter, out),
            Escape::Hex { left, code } => {
                let code = code * 16 + letter.to_digit(16).ok_or(NotPython)?;
                text.escape = Escape::Hex { left: left - 1, code };
                if left == 1 {
                    push_escaped(char::from_u32(code).ok_or(NotPython)?, out);
                    text.escape = Escape::None;
                }
            }
        }
        self.at = At::Text(text);
        Ok(Taken::More)
    }
}

/// What follows a backslash.
fn escaped(letter: char, out: &mut String) -> Escape {
    let meant = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'a' => '\u{7}',
        'v' => '\u{b}',
        '\\' | '\'' | '"' => letter,
        'x' => return Escape::Hex { left: 2, code: 0 },
        'u' => return Escape::Hex { left: 4, code: 0 },
        'U' => return Escape::Hex { left: 8, code: 0 },
        '\n' => return Escape::None,
        // Python keeps the backslash of what it does not know
        _ => {
            push_escaped('\\', out);
            letter
        }
    };
    push_escaped(meant, out);
    Escape::None
}

/// A number or a constant as JSON. Models mix both languages' names.
fn json_word(word: &str) -> Option<String> {
    match word {
        "True" | "true" => return Some("true".into()),
        "False" | "false" => return Some("false".into()),
        "None" | "null" => return Some("null".into()),
        _ => {}
    }
    let is_number = word.contains(|letter: char| letter.is_ascii_digit())
        && word
            .chars()
            .all(|letter| matches!(letter, '0'..='9' | '.' | '+' | '-' | 'e' | 'E' | '_'));
    if !is_number {
        return None;
    }
    let word = word.strip_prefix('+').unwrap_or(word).replace('_', "");
    if serde_json::from_str::<Box<serde_json::value::RawValue>>(&word).is_ok() {
        return Some(word);
    }
    // `1.` and `.5`
    let float: f64 = word.parse().ok().filter(|float: &f64| float.is_finite())?;
    Some(serde_json::Value::from(float).to_string())
}
