//! Which blocks of a group are free, and how many tables hold each of the others.

use super::BlockKey;

/// A block's number: the same in the tensors of every layer of its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct BlockId(u32);

impl BlockId {
    /// The number, as kernels take it.
    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// What is known of one block.
#[derive(Clone, Copy, Default, Debug)]
struct State {
    /// Tables that hold it.
    count: u32,
    /// Under which key the prefix cache knows its content.
    key: Option<BlockKey>,
}

/// Counts references. A block that no table holds is free, or idle when its content is still
/// known to the prefix cache.
#[derive(Debug)]
pub(crate) struct BlockPool {
    /// By block; only this file writes them.
    states: Vec<State>,
    /// Blocks that are neither held nor cached; the last one is handed out next.
    free: Vec<BlockId>,
    /// How many are cached and not held.
    idle: u32,
}

impl BlockPool {
    /// A pool of free blocks.
    pub(crate) fn new(blocks: u32) -> Self {
        let free = (0..blocks).rev().map(BlockId).collect();
        Self { states: vec![State::default(); blocks as usize], free, idle: 0 }
    }

    /// Blocks in all.
    pub(crate) fn total(&self) -> u32 {
        self.states.len() as u32
    }

    /// Blocks without content that anyone wants.
    pub(crate) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Blocks that are kept only for the prefix cache.
    pub(crate) fn idle(&self) -> u32 {
        self.idle
    }

    /// Blocks that tables hold.
    pub(crate) fn held(&self) -> u32 {
        self.total() - self.free() - self.idle
    }

    /// How many tables hold the block.
    pub(crate) fn count(&self, block: BlockId) -> u32 {
        self.states[block.0 as usize].count
    }

    /// Takes a free block, with one reference to it.
    pub(crate) fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        let state = &mut self.states[block.0 as usize];
        assert!(
            state.count == 0 && state.key.is_none(),
            "a free block is in no table and no cache"
        );
        state.count = 1;
        Some(block)
    }

    /// Adds a reference to a block that has one, or that is cached.
    pub(crate) fn retain(&mut self, block: BlockId) {
        let state = &mut self.states[block.0 as usize];
        assert!(state.count > 0 || state.key.is_some(), "only a block with content can be shared");
        self.idle -= u32::from(state.count == 0);
        state.count += 1;
    }

    /// Gives a reference back. With the last one the block is free, or idle if it is cached:
    /// then its key is given.
    pub(crate) fn release(&mut self, block: BlockId) -> Option<BlockKey> {
        let state = &mut self.states[block.0 as usize];
        assert!(state.count > 0, "a released block is in a table");
        state.count -= 1;
        let last = state.count == 0;
        let key = state.key.filter(|_| last);
        match key {
            Some(_) => self.idle += 1,
            None if last => self.give_back(block),
            None => {}
        }
        key
    }

    /// The prefix cache knows the content of a block that a table holds.
    pub(crate) fn cache(&mut self, block: BlockId, key: BlockKey) {
        let state = &mut self.states[block.0 as usize];
        assert!(state.count > 0 && state.key.is_none(), "a block is cached once, while it is held");
        state.key = Some(key);
    }

    /// Under which key the prefix cache knows a block.
    pub(crate) fn key(&self, block: BlockId) -> Option<BlockKey> {
        self.states[block.0 as usize].key
    }

    /// The prefix cache forgets a block. It is free unless a table holds it.
    pub(crate) fn uncache(&mut self, block: BlockId) {
        let state = &mut self.states[block.0 as usize];
        assert!(state.key.take().is_some(), "only a cached block is forgotten");
        if state.count == 0 {
            self.idle -= 1;
            self.give_back(block);
        }
    }

    fn give_back(&mut self, block: BlockId) {
        debug_assert!(!self.free.contains(&block), "a freed block was not free before");
        self.free.push(block);
    }

    /// Asserts that counts, tables, cache and free list agree. `held` are the blocks of every
    /// table, each as often as it is held; `cached` are those that the prefix cache knows.
    pub(crate) fn audit(
        &self,
        held: impl Iterator<Item = BlockId>,
        cached: impl Iterator<Item = (BlockId, BlockKey)>,
    ) {
        let mut found = vec![State::default(); self.states.len()];
        held.for_each(|block| found[block.0 as usize].count += 1);
        for (block, key) in cached {
            let known = found[block.0 as usize].key.replace(key);
            assert!(known.is_none(), "the cache knows a block once");
        }
        for (found, state) in found.iter().zip(&self.states) {
            assert_eq!(found.count, state.count, "a count is the number of tables with the block");
            assert_eq!(found.key, state.key, "the cache and the pool name a block alike");
        }
        let is_free = |state: &&State| state.count == 0 && state.key.is_none();
        assert!(self.free.iter().all(|block| is_free(&&found[block.0 as usize])));
        let free = found.iter().filter(is_free).count();
        assert_eq!(free, self.free.len(), "a block that nobody wants is on the free list");
        let idle = found.iter().filter(|state| state.count == 0 && state.key.is_some()).count();
        assert_eq!(idle, self.idle as usize, "idle blocks were counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::{empty, once};

    const KEY: BlockKey = BlockKey([7; 16]);

    #[test]
    fn the_last_release_frees() {
        let mut pool = BlockPool::new(2);
        let block = pool.take().expect("one is free");
        pool.retain(block);
        pool.release(block);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.release(block), None);
        assert_eq!((pool.free(), pool.total()), (2, 2));
        pool.audit(empty(), empty());
    }

    #[test]
    fn a_cached_block_is_idle_until_it_is_held_or_forgotten() {
        let mut pool = BlockPool::new(2);
        let block = pool.take().expect("one is free");
        pool.cache(block, KEY);
        assert_eq!(pool.release(block), Some(KEY));
        assert_eq!((pool.free(), pool.idle(), pool.held()), (1, 1, 0));
        pool.audit(empty(), once((block, KEY)));
        pool.retain(block);
        assert_eq!((pool.free(), pool.idle(), pool.held()), (1, 0, 1));
        pool.uncache(block);
        assert_eq!((pool.free(), pool.idle(), pool.held()), (1, 0, 1));
        pool.release(block);
        assert_eq!((pool.free(), pool.idle(), pool.held()), (2, 0, 0));
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        let mut pool = BlockPool::new(1);
        assert!(pool.take().is_some());
        assert_eq!(pool.take(), None);
    }

    #[test]
    #[should_panic(expected = "a released block is in a table")]
    fn a_block_is_not_released_twice() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().expect("one is free");
        pool.release(block);
        pool.release(block);
    }

    #[test]
    #[should_panic(expected = "only a block with content can be shared")]
    fn a_free_block_is_not_shared() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().expect("one is free");
        pool.release(block);
        pool.retain(block);
    }

    #[test]
    #[should_panic(expected = "a count is the number of tables")]
    fn a_leak_is_found() {
        let mut pool = BlockPool::new(1);
        pool.take();
        pool.audit(empty(), empty());
    }
}
