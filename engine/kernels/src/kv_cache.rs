//! The paged cache of keys or values: blocks of 32 positions.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, bail};
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::storage::contiguous;

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 32;

/// In which type keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvKind {
    /// 16-bit floats.
    #[default]
    F16,
    /// 32-bit floats.
    F32,
}

impl KvKind {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            KvKind::F16 => 2,
            KvKind::F32 => 4,
        }
    }
}

/// An empty cache of keys (or values) of one layer, on `device`: (blocks, 32, kv heads, head width).
pub fn kv_cache(
    blocks: usize,
    kv_heads: usize,
    head_width: usize,
    kind: KvKind,
    device: &Device,
) -> Result<Tensor> {
    let dtype = match kind {
        KvKind::F16 => DType::F16,
        KvKind::F32 => DType::F32,
    };
    Tensor::zeros((blocks, BLOCK_TOKENS, kv_heads, head_width), dtype, device)
}

/// Rounds `rows` (M, kv heads, head width) to the type of `cache` and writes them to `slots`, one a row:
/// a slot is `block * 32 + offset`. Of rows with the same slot the last one stays.
pub fn write_kv(cache: &Tensor, rows: &Tensor, slots: &[u32]) -> Result<()> {
    cache.inplace_op2(rows, &WriteKv { slots })
}

struct WriteKv<'a> {
    slots: &'a [u32],
}

impl InplaceOp2 for WriteKv<'_> {
    fn name(&self) -> &'static str {
        "write-kv"
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        cache_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> Result<()> {
        let width = self.width(cache_layout, rows_layout)?;
        let rows = contiguous::<f32>(InplaceOp2::name(self), rows, rows_layout)?;
        let Some((start, end)) = cache_layout.contiguous_offsets() else {
            bail!("write-kv: the cache is not contiguous")
        };
        if width == 0 {
            return Ok(());
        }
        let rows = rows.chunks_exact(width).zip(self.slots.iter().map(|slot| *slot as usize));
        match cache {
            CpuStorage::F16(cache) => {
                let cache = &mut cache[start..end];
                for (row, slot) in rows {
                    let to: &mut [f16] = &mut cache[slot * width..][..width];
                    to.convert_from_f32_slice(row);
                }
            }
            CpuStorage::F32(cache) => {
                let cache = &mut cache[start..end];
                for (row, slot) in rows {
                    cache[slot * width..][..width].copy_from_slice(row);
                }
            }
            _ => bail!("write-kv: the cache is neither f16 nor f32"),
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        cache: &mut CudaStorage,
        cache_layout: &Layout,
        rows: &CudaStorage,
        rows_layout: &Layout,
    ) -> Result<()> {
        self.width(cache_layout, rows_layout)?;
        let (cache, rows) = ((cache, cache_layout), (rows, rows_layout));
        crate::cuda::kv_cache::forward(InplaceOp2::name(self), cache, rows, self.slots)
    }
}

impl WriteKv<'_> {
    /// Width of a row, once the shapes and slots are checked.
    fn width(&self, cache: &Layout, rows: &Layout) -> Result<usize> {
        let (count, heads, head_width) = rows.shape().dims3()?;
        let (blocks, block_tokens, cache_heads, cache_width) = cache.shape().dims4()?;
        if (heads, head_width, block_tokens) != (cache_heads, cache_width, BLOCK_TOKENS)
            || count != self.slots.len()
        {
            let slots = self.slots.len();
            bail!("write-kv: {:?} to {slots} slots of {:?}", rows.shape(), cache.shape())
        }
        if let Some(slot) = self.slots.iter().find(|slot| **slot as usize >= blocks * BLOCK_TOKENS)
        {
            bail!("write-kv: slot {slot} of {}", blocks * BLOCK_TOKENS)
        }
        Ok(heads * head_width)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::tests::{device, noise};

    #[test]
    fn rows_arrive_rounded_in_their_slots() {
        for kind in [KvKind::F16, KvKind::F32] {
            let cache = kv_cache(3, 2, 16, kind, &device()).unwrap();
            let rows = noise(&[3, 2, 16], 1);
            write_kv(&cache, &rows, &[95, 0, 33]).unwrap();
            let flat = cache.to_dtype(DType::F32).unwrap().reshape((96, 32)).unwrap();
            let flat = flat.to_vec2::<f32>().unwrap();
            let rows = rows.reshape((3, 32)).unwrap().to_vec2::<f32>().unwrap();
            for (row, slot) in [(0, 95), (1, 0), (2, 33)] {
                let rounded: Vec<f32> = rows[row]
                    .iter()
                    .map(|x| if kind == KvKind::F16 { f16::from_f32(*x).to_f32() } else { *x })
                    .collect();
                assert_eq!(flat[slot], rounded);
            }
            assert_eq!(flat.iter().filter(|row| row.iter().any(|x| *x != 0.0)).count(), 3);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cache = kv_cache(1, 2, 16, KvKind::F16, &device()).unwrap();
        assert!(write_kv(&cache, &noise(&[1, 2, 16], 1), &[32]).is_err());
        assert!(write_kv(&cache, &noise(&[1, 2, 16], 1), &[0, 1]).is_err());
        assert!(write_kv(&cache, &noise(&[1, 1, 16], 1), &[0]).is_err());
        assert!(write_kv(&cache, &noise(&[1, 2, 32], 1), &[0]).is_err());
    }
}
