//! Attention over caches whose other slots are NaN.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use half::f16;

use super::super::attention::{Attention, FlatBatch};
use super::{at, bits, close, cpu, numbers, output, values};
use crate::{
    AttentionBatch, AttentionOptions, AttentionRow, KvKind, key_cache, paged_attention,
    value_cache, write_keys, write_values,
};

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const WIDTH: usize = 48;
const BLOCKS: u32 = 20;

/// Two sequences: 530 positions in shuffled blocks, and 64 that share the first two of those.
struct Site {
    kind: KvKind,
    k: Tensor,
    v: Tensor,
    tables: Vec<Arc<[u32]>>,
}

impl Site {
    fn new(kind: KvKind) -> Site {
        // 7 and 20 have no common divisor, so that this is a permutation
        let table: Arc<[u32]> = (0..17).map(|i| (i * 7 + 3) % BLOCKS).collect();
        let slots: Vec<u32> = (0..530).map(|p| table[p / 32] * 32 + p as u32 % 32).collect();
        let all: Vec<u32> = (0..BLOCKS * 32).collect();
        let k = key_cache(BLOCKS as usize, KV_HEADS, WIDTH, kind, &Device::Cpu).unwrap();
        let v = value_cache(BLOCKS as usize, KV_HEADS, WIDTH, kind, &Device::Cpu).unwrap();
        let nan = vec![f32::NAN; all.len() * KV_HEADS * WIDTH];
        let nan = cpu(&nan, &[all.len(), KV_HEADS, WIDTH]);
        write_keys(&k, &nan, &all, None).unwrap();
        write_values(&v, &nan, &all).unwrap();
        let [keys, values] = [1, 2].map(|seed| {
            let rows = numbers(slots.len() * KV_HEADS * WIDTH, 1.0, seed);
            cpu(&rows, &[slots.len(), KV_HEADS, WIDTH])
        });
        write_keys(&k, &keys, &slots, None).unwrap();
        write_values(&v, &values, &slots).unwrap();
        let short = table[..2].into();
        Site { kind, k, v, tables: vec![table, short] }
    }

    fn emulated(&self, q: &[f32], rows: &[AttentionRow], options: AttentionOptions) -> Vec<f32> {
        let flat = FlatBatch::new(&self.tables, rows);
        let half = self.kind == KvKind::F16;
        // a GPU's keys lie as its values do
        let k = self.k.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let halves = [&k, &self.v].map(|cache| match half {
            true => cache.flatten_all().unwrap().to_vec1::<f16>().unwrap(),
            false => Vec::new(),
        });
        let floats = [&k, &self.v].map(|cache| match half {
            true => Vec::new(),
            false => values(&cache.to_dtype(DType::F32).unwrap()),
        });
        let [k, v] =
            if half { [at(&halves[0]), at(&halves[1])] } else { [at(&floats[0]), at(&floats[1])] };
        output(q.len(), |out| {
            Attention {
                q: at(q),
                k,
                v,
                tables: at(&flat.tables),
                starts: at(&flat.starts),
                positions: at(&flat.positions),
                out,
                heads: HEADS as u32,
                kv_heads: KV_HEADS as u32,
                width: WIDTH as u32,
                window: options.window.unwrap_or(u32::MAX),
                half: u32::from(half),
                scale: options.scale,
                cap: options.softcap.unwrap_or(0.0),
            }
            .launch(rows.len())
        })
    }

    fn by_cpu(&self, q: &[f32], rows: &[AttentionRow], options: AttentionOptions) -> Vec<f32> {
        let batch = AttentionBatch::new(self.tables.clone(), rows.to_vec()).unwrap();
        let q = cpu(q, &[rows.len(), HEADS, WIDTH]);
        values(&paged_attention(&q, &self.k, &self.v, &batch, &options).unwrap())
    }
}

fn rows() -> Vec<AttentionRow> {
    [(0, 0), (0, 31), (1, 32), (1, 63), (0, 255), (0, 256), (0, 300), (0, 529)]
        .map(|(table, position)| AttentionRow { table, position })
        .to_vec()
}

fn every_option() -> Vec<AttentionOptions> {
    let plain = AttentionOptions::scaled(0.4);
    let mut options = vec![plain, AttentionOptions { softcap: Some(1.5), ..plain }];
    for window in [1, 32, 45, 256, 273] {
        options.push(AttentionOptions { window: Some(window), ..plain });
    }
    options.push(AttentionOptions { window: Some(100), softcap: Some(0.7), ..plain });
    options
}

#[test]
fn it_is_that_of_the_cpu() {
    let (rows, q) = (rows(), numbers(8 * HEADS * WIDTH, 2.0, 3));
    for kind in [KvKind::F16, KvKind::F32] {
        let site = Site::new(kind);
        for options in every_option() {
            let ours = site.emulated(&q, &rows, options);
            close(&ours, &site.by_cpu(&q, &rows, options), 2e-6);
        }
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_any_place() {
    let (rows, q) = (rows(), numbers(8 * HEADS * WIDTH, 2.0, 4));
    let site = Site::new(KvKind::F16);
    for window in [None, Some(273)] {
        let options = AttentionOptions { window, ..AttentionOptions::scaled(0.4) };
        let all = site.emulated(&q, &rows, options);
        let row = HEADS * WIDTH;
        for (place, (q, all)) in q.chunks(row).zip(all.chunks(row)).enumerate() {
            let alone = site.emulated(q, &rows[place..=place], options);
            assert_eq!(bits(&alone), bits(all), "{:?}", rows[place]);
        }
    }
}

/// What a block held before is nobody's business: entries of the table before the window may name
/// blocks that there are not.
#[test]
fn nothing_before_the_window_is_read() {
    let (rows, q) = ([AttentionRow { table: 0, position: 529 }], numbers(HEADS * WIDTH, 2.0, 5));
    let mut site = Site::new(KvKind::F16);
    let options = AttentionOptions { window: Some(45), ..AttentionOptions::scaled(0.4) };
    let before = site.emulated(&q, &rows, options);
    // 529 - 44 = 485 is in block 15
    let table = site.tables[0].iter().enumerate();
    site.tables[0] = table.map(|(i, block)| if i < 15 { 1 << 26 } else { *block }).collect();
    assert_eq!(bits(&site.emulated(&q, &rows, options)), bits(&before));
    assert!(before.iter().all(|y| y.is_finite()));
}
