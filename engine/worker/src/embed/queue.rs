//! Which request's texts are read next: that of the share that has had the least for its weight, and of
//! these the one that came first.

use std::collections::{BTreeMap, VecDeque};

use engine_api::Share;

/// What a token counts for a share of weight 1.
const TOKEN: u64 = 1 << 20;

/// Requests by number, in their shares. A share without requests is forgotten, and begins again with what
/// the least served one has had.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: BTreeMap<u64, Lane>,
    /// What the share that was served last has had.
    floor: u64,
}

#[derive(Debug)]
struct Lane {
    requests: VecDeque<u64>,
    /// Tokens by weight.
    served: u64,
}

impl Queue {
    /// Adds a request behind those of its share.
    pub(super) fn push(&mut self, share: Share, number: u64) {
        let served = self.floor;
        let lane = self.lanes.entry(share.key);
        lane.or_insert_with(|| Lane { requests: VecDeque::new(), served })
            .requests
            .push_back(number);
    }

    /// The next request, which stays where it is.
    pub(super) fn next(&self) -> Option<u64> {
        let first = self.lanes.values().min_by_key(|lane| lane.served)?;
        first.requests.front().copied()
    }

    /// Counts tokens that were read for a request of the share.
    pub(super) fn charge(&mut self, share: Share, tokens: usize) {
        if let Some(lane) = self.lanes.get_mut(&share.key) {
            self.floor = lane.served;
            lane.served += TOKEN * tokens as u64 / u64::from(share.weight.get());
        }
    }

    /// Takes a request out.
    pub(super) fn remove(&mut self, share: Share, number: u64) {
        if let Some(lane) = self.lanes.get_mut(&share.key) {
            lane.requests.retain(|one| *one != number);
            if lane.requests.is_empty() {
                self.lanes.remove(&share.key);
            }
        }
    }

    /// How many requests of the share there are.
    pub(super) fn of_share(&self, share: Share) -> usize {
        self.lanes.get(&share.key).map_or(0, |lane| lane.requests.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroU32;

    use super::*;

    fn share(key: u64, weight: u32) -> Share {
        Share { key, weight: NonZeroU32::new(weight).unwrap() }
    }

    #[test]
    fn shares_get_tokens_by_weight_and_requests_go_in_order() {
        let (light, heavy) = (share(1, 1), share(2, 3));
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push(light, number);
            queue.push(heavy, 10 + number);
        }
        let mut tokens = [0, 0];
        for _ in 0..40 {
            let next = queue.next().unwrap();
            assert!(next % 10 == 0, "the first of its share: {next}");
            let (share, place) = if next == 0 { (light, 0) } else { (heavy, 1) };
            queue.charge(share, 10);
            tokens[place] += 10;
        }
        assert_eq!(tokens, [100, 300]);
        queue.remove(light, 0);
        queue.remove(heavy, 11);
        assert_eq!((queue.of_share(light), queue.of_share(heavy)), (2, 2));
    }

    /// Who comes back after a pause gets no more than who stayed.
    #[test]
    fn nobody_saves_up() {
        let (one, two) = (share(1, 1), share(2, 1));
        let mut queue = Queue::default();
        queue.push(one, 1);
        for _ in 0..100 {
            queue.charge(one, 50);
        }
        queue.push(two, 2);
        let mut turns = [0, 0];
        for _ in 0..20 {
            let next = queue.next().unwrap();
            queue.charge(if next == 1 { one } else { two }, 50);
            turns[next as usize - 1] += 1;
        }
        assert!(turns[0] >= 9 && turns[1] >= 9, "{turns:?}");
        queue.remove(one, 1);
        queue.remove(two, 2);
        assert_eq!(queue.next(), None);
    }
}
