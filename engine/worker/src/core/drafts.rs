//! Guessing what follows: prompt lookup.
//!
//! Agents repeat what they read: names, code, results of tools. Where the last tokens of a
//! sequence occurred before, what followed there is guessed to follow here. Guesses are checked
//! in one step: a guess counts if it is the token that is drawn anyway, so results are the
//! same with and without. What a grammar forces is no guess, but enters the same way.

use std::collections::HashMap;

use crate::request::Request;
use crate::scheduler::SequenceId;

/// How many tokens have to occur alike before what followed them is guessed to follow.
const ALIKE: usize = 3;
/// So many wrong guesses in a row, and a sequence is let be for a while.
const WRONG_MAX: u32 = 2;
/// For how many tokens.
const PAUSE: u32 = 24;
/// With more sequences than this, a step is busy without guesses.
const SEQUENCES_MAX: usize = 8;

/// The guesses about all sequences.
pub(super) struct Drafts {
    /// Guesses about one sequence at a time, at most.
    tokens_max: u32,
    sequences: HashMap<SequenceId, Drafter>,
    counts: DraftCounts,
}

/// What came of all guesses since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DraftCounts {
    /// Tokens that were guessed, and checked.
    pub(super) drafted: u64,
    /// Those that were right.
    pub(super) accepted: u64,
}

/// What is guessed of one sequence.
#[derive(Default)]
struct Drafter {
    /// Where each run of tokens has ended last: the index of the token that followed.
    followers: HashMap<[u32; ALIKE], u32>,
    /// Tokens of the sequence that are in `followers`.
    seen: usize,
    tokens: Vec<u32>,
    drafts: Vec<u32>,
    /// They are no guesses: nothing else can follow.
    is_forced: bool,
    /// How many tokens to guess.
    appetite: u32,
    wrong: u32,
    /// No guesses until the sequence has so many tokens.
    paused_until: usize,
}

impl Drafts {
    /// No guesses yet.
    pub(super) fn new(tokens_max: u32) -> Self {
        Self { tokens_max, sequences: HashMap::new(), counts: DraftCounts::default() }
    }

    /// Whether guesses are worth it while so many sequences decode.
    pub(super) fn is_worth_while(&self, decoding: usize) -> bool {
        self.tokens_max > 0 && decoding <= SEQUENCES_MAX
    }

    /// Guesses what follows a sequence, and says how many tokens that are.
    pub(super) fn guess(&mut self, id: SequenceId, request: &Request) -> u32 {
        let drafter = self.sequences.entry(id).or_default();
        drafter.read(request.tokens(id.choice));
        drafter.guess(self.tokens_max);
        drafter.drafts.len() as u32
    }

    /// What has to follow a sequence.
    pub(super) fn force(&mut self, id: SequenceId, tokens: Vec<u32>) -> u32 {
        let drafter = self.sequences.entry(id).or_default();
        drafter.drafts = tokens;
        drafter.is_forced = true;
        drafter.drafts.len() as u32
    }

    /// The last guess, or what has to follow.
    pub(super) fn of(&self, id: SequenceId) -> &[u32] {
        self.sequences.get(&id).map_or(&[], |drafter| &drafter.drafts)
    }

    /// So many of the guessed tokens were right. What was forced says nothing about guesses.
    pub(super) fn judge(&mut self, id: SequenceId, right: u32, guessed: u32) {
        let drafter = self.sequences.get(&id);
        if drafter.is_some_and(|drafter| drafter.is_forced) {
            return;
        }
        self.counts.drafted += u64::from(guessed);
        self.counts.accepted += u64::from(right);
        if let Some(drafter) = self.sequences.get_mut(&id).filter(|_| guessed > 0) {
            drafter.judge(right, guessed);
        }
    }

    /// What came of all guesses.
    pub(super) fn counts(&self) -> DraftCounts {
        self.counts
    }

    /// Forgets a sequence.
    pub(super) fn forget(&mut self, id: SequenceId) {
        self.sequences.remove(&id);
    }
}

