//! Where a request's time goes.

use std::time::Instant;

use engine_api::Timings;

/// Reads the time at the three moments that matter. Nothing that is computed depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    came: Instant,
    ran: Option<Instant>,
    drew: Option<Instant>,
}

impl Clock {
    /// The request came.
    pub(crate) fn new() -> Self {
        Self { came: Instant::now(), ran: None, drew: None }
    }

    /// A step computes some of it. Only the first one counts: a request that was preempted
    /// waits again, but that is time of its prefill or decode.
    pub(crate) fn runs(&mut self) {
        self.ran.get_or_insert_with(Instant::now);
    }

    /// A token was drawn; true for the first one.
    pub(crate) fn draws(&mut self) -> bool {
        let first = self.drew.is_none();
        self.drew.get_or_insert_with(Instant::now);
        first
    }

    /// How long each part took, when the request ends now. A part that never began took
    /// nothing.
    pub(crate) fn timings(&self) -> Timings {
        let now = Instant::now();
        let ran = self.ran.unwrap_or(now);
        let drew = self.drew.unwrap_or(now);
        Timings {
            queue: ran.duration_since(self.came),
            prefill: drew.duration_since(ran),
            decode: now.duration_since(drew),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_part_ends_where_the_next_begins() {
        let (came, wait) = (Instant::now() - Duration::from_millis(90), Duration::from_millis(30));
        let clock = Clock { came, ran: Some(came + wait), drew: Some(came + 2 * wait) };
        let Timings { queue, prefill, decode } = clock.timings();
        assert_eq!((queue, prefill), (wait, wait));
        assert!(decode >= wait, "{decode:?}");
        let mut clock = Clock::new();
        assert_eq!((clock.timings().prefill, clock.timings().decode), Default::default());
        clock.runs();
        assert!(clock.draws());
        assert!(!clock.draws(), "only the first token is the first");
        let before = clock.timings();
        clock.runs();
        assert_eq!(clock.timings().queue, before.queue, "a second run is no first one");
    }
}
