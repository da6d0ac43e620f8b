//! Between frames and their encoding. Reading checks every field; writing cannot fail.

mod down;
mod embedding;
mod failure;
mod up;

use engine_api::{ModelDigest, OutOfRange, TokenId};

use crate::FrameError;
use crate::bounds::NAME_BYTES_MAX;

/// A message that must be present.
fn present<T>(value: Option<T>, field: &'static str) -> Result<T, FrameError> {
    value.ok_or_else(|| FrameError::new(field, "is missing"))
}

/// At most `max` of something.
fn at_most(count: usize, max: usize, field: &'static str) -> Result<(), FrameError> {
    if count > max {
        return Err(FrameError::new(field, format!("has {count} entries or bytes, at most {max}")));
    }
    Ok(())
}

/// A text of at most `max` bytes.
fn text(value: String, max: usize, field: &'static str) -> Result<String, FrameError> {
    at_most(value.len(), max, field)?;
    Ok(value)
}

/// What of a text fits into `max` bytes.
fn cut(mut value: String, max: usize) -> String {
    value.truncate(value.floor_char_boundary(max));
    value
}

/// A name: 1 to 256 bytes, no control characters.
fn name(value: String, field: &'static str) -> Result<String, FrameError> {
    if value.is_empty() || value.len() > NAME_BYTES_MAX || value.contains(char::is_control) {
        return Err(FrameError::new(field, "must be 1 to 256 bytes without control characters"));
    }
    Ok(value)
}

/// Exactly `N` bytes.
fn array<const N: usize>(value: &[u8], field: &'static str) -> Result<[u8; N], FrameError> {
    value
        .try_into()
        .map_err(|_| FrameError::new(field, format!("must have {N} bytes, got {}", value.len())))
}

fn digest(value: &[u8], field: &'static str) -> Result<ModelDigest, FrameError> {
    array(value, field).map(ModelDigest)
}

/// A number that fits into a byte.
fn byte(value: u32, field: &'static str) -> Result<u8, FrameError> {
    u8::try_from(value).map_err(|_| FrameError::new(field, format!("must be below 256: {value}")))
}

/// A number above zero.
fn positive(value: u32, field: &'static str) -> Result<u32, FrameError> {
    if value == 0 {
        return Err(FrameError::new(field, "must be at least 1"));
    }
    Ok(value)
}

/// A number that its own type has judged.
fn judged<T>(value: Result<T, OutOfRange>, field: &'static str) -> Result<T, FrameError> {
    value.map_err(|error| FrameError::new(field, error.to_string()))
}

fn token_ids(ids: Vec<u32>) -> impl Iterator<Item = TokenId> {
    ids.into_iter().map(TokenId)
}

fn numbers(ids: &[TokenId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod tests;
