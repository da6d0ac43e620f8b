//! Reads one JSON value letter by letter (RFC 8259).

use std::fmt::Write as _;

/// Deepest value. serde_json reads 128 levels, too.
const DEPTH_MAX: usize = 120;

/// What came is no JSON, whatever follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotJson;

/// What a letter was to the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// A part of it.
    More,
    /// Its last letter.
    Last,
    /// None of it: the value, a number, had ended before.
    Before,
}

/// A value that is being read.
#[derive(Clone, Debug)]
pub struct JsonScan {
    /// The containers that are open: whether each is an object.
    open: Vec<bool>,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Text(InText),
    /// What is left of `true`, `false` or `null`.
    Word(&'static str),
    Number(InNumber),
}

#[derive(Clone, Copy, Debug)]
struct InText {
    is_key: bool,
    escape: Escape,
    /// The first half of a surrogate pair came: the second has to follow.
    is_high: bool,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    Begun,
    Hex { digits: u8, unit: u32 },
}

#[derive(Clone, Copy, Debug)]
enum InNumber {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Default for JsonScan {
    fn default() -> Self {
        Self { open: Vec::new(), at: At::Value }
    }
}

impl JsonScan {
    /// Takes the next letter. It goes to `out` unless it is none of the value; a control
    /// letter inside a text, which JSON forbids and models write, is escaped there.
    pub fn push(&mut self, letter: char, out: &mut String) -> Result<Taken, NotJson> {
        if let At::Text(text) = self.at {
            return self.text(text, letter, out);
        }
        let taken = match self.at {
            At::Word(rest) => self.word(rest, letter)?,
            At::Number(number) => self.number(number, letter)?,
            _ if is_space(letter) => Taken::More,
            _ => self.structure(letter)?,
        };
        if taken == Taken::Before && !self.open.is_empty() {
            // the number is an item of something that is still open
            self.at = At::CommaOrEnd;
            return self.push(letter, out);
        }
        if taken != Taken::Before {
            out.push(letter);
        }
        Ok(taken)
    }

    fn structure(&mut self, letter: char) -> Result<Taken, NotJson> {
        match (self.at, letter) {
            (At::ValueOrEnd, ']') | (At::KeyOrEnd, '}') => return self.close(letter),
            (At::Value | At::ValueOrEnd, _) => return self.value(letter),
            (At::Key | At::KeyOrEnd, '"') => self.at = At::Text(InText::new(true)),
            (At::Colon, ':') => self.at = At::Value,
            (At::CommaOrEnd, ',') => {
                self.at = if self.open.last() == Some(&true) { At::Key } else { At::Value };
            }
            (At::CommaOrEnd, ']' | '}') => return self.close(letter),
            _ => return Err(NotJson),
        }
        Ok(Taken::More)
    }

    fn value(&mut self, letter: char) -> Result<Taken, NotJson> {
        self.at = match letter {
            '{' | '[' if self.open.len() < DEPTH_MAX => {
                self.open.push(letter == '{');
                if letter == '{' { At::KeyOrEnd } else { At::ValueOrEnd }
            }
            '"' => At::Text(InText::new(false)),
            't' => At::Word("rue"),
            'f' => At::Word("alse"),
            'n' => At::Word("ull"),
            '-' => At::Number(InNumber::Minus),
            '0' => At::Number(InNumber::Zero),
            '1'..='9' => At::Number(InNumber::Whole),
            _ => return Err(NotJson),
        };
        Ok(Taken::More)
    }

    fn close(&mut self, letter: char) -> Result<Taken, NotJson> {
        match self.open.pop() {
            Some(is_object) if is_object == (letter == '}') => Ok(self.ended()),
            _ => Err(NotJson),
        }
    }

    /// A value has ended.
    fn ended(&mut self) -> Taken {
        self.at = At::CommaOrEnd;
        if self.open.is_empty() { Taken::Last } else { Taken::More }
    }

    fn word(&mut self, rest: &'static str, letter: char) -> Result<Taken, NotJson> {
        let rest = rest.strip_prefix(letter).ok_or(NotJson)?;
        if rest.is_empty() {
            return Ok(self.ended());
        }
        self.at = At::Word(rest);
        Ok(Taken::More)
    }

    fn number(&mut self, number: InNumber, letter: char) -> Result<Taken, NotJson> {
        use InNumber::{E, Exponent, Fraction, Minus, Point, Sign, Whole, Zero};
        self.at = At::Number(match (number, letter) {
            (Minus, '0') => Zero,
            (Minus, '1'..='9') | (Whole, '0'..='9') => Whole,
            (Zero | Whole, '.') => Point,
            (Point | Fraction, '0'..='9') => Fraction,
            (Zero | Whole | Fraction, 'e' | 'E') => E,
            (E, '+' | '-') => Sign,
            (E | Sign | Exponent, '0'..='9') => Exponent,
            (Zero | Whole | Fraction | Exponent, _) => return Ok(Taken::Before),
            _ => return Err(NotJson),
        });
        Ok(Taken::More)
    }

