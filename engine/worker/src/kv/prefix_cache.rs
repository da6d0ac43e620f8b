//! Which blocks hold the content of which prefix.
//!
//! A flat map: the key of a block says all that its content depends on, and what it says is
//! compared on a hit. Blocks that no table holds are given up in the order in which they were
//! let go. A table lets go of its last block first, so a block is older than its parent, and
//! no prefix loses its beginning before its end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use engine_api::CacheNamespace;

use super::chain::Link;
use super::{BLOCK_TOKENS, BlockId, BlockKey};

/// When an idle block is given up: pinned ones last, then whoever was let go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Turn {
    pinned: bool,
    stamp: u64,
}

/// The block of a node in one group of layers.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: BlockId,
    /// Present while no table holds the block.
    turn: Option<Turn>,
}

/// A prefix that ends with a full block.
#[derive(Debug)]
struct Node {
    namespace: CacheNamespace,
    parent: BlockKey,
    tokens: [u32; BLOCK_TOKENS as usize],
    /// By group; a group with a window may have given its block up.
    places: Vec<Option<Place>>,
    pinned_until: Duration,
}

impl Node {
    fn is(&self, link: Link<'_>) -> bool {
        self.namespace == link.namespace
            && self.parent == link.parent
            && self.tokens == *link.tokens
    }
}

/// What the cache has at a link of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The block.
    Block(BlockId),
    /// Nothing of this group.
    Nothing,
    /// Another content under the same key: as likely as guessing 128 bits.
    Clash,
}

/// The map, and the order in which idle blocks are given up.
#[derive(Debug)]
pub(super) struct PrefixCache {
    nodes: HashMap<BlockKey, Node>,
    /// By group.
    idle: Vec<BTreeMap<Turn, BlockKey>>,
    stamp: u64,
    now: Duration,
    /// When the first pin may end.
    next_expiry: Option<Duration>,
}

impl PrefixCache {
    /// An empty cache for so many groups of layers.
    pub(super) fn new(groups: usize) -> Self {
        Self {
            nodes: HashMap::new(),
            idle: vec![BTreeMap::new(); groups],
            stamp: 0,
            now: Duration::ZERO,
            next_expiry: None,
        }
    }

    /// What it has at a link, in a group.
    pub(super) fn find(&self, link: Link<'_>, group: usize) -> Found {
        match self.nodes.get(&link.key) {
            None => Found::Nothing,
            Some(node) if !node.is(link) => Found::Clash,
            Some(node) => {
                node.places[group].map_or(Found::Nothing, |place| Found::Block(place.block))
            }
        }
    }

    /// Enters a block that a table holds, where nothing was found.
    pub(super) fn enter(&mut self, link: Link<'_>, group: usize, block: BlockId) {
        let groups = self.idle.len();
        let node = self.nodes.entry(link.key).or_insert_with(|| Node {
            namespace: link.namespace,
            parent: link.parent,
            tokens: *link.tokens,
            places: vec![None; groups],
            pinned_until: Duration::ZERO,
        });
        let before = node.places[group].replace(Place { block, turn: None });
        assert!(before.is_none() && node.is(link), "a block is entered where nothing was");
    }

    /// No table holds the block any more.
    pub(super) fn let_go(&mut self, key: BlockKey, group: usize) {
        self.stamp += 1;
        let node = self.nodes.get_mut(&key).expect("a cached block has a node");
        let turn = Turn { pinned: node.pinned_until > self.now, stamp: self.stamp };
        let place = node.places[group].as_mut().expect("a cached block has a place");
        assert!(place.turn.replace(turn).is_none(), "an idle block is let go once");
        self.idle[group].insert(turn, key);
    }

    /// A table holds the block again.
    pub(super) fn hold(&mut self, key: BlockKey, group: usize) {
        let node = self.nodes.get_mut(&key).expect("a cached block has a node");
        let place = node.places[group].as_mut().expect("a cached block has a place");
        let turn = place.turn.take().expect("only an idle block is taken up again");
        self.idle[group].remove(&turn);
    }

    /// Gives up the idle block of a group whose turn it is, and with it what is of no use
    /// without: where the group's layers see everything, the node's blocks of all groups.
    pub(super) fn give_up(&mut self, group: usize, sees_all: bool) -> Vec<(usize, BlockId)> {
        let Some((_, key)) = self.idle[group].pop_first() else { return Vec::new() };
        let node = self.nodes.get_mut(&key).expect("an idle block has a node");
        if !sees_all {
            let place = node.places[group].take().expect("an idle block has a place");
            if node.places.iter().all(Option::is_none) {
                self.nodes.remove(&key);
            }
            return vec![(group, place.block)];
        }
        self.forget(key)
    }

    /// Removes a node and gives its blocks, held or not.
    pub(super) fn forget(&mut self, key: BlockKey) -> Vec<(usize, BlockId)> {
        let Some(node) = self.nodes.remove(&key) else { return Vec::new() };
        let places = node.places.into_iter().enumerate();
        let mut blocks = Vec::new();
        for (group, place) in places.filter_map(|(group, place)| Some((group, place?))) {
            if let Some(turn) = place.turn {
                self.idle[group].remove(&turn);
            }
            blocks.push((group, place.block));
        }
        blocks
    }

    /// Keeps a node longer than those without a pin, until a point in time.
    pub(super) fn pin(&mut self, key: BlockKey, until: Duration) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.pinned_until = node.pinned_until.max(until);
        self.next_expiry = Some(self.next_expiry.map_or(until, |next| next.min(until)));
        self.order_anew(key);
    }

    /// Ends the pins whose time is over.
    pub(super) fn tick(&mut self, now: Duration) {
        self.now = now;
        if self.next_expiry.is_none_or(|next| now < next) {
            return;
        }
        let pinned = Turn { pinned: true, stamp: 0 };
        let keys: Vec<_> =
            self.idle.iter().flat_map(|idle| idle.range(pinned..)).map(|(_, key)| *key).collect();
        keys.into_iter().for_each(|key| self.order_anew(key));
        let pins = self.nodes.values().map(|node| node.pinned_until);
        self.next_expiry = pins.filter(|until| *until > now).min();
    }

    /// Idle blocks of a group that a pin keeps.
    pub(super) fn pinned(&self, group: usize) -> u32 {
        let pinned = Turn { pinned: true, stamp: 0 };
        self.idle[group].range(pinned..).count() as u32
    }

    /// Puts a node's idle blocks where its pin wants them.
    fn order_anew(&mut self, key: BlockKey) {
        let node = self.nodes.get_mut(&key).expect("a node was looked up");
        let pinned = node.pinned_until > self.now;
        for (place, idle) in node.places.iter_mut().zip(&mut self.idle) {
            let Some(turn) = place.as_mut().and_then(|place| place.turn.as_mut()) else { continue };
            idle.remove(turn);
            turn.pinned = pinned;
            idle.insert(*turn, key);
        }
    }

    /// Every block of a group with its key, for audits.
    pub(super) fn blocks(&self, group: usize) -> impl Iterator<Item = (BlockId, BlockKey)> {
        let place = move |(key, node): (&BlockKey, &Node)| Some((node.places[group]?.block, *key));
        self.nodes.iter().filter_map(place)
    }
}
