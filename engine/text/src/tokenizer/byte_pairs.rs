//! Byte-level byte pair encoding (Sennrich et al. 2016, Radford et al. 2019).

use std::collections::HashMap;

use super::merger::{Merger, Symbol};
use super::pre_tokenizer::PreTokenizer;
use super::vocabulary::{Kind, Vocabulary};
use super::{TokenizerError, byte_letters};
use crate::GgufHeader;

const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";

/// For a pair of tokens: its place in the list and the token that it becomes.
type Merges = HashMap<(u32, u32), (u32, u32)>;

/// Merges by the list that the tokenizer was trained with.
#[derive(Debug)]
pub struct BytePairs {
    pre_tokenizer: PreTokenizer,
    /// The token of each byte. A byte without one leaves nothing, and its neighbours become
    /// neighbours, as in Hugging Face's tokenizers.
    letters: [Option<u32>; 256],
    merges: Merges,
    /// Where a word that is a token is never merged (`ignore_merges`): the tokens by bytes.
    words: Option<HashMap<Vec<u8>, u32>>,
}

impl BytePairs {
    /// Reads `tokenizer.ggml.merges` and `tokenizer.ggml.pre`.
    pub fn from_gguf(header: &GgufHeader, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let texts = header.texts(TOKENS).ok_or(TokenizerError::Missing(TOKENS))?;
        let pre = header.text(PRE).ok_or(TokenizerError::Missing(PRE))?;
        let merges = header.texts(MERGES).ok_or(TokenizerError::Missing(MERGES))?;
        let normal = |id: &u32| vocabulary.kind(*id) == Kind::Normal;
        let ids: HashMap<&str, u32> = (0..vocabulary.len())
            .filter(normal)
            .map(|id| (texts[id as usize].as_str(), id))
            .collect();
        let letter = |byte| ids.get(byte_letters::letter(byte as u8).to_string().as_str());
        let words = matches!(pre, "llama-bpe" | "llama3" | "llama-v3" | "tekken").then(|| {
            let ids = (0..vocabulary.len()).filter(normal);
            ids.map(|id| (vocabulary.bytes(id).to_vec(), id)).collect()
        });
        Ok(Self {
            pre_tokenizer: PreTokenizer::named(pre)?,
            letters: std::array::from_fn(|byte| letter(byte).copied()),
            merges: read_merges(merges, &ids)?,
            words,
        })
    }

    /// Adds the ids of `text`, in which nothing is markup.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut merger = Merger::default();
        self.pre_tokenizer.cut(text, |word| self.encode_word(word.as_bytes(), &mut merger, ids));
    }

    fn encode_word(&self, word: &[u8], merger: &mut Merger, ids: &mut Vec<u32>) {
        if let Some(id) = self.words.as_ref().and_then(|words| words.get(word)) {
            return ids.push(*id);
        }
        merger.clear();
        for (start, byte) in word.iter().enumerate() {
            if let Some(id) = self.letters[*byte as usize] {
                merger.push(start, 1, Some(id));
            }
        }
        merger.merge(|left: &Symbol, right: &Symbol| {
            self.merges.get(&(left.id?, right.id?)).copied()
        });
        ids.extend(merger.symbols().filter_map(|symbol| symbol.id));
    }
}

/// The list's order is the order of merging. Only normal tokens take part: no text leads to a
/// control token.
fn read_merges(merges: &[String], ids: &HashMap<&str, u32>) -> Result<Merges, TokenizerError> {
    let mut ranks = Merges::with_capacity(merges.len());
    for (index, merge) in merges.iter().enumerate() {
        let wrong = |message| TokenizerError::Merge { index, merge: merge.clone(), message };
        let (left, right) = merge.split_once(' ').ok_or_else(|| wrong("is not a pair"))?;
        let id = |text: &str| ids.get(text).copied();
        let (Some(from), Some(and), Some(to)) =
            (id(left), id(right), id(&format!("{left}{right}")))
        else {
            return Err(wrong("has a part or a result that is no normal token"));
        };
        // a pair that is listed twice counts where it comes first
        ranks.entry((from, and)).or_insert((index as u32, to));
    }
    Ok(ranks)
}
