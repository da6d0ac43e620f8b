//! The paged cache of keys and values.

mod block_pool;
mod block_store;
mod block_table;
mod cache;
mod chain;
mod prefix_cache;

pub(crate) use block_pool::{BlockId, BlockPool};
pub(crate) use block_store::{BlockCopy, BlockStore, BlockTables, Usage};
pub(crate) use block_table::BlockTable;
pub(crate) use cache::{CacheShape, KvCache, LayerCache, LayerGroup, LayerShape};
pub(crate) use chain::{BlockKey, Chain, Root};

/// Token positions in a block. Attention kernels on GPUs want pages of a multiple of 32.
pub const BLOCK_TOKENS: u32 = 32;

/// Blocks that hold so many positions.
pub(crate) fn blocks_for(positions: u32) -> u32 {
    positions.div_ceil(BLOCK_TOKENS)
}
