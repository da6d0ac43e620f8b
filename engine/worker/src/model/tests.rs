//! Files that are not what they seem, and logits against other implementations.

#![allow(clippy::unwrap_used)]

mod architectures;
mod damage;
mod logits;

use super::*;
use engine_kernels::KvKind;

use crate::kv::{BlockStore, BlockTable};

/// Memory for keys and values: one context of each model tried.
const CACHE_BYTES: u64 = 512 << 20;

/// Where the tests run.
fn of_tests() -> DeviceName {
    DeviceName::of_tests().unwrap()
}

/// The whole context.
fn setup(activations: Activations) -> Setup {
    Setup { device: of_tests(), activations, context_max: None }
}

/// What a partition keeps keys and values in unless it is told otherwise.
fn usual() -> KvKind {
    KvKind::of(&of_tests().open().unwrap())
}

/// A cache, and the tables of a sequence of so many positions in it.
fn reserved(model: &dyn Model, positions: u32, kind: KvKind) -> (KvCache, Vec<BlockTable>) {
    let device = of_tests().open().unwrap();
    let cache = KvCache::new(&model.cache_shape(), kind, CACHE_BYTES, &device).unwrap();
    let mut store = BlockStore::new(cache.groups());
    let mut tables = store.tables();
    assert!(store.reserve(&mut tables, 0, positions).is_some());
    (cache, tables)
}
