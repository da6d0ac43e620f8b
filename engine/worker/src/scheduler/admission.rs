//! Who starts next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Allotment;
use super::{Admitted, BLOCK_TOKENS, Lane, Plan, Scheduler, SequenceId};

/// A priority is worth so much: who has waited this long counts as one priority higher.
const AGING: Duration = Duration::from_secs(5);
/// A prompt is due when it would be read if it were let wait for so many times what reading it
/// takes. The larger this is, the more is a short prompt preferred to a long one that came before.
const PATIENCE: u32 = 2;
/// Sequences of a share that are looked at to find the one that is due first.
const LOOKED_AT: usize = 32;

/// Where a sequence gets the first positions of its prompt from.
#[derive(Clone, Copy)]
enum Source {
    /// From a sibling, by index among the running: so many positions.
    Sibling(usize, u32),
    /// From the prefix cache: so many blocks.
    Cache(u32),
}

/// A waiting sequence, by index, when it is due, and how many of its first blocks are cached.
#[derive(Clone, Copy)]
struct First {
    due: i64,
    index: usize,
    hit: u32,
}

impl First {
    /// Who is due first goes first; of those due at once, who has more in the cache.
    fn turn(&self) -> (i64, Reverse<u32>, usize) {
        (self.due, Reverse(self.hit), self.index)
    }
}

/// A waiting sequence that may start.
#[derive(Clone, Copy)]
pub(super) struct Starts {
    /// When it is due.
    pub(super) due: i64,
    index: usize,
    source: Source,
}

impl Scheduler {
    /// Gives up who cannot be read in time: that is known before a token of it is read.
    pub(super) fn expire(&mut self, now: Duration, plan: &mut Plan) {
        let ends_after =
            |tokens: u32, deadline: Duration| now + self.pace.estimate(tokens) > deadline;
        let is_late = |lane: &&Lane| {
            lane.order.is_none()
                && lane.arrival.deadline.is_some_and(|deadline| {
                    // looked up only where it matters: this is asked of all who wait, each step
                    ends_after(lane.known(), deadline) && {
                        let hit = self.store.lookup(&lane.arrival.chain, lane.cacheable());
                        ends_after(lane.known() - hit * BLOCK_TOKENS, deadline)
                    }
                })
        };
        let late: Vec<_> = self.waiting.iter().filter(is_late).map(Lane::id).collect();
        late.iter().for_each(|id| self.remove(*id));
        plan.expired = late;
    }

