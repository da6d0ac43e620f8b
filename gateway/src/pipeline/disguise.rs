//! Tenants as the engine sees them: opaque, so that a worker cannot tell whose a block is.

use aws_lc_rs::hmac;
use engine_api::{CacheNamespace, Share};
use policy::Permit;

/// The secret that all gateways of an installation share, under which tenants get their
/// opaque names.
pub struct Disguise(hmac::Key);

impl Disguise {
    /// The secret is random and at least 32 bytes long.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The name that keeps the tenant's cached blocks from all others'.
    pub fn namespace(&self, permit: &Permit) -> CacheNamespace {
        CacheNamespace(self.name(b"cache", permit))
    }

    /// The tenant's part of the capacity.
    pub fn share(&self, permit: &Permit) -> Share {
        let name: [u8; 8] = self.name(b"share", permit);
        Share { key: u64::from_le_bytes(name), weight: permit.weight() }
    }

    /// The two uses get unrelated names, so that one does not give the other away.
    fn name<const N: usize>(&self, usage: &[u8], permit: &Permit) -> [u8; N] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(usage);
        context.update(&[0]);
        context.update(permit.tenant().as_str().as_bytes());
        let tag = context.sign();
        *tag.as_ref().first_chunk().expect("a SHA-256 tag is longer than any name")
    }
}
