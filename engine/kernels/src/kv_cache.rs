//! The paged cache of keys or values: blocks of 32 positions.
//!
//! On a GPU both are (blocks, 32, kv heads, head width), which is what its attention reads. On the CPU a
//! block of keys is (kv heads, head width, 32): one element of 32 positions side by side, which is the
//! order in which scores are summed, so that nobody has to turn keys at every reading. Keys and values of
//! 8 bits are blocks of `key_block.rs` and of `value_block.rs`.

mod writing;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, bail};
use half::f16;
use half::vec::HalfBitsVecExt;

use crate::key_block;
use crate::rope::{RopeTable, rope};
use crate::storage::contiguous;
use crate::value_block;

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 32;

/// In which type keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvKind {
    /// 8 bits, with a scale for 32 elements of a key and one for each value; on the CPU only.
    Q8,
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

impl KvKind {
    /// What is taken where nobody asks for something else.
    pub fn of(device: &Device) -> KvKind {
        if device.is_cpu() { KvKind::Q8 } else { KvKind::F16 }
    }

    /// Bytes of a block, keys and values.
    pub fn block_bytes(self, kv_heads: usize, head_width: usize) -> usize {
        let elements = BLOCK_TOKENS * kv_heads * head_width;
        match self {
            KvKind::Q8 => {
                2 * kv_heads * (key_block::units(head_width) + value_block::units(head_width))
            }
            KvKind::F16 => 4 * elements,
            KvKind::F32 => 8 * elements,
        }
    }

    fn dtype(self) -> DType {
        match self {
            KvKind::Q8 | KvKind::F16 => DType::F16,
            KvKind::F32 => DType::F32,
        }
    }
}

/// How keys or values lie in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvLayout {
    /// (blocks, kv heads, head width, 32): keys that are floats, on the CPU.
    ByElement,
    /// (blocks, 32, kv heads, head width): floats, values and a GPU's keys.
    ByPosition,
    /// (blocks, kv heads, units of a block of one head): 8 bits.
    Rounded,
}

impl KvLayout {
    /// That of a cache of keys, so many heads so wide; `None` if it is of no layout.
    pub(crate) fn of_keys(
        cache: &[usize],
        kv_heads: usize,
        head_width: usize,
        on_cpu: bool,
    ) -> Option<KvLayout> {
        match *cache {
            [_, heads, units] if on_cpu => {
                let fits = heads == kv_heads && units == key_block::units(head_width);
                fits.then_some(KvLayout::Rounded)
            }
            [_, heads, width, BLOCK_TOKENS] if on_cpu => {
                (heads == kv_heads && width == head_width).then_some(KvLayout::ByElement)
            }
            _ if on_cpu => None,
            _ => KvLayout::by_position(cache, kv_heads, head_width),
        }
    }

    /// The same of a cache of values.
    pub(crate) fn of_values(
        cache: &[usize],
        kv_heads: usize,
        head_width: usize,
        on_cpu: bool,
    ) -> Option<KvLayout> {
        match *cache {
            [_, heads, units] if on_cpu => {
                let fits = heads == kv_heads && units == value_block::units(head_width);
                fits.then_some(KvLayout::Rounded)
            }
            _ => KvLayout::by_position(cache, kv_heads, head_width),
        }
    }

    fn by_position(cache: &[usize], kv_heads: usize, head_width: usize) -> Option<KvLayout> {
        match *cache {
            [_, BLOCK_TOKENS, heads, width] => {
                (heads == kv_heads && width == head_width).then_some(KvLayout::ByPosition)
            }
            _ => None,
        }
    }
}

/// An empty cache of keys of one layer, on `device`. The first dimension is its blocks.
pub fn key_cache(
    blocks: usize,
    kv_heads: usize,
    head_width: usize,
    kind: KvKind,
    device: &Device,
) -> Result<Tensor> {
    match (kind, device.is_cpu()) {
        (KvKind::Q8, true) => {
            zeros(&[blocks, kv_heads, key_block::units(head_width)], kind, device)
        }
        (KvKind::Q8, false) => bail!("keys of 8 bits are for the CPU, not for {device:?}"),
        (_, true) => zeros(&[blocks, kv_heads, head_width, BLOCK_TOKENS], kind, device),
        (_, false) => zeros(&[blocks, BLOCK_TOKENS, kv_heads, head_width], kind, device),
    }
}

