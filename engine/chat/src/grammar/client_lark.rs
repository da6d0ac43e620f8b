//! Which grammars clients may write: Lark of rules, texts and expressions. What a lexer or a parser
//! can be made to run away with is left out, and so is all that reaches past the answer's text.

/// Why a client's grammar is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There is nothing in it.
    #[error("is empty; write it in Lark, with a rule `start`")]
    Empty,
    /// An operator or a directive.
    #[error(
        "has `{0}`, which is not taken from clients; use rules, texts, expressions, `|`, `?`, `*`, \
         `+`, brackets, `{{n,m}}` and `%ignore`"
    )]
    Operator(char),
    /// Counted repetition.
    #[error("repeats more than {REPEATS_MAX} times, all its `{{n,m}}` multiplied; repeat less")]
    Repeats,
}

/// What all counts of repetition may be, multiplied: which of them are inside of others is not looked
/// at, since one terminal may be in another.
const REPEATS_MAX: u64 = 5_000;

/// Looks at a grammar from outside. Texts, expressions and comments are told apart as Lark does.
pub fn check(text: &str) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(Refused::Empty);
    }
    let mut repeats = 1_u64;
    let mut inside = Inside::Rule;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let here = rest;
        rest = &rest[letter.len_utf8()..];
        match (inside, letter) {
            (Inside::Text | Inside::Pattern, '\\') => {
                rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
            }
            (Inside::Comment, '\n') => inside = Inside::Rule,
            (Inside::Comment, _) => {}
            (Inside::Text, '"' | '\n') | (Inside::Pattern, '/' | '\n') => inside = Inside::Rule,
            (Inside::Rule, _) if here.starts_with("//") => inside = Inside::Comment,
            (Inside::Rule, '"') => inside = Inside::Text,
            (Inside::Rule, '/') => inside = Inside::Pattern,
            (Inside::Rule | Inside::Pattern, '{') => {
                repeats = repeats.saturating_mul(count(rest));
                if repeats > REPEATS_MAX {
                    return Err(Refused::Repeats);
                }
            }
            (Inside::Rule, '%') if here.starts_with("%ignore") => {}
            (Inside::Rule, '&' | '~' | '<' | '%' | '@') => return Err(Refused::Operator(letter)),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Inside {
    Rule,
    Text,
    Pattern,
    Comment,
}

/// The largest number between here and the closing bracket; 1 where there is none.
fn count(rest: &str) -> u64 {
    let inner = rest.split('}').next().unwrap_or_default();
    let numbers = inner.split(|letter: char| !letter.is_ascii_digit());
    let read = |digits: &str| match digits {
        "" => 1,
        // what does not fit is too many
        _ => digits.parse().unwrap_or(u64::MAX),
    };
    numbers.map(read).max().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_grammars_are_taken() {
        for text in [
            "start: \"a\" | /b+/ | sum\nsum: /[0-9]{1,9}/ (\"+\" sum)?\n%ignore /[ ]/",
            "start: \"<&~%{9999999}\" // & ~ <\n",
            "start: /a\\/<&~%/",
            "start: A{2,50}\nA: /b{100}/",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_runs_away_is_not() {
        for (text, expected) in [
            (" \n", Refused::Empty),
            ("start: A & B", Refused::Operator('&')),
            ("start: ~A", Refused::Operator('~')),
            ("start: <[7]>", Refused::Operator('<')),
            ("start: %json {}", Refused::Operator('%')),
            ("start: A{100}\nA: /b{100}/", Refused::Repeats),
            ("start: C\nC: B{1000}\nB: A{1000}\nA: \"a\"", Refused::Repeats),
            ("start: /(a{99999999999999999999})/", Refused::Repeats),
            // a quote that never ends hides its line alone
            ("start: \"a\n| <x>", Refused::Operator('<')),
        ] {
            assert_eq!(check(text), Err(expected), "{text}");
        }
    }
}
