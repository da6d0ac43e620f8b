#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use candle_core::{DType, Tensor};
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    AttentionBatch, AttentionOptions, AttentionRow, BatchError, PagedAttention, paged_attention,
};
use crate::kv_cache::{BLOCK_TOKENS, KvKind, key_cache, value_cache, write_keys, write_values};
use crate::path::Path;
use crate::storage::tests::{bits, device, noise};
use crate::threads::Threads;

/// A cache full of NaN but for the positions of one sequence, whose blocks are shuffled.
struct Filled {
    heads: usize,
    width: usize,
    table: Arc<[u32]>,
    k: Tensor,
    v: Tensor,
    q: Tensor,
    options: AttentionOptions,
}

impl Filled {
    fn new(kind: KvKind, heads: usize, kv_heads: usize, width: usize, positions: usize) -> Filled {
        let blocks = positions.div_ceil(BLOCK_TOKENS) + 3;
        let mut table: Vec<u32> = (0..blocks as u32).collect();
        table.shuffle(&mut StdRng::seed_from_u64(1));
        table.truncate(positions.div_ceil(BLOCK_TOKENS));
        let k = key_cache(blocks, kv_heads, width, kind, &device()).unwrap();
        let v = value_cache(blocks, kv_heads, width, kind, &device()).unwrap();
        let write = |rows: [Tensor; 2], slots: &[u32]| {
            write_keys(&k, &rows[0], slots, None).unwrap();
            write_values(&v, &rows[1], slots).unwrap();
        };
        let all: Vec<u32> = (0..(blocks * BLOCK_TOKENS) as u32).collect();
        let nan = Tensor::full(f32::NAN, (all.len(), kv_heads, width), &device()).unwrap();
        let nan = nan.contiguous().unwrap();
        write([nan.clone(), nan], &all);
        let slot = |p: usize| table[p / BLOCK_TOKENS] * 32 + (p % BLOCK_TOKENS) as u32;
        let slots: Vec<u32> = (0..positions).map(slot).collect();
        write([2, 3].map(|seed| noise(&[positions, kv_heads, width], seed)), &slots);
        let q = noise(&[positions, heads, width], 4).affine(2.0, 0.0).unwrap();
        let options = AttentionOptions::scaled(0.125);
        Filled { heads, width, table: table.into(), k, v, q, options }
    }

    fn with(self, window: u32, softcap: Option<f32>) -> Filled {
        let options = AttentionOptions { window: Some(window), softcap, ..self.options };
        Filled { options, ..self }
    }

    fn positions(&self) -> usize {
        self.q.dims()[0]
    }

    fn attend(&self, positions: std::ops::Range<usize>) -> Tensor {
        self.attend_on(Path::best(), positions)
    }

    fn attend_on(&self, path: Path, positions: std::ops::Range<usize>) -> Tensor {
        let rows =
            positions.clone().map(|p| AttentionRow { table: 0, position: p as u32 }).collect();
        let mut table = self.table.to_vec();
        // blocks before all windows are freed, and their entries are not to be looked at
        let first = self.options.first(positions.start as u32) as usize;
        table[..first / BLOCK_TOKENS].fill(u32::MAX);
        let batch = AttentionBatch::new(vec![table.into()], rows).unwrap();
        let q = self.q.narrow(0, positions.start, positions.len()).unwrap();
        let op = PagedAttention { path, batch: &batch, options: self.options };
        q.apply_op3_no_bwd(&self.k, &self.v, &op).unwrap()
    }

    /// Keys or values by position, head, element.
    fn by_position(&self, cache: &Tensor, is_keys: bool) -> Vec<Vec<Vec<f64>>> {
        let cache = cache.to_dtype(DType::F64).unwrap();
        let cache = match is_keys && device().is_cpu() {
            true => cache.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap(),
            false => cache,
        };
        let blocks: Vec<_> = self
            .table
            .iter()
            .map(|block| cache.narrow(0, *block as usize, 1).unwrap().squeeze(0).unwrap())
            .collect();
        Tensor::cat(&blocks, 0).unwrap().to_vec3().unwrap()
    }

