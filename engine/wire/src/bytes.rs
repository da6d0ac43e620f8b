//! Frames as bytes, without a connection: for tools that read or make them.

use prost::Message;

use crate::{Down, FrameError, Up, proto};

/// Reads a frame to a worker.
pub fn read_down(bytes: &[u8]) -> Result<Down, FrameError> {
    proto::Down::decode(bytes).map_err(torn)?.try_into()
}

/// Reads a frame from a worker.
pub fn read_up(bytes: &[u8]) -> Result<Up, FrameError> {
    proto::Up::decode(bytes).map_err(torn)?.try_into()
}

/// Writes a frame to a worker.
pub fn write_down(down: Down) -> Vec<u8> {
    proto::Down::from(down).encode_to_vec()
}

/// Writes a frame from a worker.
pub fn write_up(up: Up) -> Vec<u8> {
    proto::Up::from(up).encode_to_vec()
}

fn torn(error: prost::DecodeError) -> FrameError {
    FrameError::new("frame", format!("cannot be decoded: {error}"))
}