/// An empty cache of values of one layer, on `device`. The first dimension is its blocks.
pub fn value_cache(
    blocks: usize,
    kv_heads: usize,
    head_width: usize,
    kind: KvKind,
    device: &Device,
) -> Result<Tensor> {
    match (kind, device.is_cpu()) {
        (KvKind::Q8, true) => {
            zeros(&[blocks, kv_heads, value_block::units(head_width)], kind, device)
        }
        (KvKind::Q8, false) => bail!("values of 8 bits are for the CPU, not for {device:?}"),
        _ => zeros(&[blocks, BLOCK_TOKENS, kv_heads, head_width], kind, device),
    }
}

/// On a CPU the system gives each page when it is first written, as it does for all memory that is asked
/// for as zeros: writing them all before the first request takes longer than all the rest of a start.
fn zeros(shape: &[usize], kind: KvKind, device: &Device) -> Result<Tensor> {
    let count = shape.iter().product();
    match kind {
        _ if !device.is_cpu() => Tensor::zeros(shape, kind.dtype(), device),
        KvKind::Q8 | KvKind::F16 => {
            let zeros: Vec<f16> = vec![0_u16; count].reinterpret_into();
            Tensor::from_vec(zeros, shape, device)
        }
        KvKind::F32 => Tensor::from_vec(vec![0.0_f32; count], shape, device),
    }
}

/// By which positions keys are turned on their way into the cache.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// The absolute position of each row.
    pub positions: &'a [u32],
    /// What a position means.
    pub table: &'a RopeTable,
}

/// Turns `rows` (M, kv heads, head width) by their positions, rounds them to the type of `cache` and
/// writes them to `slots`, one a row: a slot is `block * 32 + offset`. Of rows with the same slot the
/// last one stays.
pub fn write_keys(
    cache: &Tensor,
    rows: &Tensor,
    slots: &[u32],
    turn: Option<Turn<'_>>,
) -> Result<()> {
    match turn {
        Some(turn) if !cache.device().is_cpu() => {
            let rows = rope(rows, turn.positions, turn.table)?;
            cache.inplace_op2(&rows, &WriteKv { slots, part: Part::Keys(None) })
        }
        turn => cache.inplace_op2(rows, &WriteKv { slots, part: Part::Keys(turn) }),
    }
}

/// The same for values, which are not turned.
pub fn write_values(cache: &Tensor, rows: &Tensor, slots: &[u32]) -> Result<()> {
    cache.inplace_op2(rows, &WriteKv { slots, part: Part::Values })
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Keys(Option<Turn<'a>>),
    Values,
}

struct WriteKv<'a> {
    slots: &'a [u32],
    part: Part<'a>,
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
        let place = self.place(cache_layout, rows_layout, true)?;
        let rows = contiguous::<f32>(InplaceOp2::name(self), rows, rows_layout)?;
        let Some((start, end)) = cache_layout.contiguous_offsets() else {
            bail!("write-kv: the cache is not contiguous")
        };
        if rows.is_empty() {
            return Ok(());
        }
        match cache {
            CpuStorage::F16(cache) => self.write(&mut cache[start..end], rows, place),
            CpuStorage::F32(cache) => self.write(&mut cache[start..end], rows, place),
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
        self.place(cache_layout, rows_layout, false)?;
        let (cache, rows) = ((cache, cache_layout), (rows, rows_layout));
        crate::cuda::kv_cache::forward(InplaceOp2::name(self), cache, rows, self.slots)
    }
}

