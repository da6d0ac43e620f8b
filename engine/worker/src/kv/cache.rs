//! The tensors that blocks are in.

use candle_core::{Device, Tensor};
use engine_kernels::{KvKind, key_cache, value_cache};

use super::{BLOCK_TOKENS, BlockCopy, blocks_for};
use crate::model::LoadError;

/// What one layer keeps of each position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerShape {
    /// Key heads, as many as value heads.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head_width: usize,
    /// How many positions back the layer attends, its own counted; `None` for all.
    pub(crate) window: Option<u32>,
}

impl LayerShape {
    /// Bytes of one block, keys and values.
    fn block_bytes(&self, kind: KvKind) -> u64 {
        kind.block_bytes(self.kv_heads, self.head_width) as u64
    }
}

/// What a model keeps of each position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CacheShape {
    /// The layers with attention, in order.
    pub(crate) layers: Vec<LayerShape>,
    /// Longest sequence in positions.
    pub(crate) context: u32,
}

/// Layers that attend equally far back. They forget the same positions, so that one pool and
/// one block table serve all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerGroup {
    /// How many positions back its layers attend; `None` for all.
    pub(crate) window: Option<u32>,
    /// Blocks in its pool.
    pub(crate) blocks: u32,
}

impl CacheShape {
    /// The windows that occur: layers that see everything first, then wide before narrow.
    fn windows(&self) -> Vec<Option<u32>> {
        let mut windows: Vec<_> = self.layers.iter().map(|layer| layer.window).collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.unwrap_or(u32::MAX)));
        windows.dedup();
        windows
    }

    /// How many blocks of each group a budget of bytes buys: at least those of one full
    /// context, so that any sequence that the model takes can run.
    ///
    /// A group with a window gets half as many blocks as one that sees everything: a sequence
    /// of twice the window fills both alike, a shorter one needs as many of each.
    fn groups(&self, kind: KvKind, kv_bytes: u64) -> Result<Vec<LayerGroup>, LoadError> {
        let windows = self.windows();
        let share = |window: &Option<u32>| match (window, windows[0]) {
            (Some(_), None) => 1,
            _ => 2,
        };
        // of what is bought together: two blocks of each whole group, one of each other
        let bundle: u64 =
            windows.iter().map(|window| share(window) * self.bytes(*window, kind)).sum();
        let bundles = kv_bytes / bundle.max(1);
        let needed = |window: &Option<u32>| blocks_for(self.context).min(window_blocks(*window));
        let groups: Vec<_> = windows
            .iter()
            .map(|window| {
                // slots are numbered in 32 bits
                let blocks = (bundles * share(window)).min((u32::MAX / BLOCK_TOKENS) as u64);
                LayerGroup { window: *window, blocks: blocks as u32 }
            })
            .collect();
        if groups.iter().any(|group| group.blocks < needed(&group.window)) {
            let bundles =
                windows.iter().map(|window| u64::from(needed(window)).div_ceil(share(window)));
            let needed = bundles.max().unwrap_or(0) * bundle;
            return Err(LoadError::CacheTooSmall { kv_bytes, context: self.context, needed });
        }
        Ok(groups)
    }

    /// Bytes of one block over the layers of a group.
    fn bytes(&self, window: Option<u32>, kind: KvKind) -> u64 {
        let layers = self.layers.iter().filter(|layer| layer.window == window);
        layers.map(|layer| layer.block_bytes(kind)).sum()
    }
}

/// The most blocks of a group that a sequence holds between steps of one block each: its
/// window, wherever that begins in a block, and the block that is being written.
fn window_blocks(window: Option<u32>) -> u32 {
    window.map_or(u32::MAX, |window| blocks_for(window).saturating_add(2))
}

/// Keys and values of every layer.
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    groups: Vec<LayerGroup>,
}

/// Keys and values of one layer; the first dimension of both is the blocks.
pub(crate) struct LayerCache {
    /// The keys.
    pub(crate) keys: Tensor,
    /// The values.
    pub(crate) values: Tensor,
    /// The layer's group, whose block tables and slots it goes by.
    pub(crate) group: usize,
}

