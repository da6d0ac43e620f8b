//! `certs.toml`: names and lifetimes of certificates.

use std::num::NonZeroU16;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::config::{ConfigError, Document};

/// The file that a source tree has is also what holds where there is none.
const DEFAULT: &str = include_str!("../../../certs/certs.toml");

/// Everything that `certs.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertsConfig {
    /// The development CA.
    pub authority: AuthorityConfig,
    /// The server's certificate.
    pub server: ServerConfig,
}

/// The development CA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityConfig {
    /// Its name; a random suffix is added.
    pub common_name: String,
    /// How long it is valid, in days.
    pub lifetime_days: NonZeroU16,
}

/// The server's certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// DNS names and addresses that clients may use, the first one being the main one.
    pub names: Vec<Spanned<String>>,
    /// Whether the machine's own name is added to them.
    pub hostname: bool,
    /// How long it is valid, in days.
    pub lifetime_days: NonZeroU16,
    /// It is renewed when fewer days than this are left.
    pub renew_days: u16,
}

impl CertsConfig {
    /// Reads a file; without one, what the source tree says.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let document = match file {
            Some(file) => Document::read(file, "name it with --certs")?,
            None => Document::new("certs/certs.toml", DEFAULT),
        };
        Self::check(&document)
    }

    /// Checks a file that has been read.
    pub fn check(document: &Document) -> Result<Self, ConfigError> {
        let config: Self = document.parse()?;
        let server = &config.server;
        if server.names.is_empty() {
            return Err(document.complain(0..0, "[server] names no name", None));
        }
        for name in &server.names {
            if !is_name(name.get_ref()) {
                let message = format!("{:?} is no DNS name and no address", name.get_ref());
                return Err(document.complain(name.span(), message, None));
            }
        }
        if server.renew_days >= server.lifetime_days.get() {
            let message = format!(
                "[server] renew_days = {} is not less than lifetime_days = {}: it would be \
                 renewed at every start",
                server.renew_days, server.lifetime_days
            );
            return Err(document.complain(0..0, message, None));
        }
        Ok(config)
    }
}

impl ServerConfig {
    /// Every name that the certificate shall have; `hostname` is the machine's.
    pub fn all_names(&self, hostname: Option<&str>) -> Vec<String> {
        let mut names: Vec<String> = self.names.iter().map(|one| one.get_ref().clone()).collect();
        if let (true, Some(hostname)) = (self.hostname, hostname)
            && is_name(hostname)
            && !names.iter().any(|name| name == hostname)
        {
            names.push(hostname.to_owned());
        }
        names
    }
}

/// An address, or a DNS name that may begin with a `*` label.
pub(crate) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let is_dns = name.len() <= 253 && labels.split('.').all(is_label);
    is_dns || name.parse::<std::net::IpAddr>().is_ok()
}

/// This machine's name, where it has one.
pub fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(from: &str, to: &str, complaint: Expect) {
        assert!(DEFAULT.contains(from));
        let document = Document::new("certs.toml", DEFAULT.replacen(from, to, 1));
        complaint.assert_eq(&CertsConfig::check(&document).expect_err("it is wrong").to_string());
    }

    #[test]
    fn the_default_holds() {
        let config = CertsConfig::load(None).expect("the file is right");
        let names = config.server.all_names(Some("box"));
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "box"]);
        assert_eq!(config.server.all_names(Some("not a name")).len(), 3);
        assert_eq!(config.server.all_names(Some("localhost")).len(), 3);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        check(
            "lifetime_days = 90",
            "lifetime_days = 0",
            expect!["certs.toml:16:17: invalid value: integer `0`, expected a nonzero u16"],
        );
        check(
            "renew_days = 30",
            "renew_days = 90",
            expect![
                "certs.toml:1:1: [server] renew_days = 90 is not less than lifetime_days = 90: it would be renewed at every start"
            ],
        );
        check(
            "renew_days = 30",
            "renew_day = 30",
            expect![
                "certs.toml:18:1: unknown field `renew_day`, expected one of `names`, `hostname`, `lifetime_days`, `renew_days` (hint: did you mean `renew_days`?)"
            ],
        );
        check(
            "\"::1\"",
            "\"a b\"",
            expect![[r#"certs.toml:13:36: "a b" is no DNS name and no address"#]],
        );
        check("hostname = true", "", expect!["certs.toml:11:1: missing field `hostname`"]);
    }
}
