//! The tensors that blocks are in.

use candle_core::Tensor;
use engine_kernels::{KvKind, kv_cache};

use super::{BLOCK_TOKENS, blocks_for};
use crate::model::LoadError;

/// In which type keys and values are kept.
pub(crate) const KIND: KvKind = KvKind::F16;

/// What a model keeps of each position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CacheShape {
    /// Layers with attention.
    pub(crate) layers: usize,
    /// Key heads, as many as value heads.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head_width: usize,
    /// Longest sequence in positions.
    pub(crate) context: u32,
}

impl CacheShape {
    /// Bytes of one block over all layers, keys and values.
    fn block_bytes(&self) -> u64 {
        let position = self.kv_heads * self.head_width * KIND.bytes();
        2 * self.layers as u64 * BLOCK_TOKENS as u64 * position as u64
    }

    /// How many blocks a budget of bytes buys: at least those of one full context, so that
    /// any sequence that the model takes can run.
    fn blocks(&self, kv_bytes: u64) -> Result<u32, LoadError> {
        let blocks = u32::try_from(kv_bytes / self.block_bytes()).unwrap_or(u32::MAX);
        let needed = blocks_for(self.context);
        if blocks < needed {
            let needed = needed as u64 * self.block_bytes();
            return Err(LoadError::CacheTooSmall { kv_bytes, context: self.context, needed });
        }
        // slots are numbered in 32 bits
        Ok(blocks.min(u32::MAX / BLOCK_TOKENS))
    }
}

/// Keys and values of every layer, in half precision.
pub(crate) struct KvCache {
    /// (keys, values) by layer, each of shape (blocks, 32, kv heads, head width).
    layers: Vec<(Tensor, Tensor)>,
    blocks: u32,
}

impl KvCache {
    /// Allocates all that the budget of bytes holds.
    pub(crate) fn new(shape: &CacheShape, kv_bytes: u64) -> Result<Self, LoadError> {
        let blocks = shape.blocks(kv_bytes)?;
        let tensor = || kv_cache(blocks as usize, shape.kv_heads, shape.head_width, KIND);
        let layers = (0..shape.layers)
            .map(|_| Ok((tensor()?, tensor()?)))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { layers, blocks })
    }

    /// Blocks in all.
    pub(crate) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The keys and the values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> (&Tensor, &Tensor) {
        let (keys, values) = &self.layers[layer];
        (keys, values)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: CacheShape = CacheShape { layers: 2, kv_heads: 2, head_width: 16, context: 100 };

    #[test]
    fn the_budget_buys_whole_blocks() {
        // 2 layers × (keys, values) × 32 positions × 2 heads × 16 × 2 bytes = 8192 a block
        let cache = KvCache::new(&SHAPE, 5 * 8192 + 8191).unwrap();
        assert_eq!(cache.blocks(), 5);
        assert_eq!(cache.layer(1).0.dims(), [5, 32, 2, 16]);
    }

    #[test]
    fn a_budget_below_one_context_is_refused_with_what_it_takes() {
        let error = KvCache::new(&SHAPE, 3 * 8192).err().unwrap();
        expect_test::expect![[
            "24576 bytes of KV memory do not hold one context of 100 tokens; give at least 32768"
        ]]
        .assert_eq(&error.to_string());
    }
}
