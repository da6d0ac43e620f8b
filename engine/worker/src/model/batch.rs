//! The rows of one step.

use std::sync::Arc;

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
    /// Where each row's key and value go.
    pub(crate) slots: Vec<u32>,
    /// Indexes of the rows whose logits are wanted, ascending.
    pub(crate) drawn: Vec<u32>,
    tables: Vec<Arc<[u32]>>,
    rows: Vec<AttentionRow>,
}

impl Batch {
    /// Adds a chunk of one sequence, from a position on. With `drawn`, the logits of its last
    /// row are wanted.
    pub(crate) fn push(
        &mut self,
        tokens: impl Iterator<Item = u32>,
        start: u32,
        table: &BlockTable,
        drawn: bool,
    ) {
        let number = self.tables.len() as u32;
        for (position, token) in (start..).zip(tokens) {
            self.tokens.push(token);
            self.positions.push(position);
            self.slots.push(table.slot(position));
            self.rows.push(AttentionRow { table: number, position });
        }
        self.tables.push(table.blocks().iter().copied().map(BlockId::get).collect());
        if drawn {
            self.drawn.push(self.tokens.len() as u32 - 1);
        }
    }

    /// What each row attends to.
    pub(crate) fn attention(&self) -> Result<AttentionBatch, BatchError> {
        AttentionBatch::new(self.tables.clone(), self.rows.clone())
    }
}
