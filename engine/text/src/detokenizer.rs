//! Whole characters out of bytes that arrive in pieces.

/// Tokens end where they like, also inside a character. This holds the bytes of an unfinished
/// character back until the rest of it comes.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    /// The begin of a character: at most three bytes.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a token's bytes, gives the characters that are now whole. Bytes that can never
    /// become a character are U+FFFD, one for each maximal subpart (Unicode 16, 3.9), as
    /// `String::from_utf8_lossy` does; so the text does not depend on how the bytes were cut.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let whole = self.held.len() - unfinished(&self.held);
        let text = String::from_utf8_lossy(&self.held[..whole]).into_owned();
        self.held.drain(..whole);
        text
    }

    /// Ends the text: U+FFFD where a character stayed unfinished.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }
}

/// How many bytes at the end are the begin of a character that more bytes could complete.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let Some(invalid) = last.map(|chunk| chunk.invalid()) else {
        return 0;
    };
    // `error_len` is `None` exactly where the input ended too early
    match std::str::from_utf8(invalid) {
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_chunks<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> String {
        let mut detokenizer = Detokenizer::new();
        let mut text: String = chunks.map(|chunk| detokenizer.push(chunk)).collect();
        text.push_str(&detokenizer.finish());
        text
    }

    #[test]
    fn a_character_comes_out_with_its_last_byte() {
        let mut detokenizer = Detokenizer::new();
        let bytes = "a€".as_bytes();
        assert_eq!(detokenizer.push(&bytes[..2]), "a");
        assert_eq!(detokenizer.push(&bytes[2..3]), "");
        assert_eq!(detokenizer.push(&bytes[3..]), "€");
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn what_stays_unfinished_is_replaced() {
        let mut detokenizer = Detokenizer::new();
        assert_eq!(detokenizer.push(&"😀".as_bytes()[..3]), "");
        assert_eq!(detokenizer.finish(), "\u{fffd}");
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn what_can_be_no_character_is_replaced_at_once() {
        let mut detokenizer = Detokenizer::new();
        assert_eq!(detokenizer.push(b"\xff"), "\u{fffd}");
        assert_eq!(detokenizer.push(b"\xe2\x82x"), "\u{fffd}x");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8..0xc0, 0xe0u8..], 0..64),
            size in 1usize..5,
        ) {
            let expected = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert_eq!(in_chunks(bytes.chunks(size)), expected);
        }

        #[test]
        fn valid_text_stays(text: String, size in 1usize..5) {
            prop_assert_eq!(in_chunks(text.as_bytes().chunks(size)), text);
        }
    }
}
