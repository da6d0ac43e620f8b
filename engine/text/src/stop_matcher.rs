//! Stop texts, found while the text still arrives.

/// Holds back text that may be the begin of a stop text, and cuts the answer at the stop text
/// that is complete first (the longest one where two end at the same place). Which text comes
/// out does not depend on how it was cut into pieces. Every byte is looked at once per stop
/// text (Knuth, Morris and Pratt 1977).
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    held: String,
    stopped: bool,
}

/// What came of a piece of text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Text that can be shown: no part of it belongs to a stop text.
    pub released: String,
    /// Whether a stop text is complete. What comes after it is dropped.
    pub stopped: bool,
}

#[derive(Clone, Debug)]
struct Stop {
    text: Vec<u8>,
    /// For every length of a begin of `text`: the length of the longest shorter begin that it
    /// ends with.
    fallback: Vec<usize>,
    /// How many bytes of `text` the text so far ends with.
    matched: usize,
}

impl StopMatcher {
    /// Empty strings are no stop texts.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        Self {
            stops: stops.map(|stop| Stop::new(stop)).collect(),
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes the next piece of the answer.
    pub fn push(&mut self, text: &str) -> Held {
        if self.stopped {
            return Held { released: String::new(), stopped: true };
        }
        let seen = self.held.len();
        self.held.push_str(text);
        for (index, byte) in text.bytes().enumerate() {
            if let Some(length) = self.advance(byte) {
                self.stopped = true;
                self.held.truncate(seen + index + 1 - length);
                return Held { released: std::mem::take(&mut self.held), stopped: true };
            }
        }
        let pending = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - pending);
        Held { released: std::mem::replace(&mut self.held, kept), stopped: false }
    }

    /// The answer has ended: gives what was held back.
    pub fn finish(&mut self) -> String {
        self.stops.iter_mut().for_each(|stop| stop.matched = 0);
        std::mem::take(&mut self.held)
    }

    /// The length of the longest stop text that ends with this byte.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let ended = self.stops.iter_mut().filter_map(|stop| stop.advance(byte));
        ended.max()
    }
}

impl Stop {
    fn new(text: &str) -> Self {
        let text = text.as_bytes().to_vec();
        let mut fallback = vec![0, 0];
        let mut matched = 0;
        for &byte in &text[1..] {
            while matched > 0 && text[matched] != byte {
                matched = fallback[matched];
            }
            matched += usize::from(text[matched] == byte);
            fallback.push(matched);
        }
        Self { text, fallback, matched: 0 }
    }

    fn advance(&mut self, byte: u8) -> Option<usize> {
        if self.matched == self.text.len() {
            self.matched = self.fallback[self.matched];
        }
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.fallback[self.matched];
        }
        self.matched += usize::from(self.text[self.matched] == byte);
        (self.matched == self.text.len()).then_some(self.matched)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(&stops.iter().map(|stop| stop.to_string()).collect::<Vec<_>>())
    }

    fn in_chunks(stops: &[String], chunks: &[String]) -> Held {
        let mut matcher = StopMatcher::new(stops);
        let mut all = Held::default();
        for chunk in chunks {
            let held = matcher.push(chunk);
            all.released.push_str(&held.released);
            all.stopped |= held.stopped;
        }
        all.released.push_str(&matcher.finish());
        all
    }

    /// The definition, without any cleverness.
    fn expected(stops: &[String], text: &str) -> Held {
        let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
            let start = text.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        match ends.min() {
            Some((_, start)) => Held { released: text[..start].into(), stopped: true },
            None => Held { released: text.into(), stopped: false },
        }
    }

    #[test]
    fn text_is_held_only_while_it_may_be_a_stop() {
        let mut matcher = matcher(&["STOP"]);
        assert_eq!(matcher.push("go S").released, "go ");
        assert_eq!(matcher.push("TO").released, "");
        assert_eq!(matcher.push("RY").released, "STORY");
        assert_eq!(matcher.push(" STOP now"), Held { released: " ".into(), stopped: true });
        assert_eq!(matcher.push("more"), Held { released: String::new(), stopped: true });
        assert_eq!(matcher.finish(), "");
    }

    #[test]
    fn what_was_held_comes_at_the_end() {
        let mut matcher = matcher(&["</end>", "ééé"]);
        assert_eq!(matcher.push("é</en").released, "é");
        assert_eq!(matcher.finish(), "</en");
    }

    #[test]
    fn the_stop_that_is_complete_first_wins() {
        let stops = ["abcd".to_string(), "bc".to_string()];
        assert_eq!(in_chunks(&stops, &["abcd".into()]).released, "a");
        let stops = ["b".to_string(), "ab".to_string()];
        assert_eq!(in_chunks(&stops, &["ab".into()]).released, "");
    }

    #[test]
    fn without_stops_nothing_is_held() {
        assert_eq!(matcher(&[""]).push("any").released, "any");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter_and_no_stop_leaks(
            stops in prop::collection::vec("[abé]{0,4}", 0..4),
            chunks in prop::collection::vec("[abé]{0,5}", 0..12),
        ) {
            let text = chunks.concat();
            let held = in_chunks(&stops, &chunks);
            prop_assert_eq!(&held, &expected(&stops, &text));
            let letters: Vec<String> = text.chars().map(String::from).collect();
            prop_assert_eq!(&held, &in_chunks(&stops, &letters));
            for stop in stops.iter().filter(|stop| !stop.is_empty()) {
                prop_assert!(!held.released.contains(stop.as_str()));
            }
        }
    }
}
