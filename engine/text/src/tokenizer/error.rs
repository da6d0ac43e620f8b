//! Why a tokenizer cannot be built.

/// Each names the metadata key and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The key is absent or holds another kind of value.
    #[error("the model file has no `{0}`, or not of the right type")]
    Missing(&'static str),

    /// A kind of tokenizer that we do not have.
    #[error("tokenizer model `{0}` is not supported; supported are gpt2 and llama")]
    UnknownModel(String),

    /// A rule for cutting text into words that we do not have.
    #[error("pre-tokenizer `{name}` is not supported; supported are {supported}")]
    UnknownPreTokenizer {
        /// What the file asks for.
        name: String,
        /// What we have.
        supported: String,
    },

    /// A form that text is brought into which we do not have.
    #[error("normal form `{0}` is not supported; supported is nfc")]
    UnknownNormalForm(String),

    /// Two arrays that should be equally long.
    #[error("`{key}` has {got} entries for {expected} tokens")]
    Length {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
        /// The vocabulary's.
        expected: usize,
    },

    /// A token that cannot be.
    #[error("token {id} {message}")]
    Token {
        /// Its id.
        id: usize,
        /// What is wrong with it.
        message: &'static str,
    },

    /// A pair that cannot be merged.
    #[error("merge {index} (`{merge}`) {message}")]
    Merge {
        /// Its place in `tokenizer.ggml.merges`.
        index: usize,
        /// Its text.
        merge: String,
        /// What is wrong with it.
        message: &'static str,
    },

    /// An id beyond the vocabulary.
    #[error("`{key}` is {id}, but there are {vocabulary} tokens")]
    OutOfVocabulary {
        /// The key.
        key: &'static str,
        /// The id.
        id: u64,
        /// Number of tokens.
        vocabulary: usize,
    },

    /// The control texts cannot be searched for.
    #[error("the control tokens' texts are too many or too long")]
    Control,
}
