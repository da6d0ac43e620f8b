//! The tokens' bytes, as llguidance walks through them.

use std::sync::Arc;

use engine_text::{Control, Tokenizer};
use llguidance::toktrie::{INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// Longest token that a grammar's text can match, in bytes: the trie takes no longer ones.
const TOKEN_BYTES_MAX: usize = 1000;

/// A tokenizer, and the trie of its tokens.
pub(super) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
    /// Forced text has one spelling in tokens, and it is the one that prompts have.
    is_canonical: bool,
}

impl Vocabulary {
    /// Builds the trie: some milliseconds for ten thousand tokens.
    pub(super) fn of(tokenizer: Arc<Tokenizer>) -> TokEnv {
        let words: Vec<Vec<u8>> =
            (0..tokenizer.vocabulary()).map(|id| word(&tokenizer, id)).collect();
        let ends = tokenizer.end_tokens();
        let first = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(tokenizer.vocabulary(), first), &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(ends);
        }
        let is_canonical = tokenizer.spells_exactly();
        Arc::new(Self { tokenizer, trie, is_canonical })
    }

    /// The tokens of a text as prompts have them. Where they would spell something else (another
    /// normal form of Unicode), the longest tokens from left to right. What no token spells at all
    /// has no tokens; a grammar that demands it cannot be followed.
    fn tokens(&self, text: &str) -> Vec<TokenId> {
        let ids = self.tokenizer.encode(text, Control::Never);
        let spelled = ids.iter().flat_map(|id| self.tokenizer.bytes(*id));
        match spelled.eq(text.as_bytes()) {
            true => ids,
            false => self.trie.greedy_tokenize(text.as_bytes()),
        }
    }
}

/// What text a token matches. A control token matches none: its text comes behind a byte that
/// occurs in no text. Nor does a token that has this byte, which is no part of UTF-8.
fn word(tokenizer: &Tokenizer, id: TokenId) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    if let Some(text) = tokenizer.control_text(id) {
        let mut word = vec![MARK];
        word.extend_from_slice(text.as_bytes());
        word.truncate(TOKEN_BYTES_MAX);
        return word;
    }
    let bytes = tokenizer.bytes(id);
    match bytes.contains(&MARK) || bytes.len() > TOKEN_BYTES_MAX {
        true => Vec::new(),
        false => bytes.to_vec(),
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        // the first token may have begun inside a character
        let mut ids = Vec::new();
        for chunk in bytes.utf8_chunks() {
            ids.extend(self.tokens(chunk.valid()));
            ids.extend(self.trie.greedy_tokenize(chunk.invalid()));
        }
        ids
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.is_canonical
    }
}
