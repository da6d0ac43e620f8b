//! Cuts text into words, across which no tokens are merged.

use regex::Regex;

use super::TokenizerError;

/// GPT-2's rule (openai/gpt-2, encoder.py).
const GPT2: Rule = Rule {
    pattern: r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+",
    spaces: Spaces::LeaveLast,
};

/// Every digit for itself. `\p{N}` in llama.cpp; in Hugging Face's SmolLM2 files it is
/// `Digits(individual_digits=true)`, which asks Rust's `char::is_numeric`: the same set.
const EVERY_DIGIT: Rule = Rule { pattern: r"\p{N}", spaces: Spaces::Whole };

/// Names in `tokenizer.ggml.pre`, and the rules that are applied one after the other to what
/// the rules before them cut.
///
/// Sources: the `tokenizer.json` of SmolLM2, GPT-2, Llama 3, Qwen2 and Mistral Nemo, and for
/// `default`, which no model was trained with, llama.cpp's llama-vocab.cpp.
const KNOWN: &[(&[&str], &[Rule])] = &[
    (&["smollm"], &[EVERY_DIGIT, GPT2]),
    (&["gpt-2"], &[GPT2]),
    (
        &["llama-bpe", "llama3", "llama-v3"],
        &[Rule {
            pattern: concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
            ),
            spaces: Spaces::LeaveLastUnlessNewline,
        }],
    ),
    (
        &["qwen2"],
        &[Rule {
            pattern: concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
            ),
            spaces: Spaces::LeaveLastUnlessNewline,
        }],
    ),
    (
        &["tekken"],
        &[Rule {
            pattern: concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
                r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
            ),
            spaces: Spaces::LeaveLastUnlessNewline,
        }],
    ),
    (
        &["default"],
        &[
            Rule { pattern: r"[\p{P}\$\+<=>\^~\|]+", spaces: Spaces::Whole },
            GPT2,
            Rule { pattern: r"\p{N}+", spaces: Spaces::Whole },
            Rule { pattern: r"[0-9][0-9][0-9]", spaces: Spaces::Whole },
        ],
    ),
];

/// A pattern, the way that the `regex` crate can search in linear time.
#[derive(Clone, Copy, Debug)]
struct Rule {
    pattern: &'static str,
    spaces: Spaces,
}

/// What becomes of a run of white space. The original patterns have `\s+(?!\S)` before `\s+`:
/// a run leaves its last character to the word that follows. That look-ahead is done here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spaces {
    /// Nothing special.
    Whole,
    /// The last is left.
    LeaveLast,
    /// The last is left, but not of a run that ends in a line break, for which these patterns
    /// have an alternative of its own.
    LeaveLastUnlessNewline,
}

/// Compiled rules.
#[derive(Debug)]
pub struct PreTokenizer {
    rules: Vec<(Regex, Spaces)>,
}

impl PreTokenizer {
    /// The rules of that name. An unknown name is refused: another model's rules would give
    /// tokens that the model has never seen.
    pub fn named(name: &str) -> Result<Self, TokenizerError> {
        let Some((_, rules)) = KNOWN.iter().find(|(names, _)| names.contains(&name)) else {
            let names: Vec<&str> = KNOWN.iter().flat_map(|(names, _)| *names).copied().collect();
            let (name, supported) = (name.to_owned(), names.join(", "));
            return Err(TokenizerError::UnknownPreTokenizer { name, supported });
        };
        let compile = |rule: &Rule| {
            let regex = Regex::new(rule.pattern).expect("the patterns are constants");
            (regex, rule.spaces)
        };
        Ok(Self { rules: rules.iter().map(compile).collect() })
    }

    /// Gives the words from left to right; together they are the text.
    pub fn cut<'t>(&self, text: &'t str, mut word: impl FnMut(&'t str)) {
        apply(&self.rules, text, &mut word);
    }
}

fn apply<'t>(rules: &[(Regex, Spaces)], text: &'t str, word: &mut dyn FnMut(&'t str)) {
    let Some(((regex, spaces), rest)) = rules.split_first() else {
        return word(text);
    };
    let mut done = 0;
    while let Some(found) = regex.find_at(text, done) {
        let end = spaces.end(text, found.start(), found.end());
        if done < found.start() {
            apply(rest, &text[done..found.start()], word);
        }
        apply(rest, &text[found.start()..end], word);
        done = end;
    }
    if done < text.len() {
        apply(rest, &text[done..], word);
    }
}

impl Spaces {
    /// Where the match from `start` to `end` ends when the look-ahead is heeded.
    fn end(self, text: &str, start: usize, end: usize) -> usize {
        let last = text[start..end].chars().next_back().expect("no pattern matches nothing");
        let leaves = match self {
            Self::Whole => false,
            Self::LeaveLast => true,
            Self::LeaveLastUnlessNewline => !matches!(last, '\r' | '\n'),
        };
        // no other alternative ends in white space
        let shorter = end - last.len_utf8();
        let is_cut = leaves && last.is_whitespace() && end < text.len() && shorter > start;
        if is_cut { shorter } else { end }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;
    use std::sync::LazyLock;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    static ALL: LazyLock<HashMap<&str, PreTokenizer>> = LazyLock::new(|| {
        let names = KNOWN.iter().map(|(names, _)| names[0]);
        names.map(|name| (name, PreTokenizer::named(name).unwrap())).collect()
    });

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut words = Vec::new();
        ALL[name].cut(text, |word| words.push(word));
        words
    }

    fn check(name: &str, text: &str, expected: Expect) {
        expected.assert_eq(&words(name, text).join("|"));
    }

    #[test]
    fn each_rule_cuts_in_its_own_way() {
        let text = "It's  12345 km/h,\n\n  isn'T it?  ";
        check(
            "smollm",
            text,
            expect![[r#"
            It|'s|  |1|2|3|4|5| km|/|h|,|

             | isn|'|T| it|?|  "#]],
        );
        check(
            "gpt-2",
            text,
            expect![[r#"
            It|'s| | 12345| km|/|h|,|

             | isn|'|T| it|?|  "#]],
        );
        check(
            "llama-bpe",
            text,
            expect![[r#"
            It|'s| | |123|45| km|/h|,

            | | isn|'T| it|?|  "#]],
        );
        check(
            "qwen2",
            text,
            expect![[r#"
            It|'s| | |1|2|3|4|5| km|/h|,

            | | isn|'T| it|?|  "#]],
        );
        check(
            "tekken",
            text,
            expect![[r#"
            It|'s| | |1|2|3|4|5| km|/h|,

            | | isn|'T| it|?|  "#]],
        );
        check(
            "default",
            text,
            expect![[r#"
            It|'|s| | |123|45| km|/|h|,|

             | isn|'|T| it|?|  "#]],
        );
    }

    proptest! {
        #[test]
        fn words_are_the_text(text in "(\\PC|\\pC| |\n|\r|1|a|')*") {
            for name in ALL.keys() {
                let words = words(name, &text);
                prop_assert_eq!(words.concat(), text.as_str());
                prop_assert!(words.iter().all(|word| !word.is_empty()));
            }
        }
    }
}