impl KvCache {
    /// Allocates all that the budget of bytes holds, on the device.
    pub(crate) fn new(
        shape: &CacheShape,
        kind: KvKind,
        kv_bytes: u64,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let groups = shape.groups(kind, kv_bytes)?;
        let layer = |layer: &LayerShape| {
            let group = groups.iter().position(|group| group.window == layer.window);
            let group = group.expect("the groups are those of the layers");
            let blocks = groups[group].blocks as usize;
            let LayerShape { kv_heads, head_width, .. } = *layer;
            let keys = key_cache(blocks, kv_heads, head_width, kind, device)?;
            let values = value_cache(blocks, kv_heads, head_width, kind, device)?;
            Ok(LayerCache { keys, values, group })
        };
        let layers = shape.layers.iter().map(layer).collect::<candle_core::Result<_>>()?;
        Ok(Self { layers, groups })
    }

    /// The groups of layers, in the order of their numbers.
    pub(crate) fn groups(&self) -> &[LayerGroup] {
        &self.groups
    }

    /// Copies the content of blocks, in this order.
    pub(crate) fn copy<'a>(
        &self,
        copies: impl Iterator<Item = &'a BlockCopy>,
    ) -> candle_core::Result<()> {
        for BlockCopy { group, from, to } in copies {
            for layer in self.layers.iter().filter(|layer| layer.group == *group) {
                for tensor in [&layer.keys, &layer.values] {
                    let content = tensor.narrow(0, from.get() as usize, 1)?.copy()?;
                    tensor.slice_set(&content, 0, to.get() as usize)?;
                }
            }
        }
        Ok(())
    }

    /// The keys and the values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LAYER: LayerShape = LayerShape { kv_heads: 2, head_width: 16, window: None };

    fn shape(windows: &[Option<u32>]) -> CacheShape {
        let layers = windows.iter().map(|window| LayerShape { window: *window, ..LAYER });
        CacheShape { layers: layers.collect(), context: 100 }
    }

    #[test]
    fn the_budget_buys_whole_blocks() {
        // 2 layers × (keys, values) × 32 positions × 2 heads × 16 × 2 bytes = 8192 a block
        let cache =
            KvCache::new(&shape(&[None; 2]), KvKind::F16, 6 * 8192 + 8191, &Device::Cpu).unwrap();
        assert_eq!(cache.groups(), [LayerGroup { window: None, blocks: 6 }]);
        assert_eq!(cache.layer(1).values.dims(), [6, 32, 2, 16]);
    }

    #[test]
    fn layers_of_one_window_share_a_pool() {
        let cache = KvCache::new(
            &shape(&[Some(40), None, Some(40)]),
            KvKind::F16,
            100 * 4096,
            &Device::Cpu,
        )
        .unwrap();
        let groups =
            [LayerGroup { window: None, blocks: 50 }, LayerGroup { window: Some(40), blocks: 25 }];
        assert_eq!(cache.groups(), groups);
        let layers = [0, 1, 2].map(|layer| cache.layer(layer).group);
        assert_eq!(layers, [1, 0, 1]);
        assert_eq!(cache.layer(0).values.dims(), [25, 32, 2, 16]);
    }

    #[test]
    fn a_budget_below_one_context_is_refused_with_what_it_takes() {
        let error =
            KvCache::new(&shape(&[None; 2]), KvKind::F16, 3 * 8192, &Device::Cpu).err().unwrap();
        expect_test::expect![[
            "24576 bytes of KV memory do not hold one context of 100 tokens; give at least 32768"
        ]]
        .assert_eq(&error.to_string());
        let needed = |windows: &[Option<u32>]| {
            let shape = shape(windows);
            let error = shape.groups(KvKind::F16, 1).unwrap_err();
            let LoadError::CacheTooSmall { needed, .. } = error else { panic!("{error}") };
            assert!(shape.groups(KvKind::F16, needed - 1).is_err());
            shape.groups(KvKind::F16, needed).unwrap()
        };
        let both = needed(&[None, Some(40)]);
        assert_eq!(both.iter().map(|group| group.blocks).collect::<Vec<_>>(), [8, 4]);
        assert_eq!(needed(&[Some(40)])[0].blocks, 4);
    }
}
