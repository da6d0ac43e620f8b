//! What is too deep is refused before anything reads it by recursion.

/// Deepest nesting of brackets, outside of strings and inside of each regular expression. A
/// client's schema is less deep by itself: JSON ends at 128.
const DEPTH_MAX: usize = 512;
/// Most rules of a grammar; each may be inside the one before it.
const RULES_MAX: usize = 8_000;
/// Most fields of one object of a schema: the time to compile them grows with their square.
const FIELDS_MAX: usize = 1_000;
/// How often a pattern may repeat what is in a group, counts of groups inside of it multiplied: the
/// work to follow it grows with that, and is not bounded by what the compiler calls fuel.
const REPEATS_MAX: u64 = 5_000;

/// Why a grammar's text is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Shapeless {
    /// Brackets in brackets.
    #[error("is nested more than {DEPTH_MAX} deep; make it flatter")]
    Deep,
    /// Too many rules.
    #[error("has more than {RULES_MAX} rules; send a smaller one")]
    Wide,
    /// Too many fields of one object.
    #[error("has an object of more than {FIELDS_MAX} fields; divide it into several")]
    Broad,
    /// A pattern that repeats what repeats.
    #[error("has a pattern that repeats more than {REPEATS_MAX} times what is in its groups")]
    Repeated,
}

/// Looks at a text from outside. Strings and regular expressions are told apart roughly: what is
/// inside of them counts by itself.
pub(super) fn check(text: &str) -> Result<(), Shapeless> {
    if text.lines().filter(|line| line.contains(':')).count() > RULES_MAX {
        return Err(Shapeless::Wide);
    }
    let (mut rules, mut pattern) = (Depth::default(), Depth::default());
    let (mut fields, mut repeats) = (Vec::new(), Repeats::default());
    let mut inside = Inside::Rule;
    let mut before = b' ';
    let mut is_escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        // a schema's pattern is a string
        match inside {
            Inside::Rule => repeats = Repeats::default(),
            Inside::Text | Inside::Pattern => repeats.read(byte, &text.as_bytes()[place + 1..])?,
        }
        match (inside, byte) {
            (_, b'\\') => is_escaped = true,
            (Inside::Rule, b'"') => inside = Inside::Text,
            (Inside::Rule, b'/') if before != b'/' => {
                (inside, pattern) = (Inside::Pattern, Depth::default());
            }
            // no string goes over a line, so that a stray quote hides one line at most
            (Inside::Text, b'"' | b'\n') => inside = Inside::Rule,
            (Inside::Pattern, b'/' | b'\n') => inside = Inside::Rule,
            (Inside::Rule, _) => {
                rules.count(byte)?;
                count_field(&mut fields, byte)?;
            }
            (Inside::Pattern, _) => pattern.count(byte)?,
            (Inside::Text, _) => {}
        }
        before = byte;
    }
    Ok(())
}

/// How often what is in each open group is repeated inside of it, and in the group that closed last.
#[derive(Debug, Default)]
struct Repeats {
    open: Vec<u64>,
    closed: Option<u64>,
}

impl Repeats {
    /// Reads one byte of a pattern, with what follows it.
    fn read(&mut self, byte: u8, rest: &[u8]) -> Result<(), Shapeless> {
        let closed = self.closed.take();
        match byte {
            b'(' => self.open.push(1),
            b')' => {
                let inner = self.open.pop().unwrap_or(1);
                self.closed = Some(inner);
                self.note(inner);
            }
            b'{' => {
                let all = count(rest).saturating_mul(closed.unwrap_or(1));
                if closed.is_some() && all > REPEATS_MAX {
                    return Err(Shapeless::Repeated);
                }
                self.note(all);
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, repeats: u64) {
        if let Some(most) = self.open.last_mut() {
            *most = repeats.max(*most);
        }
    }
}

/// The larger number of `3}`, `3,}` or `3,9}`; 1 of anything else.
fn count(text: &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b',');
    let numbers = text[..end.unwrap_or(text.len())].split(|byte| *byte == b',');
    let number = |digits: &[u8]| {
        let digit =
            |value: u64, byte: &u8| value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
        digits.iter().fold(0, digit)
    };
    numbers.map(number).max().unwrap_or(1).max(1)
}

/// Counts the fields of each open object.
fn count_field(fields: &mut Vec<usize>, byte: u8) -> Result<(), Shapeless> {
    match (byte, fields.last_mut()) {
        (b'{', _) => fields.push(0),
        (b'}', _) => {
            fields.pop();
        }
        (b':', Some(count)) if *count == FIELDS_MAX => return Err(Shapeless::Broad),
        (b':', Some(count)) => *count += 1,
        _ => {}
    }
    Ok(())
}

/// Where a byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    Rule,
    Text,
    Pattern,
}

