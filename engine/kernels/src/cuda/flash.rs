//! flash-attn 2 in place of the own kernel (arXiv 2307.08691), where the cache has 16-bit floats.
//!
//! Faster, but not pinned: how it splits a sequence over the GPU may depend on the batch. Hence a
//! numerics class of its own.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use candle_flash_attn::flash_attn_varlen_paged_windowed;

use crate::attention::{AttentionOptions, AttentionRow};
use crate::kv_cache::BLOCK_TOKENS;

/// Widest head that its kernels are compiled for.
const WIDTH_MAX: usize = 512;

/// What `paged_attention` gives, from the same arguments, whose shapes were checked; `None` where
/// these kernels cannot: another type of cache, wider heads, rows that are not runs of positions.
pub(crate) fn attend(
    q: &Tensor,
    (k, v): (&Tensor, &Tensor),
    tables: &[Arc<[u32]>],
    rows: &[AttentionRow],
    options: &AttentionOptions,
) -> Result<Option<Tensor>> {
    let (count, heads, width) = q.dims3()?;
    let runs = runs(rows);
    // positions of a run are masked by their distance from its end
    let is_run = |run: &Range<usize>| {
        rows[run.clone()].windows(2).all(|pair| pair[0].position + 1 == pair[1].position)
    };
    if k.dtype() != DType::F16 || width > WIDTH_MAX || count == 0 || !runs.iter().all(is_run) {
        return Ok(None);
    }
    let device = q.device();
    let lengths: Vec<usize> =
        runs.iter().map(|run| 1 + rows[run.end - 1].position as usize).collect();
    let most = lengths.iter().copied().max().unwrap_or(0);
    let (ends_q, ends_k) = (ends(runs.iter().map(Range::len)), ends(lengths.iter().copied()));
    let blocks = most.div_ceil(BLOCK_TOKENS);
    let mut table = vec![0; runs.len() * blocks];
    for ((run, length), to) in runs.iter().zip(&lengths).zip(table.chunks_exact_mut(blocks)) {
        let used = length.div_ceil(BLOCK_TOKENS);
        to[..used].copy_from_slice(&tables[rows[run.start].table as usize][..used]);
    }
    let out = flash_attn_varlen_paged_windowed(
        &q.to_dtype(DType::F16)?,
        k,
        v,
        &Tensor::new(ends_q, device)?,
        &Tensor::new(ends_k, device)?,
        &Tensor::from_vec(table, (runs.len(), blocks), device)?,
        None,
        runs.iter().map(Range::len).max().unwrap_or(0),
        most,
        options.scale,
        options.window.map(|window| window as usize - 1),
        // nothing after a row's own position
        Some(0),
        BLOCK_TOKENS,
        options.softcap,
    )?;
    Ok(Some(out.to_dtype(DType::F32)?.reshape((count, heads * width))?))
}

/// Neighbouring rows of one table.
fn runs(rows: &[AttentionRow]) -> Vec<Range<usize>> {
    let mut at = 0;
    let run = |rows: &[AttentionRow]| {
        let start = at;
        at += rows.len();
        start..at
    };
    rows.chunk_by(|a, b| a.table == b.table).map(run).collect()
}

/// 0, and where each of these ends when they lie one after the other.
fn ends(lengths: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut end = 0;
    let ends = lengths.map(|length| {
        end += length as u32;
        end
    });
    std::iter::once(0).chain(ends).collect()
}
