//! Where one sequence's positions are.

use super::{BLOCK_TOKENS, BlockId, BlockPool, blocks_for};

/// The blocks of a sequence, in the order of its positions. It holds one reference to each;
/// whoever drops a table has released it.
#[derive(Debug, Default)]
pub(crate) struct BlockTable {
    blocks: Vec<BlockId>,
}

impl BlockTable {
    /// The blocks, first positions first.
    pub(crate) fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The cache slot of a position: block times block length plus offset.
    pub(crate) fn slot(&self, position: u32) -> u32 {
        let block = self.blocks[(position / BLOCK_TOKENS) as usize];
        block.get() * BLOCK_TOKENS + position % BLOCK_TOKENS
    }

    /// Makes room for so many positions. On `false` the pool had too few blocks and nothing
    /// has changed.
    #[must_use]
    pub(crate) fn reserve(&mut self, positions: u32, pool: &mut BlockPool) -> bool {
        let wanted = blocks_for(positions);
        let missing = wanted.saturating_sub(self.blocks.len() as u32);
        if missing > pool.free() {
            return false;
        }
        self.blocks.extend((0..missing).map_while(|_| pool.take()));
        assert!(self.blocks.len() as u32 >= wanted, "the pool had counted its free blocks");
        true
    }

    /// A second table with the first so many blocks. They are full, so neither table's owner
    /// writes them again.
    pub(crate) fn share(&self, blocks: u32, pool: &mut BlockPool) -> Self {
        let blocks = self.blocks[..blocks as usize].to_vec();
        blocks.iter().for_each(|block| pool.retain(*block));
        Self { blocks }
    }

    /// Gives every block back and leaves the table empty.
    pub(crate) fn release(&mut self, pool: &mut BlockPool) {
        self.blocks.drain(..).for_each(|block| pool.release(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_map_to_slots_of_their_blocks() {
        let mut pool = BlockPool::new(4);
        let (mut first, mut second) = (BlockTable::default(), BlockTable::default());
        assert!(first.reserve(1, &mut pool));
        assert!(second.reserve(32, &mut pool));
        assert!(first.reserve(33, &mut pool));
        assert_eq!([0, 31, 32].map(|position| first.slot(position)), [0, 31, 64]);
        assert_eq!(second.slot(5), 37);
        pool.audit(first.blocks().iter().chain(second.blocks()).copied());
    }

    #[test]
    fn a_failed_reservation_changes_nothing() {
        let mut pool = BlockPool::new(2);
        let mut table = BlockTable::default();
        assert!(table.reserve(10, &mut pool));
        assert!(!table.reserve(65, &mut pool));
        assert_eq!((table.blocks().len(), pool.free()), (1, 1));
    }

    #[test]
    fn a_shared_block_outlives_its_first_table() {
        let mut pool = BlockPool::new(2);
        let mut first = BlockTable::default();
        assert!(first.reserve(64, &mut pool));
        let mut second = first.share(1, &mut pool);
        first.release(&mut pool);
        assert_eq!(pool.free(), 1);
        second.release(&mut pool);
        assert_eq!(pool.free(), 2);
    }
}
