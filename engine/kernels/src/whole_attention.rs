//! Attention in which every row of a text sees every other, as in encoders (arXiv 1706.03762): no cache,
//! no order, no mask. Texts of one batch lie one after the other and never see each other.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::float::{exp_lanes, load_part, max_lanes, sum_lanes};
use crate::lanes::{LANES, Lanes};
use crate::path::{Kernel, Path, launch};
use crate::storage::contiguous;
use crate::threads::split_rows;

/// `softmax(q k / sqrt(width of a head)) v` of each of `heads` heads, for queries, keys and values (M, D) of
/// texts that have `lengths` rows each and M together; (M, D). A row's result depends on its text alone. On
/// the CPU.
pub fn whole_attention(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    heads: usize,
    lengths: &[usize],
) -> Result<Tensor> {
    let op = WholeAttention { path: Path::best(), heads, lengths };
    queries.apply_op3_no_bwd(keys, values, &op)
}

struct WholeAttention<'a> {
    path: Path,
    heads: usize,
    lengths: &'a [usize],
}

impl CustomOp3 for WholeAttention<'_> {
    fn name(&self) -> &'static str {
        "whole-attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = queries_layout.shape();
        let (rows, width) = shape.dims2()?;
        if keys_layout.shape() != shape || values_layout.shape() != shape {
            bail!("{}: queries of {shape:?}, but keys or values are not", self.name())
        }
        if self.heads == 0 || width == 0 || !width.is_multiple_of(self.heads) {
            bail!("{}: {} heads share {width} columns", self.name(), self.heads)
        }
        if self.lengths.iter().sum::<usize>() != rows {
            bail!("{}: texts of {:?} rows, {rows} in all", self.name(), self.lengths)
        }
        let queries = contiguous::<f32>(self.name(), queries, queries_layout)?;
        let keys = Columns::of(contiguous(self.name(), keys, keys_layout)?, width, self.lengths);
        let values = contiguous::<f32>(self.name(), values, values_layout)?;
        let mut out = vec![0.0; rows * width];
        let longest = self.lengths.iter().max().copied().unwrap_or(0);
        split_rows(&mut out, width, longest * width / 8 + 1, |range, out| {
            let (keys, heads) = (&keys, self.heads);
            launch(self.path, Rows { queries, keys, values, heads, width, range, out });
        });
        Ok((CpuStorage::F32(out), shape.clone()))
    }
}

/// Keys column by column, so that sixteen of them are met at once.
struct Columns {
    texts: Vec<Text>,
    /// Of each text, column by column, `padded` elements: those beyond its rows are 0.
    elements: Vec<f32>,
}

/// A text's rows, and where its columns begin.
struct Text {
    rows: Range<usize>,
    start: usize,
    /// Its rows, up to a whole number of lanes.
    padded: usize,
}

impl Columns {
    fn of(keys: &[f32], width: usize, lengths: &[usize]) -> Self {
        let (mut texts, mut row, mut start) = (Vec::with_capacity(lengths.len()), 0, 0);
        for length in lengths {
            let padded = length.next_multiple_of(LANES);
            texts.push(Text { rows: row..row + length, start, padded });
            row += length;
            start += padded * width;
        }
        let mut elements = vec![0.0; start];
        for text in &texts {
            for (place, row) in text.rows.clone().enumerate() {
                for (column, key) in keys[row * width..][..width].iter().enumerate() {
                    elements[text.start + column * text.padded + place] = *key;
                }
            }
        }
        Self { texts, elements }
    }
}

struct Rows<'a> {
    queries: &'a [f32],
    keys: &'a Columns,
    values: &'a [f32],
    heads: usize,
    width: usize,
    range: Range<usize>,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let head = self.width / self.heads;
        let scale = 1.0 / (head as f32).sqrt();
        let mut scores = Vec::new();
        let mut text = self.keys.texts.partition_point(|text| text.rows.end <= self.range.start);
        for (row, out) in self.range.clone().zip(self.out.chunks_exact_mut(self.width)) {
            while self.keys.texts[text].rows.end <= row {
                text += 1;
            }
            let text = &self.keys.texts[text];
            scores.resize(text.padded, 0.0);
            for (index, out) in out.chunks_exact_mut(head).enumerate() {
                let column = index * head;
                let query = &self.queries[row * self.width + column..][..head];
                let keys = &self.keys.elements[text.start + column * text.padded..];
                score(l, query, keys, scale, &mut scores);
                let sum = exponentials(l, &mut scores, text.rows.len());
                let values = &self.values[text.rows.start * self.width + column..];
                mix(l, &scores[..text.rows.len()], values, self.width, sum, out);
            }
        }
    }
}

/// The scaled products of a query with every key. Order: columns, ascending, with one rounding a step.
#[inline(always)]
fn score<L: Lanes>(l: L, query: &[f32], keys: &[f32], scale: f32, scores: &mut [f32]) {
    let padded = scores.len();
    let (chunks, _) = scores.as_chunks_mut::<LANES>();
    for (place, chunk) in chunks.iter_mut().enumerate() {
        let mut sum = l.splat(0.0);
        for (column, element) in query.iter().enumerate() {
            let (keys, _) = keys[column * padded + place * LANES..][..LANES].as_chunks::<LANES>();
            sum = l.fma(l.splat(*element), l.load(&keys[0]), sum);
        }
        l.store(l.mul(sum, l.splat(scale)), chunk);
    }
}

