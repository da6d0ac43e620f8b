#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use engine_api::{Choices, FinishReason};
use proptest::prelude::*;

use super::*;
use crate::testing::submission;

fn journal(choices: u32) -> Journal {
    let mut submission = submission(&["a"]);
    submission.choices = Choices::new(choices).unwrap();
    Journal::new(submission)
}

fn token(choice: u8, index: u32, id: u32) -> Said {
    let text = format!("<{id}>");
    Said::Token(Token { choice, index, id: TokenId(id), text, logprob: None })
}

fn finished(choice: u8) -> Said {
    let (reason, text) = (FinishReason::Stop, String::new());
    Said::Finished(Finished { choice, reason, text })
}

fn usage(completion_tokens: u32) -> Said {
    Said::Usage(Usage { completion_tokens, ..Usage::default() }, Timings::default())
}

fn is_new(entry: Result<Entry, Contradiction>) -> bool {
    matches!(entry, Ok(Entry::New(_)))
}

#[test]
fn what_was_delivered_is_not_delivered_again() {
    let mut journal = journal(1);
    assert!(!journal.has_begun());
    assert!(journal.resume().is_empty());
    assert!(is_new(journal.enter(token(0, 0, 7))));
    assert!(is_new(journal.enter(token(0, 1, 8))));
    assert_eq!(journal.resume(), [[TokenId(7), TokenId(8)]]);
    assert_eq!(journal.enter(token(0, 0, 7)), Ok(Entry::Known));
    assert_eq!(journal.enter(token(0, 1, 8)), Ok(Entry::Known));
    assert!(is_new(journal.enter(token(0, 2, 9))));
    assert!(is_new(journal.enter(finished(0))));
    assert_eq!(journal.enter(finished(0)), Ok(Entry::Known));
    assert!(is_new(journal.enter(usage(3))));
}

#[test]
fn a_deadline_runs_until_the_first_token() {
    let mut submission = submission(&["a"]);
    submission.deadline = Some(Duration::from_secs(10));
    let mut journal = Journal::new(submission);
    let left = |journal: &Journal, seconds| {
        let outgoing = journal.outgoing(journal.since + Duration::from_secs(seconds));
        outgoing.map(|submission| submission.deadline)
    };
    assert_eq!(left(&journal, 3), Some(Some(Duration::from_secs(7))));
    assert_eq!(left(&journal, 10), Some(Some(Duration::ZERO)));
    assert_eq!(left(&journal, 11), None);
    assert!(is_new(journal.enter(token(0, 0, 7))));
    assert_eq!(left(&journal, 11), Some(None));
}

/// What a request finds cached on its later workers are its own blocks, or nobody's.
#[test]
fn the_first_start_says_what_was_cached() {
    let cached = |starts: &[u32]| {
        let mut journal = journal(1);
        for (index, &cached_tokens) in starts.iter().enumerate() {
            assert_eq!(journal.enter(Said::Started { cached_tokens }), Ok(Entry::Known));
            assert!(is_new(journal.enter(token(0, index as u32, 7))));
        }
        assert!(is_new(journal.enter(finished(0))));
        let drawn = starts.len() as u32;
        let last = Usage { completion_tokens: drawn, cached_tokens: 2, ..Usage::default() };
        match journal.enter(Said::Usage(last, Timings::default())) {
            Ok(Entry::New(Event::Usage(usage, _))) => usage.cached_tokens,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cached(&[0, 2, 2]), 0);
    assert_eq!(cached(&[1, 0]), 1);
    // it ended where it was never computed, after a worker that died before it said so
    assert_eq!(cached(&[]), 2);
}

#[test]
fn contradictions_are_refused() {
    let refused = |said: Vec<Said>| {
        let mut journal = journal(2);
        let last = said.into_iter().map(|said| journal.enter(said)).last().unwrap();
        last.unwrap_err().0
    };
    assert_eq!(refused(vec![token(2, 0, 1)]), "a choice too many");
    let started = Said::Started { cached_tokens: 3 };
    assert_eq!(refused(vec![started]), "more cached tokens than the prompt has");
    assert_eq!(refused(vec![token(0, 1, 1)]), "a token is missing");
    assert_eq!(refused(vec![token(0, 0, 1), token(0, 0, 2)]), "another token in a place");
    assert_eq!(refused(vec![finished(1), token(1, 0, 1)]), "a token after the end");
    assert_eq!(refused(vec![finished(1), usage(0)]), "the end before the end of every choice");
    assert_eq!(refused(vec![finished(0), finished(1), usage(1)]), "another number of tokens");
}

proptest! {
    /// Workers that die at any place and begin again at any earlier one: the reader sees
    /// every token once, in order.
    #[test]
    fn any_restart_gives_each_token_once(
        length in 1u32..40,
        deaths in proptest::collection::vec((0u32..40, 0u32..8), 0..6),
    ) {
        let mut journal = journal(1);
        let mut read = Vec::new();
        let mut say = |journal: &mut Journal, said| match journal.enter(said) {
            Ok(Entry::New(Event::Token(token))) => read.push(token.index),
            Ok(_) => {}
            Err(contradiction) => panic!("{contradiction}"),
        };
        for (until, back) in deaths {
            let known = journal.resume().first().map_or(0, Vec::len) as u32;
            // a worker may say again what was on its way when its forerunner died
            for index in known.saturating_sub(back)..until.min(length) {
                say(&mut journal, token(0, index, index * 3));
            }
        }
        let known = journal.resume().first().map_or(0, Vec::len) as u32;
        for index in known..length {
            say(&mut journal, token(0, index, index * 3));
        }
        prop_assert_eq!(read, (0..length).collect::<Vec<_>>());
        prop_assert!(is_new(journal.enter(finished(0))));
        prop_assert!(is_new(journal.enter(usage(length))));
    }
}
