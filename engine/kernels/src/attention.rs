//! Causal attention over a paged cache.
//!
//! Order of one output, pinned whatever the batch: spans of 256 absolute positions, each by itself
//! (scores, their largest, exponentials, sum, weighted values in order of position), then the spans
//! merged from left to right. Keys and values are read as they are in the cache. A window cuts off the
//! positions before it: a span that holds none of the window is not there at all, and in the span where
//! the window begins a position before it counts as a score of minus infinity and a value of zero.

mod rounded;
mod scratch;
mod span;
#[cfg(test)]
mod tests;
mod tile;

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use half::f16;

use crate::kv_cache::{BLOCK_TOKENS, KvLayout};
use crate::lanes::LANES;
use crate::path::{Path, launch};
use crate::shared_rows::NewRows;
use crate::soft_cap::is_cap;
use crate::storage::contiguous;
use crate::threads::split;
use span::{Cache, CacheElement, Heads, Task};

/// What each row of a step attends to.
#[derive(Clone, Debug)]
pub struct AttentionBatch {
    tables: Vec<Arc<[u32]>>,
    rows: Vec<AttentionRow>,
}

/// One row: a position of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionRow {
    /// Which block table of the batch.
    pub table: u32,
    /// The row's absolute position; it attends to this one and all before.
    pub position: u32,
}

/// What scores are made of, the same for all rows of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// What the product of query and key is multiplied with.
    pub scale: f32,
    /// How many positions a row attends to, its own included; `None` for all up to its own.
    pub window: Option<u32>,
    /// `cap` replaces a score by `cap * tanh(score / cap)`, after the scale; positive.
    pub softcap: Option<f32>,
}

impl AttentionOptions {
    /// All positions, no cap.
    pub fn scaled(scale: f32) -> AttentionOptions {
        AttentionOptions { scale, window: None, softcap: None }
    }

    /// The first position that the row at `position` attends to.
    fn first(&self, position: u32) -> u32 {
        self.window.map_or(0, |window| position.saturating_sub(window - 1))
    }
}

/// A row asks for what its batch does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// There is no such table.
    #[error("row {row} wants block table {table} of {tables}")]
    Table {
        /// Which row.
        row: usize,
        /// The table that it names.
        table: u32,
        /// How many tables there are.
        tables: usize,
    },
    /// The table ends before the row's position.
    #[error("row {row} is at position {position}, its block table has {blocks} blocks")]
    Position {
        /// Which row.
        row: usize,
        /// Its position.
        position: u32,
        /// Blocks of its table.
        blocks: usize,
    },
}

impl AttentionBatch {
    /// `tables` are block tables: entry `i` is the block of the positions from `32 * i` on. Neighbouring
    /// rows of one table are computed together, so rows should come sequence by sequence.
    pub fn new(
        tables: Vec<Arc<[u32]>>,
        rows: Vec<AttentionRow>,
    ) -> std::result::Result<AttentionBatch, BatchError> {
        for (row, &AttentionRow { table, position }) in rows.iter().enumerate() {
            let Some(blocks) = tables.get(table as usize) else {
                return Err(BatchError::Table { row, table, tables: tables.len() });
            };
            if position as usize >= blocks.len() * BLOCK_TOKENS {
                return Err(BatchError::Position { row, position, blocks: blocks.len() });
            }
        }
        Ok(AttentionBatch { tables, rows })
    }

    /// The rows of the step, in order.
    pub fn rows(&self) -> &[AttentionRow] {
        &self.rows
    }

    /// The largest block that a row may read; `None` without rows.
    fn last_block(&self, options: &AttentionOptions) -> Option<u32> {
        let of_row = |row: &AttentionRow| {
            let blocks = &self.tables[row.table as usize];
            let first = options.first(row.position) as usize / BLOCK_TOKENS;
            blocks[first..=row.position as usize / BLOCK_TOKENS].iter().copied().max()
        };
        self.rows.iter().filter_map(of_row).max()
    }

    /// Neighbouring rows of one table, at most `most` together.
    fn groups(&self, most: usize) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if group.len() < most && self.rows[group.start].table == row.table => {
                    group.end = i + 1;
                }
                _ => groups.push(i..i + 1),
            }
        }
        groups
    }
}

/// Softmax of `scale * q k` times `v`, for each row of `q` (M, heads, head width) over the positions up
/// to its own, as far back as the window reaches; (M, heads * head width).
///
/// Entries of a block table that lie before every window may hold anything: a sequence frees the
/// blocks that a layer's window has left behind.
///
/// The caches are of [`key_cache`](crate::key_cache) and [`value_cache`](crate::value_cache), of one
/// type; `heads` is a multiple of `kv heads`, whose groups of neighbouring heads share keys and values;
/// the head width is a multiple of 16.
pub fn paged_attention(
    q: &Tensor,
    k_cache: &Tensor,
    v_cache: &Tensor,
    batch: &AttentionBatch,
    options: &AttentionOptions,
) -> Result<Tensor> {
    let options = *options;
    let op = PagedAttention { path: Path::best(), batch, options };
    #[cfg(feature = "flash-attn")]
    if q.device().is_cuda() {
        op.heads(q.layout(), k_cache.layout(), v_cache.layout(), false)?;
        let caches = (k_cache, v_cache);
        let (tables, rows) = (&batch.tables, &batch.rows);
        if let Some(out) = crate::cuda::flash::attend(q, caches, tables, rows, &options)? {
            return Ok(out);
        }
    }
    q.apply_op3_no_bwd(k_cache, v_cache, &op)
}

