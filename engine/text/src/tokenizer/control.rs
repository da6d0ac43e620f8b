//! Finds tokens that are recognized by their text before any merging.

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

use super::vocabulary::Vocabulary;
use super::{Control, TokenizerError};

/// A token in a text.
pub struct Found {
    /// Its id.
    pub id: u32,
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// Leftmost first, the longest where several begin at one place, as Hugging Face's tokenizers
/// do it. Time is linear in the text.
#[derive(Debug)]
pub struct ControlScanner {
    /// Control and user-defined tokens.
    all: Marks,
    /// User-defined tokens alone.
    user_defined: Marks,
    is_control: Vec<bool>,
}

/// Texts to search for, with the token of each.
#[derive(Debug)]
struct Marks {
    search: AhoCorasick,
    ids: Vec<u32>,
}

impl ControlScanner {
    /// Prepares the search.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let all = Marks::new(vocabulary.marked())?;
        let is_control = all.ids.iter().map(|id| vocabulary.is_control(*id)).collect();
        let user_defined = vocabulary.marked().filter(|(id, _)| !vocabulary.is_control(*id));
        Ok(Self { user_defined: Marks::new(user_defined)?, all, is_control })
    }

    /// The first token at or after the byte `from`.
    pub fn find(&self, text: &str, from: usize, control: Control) -> Option<Found> {
        let Control::Except(exceptions) = control else {
            return self.user_defined.find(text, from, Anchored::No).map(|(_, found)| found);
        };
        let mut from = from;
        loop {
            let (pattern, found) = self.all.find(text, from, Anchored::No)?;
            let is_text =
                self.is_control[pattern] && exceptions.binary_search(&found.start).is_ok();
            if !is_text {
                return Some(found);
            }
            let plain = self.user_defined.find(text, found.start, Anchored::Yes);
            if let Some((_, plain)) = plain {
                return Some(plain);
            }
            from = found.start + text[found.start..].chars().next().map_or(1, char::len_utf8);
        }
    }
}

impl Marks {
    fn new<'a>(marks: impl Iterator<Item = (u32, &'a str)>) -> Result<Self, TokenizerError> {
        let (ids, texts): (Vec<u32>, Vec<&str>) = marks.unzip();
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Both)
            .build(texts)
            .map_err(|_| TokenizerError::Control)?;
        Ok(Self { search, ids })
    }

    /// The pattern's index and the token.
    fn find(&self, text: &str, from: usize, anchored: Anchored) -> Option<(usize, Found)> {
        let input = Input::new(text).span(from..text.len()).anchored(anchored);
        let found = self.search.try_find(input).expect("both kinds of start were asked for")?;
        let pattern = found.pattern().as_usize();
        let id = self.ids[pattern];
        Some((pattern, Found { id, start: found.start(), end: found.end() }))
    }
}
