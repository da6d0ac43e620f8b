//! Rows on their way into a cache on the CPU.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{BLOCK_TOKENS, KvLayout, Part, Turn, WriteKv};
use crate::key_block;
use crate::lanes::Lanes;
use crate::path::{Kernel, Path, launch};
use crate::rope::turn_row;
use crate::threads::split;
use crate::value_block;

/// A number that keys and values are kept as.
pub(super) trait Kept: Copy + Default + Send + Sync {
    fn round(from: &[f32], to: &mut [Self]);
    /// Writes a key or a value of 8 bits to a place of its block.
    fn write_rounded<L: Lanes>(
        l: L,
        part: Part<'_>,
        block: &mut [Self],
        offset: usize,
        row: &[f32],
    );
}

impl Kept for f16 {
    fn round(from: &[f32], to: &mut [f16]) {
        to.convert_from_f32_slice(from);
    }
    #[inline(always)]
    fn write_rounded<L: Lanes>(
        l: L,
        part: Part<'_>,
        block: &mut [f16],
        offset: usize,
        row: &[f32],
    ) {
        match part {
            Part::Keys(_) => key_block::write(l, block, offset, row),
            Part::Values => value_block::write(l, block, offset, row),
        }
    }
}

impl Kept for f32 {
    fn round(from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
    fn write_rounded<L: Lanes>(_: L, _: Part<'_>, _: &mut [f32], _: usize, _: &[f32]) {
        unreachable!("a cache of 8 bits is one of 16-bit units");
    }
}

impl WriteKv<'_> {
    /// Writes the rows to their blocks, several blocks at a time.
    pub(super) fn write<T: Kept>(&self, cache: &mut [T], rows: &[f32], place: (usize, KvLayout)) {
        let slots = self.slots.iter().map(|slot| *slot as usize / BLOCK_TOKENS);
        let blocks: Vec<usize> = slots.collect();
        let runs = runs(&blocks);
        let width = rows.len() / blocks.len();
        let size = match place {
            (head_width, KvLayout::Rounded) => match self.part {
                Part::Keys(_) => width / head_width * key_block::units(head_width),
                Part::Values => width / head_width * value_block::units(head_width),
            },
            _ => BLOCK_TOKENS * width,
        };
        let path = Path::best();
        let start = Start(cache.as_mut_ptr(), cache.len());
        let write = |runs: &[Range<usize>]| {
            for range in runs.iter().cloned() {
                let first = blocks[range.start] * size;
                // SAFETY: one run alone writes a block: where two have the same, one thread writes all.
                #[allow(unsafe_code)]
                let block = unsafe { start.part(first..first + size) };
                launch(path, Writing { op: self, range, block, rows, place });
            }
        };
        let mut known: Vec<usize> = runs.iter().map(|run| blocks[run.start]).collect();
        known.sort_unstable();
        if known.windows(2).any(|two| two[0] == two[1]) {
            return write(&runs);
        }
        // about a nanosecond an element
        let cost = rows.len() / runs.len().max(1);
        split(runs.len(), cost, |part| write(&runs[part]));
    }
}

/// Neighbours that are equal.
fn runs(blocks: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if blocks[run.start] == *block => run.end = i + 1,
            _ => runs.push(i..i + 1),
        }
    }
    runs
}

/// Where a cache begins, and how many elements it has.
struct Start<T>(*mut T, usize);

// SAFETY: the parts that are made of it do not overlap (`part`), and `T` may be sent.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    /// A part of the cache.
    ///
    /// # Safety
    /// No two parts that overlap may be used at a time, and the cache must be borrowed meanwhile.
    #[allow(unsafe_code)]
    unsafe fn part<'a>(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.1);
        // SAFETY: the assertion keeps it inside the cache; the caller keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// Neighbouring rows that go to one block of a cache on the CPU.
struct Writing<'a, T> {
    op: &'a WriteKv<'a>,
    /// Which rows.
    range: Range<usize>,
    block: &'a mut [T],
    /// All rows.
    rows: &'a [f32],
    /// Width of a head, and how heads lie.
    place: (usize, KvLayout),
}

impl<T: Kept> Kernel for Writing<'_, T> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Writing { op: WriteKv { slots, part }, range, block, rows, place } = self;
        let (head_width, layout) = place;
        let width = rows.len() / slots.len();
        let mut turned = vec![0.0; width];
        let mut rounded = vec![T::default(); width];
        for row in range {
            let offset = slots[row] as usize % BLOCK_TOKENS;
            let mut from = &rows[row * width..][..width];
            if let Part::Keys(Some(Turn { positions, table })) = part {
                turned.copy_from_slice(from);
                turn_row(&mut turned, head_width, positions[row], table);
                from = &turned;
            }
            match layout {
                KvLayout::ByPosition => T::round(from, &mut block[offset * width..][..width]),
                KvLayout::ByElement => {
                    T::round(from, &mut rounded);
                    let elements = block.as_chunks_mut::<BLOCK_TOKENS>().0;
                    for (to, element) in elements.iter_mut().zip(&rounded) {
                        to[offset] = *element;
                    }
                }
                KvLayout::Rounded => {
                    let units = block.len() / (width / head_width);
                    let heads = block.chunks_exact_mut(units).zip(from.chunks_exact(head_width));
                    for (block, row) in heads {
                        T::write_rounded(l, *part, block, offset, row);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Tensor};

    use crate::threads::Threads;
    use crate::{KvKind, key_cache, value_cache, write_keys, write_values};

    fn written(slots: &[u32], rows: &Tensor, threads: usize) -> [Vec<u16>; 2] {
        let keys = key_cache(12, 2, 64, KvKind::Q8, &Device::Cpu).unwrap();
        let values = value_cache(12, 2, 64, KvKind::Q8, &Device::Cpu).unwrap();
        Threads::new(threads).unwrap().install(|| {
            write_keys(&keys, rows, slots, None).unwrap();
            write_values(&values, rows, slots).unwrap();
        });
        [keys, values].map(|cache| {
            let units = cache.flatten_all().unwrap().to_vec1::<half::f16>().unwrap();
            units.into_iter().map(half::f16::to_bits).collect()
        })
    }

    #[test]
    fn threads_leave_no_trace_and_the_last_row_of_a_slot_stays() {
        let rows = Tensor::randn(0.0_f32, 1.0, (330, 2, 64), &Device::Cpu).unwrap();
        let slots: Vec<u32> = (0..330).map(|row| (row * 32 + 5) % 384 + row / 12).collect();
        let slots: Vec<u32> = slots.into_iter().map(|slot| slot % 384).collect();
        let sorted: Vec<u32> = (20..350).collect();
        for slots in [slots, sorted] {
            assert!(written(&slots, &rows, 3) == written(&slots, &rows, 1));
        }
        let three = rows.narrow(0, 0, 3).unwrap();
        let last = rows.narrow(0, 1, 2).unwrap();
        assert!(written(&[7, 40, 7], &three, 2) == written(&[40, 7], &last, 1));
    }
}