    /// When a prompt of which so many tokens are left is due, in microseconds: soon after it came
    /// where little is left of it, and later the more there is. Whoever comes later than this is
    /// never served before it, so that nobody waits for ever; and of those that come together,
    /// the short ones do not wait for the long ones.
    pub(super) fn due(&self, lane: &Lane, rest: u32) -> i64 {
        let takes = self.pace.estimate(rest) * PATIENCE;
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4);
        let priority = i64::from(lane.arrival.priority).saturating_mul(micros(AGING));
        micros(lane.arrived).saturating_add(micros(takes)).saturating_add(priority)
    }

    /// The sequence that may start next, if there are a place, blocks and tokens for it. The first
    /// that does not fit holds back all behind it, or a large one might wait for ever.
    pub(super) fn first(&mut self, allotments: &[Allotment], plan: &Plan) -> Option<Starts> {
        let has_place = self.running.len() < self.step_tokens_max as usize;
        // whoever just gave way would only take back what others now need
        if !has_place || !plan.preempted.is_empty() {
            return None;
        }
        let First { due, index, .. } = self.next(allotments)?;
        let source = self.source(&self.waiting[index])?;
        Some(Starts { due, index, source })
    }

    /// The same sequence with what there is for it now, if there still is enough.
    pub(super) fn anew(&self, starts: Starts) -> Option<Starts> {
        let source = self.source(&self.waiting[starts.index])?;
        Some(Starts { source, ..starts })
    }

    /// The waiting sequence whose turn it is: who gave way, in the order of admission; then, of
    /// the shares in credit, the sequence that is due first.
    fn next(&mut self, allotments: &[Allotment]) -> Option<First> {
        let again = self.waiting.iter().enumerate().filter(|(_, lane)| lane.order.is_some());
        if let Some((index, lane)) = again.min_by_key(|(_, lane)| lane.order) {
            return Some(First { due: self.due(lane, 0), index, hit: 0 });
        }
        let may_read = allotments.iter().filter(|allotment| allotment.tokens > 0);
        let firsts: BTreeMap<u64, First> = may_read
            .filter_map(|allotment| Some((allotment.share, self.first_of(allotment.share)?)))
            .collect();
        self.accounts.replenish(|share| firsts.contains_key(&share));
        let in_credit = firsts
            .into_values()
            .filter(|first| self.accounts.in_credit(self.waiting[first.index].arrival.share));
        in_credit.min_by_key(First::turn)
    }

    /// The sequence of a share that is due first, what is cached of each not counted.
    fn first_of(&self, share: u64) -> Option<First> {
        let waiting = self.waiting.iter().enumerate();
        let mut own: Vec<_> = waiting
            .filter(|(_, lane)| lane.arrival.share.key == share)
            .map(|(index, lane)| (self.due(lane, 0), index))
            .collect();
        own.sort_unstable();
        let with_hits = own.into_iter().take(LOOKED_AT).filter_map(|(_, index)| {
            let lane = &self.waiting[index];
            let hit = self.store.lookup(&lane.arrival.chain, lane.cacheable());
            let due = self.due(lane, lane.known() - hit * BLOCK_TOKENS);
            (!self.waits_for_another(lane, hit)).then_some(First { due, index, hit })
        });
        with_hits.min_by_key(First::turn)
    }

    /// Another sequence is computing what both need: waiting for it costs less than doing it
    /// twice. It is running, so it gets on, and what it leaves is the prefix cache's.
    fn waits_for_another(&self, lane: &Lane, hit: u32) -> bool {
        let chain = &lane.arrival.chain;
        let computes_next = |other: &Lane| {
            hit < lane.cacheable() && !other.decodes() && chain.agrees(&other.arrival.chain, hit)
        };
        self.waits_for_sibling(lane) || self.running.iter().any(computes_next)
    }

    /// A sibling is computing the prompt of both, and cannot lend it yet.
    fn waits_for_sibling(&self, lane: &Lane) -> bool {
        let mut siblings = self.running.iter().filter(|other| is_sibling(other, lane)).peekable();
        siblings.peek().is_some() && siblings.all(|sibling| !sibling.lends(lane.common()))
    }

    /// Where a sequence's first positions come from, if there is room for the rest of it beside
    /// what the running ones will need soon. `None` if there is not.
    fn source(&self, lane: &Lane) -> Option<Source> {
        let chain = &lane.arrival.chain;
        let hit = self.store.lookup(chain, lane.cacheable());
        let common = lane.common();
        let donor = self.running.iter().position(|other| {
            is_sibling(other, lane)
                && other.lends(common)
                && common > hit * BLOCK_TOKENS
                && self.store.forks(&other.tables, common)
        });
        let (source, shared, idle) = match donor {
            Some(donor) => {
                (Source::Sibling(donor, common), common / BLOCK_TOKENS, self.store.none())
            }
            None => (Source::Cache(hit), hit, self.store.idle(chain, hit)),
        };
        // idle blocks are no longer to be had when they are held
        let mut reserved = self.reserved();
        reserved.iter_mut().zip(idle).for_each(|(reserved, idle)| *reserved += idle);
        self.store.admits(lane.grown(1), shared, &reserved).then_some(source)
    }

    /// Moves a sequence to the running ones.
    pub(super) fn start(&mut self, starts: Starts, plan: &mut Plan) -> SequenceId {
        let Starts { index, source, .. } = starts;
        let mut lane = self.waiting.remove(index);
        let chain = &lane.arrival.chain;
        (lane.tables, lane.computed, lane.committed) = match source {
            Source::Sibling(donor, positions) => {
                let tables = self.store.fork(&self.running[donor].tables, positions);
                (tables, positions, 0)
            }
            Source::Cache(hit) => (self.store.attach(chain, hit), hit * BLOCK_TOKENS, hit),
        };
        let share = lane.arrival.share;
        if lane.order.is_some() {
            self.accounts.start_again(share);
        } else {
            // the deadline is the request's: its other choices come when they can
            let id = lane.id();
            let siblings = self.waiting.iter_mut().filter(|other| other.id().request == id.request);
            siblings.for_each(|sibling| sibling.arrival.deadline = None);
            self.admissions += 1;
            lane.order = Some(self.admissions);
            self.accounts.start(share, lane.rest());
            let cached = lane.computed.min(lane.arrival.prompt);
            plan.admitted.push(Admitted { sequence: lane.id(), cached });
            if let Source::Cache(_) = source {
                self.counters.prefix_queries += u64::from(lane.arrival.prompt);
                self.counters.prefix_hits += u64::from(cached);
            }
        }
        let id = lane.id();
        let place = self.running.partition_point(|running| running.order < lane.order);
        self.running.insert(place, lane);
        id
    }

    /// Blocks of each group that the running sequences will need soon: for what is known of
    /// them, and a block more while they grow.
    fn reserved(&self) -> Vec<u32> {
        let mut sums = self.store.none();
        for lane in &self.running {
            let lacking = self.store.lacking(&lane.tables, lane.grown(BLOCK_TOKENS));
            sums.iter_mut().zip(lacking).for_each(|(sum, lacking)| *sum += lacking);
        }
        sums
    }
}

fn is_sibling(one: &Lane, other: &Lane) -> bool {
    one.id().request == other.id().request
}
