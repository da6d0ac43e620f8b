//! Which blocks are free, and how many tables hold each of the others.

/// A block's number: the same in the tensors of every layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct BlockId(u32);

impl BlockId {
    /// The number, as kernels take it.
    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// Counts references. A block is on the free list exactly when its count is 0.
#[derive(Debug)]
pub(crate) struct BlockPool {
    /// References by block; only this file writes them.
    counts: Vec<u32>,
    /// Blocks without references; the last one is handed out next.
    free: Vec<BlockId>,
}

impl BlockPool {
    /// A pool of free blocks.
    pub(crate) fn new(blocks: u32) -> Self {
        let free = (0..blocks).rev().map(BlockId).collect();
        Self { counts: vec![0; blocks as usize], free }
    }

    /// Blocks in all.
    pub(crate) fn total(&self) -> u32 {
        self.counts.len() as u32
    }

    /// Blocks that nothing refers to.
    pub(crate) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Takes a free block, with one reference to it.
    pub(crate) fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        let count = &mut self.counts[block.0 as usize];
        assert_eq!(*count, 0, "a free block is in no table");
        *count = 1;
        Some(block)
    }

    /// Adds a reference to a block that has one.
    pub(crate) fn retain(&mut self, block: BlockId) {
        let count = &mut self.counts[block.0 as usize];
        assert!(*count > 0, "only a block in a table can be shared");
        *count += 1;
    }

    /// Gives a reference back; the last one frees the block.
    pub(crate) fn release(&mut self, block: BlockId) {
        let count = &mut self.counts[block.0 as usize];
        assert!(*count > 0, "a released block is in a table");
        *count -= 1;
        if *count == 0 {
            debug_assert!(!self.free.contains(&block), "a freed block was not free before");
            self.free.push(block);
        }
    }

    /// Asserts that counts, tables and free list agree: `held` are the blocks of every table,
    /// each as often as it is held.
    pub(crate) fn audit(&self, held: impl Iterator<Item = BlockId>) {
        let mut counted = vec![0; self.counts.len()];
        held.for_each(|block| counted[block.0 as usize] += 1);
        assert_eq!(counted, self.counts, "a count is the number of tables that hold the block");
        for block in &self.free {
            assert_eq!(counted[block.0 as usize], 0, "a free block is in no table");
        }
        let unheld = counted.iter().filter(|count| **count == 0).count();
        assert_eq!(unheld, self.free.len(), "a block in no table is on the free list");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_frees() {
        let mut pool = BlockPool::new(2);
        let block = pool.take().expect("one is free");
        pool.retain(block);
        pool.release(block);
        assert_eq!(pool.free(), 1);
        pool.release(block);
        assert_eq!((pool.free(), pool.total()), (2, 2));
        pool.audit(std::iter::empty());
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
    #[should_panic(expected = "a count is the number of tables")]
    fn a_leak_is_found() {
        let mut pool = BlockPool::new(1);
        pool.take();
        pool.audit(std::iter::empty());
    }
}
