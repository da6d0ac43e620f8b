//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), of
//! which only the `data` fields matter here.

/// The longest event that is taken, in bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event is longer than [`EVENT_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Takes a body in pieces of any size and gives whole events.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
}

impl Decoder {
    /// The data of each event that `bytes` completes, in order.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            // a line ends with CR, LF or both
            let ends = match byte {
                b'\n' if self.after_return => {
                    self.after_return = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_return = byte == b'\r';
            if !ends {
                self.line.push(byte);
                if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
            } else if let Some(event) = self.end_line() {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// An empty line ends an event; any other adds a field to it.
    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let had_data = std::mem::take(&mut self.has_data);
            return had_data.then(|| std::mem::take(&mut self.data));
        }
        let value = line.strip_prefix(b"data:").or((line == b"data").then_some(b""))?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BODY: &str = ": keep-alive\n\ndata: one\n\nevent: x\r\ndata:two\r\ndata: \u{1F600}\r\n\
                        \r\nid: 7\rdata\r\rretry: 5\n\ndata: [DONE]\n\ndata: never ended\n";
    const EVENTS: [&str; 4] = ["one", "two\n\u{1F600}", "", "[DONE]"];

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = Decoder::default();
        let events = pieces.into_iter().flat_map(|piece| decoder.push(piece).unwrap());
        events.map(|event| String::from_utf8(event).unwrap()).collect()
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let body = BODY.as_bytes();
        assert_eq!(decode([body]), EVENTS);
        for size in 1..body.len() {
            assert_eq!(decode(body.chunks(size)), EVENTS, "pieces of {size}");
        }
        for first in 0..body.len() {
            for second in first..body.len() {
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                assert_eq!(decode(pieces), EVENTS, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(&vec![b'x'; EVENT_BYTES_MAX + 1]), Err(TooLong));
        let mut decoder = Decoder::default();
        let line = [b"data:".as_slice(), &vec![b'x'; EVENT_BYTES_MAX / 2], b"\n"].concat();
        assert!(decoder.push(&line).is_ok());
        assert_eq!(decoder.push(&line), Err(TooLong), "many lines count together");
    }
}
