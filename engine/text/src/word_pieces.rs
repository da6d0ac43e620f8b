//! Text to the pieces of words that BERT reads (arXiv 1609.08144, 1810.04805), and back.
//!
//! Ids are those of Hugging Face's library with its `encode_special_tokens`: special tokens in a text
//! stay text.

mod normal;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use normal::Normal;
use normal::is_punctuation;

/// What word pieces are made of.
pub(crate) struct Parts {
    /// By id.
    pub(crate) tokens: Vec<String>,
    /// What pieces begin with that begin no word.
    pub(crate) prefix: String,
    /// The id of a word that has no pieces.
    pub(crate) unknown: u32,
    /// The ids before and after a text.
    pub(crate) frame: (u32, u32),
    /// Longer words have no pieces, in characters.
    pub(crate) word_chars_max: usize,
    pub(crate) normal: Normal,
}

/// The tokenizer.
#[derive(Debug)]
pub struct WordPieces {
    /// By id.
    tokens: Vec<String>,
    prefix: String,
    /// Pieces that begin a word.
    beginnings: HashMap<Box<str>, u32>,
    /// Pieces that go on with it, without the prefix.
    endings: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece, which bounds the search for the next.
    piece_bytes_max: usize,
    unknown: u32,
    frame: (u32, u32),
    word_chars_max: usize,
    normal: Normal,
}

impl WordPieces {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { tokens, prefix, unknown, frame, word_chars_max, normal } = parts;
        let (mut beginnings, mut endings) = (HashMap::new(), HashMap::new());
        for (id, token) in tokens.iter().enumerate() {
            let id = id as u32;
            if let Some(ending) = token.strip_prefix(&prefix) {
                endings.insert(ending.into(), id);
            }
            beginnings.insert(token.as_str().into(), id);
        }
        let piece_bytes_max = tokens.iter().map(String::len).max().unwrap_or(0);
        Self {
            tokens,
            prefix,
            beginnings,
            endings,
            piece_bytes_max,
            unknown,
            frame,
            word_chars_max,
            normal,
        }
    }

    /// How many tokens there are.
    pub fn vocabulary(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// The ids of a text, without the two that frame it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = self.normal.apply(text);
        let mut ids = Vec::new();
        for word in text.split(char::is_whitespace) {
            let mut start = 0;
            // each mark of punctuation is a word
            for (place, mark) in word.char_indices().filter(|(_, letter)| is_punctuation(*letter)) {
                self.encode_word(&word[start..place], &mut ids);
                start = place + mark.len_utf8();
                self.encode_word(&word[place..start], &mut ids);
            }
            self.encode_word(&word[start..], &mut ids);
        }
        ids
    }

    /// The longest piece that fits, again and again; a word whose rest has none is unknown as a whole.
    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = word;
        if word.chars().count() > self.word_chars_max {
            ids.push(self.unknown);
            return;
        }
        while !rest.is_empty() {
            let pieces = if rest.len() == word.len() { &self.beginnings } else { &self.endings };
            let mut end = rest.floor_char_boundary(self.piece_bytes_max);
            let found = loop {
                if end == 0 {
                    break None;
                }
                if let Some(id) = pieces.get(&rest[..end]) {
                    break Some(*id);
                }
                end = rest.floor_char_boundary(end - 1);
            };
            let Some(id) = found else {
                ids.truncate(before);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            rest = &rest[end..];
        }
    }

    /// The ids with those before and after them that the model was trained with. What has them already
    /// stays as it is.
    pub fn framed(&self, ids: &[u32]) -> Vec<u32> {
        let (first, last) = self.frame;
        if ids.len() > 1 && ids.first() == Some(&first) && ids.last() == Some(&last) {
            return ids.to_vec();
        }
        let mut framed = Vec::with_capacity(ids.len() + 2);
        framed.push(first);
        framed.extend_from_slice(ids);
        framed.push(last);
        framed
    }

    /// The words of ids, a space between them; ids that are none are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        for token in ids.iter().filter_map(|id| self.tokens.get(*id as usize)) {
            match token.strip_prefix(&self.prefix) {
                Some(ending) => text.push_str(ending),
                None => {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(token);
                }
            }
        }
        text
    }
}