/// `e^(score - largest)` of the first `count`, and their sum. Order: 16 sums, of those with the same
/// remainder by 16; then halves.
#[inline(always)]
fn exponentials<L: Lanes>(l: L, scores: &mut [f32], count: usize) -> f32 {
    // what no key is behind counts nothing
    scores[count..].fill(f32::NEG_INFINITY);
    let (chunks, _) = scores.as_chunks_mut::<LANES>();
    let mut largest = l.splat(f32::NEG_INFINITY);
    for chunk in chunks.iter() {
        largest = l.max(l.load(chunk), largest);
    }
    let largest = l.splat(max_lanes(l, largest));
    let mut sums = l.splat(0.0);
    for chunk in chunks {
        let power = exp_lanes(l, l.sub(l.load(chunk), largest));
        sums = l.add(sums, power);
        l.store(power, chunk);
    }
    sum_lanes(l, sums)
}

/// The values, by their weights. Order: rows, ascending, with one rounding a step.
#[inline(always)]
fn mix<L: Lanes>(l: L, weights: &[f32], values: &[f32], width: usize, sum: f32, out: &mut [f32]) {
    for (place, out) in out.chunks_mut(LANES).enumerate() {
        let mut mixed = l.splat(0.0);
        for (row, weight) in weights.iter().enumerate() {
            let value = &values[row * width + place * LANES..][..out.len()];
            let value = match value.as_chunks::<LANES>().0.first() {
                Some(whole) => l.load(whole),
                None => load_part(l, value, 0.0),
            };
            mixed = l.fma(l.splat(*weight), value, mixed);
        }
        let mut lanes = [0.0; LANES];
        l.store(l.div(mixed, l.splat(sum)), &mut lanes);
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;
    use crate::Threads;
    use crate::storage::tests::bits;

    fn noise(rows: usize, width: usize, seed: u64) -> Tensor {
        let noise = crate::storage::tests::noise(&[rows, width], seed);
        (noise.to_device(&Device::Cpu).unwrap() * 3.0).unwrap()
    }

    /// In double precision, one text.
    fn exact(q: &[Vec<f32>], k: &[Vec<f32>], v: &[Vec<f32>], heads: usize) -> Vec<Vec<f64>> {
        let (width, head) = (q[0].len(), q[0].len() / heads);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let row = |query: &Vec<f32>| {
            let mut out = vec![0.0; width];
            for start in (0..width).step_by(head) {
                let part = start..start + head;
                let weight = |key: &Vec<f32>| {
                    (dot(&query[part.clone()], &key[part.clone()]) / (head as f64).sqrt()).exp()
                };
                let weights: Vec<f64> = k.iter().map(weight).collect();
                let sum: f64 = weights.iter().sum();
                for column in part.clone() {
                    let mixed = weights.iter().zip(v).map(|(w, v)| w * f64::from(v[column]));
                    out[column] = mixed.sum::<f64>() / sum;
                }
            }
            out
        };
        q.iter().map(row).collect()
    }

    #[test]
    fn a_text_is_right_and_the_same_alone_in_a_batch_and_on_every_path() {
        for (width, heads) in [(384, 12), (24, 2), (40, 1)] {
            let lengths = [1, 16, 3, 33, 15, 64];
            let rows = lengths.iter().sum();
            let [q, k, v] = [1, 2, 3].map(|seed| noise(rows, width, seed));
            let all = whole_attention(&q, &k, &v, heads, &lengths).unwrap();
            for path in Path::available() {
                let op = WholeAttention { path, heads, lengths: &lengths };
                let other = q.apply_op3_no_bwd(&k, &v, &op).unwrap();
                assert_eq!(bits(&other), bits(&all), "{path:?}");
            }
            for threads in [2, 5] {
                let pool = Threads::new(threads).unwrap();
                let other = pool.install(|| whole_attention(&q, &k, &v, heads, &lengths)).unwrap();
                assert_eq!(bits(&other), bits(&all), "{threads} threads");
            }
            let mut start = 0;
            for length in lengths {
                let part = |x: &Tensor| x.narrow(0, start, length).unwrap().copy().unwrap();
                let (q, k, v) = (part(&q), part(&k), part(&v));
                let alone = whole_attention(&q, &k, &v, heads, &[length]).unwrap();
                assert_eq!(bits(&alone), bits(&part(&all)), "{length} rows");
                let rows = |x: &Tensor| x.to_vec2::<f32>().unwrap();
                let expected = exact(&rows(&q), &rows(&k), &rows(&v), heads);
                for (y, expected) in rows(&alone).iter().flatten().zip(expected.iter().flatten()) {
                    assert!((f64::from(*y) - expected).abs() < 1e-5, "{y} {expected}");
                }
                start += length;
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let x = noise(4, 32, 1);
        let run = |keys: &Tensor, heads, lengths: &[usize]| {
            whole_attention(&x, keys, &x, heads, lengths).is_err()
        };
        assert!(run(&noise(3, 32, 1), 2, &[4]));
        assert!(run(&x, 3, &[4]) && run(&x, 0, &[4]) && run(&x, 2, &[3]));
        assert!(!run(&x, 2, &[1, 3]));
    }
}
