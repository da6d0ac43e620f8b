//! What can be wrong with a GGUF file.

use std::io;

use crate::FolderError;

/// Every variant names the place: a key or a tensor, and the offset in the file in bytes.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system said no.
    #[error("cannot read the model file at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },

    /// It is a folder, and not one that a model can be read from.
    #[error(transparent)]
    Folder(FolderError),

    /// It begins with something else.
    #[error("not a GGUF file: it begins with {magic:02x?} instead of \"GGUF\"")]
    NotGguf {
        /// The first four bytes.
        magic: [u8; 4],
    },

    /// A layout that we do not know.
    #[error(
        "GGUF version {version} is not supported, only 2 and 3{}",
        if *.big_endian { " (the file seems to be for a big-endian machine)" } else { "" }
    )]
    Version {
        /// The number in the file.
        version: u32,
        /// Whether the other byte order would make sense of it.
        big_endian: bool,
    },

    /// The file is shorter than it says.
    #[error("`{what}` at byte {offset} needs {needs} bytes, but the file has {length} in all")]
    Truncated {
        /// Key, tensor or field.
        what: String,
        /// Where it begins.
        offset: u64,
        /// How long it says it is.
        needs: u64,
        /// The file's length.
        length: u64,
    },

    /// A count or a length beyond all reason.
    #[error("`{what}` at byte {offset} is {value}, at most {limit} is accepted")]
    TooLarge {
        /// Key, tensor or field.
        what: String,
        /// Where it stands.
        offset: u64,
        /// What the file says.
        value: u64,
        /// What we take.
        limit: u64,
    },

    /// Text that is not UTF-8.
    #[error("`{what}` at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Key, tensor or field.
        what: String,
        /// Where it begins.
        offset: u64,
    },

    /// A value type or tensor type that does not exist.
    #[error("`{what}` at byte {offset} has the unknown type {id}")]
    UnknownType {
        /// Key or tensor.
        what: String,
        /// Where the type stands.
        offset: u64,
        /// Its number.
        id: u32,
    },

    /// A truth value that is neither 0 nor 1.
    #[error("`{what}` at byte {offset} is {value}, not a truth value")]
    NotBool {
        /// The key.
        what: String,
        /// Where it stands.
        offset: u64,
        /// The byte.
        value: u8,
    },

    /// Two entries with one key.
    #[error("metadata key `{key}` at byte {offset} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second begins.
        offset: u64,
    },

    /// Two tensors with one name.
    #[error("tensor `{name}` at byte {offset} occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
        /// Where the second begins.
        offset: u64,
    },

    /// Not a power of two, or not sensible.
    #[error("`general.alignment` is {alignment}, not a power of two up to 65536")]
    Alignment {
        /// The value, 0 where it is not a number.
        alignment: u64,
    },

    /// Dimensions that no tensor can have.
    #[error("tensor `{name}` at byte {offset} has the impossible shape {shape:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Where its entry begins.
        offset: u64,
        /// Innermost dimension first.
        shape: Vec<u64>,
    },

    /// Data that begins between two aligned places.
    #[error("tensor `{name}` begins at byte {start} of the data, not a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset in the data.
        start: u64,
        /// The file's alignment.
        alignment: u64,
    },

    /// Data beyond the file's end.
    #[error("tensor `{name}` needs bytes {start} to {end}, but the file has {length}")]
    OutOfFile {
        /// The tensor.
        name: String,
        /// Its first byte in the file.
        start: u64,
        /// One past its last.
        end: u64,
        /// The file's length.
        length: u64,
    },

    /// Data that two tensors claim.
    #[error("tensors `{first}` and `{second}` overlap at byte {offset}")]
    Overlap {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Where the second begins.
        offset: u64,
    },
}
