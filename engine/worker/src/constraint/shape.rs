//! What is too deep is refused before anything reads it by recursion.

/// Deepest nesting of brackets, outside of strings and inside of each regular expression. A
/// client's schema is less deep by itself: JSON ends at 128.
const DEPTH_MAX: usize = 512;
/// Most rules of a grammar; each may be inside the one before it.
const RULES_MAX: usize = 20_000;

/// Why a grammar's text is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Shapeless {
    /// Brackets in brackets.
    #[error("is nested more than {DEPTH_MAX} deep; make it flatter")]
    Deep,
    /// Too many rules.
    #[error("has more than {RULES_MAX} rules; send a smaller one")]
    Wide,
}

/// Looks at a text from outside. Strings and regular expressions are told apart roughly: what is
/// inside of them counts by itself.
pub(super) fn check(text: &str) -> Result<(), Shapeless> {
    if text.lines().filter(|line| line.contains(':')).count() > RULES_MAX {
        return Err(Shapeless::Wide);
    }
    let (mut rules, mut pattern) = (Depth::default(), Depth::default());
    let mut inside = Inside::Rule;
    let mut before = b' ';
    let mut is_escaped = false;
    for byte in text.bytes() {
        if is_escaped {
            is_escaped = false;
            continue;
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
            (Inside::Rule, _) => rules.count(byte)?,
            (Inside::Pattern, _) => pattern.count(byte)?,
            (Inside::Text, _) => {}
        }
        before = byte;
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
    fn rules_are_counted() {
        assert_eq!(check(&"a: b\n".repeat(RULES_MAX)), Ok(()));
        assert_eq!(check(&"a: b\n".repeat(RULES_MAX + 1)), Err(Shapeless::Wide));
    }
}