/// Open brackets.
#[derive(Clone, Copy, Debug, Default)]
struct Depth(usize);

impl Depth {
    fn count(&mut self, byte: u8) -> Result<(), Shapeless> {
        match byte {
            b'(' | b'[' | b'{' => self.0 += 1,
            b')' | b']' | b'}' => self.0 = self.0.saturating_sub(1),
            _ => {}
        }
        if self.0 > DEPTH_MAX { Err(Shapeless::Deep) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_where_it_nests() {
        let deep = |open: &str, count: usize| format!("start: {}", open.repeat(count));
        assert_eq!(check(&deep("(", 512)), Ok(()));
        assert_eq!(check(&deep("(", 513)), Err(Shapeless::Deep));
        assert_eq!(check(&deep("[(", 300)), Err(Shapeless::Deep));
        assert_eq!(check(&deep("()", 9000)), Ok(()));
        // text is text
        assert_eq!(check(&format!("start: \"{}\"", "(".repeat(9000))), Ok(()));
        assert_eq!(check(&format!("start: \"\\\"{}\"", "(".repeat(9000))), Ok(()));
        assert_eq!(check(&format!("start: /{}/", "(".repeat(9000))), Err(Shapeless::Deep));
        assert_eq!(check(&format!("start: /{}/", "\\(".repeat(9000))), Ok(()));
        // a quote that never ends hides its line alone
        assert_eq!(check(&format!("start: \"a\n b: {}", "(".repeat(600))), Err(Shapeless::Deep));
    }

    #[test]
    fn repeats_of_repeats_are_multiplied() {
        for pattern in ["(a{1000}){1000}", "((a{100}){5,}){11}", "(x(a{9,99999})y){2}", "(a){5001}"]
        {
            assert_eq!(
                check(&format!("start: /{pattern}/")),
                Err(Shapeless::Repeated),
                "{pattern}"
            );
            let schema = format!(r#"start: %json {{ "pattern": "^{pattern}$" }}"#);
            assert_eq!(check(&schema), Err(Shapeless::Repeated), "{pattern}");
        }
        let wide = "([a-z]{1,63}\\.){1,10}";
        for pattern in ["[a-z]{1,100000}", wide, "(a|b){5000}", "[0-9a-f]{8}(-[0-9a-f]{4}){3}"] {
            assert_eq!(check(&format!("start: /{pattern}/")), Ok(()), "{pattern}");
        }
        // of each pattern by itself
        assert_eq!(check(&"A: /(a{99}){9}/\n".repeat(100)), Ok(()));
        assert_eq!(count(b"18446744073709551616}"), u64::MAX);
    }

    #[test]
    fn fields_are_counted_by_object() {
        let object = |count: usize| format!("{{{}}}", "\"a:{\": {\"b\": 1},".repeat(count));
        assert_eq!(check(&format!("start: %json {}", object(FIELDS_MAX))), Ok(()));
        let two = format!("start: %json [{}, {}]", object(900), object(900));
        assert_eq!(check(&two), Ok(()));
        let large = format!("start: %json [{}]", object(FIELDS_MAX + 1));
        assert_eq!(check(&large), Err(Shapeless::Broad));
    }

    #[test]
    fn rules_are_counted() {
        assert_eq!(check(&"a: b\n".repeat(RULES_MAX)), Ok(()));
        assert_eq!(check(&"a: b\n".repeat(RULES_MAX + 1)), Err(Shapeless::Wide));
    }
}
