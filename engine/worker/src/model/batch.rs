//! The rows of one step.

use std::sync::Arc;

use candle_core::Tensor;
use engine_kernels::{AttentionBatch, AttentionRow, BatchError};

use crate::kv::{BlockId, BlockTable};

/// Rows of many sequences: each is one token at one position. Rows of a sequence lie together
/// and ascend.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The token of each row.
    pub(crate) tokens: Vec<u32>,
    /// The absolute position of each row.
    pub(crate) positions: Vec<u32>,
    /// Indexes of the rows whose logits are wanted, ascending.
    pub(crate) drawn: Vec<u32>,
    rows: Vec<AttentionRow>,
    groups: Vec<GroupPlaces>,
}

/// Where the rows are in the cache of one group of layers.
#[derive(Debug, Default)]
struct GroupPlaces {
    slots: Vec<u32>,
    tables: Vec<Arc<[u32]>>,
}

/// What the layers of one group need to know of the rows.
#[derive(Debug)]
pub(crate) struct GroupRows<'a> {
    /// Where each row's key and value go.
    pub(crate) slots: &'a [u32],
    /// What each row attends to.
    pub(crate) attention: AttentionBatch,
}

impl Batch {
    /// Adds a chunk of one sequence, from a position on, with its table of each group. The
    /// logits of its last `drawn` rows are wanted.
    pub(crate) fn push(
        &mut self,
        tokens: impl Iterator<Item = u32>,
        start: u32,
        tables: &[BlockTable],
        drawn: u32,
    ) {
        let first = self.tokens.len() as u32;
        self.groups.resize_with(tables.len(), GroupPlaces::default);
        let number = self.groups[0].tables.len() as u32;
        for (position, token) in (start..).zip(tokens) {
            self.tokens.push(token);
            self.positions.push(position);
            self.rows.push(AttentionRow { table: number, position });
        }
        let end = self.tokens.len() as u32;
        for (places, table) in self.groups.iter_mut().zip(tables) {
            let positions = start..start + (end - first);
            places.slots.extend(positions.map(|position| table.slot(position)));
            places.tables.push(table.blocks().iter().copied().map(BlockId::get).collect());
        }
        assert!(drawn <= end - first, "a chunk's own rows are drawn");
        self.drawn.extend(end - drawn..end);
    }

    /// The drawn rows of `x` (rows, width): (drawn, width).
    pub(crate) fn drawn_of(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if self.drawn.is_empty() {
            // a GPU has no memory of no bytes: part of what there is instead of a new tensor
            return x.narrow(0, 0, 0);
        }
        x.index_select(&Tensor::new(self.drawn.as_slice(), x.device())?, 0)
    }

    /// The rows as each group of layers sees them, by the group's number.
    pub(crate) fn groups(&self) -> Result<Vec<GroupRows<'_>>, BatchError> {
        let groups = self.groups.iter().map(|GroupPlaces { slots, tables }| {
            let attention = AttentionBatch::new(tables.clone(), self.rows.clone())?;
            Ok(GroupRows { slots, attention })
        });
        groups.collect()
    }
}
