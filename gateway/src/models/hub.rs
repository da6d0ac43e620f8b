//! A weights file out of a Hugging Face repository.
//!
//! The protocol is plain HTTPS: `GET /{repository}/resolve/{revision}/{file}`, a redirect to a
//! content network, ranges to go on with what was interrupted. Whatever arrives is held
//! against the digest of models.toml, so nothing that a server says of it needs trust.

mod client;
mod settings;
mod url;

use std::time::Duration;

use client::{Client, Ended};
pub use settings::HubSettings;

use super::FetchError;
use super::part::Part;

/// Which file.
pub(super) struct Address<'a> {
    /// `ORGANISATION/NAME`.
    pub repository: &'a str,
    /// Path in the repository.
    pub file: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
}

/// Fetches what is missing of the file, trying again when a connection ends early.
pub(super) fn fetch(
    settings: &HubSettings,
    address: &Address,
    part: Part,
) -> Result<Part, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FetchError::io("start a runtime for", part.target()))?;
    runtime.block_on(fetch_all(settings, address, part))
}

async fn fetch_all(
    settings: &HubSettings,
    address: &Address<'_>,
    mut part: Part,
) -> Result<Part, FetchError> {
    let client = Client::new(settings)?;
    let url = settings.url(address);
    let mut attempts = 0;
    loop {
        let before = part.bytes();
        let last = match client.fetch(&url, &mut part).await? {
            Ended::Whole => return Ok(part),
            Ended::Early(reason) => reason,
        };
        // a long file over a bad line may need many connections, as long as each brings some
        attempts = if part.bytes() > before { 1 } else { attempts + 1 };
        if attempts >= settings.attempts_max {
            return Err(FetchError::GaveUp { url: url.to_string(), attempts, last });
        }
        let wait = backoff(settings.backoff_min, attempts);
        eprintln!("{last}; trying again in {:.1} s", wait.as_secs_f32());
        tokio::time::sleep(wait).await;
    }
}

/// Doubles with every attempt, up to 32 times the first wait.
fn backoff(first: Duration, attempts: u32) -> Duration {
    first * 2_u32.pow(attempts.saturating_sub(1).min(5))
}
