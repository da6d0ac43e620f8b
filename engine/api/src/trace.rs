//! W3C trace context (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

/// Where in a distributed trace a request stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// Sixteen bytes, not all zero.
    pub trace_id: [u8; 16],
    /// Eight bytes, not all zero: the parent of whatever the receiver records.
    pub span_id: [u8; 8],
    /// Bit 0: the trace is sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` is to be treated as if there were none.
    pub fn parse(header: &str) -> Option<Self> {
        let fields: Vec<&str> = header.trim().split('-').collect();
        let [version, trace_id, span_id, flags, rest @ ..] = fields.as_slice() else {
            return None;
        };
        let version = hex::<1>(version)?[0];
        // version ff is invalid; only version 00 forbids what follows the flags
        if version == 0xff || (version == 0 && !rest.is_empty()) {
            return None;
        }
        let context =
            Self { trace_id: hex(trace_id)?, span_id: hex(span_id)?, flags: hex::<1>(flags)?[0] };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }
}

/// Exactly `N` bytes of lower-case hexadecimal, as the specification demands.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let bytes: Vec<u8> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_what_it_prints() {
        let context = TraceContext::parse(HEADER).expect("valid");
        assert_eq!(context.to_string(), HEADER);
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let longer = format!("{HEADER}-more");
        let bad = [
            "",
            "00",
            "nonsense",
            &HEADER.to_uppercase(),
            &zero_trace,
            &zero_span,
            &longer,
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for header in bad {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
        // a later version may carry more
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(later).is_some());
    }
}
