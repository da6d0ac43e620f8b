//! Text and tokens.
//!
//! [`GgufHeader`] reads what a model file says of itself, with every length checked against
//! the file. [`Tokenizer`] is built from it: text to ids and back. [`Detokenizer`] turns
//! bytes that arrive token by token into whole characters, and [`StopMatcher`] holds text
//! back for as long as it may still turn out to be a stop text. [`WordPieces`] is the tokenizer of
//! models that embed.

mod detokenizer;
mod folder;
mod gguf;
mod stop_matcher;
mod tokenizer;
mod word_pieces;

pub use detokenizer::Detokenizer;
pub use folder::{EncoderConfig, FolderError, is_model_file, model_files, read_encoder};
pub use gguf::{GgmlType, GgufError, GgufHeader, TensorEntry};
pub use stop_matcher::{Held, StopMatcher};
pub use tokenizer::{Control, Segment, Tokenizer, TokenizerError};
pub use word_pieces::{Normal, WordPieces};
