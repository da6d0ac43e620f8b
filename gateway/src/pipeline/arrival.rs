//! A request as it came in, before anything is known of what it wants.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine_api::{RequestId, TraceContext};
use http::HeaderMap;

/// What every stage may know of a request: when it came, what it is called, where in a trace
/// it stands. A client's own request id is not here, because nothing may depend on it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Made here, never by a client.
    pub id: RequestId,
    /// For durations.
    pub at: Instant,
    /// For entries and templates.
    pub unix_s: i64,
    /// The route that it came through, entered by its handler; never the path that a client
    /// sent.
    pub endpoint: &'static str,
    /// The caller's trace.
    pub trace: Option<TraceContext>,
    /// How long the client waits for the head of the answer, where it says so.
    pub patience: Option<Duration>,
    /// The caller's wish for fewer jurisdictions, unread.
    pub residency: Option<String>,
}

impl Arrival {
    /// Now, with these headers.
    pub fn now(headers: &HeaderMap) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
        Self {
            id: new_id(),
            at: Instant::now(),
            unix_s: since_epoch.as_secs() as i64,
            endpoint: "",
            trace: trace.and_then(TraceContext::parse),
            patience: patience(headers),
            residency: residency(headers),
        }
    }

    /// What is left until the answer has to begin: a gateway sends no head before it has. `most`
    /// is the gateway's own bound, from the arrival on.
    pub fn time_left(&self, most: Duration) -> Duration {
        let whole = self.patience.map_or(most, |patience| patience.min(most));
        whole.saturating_sub(self.at.elapsed())
    }
}

/// Seconds after which OpenAI's SDK for Python gives up reading. It says so in every request; it
/// tries again then, so work for an earlier try would be for nobody.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-stainless-read-timeout")?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|patience| !patience.is_zero())
}

/// Several lines are one list (RFC 9110, section 5.3). Bytes that are not ASCII are kept as a
/// character that no list may hold, so that such a header is refused and not ignored.
fn residency(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all("x-hanse-residency").iter();
    let lines: Vec<&str> = lines.map(|value| value.to_str().unwrap_or("\u{fffd}")).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn new_id() -> RequestId {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    RequestId::new(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn residency_lines_are_one_list_and_none_is_lost() {
        let mut headers = HeaderMap::new();
        assert_eq!(Arrival::now(&headers).residency, None);
        headers.append("x-hanse-residency", HeaderValue::from_static("DE"));
        headers.append("x-hanse-residency", HeaderValue::from_static("FR, NL"));
        assert_eq!(Arrival::now(&headers).residency.as_deref(), Some("DE,FR, NL"));
        let odd = HeaderValue::from_bytes(b"\xff").expect("obs-text is allowed in a header");
        headers.append("x-hanse-residency", odd);
        assert_eq!(Arrival::now(&headers).residency.as_deref(), Some("DE,FR, NL,\u{fffd}"));
    }

    #[test]
    fn a_client_s_patience_shortens_the_wait() {
        let left = |header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-stainless-read-timeout", HeaderValue::from_static(header));
            let arrival = Arrival::now(&headers);
            arrival.time_left(Duration::from_secs(60)).as_secs_f64().ceil()
        };
        assert_eq!((left("30"), left("12.5"), left("600")), (30.0, 13.0, 60.0));
        for odd in ["0", "-1", "NaN", "inf", "soon", ""] {
            assert_eq!(left(odd), 60.0, "{odd}");
        }
        let mut arrival = Arrival::now(&HeaderMap::new());
        arrival.patience = Some(Duration::from_nanos(1));
        assert_eq!(arrival.time_left(Duration::MAX), Duration::ZERO);
    }

    #[test]
    fn ids_are_ours_and_differ() {
        let mut headers = HeaderMap::new();
        headers.append("x-request-id", HeaderValue::from_static("mine"));
        let (one, two) = (Arrival::now(&headers).id, Arrival::now(&headers).id);
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, two);
    }
}