    /// The plain formula in f64.
    fn reference(&self, position: usize) -> Vec<f64> {
        let (k, v) = (self.by_position(&self.k, true), self.by_position(&self.v, false));
        let q = self.q.narrow(0, position, 1).unwrap().squeeze(0).unwrap();
        let q = q.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
        let share = self.heads / k[0].len();
        let mut out = Vec::new();
        for (head, q) in q.iter().enumerate() {
            let dot = |k: &Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * 0.125;
            let first = self.options.first(position as u32) as usize;
            let cap = self.options.softcap.map(f64::from);
            let capped = |s: f64| cap.map_or(s, |cap| (s / cap).tanh() * cap);
            let score = |p: usize| capped(dot(&k[p][head / share]));
            let scores: Vec<f64> = (first..=position).map(score).collect();
            let max = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            for i in 0..self.width {
                let weighted =
                    |(p, s): (usize, &f64)| (s - max).exp() * v[first + p][head / share][i];
                out.push(scores.iter().enumerate().map(weighted).sum::<f64>() / sum);
            }
        }
        out
    }
}

#[test]
fn it_is_the_formula() {
    for (kind, heads, kv_heads, width) in [
        (KvKind::F16, 9, 3, 64),
        (KvKind::F32, 2, 2, 16),
        (KvKind::F16, 4, 1, 80),
        (KvKind::F16, 4, 1, 256),
    ] {
        let filled = Filled::new(kind, heads, kv_heads, width, 530);
        let all = filled.attend(0..530).to_vec2::<f32>().unwrap();
        for position in [0, 1, 31, 32, 255, 256, 300, 511, 512, 529] {
            for (y, exact) in all[position].iter().zip(filled.reference(position)) {
                assert!((f64::from(*y) - exact).abs() < 2e-6, "{position}: {y} {exact}");
            }
        }
    }
}

#[test]
fn a_window_and_a_cap_are_the_formula() {
    for (window, softcap) in
        [(1, None), (31, None), (100, Some(0.5)), (256, None), (9000, Some(30.0))]
    {
        let filled = Filled::new(KvKind::F16, 4, 2, 64, 530).with(window, softcap);
        let all = filled.attend(0..530).to_vec2::<f32>().unwrap();
        for position in [0, 1, 31, 32, 255, 256, 286, 300, 511, 512, 529] {
            for (y, exact) in all[position].iter().zip(filled.reference(position)) {
                assert!((f64::from(*y) - exact).abs() < 2e-6, "{position}: {y} {exact}");
            }
        }
    }
}

/// The kind that the device has of its own.
fn usual() -> KvKind {
    KvKind::of(&device())
}

#[test]
fn keys_of_8_bits_are_close() {
    for (heads, kv_heads, width) in [(9, 3, 64), (4, 2, 16), (4, 1, 80)] {
        let exact = Filled::new(KvKind::F16, heads, kv_heads, width, 530).attend(0..530);
        let filled = Filled::new(usual(), heads, kv_heads, width, 530);
        let difference = (filled.attend(0..530) - exact).unwrap().abs().unwrap();
        let largest = difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>();
        // values are below 1, and each score is off by less than 2 percent
        assert!(largest.unwrap() < 0.02, "{width}: {difference}");
    }
}

#[test]
fn decode_chunks_and_threads_leave_no_trace() {
    for kind in [KvKind::F16, usual()] {
        leaves_no_trace(kind);
    }
}

fn leaves_no_trace(kind: KvKind) {
    let filled = |(heads, kv_heads, width)| Filled::new(kind, heads, kv_heads, width, 330);
    for filled in [
        filled((9, 3, 64)),
        filled((4, 2, 16)),
        filled((3, 1, 80)),
        filled((9, 3, 64)).with(1, None),
        filled((4, 2, 16)).with(40, Some(3.0)),
        filled((3, 1, 80)).with(300, None),
    ] {
        let all = filled.attend(0..filled.positions());
        let part = |from: usize, count: usize| bits(&all.narrow(0, from, count).unwrap());
        for position in (0..330).step_by(7).chain([31, 32, 255, 256, 329]) {
            assert_eq!(bits(&filled.attend(position..position + 1)), part(position, 1));
        }
        for (from, count) in [(0, 100), (100, 1), (101, 229), (250, 13), (255, 2)] {
            assert_eq!(bits(&filled.attend(from..from + count)), part(from, count));
        }
        for threads in [1, 3] {
            let pool = Threads::new(threads).unwrap();
            assert_eq!(bits(&pool.install(|| filled.attend(0..330))), part(0, 330));
        }
        for path in Path::available() {
            assert_eq!(bits(&filled.attend_on(path, 0..330)), part(0, 330), "{path:?}");
        }
    }
}

