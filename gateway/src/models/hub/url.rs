//! The little that is needed of addresses.

use http::Uri;

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3) and `keep`.
pub(super) fn encode(text: &str, keep: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let stays = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if stays || keep.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether the host is this machine.
pub(super) fn is_local(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether there is neither a user nor a query.
pub(super) fn is_plain(uri: &Uri) -> bool {
    uri.query().is_none() && uri.authority().is_none_or(|one| !one.as_str().contains('@'))
}

/// Whether two addresses have the same scheme, host and port.
pub(super) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let origin = |uri: &Uri| {
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        let standard = if scheme.as_deref() == Some("https") { 443 } else { 80 };
        let host = uri.host().map(str::to_ascii_lowercase);
        (scheme, host, uri.port_u16().unwrap_or(standard))
    };
    origin(a) == origin(b)
}

/// Where a `Location` leads from `base`: an absolute address or an absolute path. Never from
/// HTTPS to plain HTTP.
pub(super) fn follow(base: &Uri, location: &str) -> Result<Uri, &'static str> {
    let target = if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(|_| "to no address")?);
        Uri::from_parts(parts).map_err(|_| "to no address")?
    } else {
        location.parse::<Uri>().map_err(|_| "to no address")?
    };
    match (target.scheme_str(), base.scheme_str()) {
        (Some("https"), _) if target.host().is_some() => Ok(target),
        (Some("http"), Some("http")) if is_local(&target) => Ok(target),
        (Some("http"), _) => Err("to an address without encryption"),
        _ => Err("to no address"),
    }
}

/// An address as it may be shown: queries of content networks hold signatures.
pub(super) fn shown(uri: &Uri) -> String {
    let whole = uri.to_string();
    whole.split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn redirects_are_followed_only_to_where_they_are_safe() {
        let follow = |base: &str, location: &str| {
            follow(&base.parse().unwrap(), location).map(|uri| uri.to_string())
        };
        let base = "https://h.example/a/b?c";
        assert_eq!(follow(base, "/x?y=1").unwrap(), "https://h.example/x?y=1");
        assert_eq!(follow(base, "https://cdn.example/x").unwrap(), "https://cdn.example/x");
        assert!(follow(base, "http://h.example/x").is_err());
        assert!(follow(base, "http://127.0.0.1/x").is_err(), "from outside into this machine");
        for bad in ["//h.example/x", "x/y", "", "file:///etc/passwd", "\u{0}"] {
            assert!(follow(base, bad).is_err(), "{bad:?}");
        }
        assert!(follow("http://127.0.0.1:1/a", "http://localhost:2/b").is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://h.example/a", "https://H.example:443/b"));
        assert!(!same("https://h.example/a", "https://h.example:8443/a"));
        assert!(!same("https://h.example/a", "https://h.example.evil/a"));
        assert!(!same("http://h.example/a", "https://h.example/a"));
    }
}
