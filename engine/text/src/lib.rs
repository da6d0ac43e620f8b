//! Text and tokens.
//!
//! [`GgufHeader`] reads what a model file says of itself, with every length checked against
//! the file. [`Tokenizer`] is built from it: text to ids and back. [`Detokenizer`] turns
//! bytes that arrive token by token into whole characters, and [`StopMatcher`] holds text
//! back for as long as it may still turn out to be a stop text.

mod detokenizer;
mod folder;
mod gguf;
mod stop_matcher;
mod tokenizer;

pub use detokenizer::Detokenizer;
pub use folder::{FolderError, model_files};
pub use gguf::{GgmlType, GgufError, GgufHeader, TensorEntry};
pub use stop_matcher::{Held, StopMatcher};
pub use tokenizer::{Control, Segment, Tokenizer, TokenizerError};
