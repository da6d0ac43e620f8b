//! `~`, which joins texts: minijinja writes `true`, `none` and 1e16 in its own way there, Jinja
//! as Python does. So whatever is joined goes through the filter `string` (see
//! `super::python`).

use super::outline::Letters;

/// Words that end an operand.
const WORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];

/// An expression with `a ~ b` as `(a)|string ~ (b)|string`. It may be several, as what follows
/// the first word of a statement is.
pub fn rewritten(inner: &str) -> String {
    let mut chains = vec![Chain::default()];
    let mut letters = Letters::new(inner);
    let mut done = 0;
    while let Some((place, letter)) = letters.next_outside_strings() {
        let is_nested = chains.len() > 1;
        let chain = chains.last_mut().expect("the outermost chain stays");
        // a string was between
        chain.operand.push_str(&inner[done..place]);
        if !is_word(letter) {
            chain.end_word();
        }
        done = place + letter.len_utf8();
        match letter {
            '(' | '[' | '{' => {
                chain.operand.push(letter);
                chains.push(Chain::default());
            }
            ')' | ']' | '}' if is_nested => {
                let inside = chains.pop().expect("it is nested").finish();
                let chain = chains.last_mut().expect("there was another");
                chain.operand.push_str(&inside);
                chain.operand.push(letter);
            }
            '~' => chain.operands.push(std::mem::take(&mut chain.operand)),
            ',' | ':' | '+' | '-' | '=' | '<' | '>' | '!' => chain.cut(&letter.to_string()),
            _ => chain.operand.push(letter),
        }
    }
    chains[0].operand.push_str(&inner[done..]);
    // brackets that are never closed: the parser will say so
    while chains.len() > 1 {
        let inside = chains.pop().expect("there are two").finish();
        chains.last_mut().expect("there was another").operand.push_str(&inside);
    }
    chains.pop().expect("the outermost chain stays").finish()
}

/// Operands with `~` between them, and what came before.
#[derive(Default)]
struct Chain {
    out: String,
    operands: Vec<String>,
    /// The one that is being read.
    operand: String,
}

impl Chain {
    /// Ends the operands at what is none of them.
    fn cut(&mut self, end: &str) {
        let last = std::mem::take(&mut self.operand);
        if self.operands.is_empty() {
            self.out.push_str(&last);
        } else {
            self.operands.push(last);
            let joined: Vec<String> = self.operands.drain(..).map(|text| as_text(&text)).collect();
            self.out.push_str(&joined.join("~"));
        }
        self.out.push_str(end);
    }

    fn end_word(&mut self) {
        let start = self.operand.trim_end_matches(is_word).len();
        let word = &self.operand[start..];
        if WORDS.contains(&word) && !self.operand[..start].ends_with('.') {
            let word = self.operand.split_off(start);
            self.cut(&word);
        }
    }

    fn finish(mut self) -> String {
        self.end_word();
        self.cut("");
        self.out
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// An operand through the filter, with the spaces around it as they were.
fn as_text(operand: &str) -> String {
    let core = operand.trim();
    let mut letters = Letters::new(core);
    if letters.next_outside_strings().is_none() {
        // nothing, or a text already
        return operand.to_owned();
    }
    let (before, after) = operand.split_at(operand.len() - operand.trim_start().len());
    let after = &after[core.len()..];
    format!("{before}({core})|string{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_go_through_the_filter() {
        let is = |inner: &str, expected: &str| assert_eq!(rewritten(inner), expected, "{inner}");
        is(" a ~ 'x' ~ b.c ", " (a)|string ~ 'x' ~ (b.c)|string ");
        is("a+b~c*d-e", "a+(b)|string~(c*d)|string-e");
        is(" x = f(a ~ b, c=d ~ 'e') ", " x = f((a)|string ~ (b)|string, c=(d)|string ~ 'e') ");
        is(
            " 'q~' ~ (a ~ b) | trim if a ~ b == c else d ",
            " 'q~' ~ (((a)|string ~ (b)|string) | trim)|string if (a)|string ~ (b)|string == c else d ",
        );
        is("a ~", "(a)|string ~");
        is("[a ~ ", "[(a)|string ~ ");
        is("not a.in ~ b", "not (a.in)|string ~ (b)|string");
        is("a - b", "a - b");
        is("call.if ~ set.x", "(call.if)|string ~ (set.x)|string");
    }
}
