//! The name of a conversation up to a control token.

use aws_lc_rs::digest::{Context, SHA256};
use engine_api::ModelDigest;

/// A conversation's SHA-256: two that differ have two keys, for all that anyone can find.
pub(crate) type Key = [u8; 32];

/// Hashes a text as a model reads it: plain text, and control tokens by their ids. Plain text is
/// hashed with its length, so that what reads like a control token never counts as one.
#[derive(Clone)]
pub(crate) struct Trail(Context);

impl Trail {
    /// The beginning, under one model.
    pub(crate) fn new(model: ModelDigest) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&model.0);
        Self(context)
    }

    /// Goes on with plain text and the control token behind it, and gives the key up to there.
    pub(crate) fn mark(&mut self, plain: &[u8], control: u32) -> Key {
        self.0.update(&(plain.len() as u64).to_le_bytes());
        self.0.update(plain);
        self.0.update(&control.to_le_bytes());
        let digest = self.0.clone().finish();
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}
