//! Merges neighbours, best pair first, until no pair can be merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A run of text that is one token so far.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Where it begins, in bytes.
    pub start: usize,
    /// How many bytes it covers; 0 once it has become part of its left neighbour.
    pub length: usize,
    /// Its token, where it is one.
    pub id: Option<u32>,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A pair that could be merged. The order is that of merging: lowest rank first, then leftmost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Join {
    rank: u32,
    left: usize,
    right: usize,
    id: u32,
    /// Bytes of both when the pair was found: other numbers now mean that one has grown.
    length: usize,
}

/// Working memory, kept from piece to piece.
#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    joins: BinaryHeap<Reverse<Join>>,
}

impl Merger {
    /// Forgets the last piece.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.joins.clear();
    }

    /// Puts a symbol at the end.
    pub fn push(&mut self, start: usize, length: usize, id: Option<u32>) {
        let index = self.symbols.len();
        let previous = index.checked_sub(1);
        if let Some(previous) = previous {
            self.symbols[previous].next = Some(index);
        }
        self.symbols.push(Symbol { start, length, id, previous, next: None });
    }

    /// Merges as long as `rule` gives a rank and a token for some pair of neighbours; the
    /// lowest rank goes first. `n log n` for `n` symbols.
    pub fn merge(&mut self, rule: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) {
        for right in 1..self.symbols.len() {
            self.consider(right - 1, right, &rule);
        }
        while let Some(Reverse(join)) = self.joins.pop() {
            let (left, right) = (self.symbols[join.left], self.symbols[join.right]);
            let is_stale =
                left.length == 0 || right.length == 0 || left.length + right.length != join.length;
            if is_stale {
                continue;
            }
            self.join(join, right.next);
            if let Some(previous) = left.previous {
                self.consider(previous, join.left, &rule);
            }
            if let Some(next) = right.next {
                self.consider(join.left, next, &rule);
            }
        }
    }

    /// What is left, from left to right.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|symbol| symbol.length > 0)
    }

    fn join(&mut self, join: Join, next: Option<usize>) {
        self.symbols[join.right].length = 0;
        let left = &mut self.symbols[join.left];
        left.length = join.length;
        left.id = Some(join.id);
        left.next = next;
        if let Some(next) = next {
            self.symbols[next].previous = Some(join.left);
        }
    }

    fn consider(
        &mut self,
        left: usize,
        right: usize,
        rule: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>,
    ) {
        let (a, b) = (&self.symbols[left], &self.symbols[right]);
        if let Some((rank, id)) = rule(a, b) {
            let length = a.length + b.length;
            self.joins.push(Reverse(Join { rank, left, right, id, length }));
        }
    }
}
