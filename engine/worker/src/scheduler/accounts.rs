//! Who is in credit: deficits of shares, after DLPM (arXiv 2501.14312).
//!
//! A share pays for every prompt token that had to be computed and for every token drawn.
//! While it is in credit its prompts may be started; when no share that wants something is in
//! credit, each of them gets its quantum again. Who wants nothing saves nothing up.

use std::collections::BTreeMap;

use engine_api::Share;

/// What a share of weight 1 gets at a time, in tokens.
const QUANTUM: i64 = 2048;
/// What a drawn token costs, in prompt tokens: it takes a step, however short.
const DRAWN_COST: i64 = 2;
/// Accounts that are kept while nobody uses them. Beyond that, debts are forgiven.
const UNUSED_MAX: usize = 1024;

#[derive(Debug)]
struct Account {
    quantum: i64,
    balance: i64,
    /// Sequences here, waiting or running.
    sequences: u32,
    waiting: u32,
}

/// The accounts of all shares.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<u64, Account>);

impl Accounts {
    /// A sequence waits.
    pub(super) fn enter(&mut self, share: Share) {
        let quantum = QUANTUM * i64::from(share.weight.get());
        let fresh = Account { quantum, balance: quantum, sequences: 0, waiting: 0 };
        let account = self.0.entry(share.key).or_insert(fresh);
        account.quantum = quantum;
        account.sequences += 1;
        account.waiting += 1;
    }

    /// A sequence ended, or is gone.
    pub(super) fn leave(&mut self, share: Share, was_waiting: bool) {
        let account = self.get(share);
        account.sequences -= 1;
        account.waiting -= u32::from(was_waiting);
        let unused = self.0.values().filter(|account| account.sequences == 0).count();
        if unused == self.0.len() || unused > UNUSED_MAX {
            self.0.retain(|_, account| account.sequences > 0);
        }
    }

    /// A sequence starts, with so many tokens to compute.
    pub(super) fn start(&mut self, share: Share, uncached: u32) {
        let account = self.get(share);
        account.waiting -= 1;
        account.balance -= i64::from(uncached);
    }

    /// A sequence had to give way. What it computed is paid for; it will not pay again.
    pub(super) fn give_way(&mut self, share: Share) {
        self.get(share).waiting += 1;
    }

    /// A sequence that had to give way starts again.
    pub(super) fn start_again(&mut self, share: Share) {
        self.get(share).waiting -= 1;
    }

    /// A token was drawn.
    pub(super) fn draw(&mut self, share: Share) {
        self.get(share).balance -= DRAWN_COST;
    }

    /// Sequences of a share that wait.
    pub(super) fn waiting(&self, share: Share) -> usize {
        self.0.get(&share.key).map_or(0, |account| account.waiting as usize)
    }

    /// How little a share was served, against its weight: the lowest is the most over-served.
    pub(super) fn standing(&self, share: Share) -> i64 {
        self.0.get(&share.key).map_or(0, |account| account.balance * QUANTUM / account.quantum)
    }

    /// Whether a share may start something now, among those that `wants` names.
    pub(super) fn in_credit(&self, share: Share) -> bool {
        self.0.get(&share.key).is_some_and(|account| account.balance > 0)
    }

    /// Gives quanta to the shares that want something until one of them is in credit.
    pub(super) fn replenish(&mut self, wants: impl Fn(u64) -> bool) {
        let wanting = || self.0.iter().filter(|(key, _)| wants(**key)).map(|(_, account)| account);
        if wanting().any(|account| account.balance > 0) {
            return;
        }
        // as many rounds as the nearest needs, at once
        let rounds = wanting().map(|account| -account.balance / account.quantum + 1).min();
        let Some(rounds) = rounds else { return };
        for (_, account) in self.0.iter_mut().filter(|(key, _)| wants(**key)) {
            account.balance += rounds * account.quantum;
        }
    }

    fn get(&mut self, share: Share) -> &mut Account {
        self.0.get_mut(&share.key).expect("a share with sequences has an account")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn share(key: u64, weight: u32) -> Share {
        Share { key, weight: NonZeroU32::new(weight).expect("a weight") }
    }

    #[test]
    fn shares_are_served_by_their_weights() {
        let mut accounts = Accounts::default();
        let shares = [share(1, 1), share(2, 3)];
        let mut served = [0u32; 2];
        shares.iter().for_each(|share| accounts.enter(*share));
        for _ in 0..4000 {
            accounts.replenish(|_| true);
            let next = shares.iter().position(|share| accounts.in_credit(*share));
            let next = next.expect("someone is in credit");
            accounts.start(shares[next], 100);
            accounts.give_way(shares[next]);
            served[next] += 1;
        }
        let ratio = f64::from(served[1]) / f64::from(served[0]);
        assert!((2.8..3.2).contains(&ratio), "{served:?}");
    }

    #[test]
    fn who_wants_nothing_saves_nothing_up_and_debts_stay() {
        let mut accounts = Accounts::default();
        let (busy, idle) = (share(1, 1), share(2, 1));
        accounts.enter(busy);
        accounts.enter(idle);
        for _ in 0..100 {
            accounts.start(busy, 5000);
            accounts.give_way(busy);
            accounts.replenish(|key| key == busy.key);
        }
        assert_eq!(accounts.standing(idle), QUANTUM);
        let debt = accounts.standing(busy);
        accounts.leave(busy, true);
        accounts.enter(busy);
        assert_eq!(accounts.standing(busy), debt);
    }
}