    fn text(&mut self, mut text: InText, letter: char, out: &mut String) -> Result<Taken, NotJson> {
        match text.escape {
            Escape::None => {
                // a pair's second half is an escape, too
                if text.is_high && letter != '\\' {
                    return Err(NotJson);
                }
                match letter {
                    '"' => {
                        out.push('"');
                        if text.is_key {
                            self.at = At::Colon;
                            return Ok(Taken::More);
                        }
                        return Ok(self.ended());
                    }
                    '\\' => text.escape = Escape::Begun,
                    ..' ' => {
                        push_escaped(letter, out);
                        return Ok(Taken::More);
                    }
                    _ => {}
                }
            }
            Escape::Begun => {
                text.escape = match letter {
                    'u' => Escape::Hex { digits: 0, unit: 0 },
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' if !text.is_high => Escape::None,
                    _ => return Err(NotJson),
                };
            }
            Escape::Hex { digits, unit } => {
                let unit = unit * 16 + letter.to_digit(16).ok_or(NotJson)?;
                text.escape = Escape::Hex { digits: digits + 1, unit };
                if digits == 3 {
                    text.escape = Escape::None;
                    text.is_high = text.half(unit)?;
                }
            }
        }
        self.at = At::Text(text);
        out.push(letter);
        Ok(Taken::More)
    }
}

impl InText {
    fn new(is_key: bool) -> Self {
        Self { is_key, escape: Escape::None, is_high: false }
    }

    /// Whether `unit` is the first half of a pair.
    fn half(self, unit: u32) -> Result<bool, NotJson> {
        match (self.is_high, unit) {
            (true, 0xdc00..=0xdfff) => Ok(false),
            (true, _) | (false, 0xdc00..=0xdfff) => Err(NotJson),
            (false, _) => Ok((0xd800..=0xdbff).contains(&unit)),
        }
    }
}

/// Writes the one value that `text` is to `out`, spaces around it left out. `None`: it is none.
pub fn read_whole(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut scan = JsonScan::default();
    let mut letters = text.trim().chars();
    for letter in letters.by_ref() {
        match scan.push(letter, &mut out).ok()? {
            Taken::More => {}
            Taken::Last => return letters.next().is_none().then_some(out),
            Taken::Before => return None,
        }
    }
    // only a number ends without saying so
    (scan.push(' ', &mut String::new()) == Ok(Taken::Before)).then_some(out)
}

/// The spaces that JSON knows.
pub fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

/// A letter inside a JSON text.
pub fn push_escaped(letter: char, out: &mut String) {
    match letter {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        ..' ' => write!(out, "\\u{:04x}", u32::from(letter)).expect("a string takes everything"),
        _ => out.push(letter),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// No exponents: serde_json bounds numbers, a grammar does not.
    const TEXT: &str = "(\\{|\\}|\\[|\\]|,|:|\"|\\\\|u00e9|ud83d|ude00|n|true|false|null|0|12|-|\\.5|\"a\"|\"b\":| |é){0,14}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn it_reads_what_others_read(text in TEXT) {
            let others: Result<serde_json::Value, _> = serde_json::from_str(&text);
            let ours = read_whole(&text);
            prop_assert_eq!(ours.is_some(), others.is_ok(), "{:?}", others);
            if let Some(ours) = ours {
                prop_assert_eq!(ours, text.trim());
            }
        }
    }

    #[test]
    fn it_says_where_a_value_ends() {
        let ends = |text: &str| {
            let mut scan = JsonScan::default();
            let steps = text.chars().map(|letter| scan.push(letter, &mut String::new()));
            steps.last().unwrap()
        };
        assert_eq!(ends("{\"a\":[1]"), Ok(Taken::More));
        assert_eq!(ends("{\"a\":[1]}"), Ok(Taken::Last));
        assert_eq!(ends("\"\\\""), Ok(Taken::More));
        assert_eq!(ends("\"\\\"\""), Ok(Taken::Last));
        assert_eq!(ends("-1.5e+7"), Ok(Taken::More));
        assert_eq!(ends("-1.5e+7,"), Ok(Taken::Before));
        assert_eq!(ends("1e"), Ok(Taken::More));
        assert_eq!(ends("1e,"), Err(NotJson));
        assert_eq!(ends("null"), Ok(Taken::Last));
        assert_eq!(ends(&"[".repeat(DEPTH_MAX)), Ok(Taken::More));
        assert_eq!(ends(&"[".repeat(DEPTH_MAX + 1)), Err(NotJson));
    }

    #[test]
    fn control_letters_are_escaped() {
        assert_eq!(read_whole("\"a\n\u{1}\"").unwrap(), "\"a\\n\\u0001\"");
        assert_eq!(read_whole("{\"a\n\": 1}").unwrap(), "{\"a\\n\": 1}");
    }
}
