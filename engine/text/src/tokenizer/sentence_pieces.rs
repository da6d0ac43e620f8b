//! SentencePiece's byte pair encoding: neighbours merge into the piece with the best score
//! (google/sentencepiece, bpe_model.cc; llama.cpp, `llm_tokenizer_spm_session`).

use std::collections::HashMap;

use super::TokenizerError;
use super::merger::Merger;
use super::vocabulary::{Kind, Vocabulary};
use crate::GgufHeader;

const SCORES: &str = "tokenizer.ggml.scores";
const TOKENS: &str = "tokenizer.ggml.tokens";
/// What stands for a space in pieces.
const SPACE: char = '▁';

/// Merges by score.
#[derive(Debug)]
pub struct SentencePieces {
    /// For a piece, spelled with [`SPACE`]: its rank, 0 being the best, and its token. Control
    /// tokens and bytes are not among them: no text leads to them.
    pieces: HashMap<Box<str>, (u32, u32)>,
    /// Length of the longest piece in bytes.
    longest: usize,
    /// The token for each byte of a character that has no piece.
    bytes: [Option<u32>; 256],
    unknown: Option<u32>,
    adds_space: bool,
}

impl SentencePieces {
    /// Reads `tokenizer.ggml.scores`.
    pub fn from_gguf(header: &GgufHeader, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let texts = header.texts(TOKENS).ok_or(TokenizerError::Missing(TOKENS))?;
        let scores = header.floats(SCORES).ok_or(TokenizerError::Missing(SCORES))?;
        if scores.len() != texts.len() {
            let (got, expected) = (scores.len(), texts.len());
            return Err(TokenizerError::Length { key: SCORES, got, expected });
        }
        if let Some(id) = scores.iter().position(|score| score.is_nan()) {
            return Err(TokenizerError::Token { id, message: "has a score that is no number" });
        }
        let ranks = ranks(scores);
        let mut bytes = [None; 256];
        let mut pieces: HashMap<Box<str>, _> = HashMap::new();
        for id in 0..vocabulary.len() {
            let text = texts[id as usize].as_str();
            match vocabulary.kind(id) {
                Kind::Normal | Kind::UserDefined => {
                    pieces.insert(text.into(), (ranks[id as usize], id));
                }
                Kind::Byte => bytes[vocabulary.bytes(id)[0] as usize] = Some(id),
                Kind::Control | Kind::Unused => {}
            }
        }
        Ok(Self {
            longest: pieces.keys().map(|piece| piece.len()).max().unwrap_or(0),
            pieces,
            bytes,
            unknown: vocabulary.unknown(),
            adds_space: header.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        })
    }

    /// Whether text is seen with a space before it.
    pub fn adds_space(&self) -> bool {
        self.adds_space
    }

    /// Adds the ids of `text`, in which nothing is markup. `follows_token`: the text begins
    /// the prompt or comes after a token that was found by its text.
    pub fn encode(&self, text: &str, follows_token: bool, ids: &mut Vec<u32>) {
        let mut spelled = String::with_capacity(text.len() + SPACE.len_utf8());
        if self.adds_space && follows_token {
            spelled.push(SPACE);
        }
        spelled.extend(text.chars().map(|letter| if letter == ' ' { SPACE } else { letter }));
        let mut merger = Merger::default();
        for (start, letter) in spelled.char_indices() {
            let length = letter.len_utf8();
            let piece = self.piece(&spelled[start..start + length]);
            merger.push(start, length, piece.map(|(_, id)| id));
        }
        merger.merge(|left, right| self.piece(&spelled[left.start..right.start + right.length]));
        for symbol in merger.symbols() {
            match symbol.id {
                Some(id) => ids.push(id),
                None => self.spell_bytes(&spelled[symbol.start..][..symbol.length], ids),
            }
        }
    }

    fn piece(&self, text: &str) -> Option<(u32, u32)> {
        if text.len() > self.longest {
            return None;
        }
        self.pieces.get(text).copied()
    }

    /// A character without a piece: its bytes, or the unknown token.
    fn spell_bytes(&self, letter: &str, ids: &mut Vec<u32>) {
        let bytes: Option<Vec<u32>> =
            letter.bytes().map(|byte| self.bytes[byte as usize]).collect();
        match bytes {
            Some(bytes) => ids.extend(bytes),
            None => ids.extend(self.unknown),
        }
    }
}

/// Equal scores share a rank, so that the leftmost of equal pairs merges first.
fn ranks(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut ranks = vec![0; scores.len()];
    let mut rank = 0;
    for pair in order.windows(2) {
        // -0.0 and 0.0 are equal
        rank += u32::from(scores[pair[0]] != scores[pair[1]]);
        ranks[pair[1]] = rank;
    }
    ranks
}
