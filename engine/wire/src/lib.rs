//! The token-level protocol between a fleet and a worker.
//!
//! `proto/worker.proto` is the protocol; the frames of this crate ([`Down`], [`Up`]) are what
//! both ends work with. Nothing that comes from a socket gets past the conversion unchecked:
//! a bad frame is a [`FrameError`] that names the field, and the connection ends.

pub mod bounds;
pub mod bytes;
mod client;
mod convert;
mod error;
mod frame;
mod outbox;
mod server;
mod socket;

#[allow(missing_docs, clippy::all, reason = "generated")]
mod proto {
    include!("generated.rs");
}

pub use client::{WorkerLink, connect};
pub use error::{FrameError, WireError};
pub use frame::{
    Counters, Down, Embed, Embedded, Heartbeat, Hello, Load, Loading, Step, StreamId, Submit, Up,
    Welcome,
};
pub use outbox::Outbox;
pub use server::{Connection, DownFrames, serve};
pub use socket::{Listener, private_dir};