impl WriteKv<'_> {
    /// Width of a head and how keys lie, once the shapes, slots and positions are checked.
    fn place(&self, cache: &Layout, rows: &Layout, on_cpu: bool) -> Result<(usize, KvLayout)> {
        let (count, heads, head_width) = rows.shape().dims3()?;
        let blocks = cache.dims().first().copied().unwrap_or_default();
        let slots = self.slots.len();
        let layout = match self.part {
            Part::Keys(_) => KvLayout::of_keys(cache.dims(), heads, head_width, on_cpu),
            Part::Values => KvLayout::of_values(cache.dims(), heads, head_width, on_cpu),
        };
        let Some(layout) = layout.filter(|_| count == slots) else {
            bail!("write-kv: {:?} to {slots} slots of {:?}", rows.shape(), cache.shape())
        };
        if let Some(slot) = self.slots.iter().find(|slot| **slot as usize >= blocks * BLOCK_TOKENS)
        {
            bail!("write-kv: slot {slot} of {}", blocks * BLOCK_TOKENS)
        }
        if let Part::Keys(Some(Turn { positions, table })) = self.part {
            table.check(count, head_width, positions)?;
        }
        Ok((head_width, layout))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rope::{RopeScaling, RopeStyle};
    use crate::storage::tests::{bits, device, noise};

    /// What is in a cache, by slot.
    fn by_slot(cache: &Tensor, is_keys: bool) -> Vec<Vec<f32>> {
        let cache = cache.to_dtype(DType::F32).unwrap();
        let cache = match is_keys && device().is_cpu() {
            true => cache.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap(),
            false => cache,
        };
        cache.reshape((96, 32)).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn rows_arrive_rounded_in_their_slots() {
        for kind in [KvKind::F16, KvKind::F32] {
            let keys = key_cache(3, 2, 16, kind, &device()).unwrap();
            let values = value_cache(3, 2, 16, kind, &device()).unwrap();
            let rows = noise(&[3, 2, 16], 1);
            write_keys(&keys, &rows, &[95, 0, 33], None).unwrap();
            write_values(&values, &rows, &[95, 0, 33]).unwrap();
            let rows = rows.reshape((3, 32)).unwrap().to_vec2::<f32>().unwrap();
            for flat in [by_slot(&keys, true), by_slot(&values, false)] {
                for (row, slot) in [(0, 95), (1, 0), (2, 33)] {
                    let round = |x: &f32| match kind {
                        KvKind::F16 => f16::from_f32(*x).to_f32(),
                        _ => *x,
                    };
                    assert_eq!(flat[slot], rows[row].iter().map(round).collect::<Vec<_>>());
                }
                assert_eq!(flat.iter().filter(|row| row.iter().any(|x| *x != 0.0)).count(), 3);
            }
        }
    }

    #[test]
    fn keys_of_8_bits_are_turned_on_their_way_too() {
        let table =
            RopeTable::new(RopeStyle::Interleaved, 64, 1e4, &RopeScaling::None, 100).unwrap();
        let [turned, before] =
            [(); 2].map(|()| key_cache(3, 2, 64, KvKind::Q8, &Device::Cpu).unwrap());
        let rows = Tensor::randn(0.0_f32, 1.0, (3, 2, 64), &Device::Cpu).unwrap();
        let (positions, slots) = ([7, 99, 0], [95, 0, 33]);
        let turn = Turn { positions: &positions, table: &table };
        write_keys(&turned, &rows, &slots, Some(turn)).unwrap();
        write_keys(&before, &rope(&rows, &positions, &table).unwrap(), &slots, None).unwrap();
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f16>().unwrap();
        let same =
            flat(&turned).iter().map(|x| x.to_bits()).eq(flat(&before).iter().map(|x| x.to_bits()));
        assert!(same);
        assert!(flat(&turned).iter().any(|x| *x != f16::ZERO));
        assert_eq!(KvKind::Q8.block_bytes(2, 64), 2 * (64 * 34 + 32 * 66));
    }

    #[test]
    fn keys_are_turned_on_their_way() {
        let table = RopeTable::new(RopeStyle::Halves, 16, 1e4, &RopeScaling::None, 100).unwrap();
        let [turned, before] =
            [(); 2].map(|()| key_cache(3, 2, 16, KvKind::F32, &device()).unwrap());
        let (rows, positions, slots) = (noise(&[3, 2, 16], 1), [7, 99, 0], [95, 0, 33]);
        let turn = Turn { positions: &positions, table: &table };
        write_keys(&turned, &rows, &slots, Some(turn)).unwrap();
        write_keys(&before, &rope(&rows, &positions, &table).unwrap(), &slots, None).unwrap();
        assert_eq!(bits(&turned), bits(&before));
        let late = Turn { positions: &[7, 100, 0], table: &table };
        assert!(write_keys(&turned, &rows, &slots, Some(late)).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let keys = key_cache(1, 2, 16, KvKind::F16, &device()).unwrap();
        let values = value_cache(1, 2, 16, KvKind::F16, &device()).unwrap();
        let both = |shape: &[usize], slots: &[u32]| {
            let rows = noise(shape, 1);
            assert!(write_keys(&keys, &rows, slots, None).is_err());
            assert!(write_values(&values, &rows, slots).is_err());
        };
        both(&[1, 2, 16], &[32]);
        both(&[1, 2, 16], &[0, 1]);
        both(&[1, 1, 16], &[0]);
        both(&[1, 2, 32], &[0]);
    }
}
