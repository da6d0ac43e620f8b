//! What Hugging Face's own tools read from the environment.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, Uri};

use super::url::{is_local, is_plain};
use super::{Address, url};
use crate::models::FetchError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where and how files are fetched from Hugging Face.
#[derive(Clone)]
pub struct HubSettings {
    endpoint: Uri,
    token: Option<HeaderValue>,
    offline: bool,
    /// How often a fetch is tried without receiving anything.
    pub attempts_max: u32,
    /// First wait between two attempts.
    pub backoff_min: Duration,
}

impl HubSettings {
    /// `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Result<Self, FetchError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same out of any source of variables.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, FetchError> {
        let endpoint = get("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        let bearer = |token: String| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let truths = ["1", "ON", "YES", "TRUE"];
        let offline = get("HF_HUB_OFFLINE")
            .is_some_and(|value| truths.contains(&value.to_ascii_uppercase().as_str()));
        Ok(Self {
            endpoint: check_endpoint(&endpoint)?,
            token: get("HF_TOKEN").and_then(bearer),
            offline,
            attempts_max: 5,
            backoff_min: Duration::from_secs(1),
        })
    }

    pub(super) fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// Refuses before any connection is made.
    pub(in crate::models) fn check_online(&self, file: &Path) -> Result<(), FetchError> {
        if self.offline { Err(FetchError::Offline(file.to_owned())) } else { Ok(()) }
    }

    pub(super) fn url(&self, address: &Address) -> Uri {
        let base = self.endpoint.to_string();
        let url = format!(
            "{}/{}/resolve/{}/{}",
            base.trim_end_matches('/'),
            address.repository,
            url::encode(address.revision, ""),
            url::encode(address.file, "/"),
        );
        url.parse().expect("a checked endpoint and encoded segments make an address")
    }
}

/// Never shows the token.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// Tokens and weights travel in the clear only inside this machine.
fn check_endpoint(endpoint: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Endpoint(endpoint.to_owned());
    let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
    let is_safe = match uri.scheme_str() {
        Some("https") => uri.host().is_some(),
        Some("http") => is_local(&uri),
        _ => false,
    };
    if is_safe && is_plain(&uri) { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings, FetchError> {
        HubSettings::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn addresses_are_encoded() {
        let address = Address { repository: "org/name", file: "q/a b#é.gguf", revision: "pr/1" };
        let url = settings(&[]).unwrap().url(&address).to_string();
        assert_eq!(url, "https://huggingface.co/org/name/resolve/pr%2F1/q/a%20b%23%C3%A9.gguf");
        let mirror = settings(&[("HF_ENDPOINT", "https://mirror.example/hf/")]).unwrap();
        let url = mirror.url(&address).to_string();
        assert!(url.starts_with("https://mirror.example/hf/org/name/resolve/"), "{url}");
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in
            ["https://h.example", "http://127.0.0.1:80", "http://localhost", "http://[::1]:9"]
        {
            settings(&[("HF_ENDPOINT", good)]).unwrap();
        }
        for bad in [
            "http://h.example",
            "ftp://h",
            "h.example",
            "",
            "https://u:p@h",
            "https://h/?q",
            "http://127.0.0.1.example",
        ] {
            let error = settings(&[("HF_ENDPOINT", bad)]).unwrap_err();
            assert!(matches!(error, FetchError::Endpoint(_)), "{bad}");
        }
    }

    #[test]
    fn offline_has_the_spellings_of_the_original() {
        let offline = |value| settings(&[("HF_HUB_OFFLINE", value)]).unwrap().offline;
        assert!(offline("1") && offline("true") && offline("YES") && offline("On"));
        assert!(!offline("0") && !offline("false"));
        assert!(!settings(&[]).unwrap().offline);
    }

    #[test]
    fn a_token_is_not_shown() {
        let settings = settings(&[("HF_TOKEN", "hf_secret\n")]).unwrap();
        assert_eq!(settings.token().unwrap(), "Bearer hf_secret");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
