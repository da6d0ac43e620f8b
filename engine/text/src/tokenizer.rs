//! Text to ids and back.

mod byte_letters;
mod byte_pairs;
mod control;
mod error;
mod merger;
mod pre_tokenizer;
mod sentence_pieces;
mod vocabulary;

#[cfg(test)]
mod tests;

use byte_pairs::BytePairs;
use control::ControlScanner;
pub use error::TokenizerError;
use sentence_pieces::SentencePieces;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use vocabulary::Vocabulary;

use crate::GgufHeader;

/// What the text of a control token means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control<'a> {
    /// It is text like any other.
    Never,
    /// It is that token, except where it would begin at one of these byte offsets (ascending).
    Except(&'a [usize]),
}

/// A stretch of text, up to and with a control token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'t> {
    /// What is before the token: text in which nothing is markup.
    pub plain: &'t str,
    /// The token; the last segment of a text has none.
    pub mark: Option<u32>,
}

impl Segment<'_> {
    /// Whether it is this token and nothing else.
    pub fn is_mark(&self, id: u32) -> bool {
        self.plain.is_empty() && self.mark == Some(id)
    }
}

/// A model's tokenizer, as its file describes it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    scanner: ControlScanner,
    pieces: Pieces,
    /// Text is brought into Unicode's composed form (NFC) first. No GGUF file says so, since llama.cpp
    /// has no such thing.
    is_composed: bool,
}

/// How text between control tokens becomes ids.
#[derive(Debug)]
enum Pieces {
    BytePairs(BytePairs),
    SentencePieces(SentencePieces),
}

impl Tokenizer {
    /// Builds it from `tokenizer.ggml.*`. Refuses what it does not know exactly.
    pub fn from_gguf(header: &GgufHeader) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::from_gguf(header)?;
        let pieces = match vocabulary.model() {
            vocabulary::Model::Gpt2 => {
                Pieces::BytePairs(BytePairs::from_gguf(header, &vocabulary)?)
            }
            vocabulary::Model::Llama => {
                Pieces::SentencePieces(SentencePieces::from_gguf(header, &vocabulary)?)
            }
        };
        let scanner = ControlScanner::new(&vocabulary)?;
        let is_composed = match header.text("tokenizer.ggml.normal_form") {
            None => false,
            Some("nfc") => true,
            Some(other) => return Err(TokenizerError::UnknownNormalForm(other.to_owned())),
        };
        Ok(Self { vocabulary, scanner, pieces, is_composed })
    }

    /// The ids of a text, without any begin token. Time grows as `n log n` with its length.
    /// User-defined tokens (those that the model's makers added as plain text) are found
    /// whatever `control` says.
    pub fn encode(&self, text: &str, control: Control) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        // a SentencePiece model sees a space before text that follows a token or nothing
        let mut follows_token = true;
        let mut done = 0;
        while let Some(found) = self.scanner.find(text, done, control) {
            self.encode_piece(&text[done..found.start], &mut follows_token, &mut ids);
            ids.push(found.id);
            follows_token = true;
            done = found.end;
        }
        self.encode_piece(&text[done..], &mut follows_token, &mut ids);
        ids
    }

    /// Cuts a text behind each of its control tokens. No token reaches over such a cut: the ids of
    /// the whole are those of each plain part under [`Control::Never`], with its mark behind it.
    pub fn segments<'t>(&self, text: &'t str, control: Control) -> Vec<Segment<'t>> {
        let mut segments = Vec::new();
        let (mut start, mut done) = (0, 0);
        while let Some(found) = self.scanner.find(text, done, control) {
            done = found.end;
            if self.is_control(found.id) {
                let plain = &text[start..found.start];
                segments.push(Segment { plain, mark: Some(found.id) });
                start = done;
            }
        }
        segments.push(Segment { plain: &text[start..], mark: None });
        segments
    }

    /// Whether the bytes of ids, put together, are the text that the ids were made of. Where
    /// text is seen with a space before it, they are not.
    pub fn spells_exactly(&self) -> bool {
        !self.adds_space()
    }

    /// The bytes that a token stands for: none for a control token, an unused one, or an id
    /// beyond the vocabulary. They need not be whole characters.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> u32 {
        self.vocabulary.len()
    }

    /// Whether the token is markup for the model and never text.
    pub fn is_control(&self, id: u32) -> bool {
        self.vocabulary.is_control(id)
    }

    /// The text that a control token is spelled with in prompts; `None` for every other token.
    pub fn control_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.control_text(id)
    }

    /// Tokens that end an answer, ascending.
    pub fn end_tokens(&self) -> &[u32] {
        self.vocabulary.end_tokens()
    }

    /// The token that a text begins with, where the model was trained to see one. A chat's
    /// template writes its own.
    pub fn bos(&self) -> Option<u32> {
        self.vocabulary.bos()
    }

    /// What templates know as `bos_token`, whether or not plain text begins with it.
    pub fn bos_text(&self) -> Option<&str> {
        self.vocabulary.bos_text()
    }

    /// What templates know as `eos_token`.
    pub fn eos_text(&self) -> Option<&str> {
        self.vocabulary.eos_text()
    }

    /// The text of ids; control tokens leave none, and bytes that are no character are U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        ids.iter().for_each(|id| bytes.extend_from_slice(self.bytes(*id)));
        if self.adds_space() && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The texts of all control tokens.
    pub fn control_strings(&self) -> impl Iterator<Item = &str> {
        self.vocabulary.control_strings()
    }

    fn encode_piece(&self, text: &str, follows_token: &mut bool, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let composed: String;
        let mut text = text;
        if self.is_composed && !is_nfc(text) {
            composed = text.nfc().collect();
            text = &composed;
        }
        match &self.pieces {
            Pieces::BytePairs(pairs) => pairs.encode(text, ids),
            Pieces::SentencePieces(pieces) => pieces.encode(text, *follows_token, ids),
        }
        *follows_token = false;
    }

    fn adds_space(&self) -> bool {
        match &self.pieces {
            Pieces::BytePairs(_) => false,
            Pieces::SentencePieces(pieces) => pieces.adds_space(),
        }
    }
}
