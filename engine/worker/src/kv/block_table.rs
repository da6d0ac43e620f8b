//! Where one sequence's positions are, in one group of layers.

use super::{BLOCK_TOKENS, BlockId};

/// The blocks of a sequence, in the order of its positions. It holds one reference to each;
/// whoever drops a table has released it.
///
/// Where the layers see only a window, blocks before it are given back: their entries stay,
/// so that positions keep their index, but say nothing.
#[derive(Debug, Default)]
pub(crate) struct BlockTable {
    blocks: Vec<BlockId>,
    /// Entries at the beginning whose blocks were given back.
    gone: usize,
}

impl BlockTable {
    /// A table of blocks that the caller has references to, of which the first `gone` say
    /// nothing.
    pub(super) fn new(blocks: Vec<BlockId>, gone: usize) -> Self {
        assert!(gone <= blocks.len(), "only blocks of the table are given back");
        Self { blocks, gone }
    }

    /// All entries, first positions first, as the attention kernel takes them.
    pub(crate) fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The blocks that are held, each with its index.
    pub(crate) fn held(&self) -> impl DoubleEndedIterator<Item = (usize, BlockId)> {
        let held = self.blocks.iter().copied().enumerate();
        held.skip(self.gone)
    }

    /// How many entries at the beginning say nothing.
    pub(crate) fn gone(&self) -> usize {
        self.gone
    }

    /// Positions that have a place.
    pub(crate) fn positions(&self) -> u32 {
        self.blocks.len() as u32 * BLOCK_TOKENS
    }

    /// The block at an index, if it is held.
    pub(crate) fn get(&self, index: usize) -> Option<BlockId> {
        self.blocks.get(index).copied().filter(|_| index >= self.gone)
    }

    /// The cache slot of a position: block times block length plus offset.
    pub(crate) fn slot(&self, position: u32) -> u32 {
        let index = (position / BLOCK_TOKENS) as usize;
        let block = self.get(index).expect("a position that is written has a block");
        block.get() * BLOCK_TOKENS + position % BLOCK_TOKENS
    }

    /// Adds a block that the caller has a reference to.
    pub(super) fn push(&mut self, block: BlockId) {
        self.blocks.push(block);
    }

    /// Puts another block in the place of one that is held, and gives that one.
    pub(super) fn replace(&mut self, index: usize, block: BlockId) -> BlockId {
        assert!(index >= self.gone, "only a held block is replaced");
        std::mem::replace(&mut self.blocks[index], block)
    }

    /// Gives the first block that is held; its entry says nothing from now on.
    pub(super) fn shift(&mut self) -> BlockId {
        let block = self.blocks[self.gone];
        self.gone += 1;
        block
    }

    /// Gives the last block that is held.
    pub(super) fn pop(&mut self) -> Option<BlockId> {
        if self.blocks.len() == self.gone {
            *self = Self::default();
            return None;
        }
        self.blocks.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlockPool;
    use super::*;

    #[test]
    fn positions_map_to_slots_of_their_blocks() {
        let mut pool = BlockPool::new(4);
        let mut take = || pool.take().expect("one is free");
        let [a, b, c] = [take(), take(), take()];
        let first = BlockTable::new(vec![a, c], 0);
        assert_eq!([0, 31, 32].map(|position| first.slot(position)), [0, 31, 64]);
        assert_eq!(BlockTable::new(vec![b], 0).slot(5), 37);
    }

    #[test]
    fn what_was_given_back_keeps_its_index() {
        let mut pool = BlockPool::new(3);
        let mut take = || pool.take().expect("one is free");
        let [a, b] = [take(), take()];
        let mut table = BlockTable::new(vec![a, b], 0);
        assert_eq!(table.shift(), a);
        assert_eq!((table.get(0), table.get(1), table.gone()), (None, Some(b), 1));
        assert_eq!((table.slot(33), table.positions()), (33, 64));
        assert_eq!(table.held().collect::<Vec<_>>(), [(1, b)]);
        assert_eq!(table.pop(), Some(b));
        assert_eq!((table.pop(), table.positions(), table.gone()), (None, 0, 0));
    }
}