struct PagedAttention<'a> {
    path: Path,
    batch: &'a AttentionBatch,
    options: AttentionOptions,
}

impl CustomOp3 for PagedAttention<'_> {
    fn name(&self) -> &'static str {
        "paged-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let q = contiguous::<f32>(self.name(), q, q_layout)?;
        let heads = self.heads(q_layout, k_layout, v_layout, true)?;
        let mut out = NewRows::new(self.batch.rows.len(), heads.queries * heads.width);
        match k {
            CpuStorage::F16(_) => {
                let k = contiguous::<f16>(self.name(), k, k_layout)?;
                let v = contiguous::<f16>(self.name(), v, v_layout)?;
                let cache: Cache<'_, f16> = match k_layout.dims().len() {
                    3 => Cache::Rounded { k, v },
                    _ => Cache::Floats { k, v },
                };
                self.attend(heads, q, cache, &mut out);
            }
            _ => {
                let k = contiguous::<f32>(self.name(), k, k_layout)?;
                let v = contiguous::<f32>(self.name(), v, v_layout)?;
                self.attend(heads, q, Cache::Floats { k, v }, &mut out);
            }
        }
        // SAFETY: every row is in one group, and every query head in one task of that group.
        #[allow(unsafe_code)]
        let out = unsafe { out.finish() };
        let shape = Shape::from((self.batch.rows.len(), heads.queries * heads.width));
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        v: &CudaStorage,
        v_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let heads = self.heads(q_layout, k_layout, v_layout, false)?;
        let (q, k, v) = ((q, q_layout), (k, k_layout), (v, v_layout));
        let batch = crate::cuda::attention::FlatBatch::new(&self.batch.tables, &self.batch.rows);
        let out = crate::cuda::attention::forward(self.name(), q, k, v, &batch, &self.options)?;
        Ok((out, Shape::from((self.batch.rows.len(), heads.queries * heads.width))))
    }
}

impl PagedAttention<'_> {
    /// Checks the shapes.
    fn heads(&self, q: &Layout, k: &Layout, v: &Layout, on_cpu: bool) -> Result<Heads> {
        let AttentionOptions { window, softcap, .. } = self.options;
        if window == Some(0) || softcap.is_some_and(|cap| !is_cap(cap)) {
            bail!("paged-attention: a window of {window:?}, a cap of {softcap:?}")
        }
        let (rows, queries, width) = q.shape().dims3()?;
        // of keys that are floats on the CPU the heads come second, of all values on a GPU third
        let (blocks, keys) = match *v.dims() {
            [blocks, _, keys, _] | [blocks, keys, _] => (blocks, keys),
            _ => (0, 0),
        };
        let fits = rows == self.batch.rows.len()
            && width > 0
            && width.is_multiple_of(LANES)
            && keys > 0
            && queries.is_multiple_of(keys)
            && k.dims().first() == Some(&blocks)
            && KvLayout::of_keys(k.dims(), keys, width, on_cpu).is_some()
            && KvLayout::of_values(v.dims(), keys, width, on_cpu).is_some()
            && (k.dims().len() == 3) == (v.dims().len() == 3);
        if !fits {
            bail!(
                "paged-attention: {} rows, queries {:?}, keys {:?}, values {:?}",
                self.batch.rows.len(),
                q.shape(),
                k.shape(),
                v.shape()
            )
        }
        if let Some(block) = self.batch.last_block(&self.options)
            && block as usize >= blocks
        {
            bail!("paged-attention: block {block} of {blocks}")
        }
        Ok(Heads { queries, keys, width })
    }

    fn attend<T: CacheElement>(
        &self,
        heads: Heads,
        q: &[f32],
        cache: Cache<'_, T>,
        out: &mut NewRows,
    ) {
        /// Query heads that are computed together: enough to share what is read of the cache, few
        /// enough for their scores to stay in the second-level cache.
        const QUERIES_A_TASK: usize = 48;

        let share = heads.queries / heads.keys;
        let groups = self.batch.groups((QUERIES_A_TASK / share).max(1));
        let shared = out.shared();
        let seen: usize = self.batch.rows.iter().map(|row| self.seen(row)).sum();
        let tasks = groups.len() * heads.keys;
        // about 20 products a nanosecond, for scores and for values
        let cost = seen * heads.width * share * 2 / 20 / groups.len().max(1) + 1;
        split(tasks, cost, |range| {
            for i in range {
                let rows = groups[i / heads.keys].clone();
                let table = &self.batch.tables[self.batch.rows[rows.start].table as usize];
                launch(
                    self.path,
                    Task {
                        heads,
                        q,
                        cache,
                        table,
                        rows: &self.batch.rows[rows.clone()],
                        first_row: rows.start,
                        kv_head: i % heads.keys,
                        options: self.options,
                        out: &shared,
                    },
                );
            }
        });
    }

    /// How many positions a row attends to.
    fn seen(&self, row: &AttentionRow) -> usize {
        (row.position - self.options.first(row.position)) as usize + 1
    }
}