impl Drafter {
    /// Reads the tokens that are new.
    fn read(&mut self, tokens: impl Iterator<Item = u32>) {
        let known = self.tokens.len();
        self.tokens.extend(tokens.skip(known));
        // the last run has no follower yet
        for end in self.seen.max(ALIKE)..self.tokens.len() {
            if let Some(run) = self.tokens[..end].last_chunk() {
                self.followers.insert(*run, end as u32);
            }
        }
        self.seen = self.tokens.len();
    }

    fn guess(&mut self, tokens_max: u32) {
        self.drafts.clear();
        self.is_forced = false;
        if self.tokens.len() < self.paused_until {
            return;
        }
        let Some(run) = self.tokens.last_chunk::<ALIKE>() else { return };
        let Some(start) = self.followers.get(run) else { return };
        let count = self.appetite.clamp(1, tokens_max) as usize;
        for index in (*start as usize..).take(count) {
            // what repeats itself goes on with what is guessed
            let known = self.tokens.get(index);
            let token = known.copied().unwrap_or_else(|| self.drafts[index - self.tokens.len()]);
            self.drafts.push(token);
        }
    }

    /// Twice as many after right guesses, one after a wrong one.
    fn judge(&mut self, right: u32, guessed: u32) {
        if right == guessed {
            self.appetite = (2 * guessed).max(2);
        } else {
            self.appetite = right.max(1);
        }
        self.wrong = if right == 0 { self.wrong + 1 } else { 0 };
        if self.wrong >= WRONG_MAX {
            self.wrong = 0;
            self.paused_until = self.tokens.len() + PAUSE as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafter(tokens: &[u32]) -> Drafter {
        let mut drafter = Drafter::default();
        // in two parts, as it comes
        drafter.read(tokens[..tokens.len() / 2].iter().copied());
        drafter.read(tokens.iter().copied());
        drafter
    }

    #[test]
    fn what_followed_before_is_guessed_to_follow() {
        let mut drafter = drafter(&[1, 2, 3, 4, 5, 6, 9, 1, 2, 3]);
        drafter.appetite = 4;
        drafter.guess(8);
        assert_eq!(drafter.drafts, [4, 5, 6, 9]);
        drafter.guess(2);
        assert_eq!(drafter.drafts, [4, 5]);
    }

    #[test]
    fn the_last_time_counts_and_a_guess_goes_on_with_itself() {
        let mut drafter = drafter(&[1, 2, 3, 8, 1, 2, 3, 1, 2, 3]);
        drafter.appetite = 5;
        drafter.guess(8);
        assert_eq!(drafter.drafts, [1, 2, 3, 1, 2]);
    }

    #[test]
    fn nothing_is_guessed_of_what_is_new_or_too_short() {
        for tokens in [&[1, 2][..], &[1, 2, 3], &[1, 2, 3, 4, 5, 1, 2, 9]] {
            let mut drafter = drafter(tokens);
            drafter.guess(8);
            assert!(drafter.drafts.is_empty());
        }
    }

    #[test]
    fn wrong_guesses_become_few_and_then_none_for_a_while() {
        let mut drafter = drafter(&[1, 2, 3, 1, 2, 3, 1]);
        let guess = |drafter: &mut Drafter| {
            drafter.guess(8);
            drafter.drafts.len()
        };
        assert_eq!(guess(&mut drafter), 1);
        drafter.judge(1, 1);
        assert_eq!(guess(&mut drafter), 2);
        drafter.judge(2, 2);
        assert_eq!(guess(&mut drafter), 4);
        drafter.judge(0, 4);
        assert_eq!(guess(&mut drafter), 1);
        drafter.judge(0, 1);
        assert_eq!(guess(&mut drafter), 0);
        let later: Vec<u32> = (0..40).map(|index| 1 + index % 3).collect();
        drafter.read(later.into_iter());
        assert_eq!(guess(&mut drafter), 1);
    }
}