#[test]
fn rows_of_several_sequences_do_not_meet() {
    let filled = Filled::new(usual(), 4, 2, 32, 300);
    // the second sequence shares the first four blocks and ends there
    let tables = vec![filled.table.clone(), filled.table[..4].into()];
    let rows: Vec<AttentionRow> = [(0, 299), (1, 100), (1, 99), (0, 5), (1, 127), (0, 256)]
        .map(|(table, position)| AttentionRow { table, position })
        .to_vec();
    let ids: Vec<u32> = rows.iter().map(|row| row.position).collect();
    let q = filled.q.index_select(&Tensor::new(ids.as_slice(), &device()).unwrap(), 0).unwrap();
    let batch = AttentionBatch::new(tables, rows).unwrap();
    let mixed = paged_attention(&q, &filled.k, &filled.v, &batch, &filled.options).unwrap();
    for (i, position) in ids.iter().map(|id| *id as usize).enumerate() {
        let alone = filled.attend(position..position + 1);
        assert_eq!(bits(&mixed.narrow(0, i, 1).unwrap()), bits(&alone), "{position}");
    }
}

/// Rows far apart in one group: the blocks between their windows are not the sequence's any more.
#[test]
fn what_lies_between_windows_is_not_read() {
    let filled = Filled::new(usual(), 4, 2, 32, 600).with(40, None);
    let mut table = filled.table.to_vec();
    table[2..14].fill(u32::MAX);
    let rows = [20, 63, 500, 599].map(|position| AttentionRow { table: 0, position });
    let ids = rows.map(|row| row.position);
    let q = filled.q.index_select(&Tensor::new(&ids, &device()).unwrap(), 0).unwrap();
    let batch = AttentionBatch::new(vec![table.into()], rows.to_vec()).unwrap();
    let mixed = paged_attention(&q, &filled.k, &filled.v, &batch, &filled.options).unwrap();
    for (i, position) in ids.iter().map(|id| *id as usize).enumerate() {
        let alone = filled.attend(position..position + 1);
        assert_eq!(bits(&mixed.narrow(0, i, 1).unwrap()), bits(&alone), "{position}");
    }
}

#[test]
fn a_broken_row_does_not_break_the_others() {
    let filled = Filled::new(usual(), 2, 1, 16, 40);
    let clean = filled.attend(0..40);
    let late = Tensor::full(f32::INFINITY, (1, 1, 16), &device()).unwrap();
    let slot = filled.table[1] * 32 + 7;
    let late = late.contiguous().unwrap();
    write_keys(&filled.k, &late, &[slot], None).unwrap();
    write_values(&filled.v, &late, &[slot]).unwrap();
    let broken = filled.attend(0..40);
    assert_eq!(bits(&broken.narrow(0, 0, 39).unwrap()), bits(&clean.narrow(0, 0, 39).unwrap()));
    let last = broken.narrow(0, 39, 1).unwrap().to_vec2::<f32>().unwrap();
    assert!(last[0].iter().all(|y| !y.is_finite()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let row = |table, position| vec![AttentionRow { table, position }];
    let table: Arc<[u32]> = [7, 0].into();
    assert_eq!(
        AttentionBatch::new(vec![table.clone()], row(0, 64)).unwrap_err(),
        BatchError::Position { row: 0, position: 64, blocks: 2 }
    );
    assert_eq!(
        AttentionBatch::new(vec![table.clone()], row(1, 0)).unwrap_err(),
        BatchError::Table { row: 0, table: 1, tables: 1 }
    );
    let batch = AttentionBatch::new(vec![table], row(0, 40)).unwrap();
    let attend_with = |blocks, heads, width, window, softcap| {
        let keys = key_cache(blocks, 2, 16, KvKind::F16, &device()).unwrap();
        let values = value_cache(blocks, 2, 16, KvKind::F16, &device()).unwrap();
        let q = noise(&[1, heads, width], 1);
        paged_attention(
            &q,
            &keys,
            &values,
            &batch,
            &AttentionOptions { scale: 1.0, window, softcap },
        )
    };
    let attend = |blocks, heads, width| attend_with(blocks, heads, width, None, None);
    assert!(attend(8, 4, 16).is_ok());
    assert!(attend(7, 4, 16).is_err(), "block 7 of 7");
    assert!(attend(8, 3, 16).is_err(), "3 heads over 2");
    assert!(attend(8, 4, 32).is_err(), "another width");
    assert!(attend_with(7, 4, 16, Some(9), None).is_ok(), "block 7 is before the window");
    assert!(attend_with(7, 4, 16, Some(10), None).is_err(), "block 7 of 7 is in it");
    assert!(attend_with(8, 4, 16, Some(0), None).is_err(), "a row without its own position");
    for cap in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(attend_with(8, 4, 16, None, Some(cap)).is_err(), "a cap of {cap}");
    }
}
