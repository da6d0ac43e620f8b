//! Hits, evictions, copies and pins.

use engine_api::{CacheNamespace, ModelDigest};

use super::super::Root;
use super::*;

fn store(groups: &[(Option<u32>, u32)]) -> BlockStore {
    let group =
        |(window, blocks): &(Option<u32>, u32)| LayerGroup { window: *window, blocks: *blocks };
    BlockStore::new(&groups.iter().map(group).collect::<Vec<_>>())
}

/// The tokens of one seed, for one tenant.
fn chain(tenant: u8, seed: u32, tokens: u32) -> Chain {
    let root = Root::new(&ModelDigest([0; 32]), CacheNamespace([tenant; 16]));
    Chain::new(root, (0..tokens).map(|position| seed * 10_000 + position))
}

/// Computes a chain and enters it.
fn compute(store: &mut BlockStore, chain: &Chain) -> BlockTables {
    let mut tables = store.tables();
    for end in (32..chain.len()).step_by(32).chain([chain.len()]) {
        let start = tables[0].positions().min(end - 1);
        store.slide(&mut tables, start);
        store.reserve(&mut tables, start, end).expect("there are blocks");
        store.commit(&mut tables, chain, 0, end);
    }
    tables
}

/// Computes a chain and lets it go.
fn remember(store: &mut BlockStore, chain: &Chain) {
    let mut tables = compute(store, chain);
    store.release(&mut tables);
    store.audit(std::iter::empty());
}

#[test]
fn a_prefix_is_found_by_its_own_tenant_only() {
    let mut store = store(&[(None, 8)]);
    remember(&mut store, &chain(1, 5, 100));
    let hit = |chain: &Chain| store.lookup(chain, chain.len() / 32);
    assert_eq!(hit(&chain(1, 5, 100)), 3);
    assert_eq!(hit(&chain(1, 5, 64)), 2);
    assert_eq!(hit(&chain(2, 5, 100)), 0);
    assert_eq!(hit(&chain(1, 6, 100)), 0);
}

#[test]
fn other_tokens_under_the_same_key_are_no_hit() {
    let mut store = store(&[(None, 8)]);
    let known = chain(1, 5, 64);
    remember(&mut store, &known);
    let (other, forged) = (chain(1, 6, 64), chain(1, 7, 64));
    for other in [other.link(0), forged.link(1)] {
        let forged = super::super::chain::Link { key: known.link(0).key, ..other };
        assert_eq!(store.cache.find(forged, 0), Found::Clash);
    }
}

#[test]
fn what_was_used_least_goes_first_and_ends_go_before_beginnings() {
    let mut store = store(&[(None, 6)]);
    let (old, new) = (chain(1, 1, 96), chain(1, 2, 96));
    remember(&mut store, &old);
    remember(&mut store, &new);
    // the old one is used again, as far as its second block
    let mut tables = store.attach(&old, 2);
    store.release(&mut tables);
    let hits = |store: &BlockStore| [store.lookup(&old, 3), store.lookup(&new, 3)];
    let mut seen = Vec::new();
    let mut taken = store.tables();
    for blocks in 1..=6 {
        store.reserve(&mut taken, 32 * (blocks - 1), 32 * blocks).expect("idle blocks");
        seen.push(hits(&store));
    }
    assert_eq!(seen, [[2, 3], [2, 2], [2, 1], [2, 0], [1, 0], [0, 0]]);
    assert!(store.reserve(&mut taken, 192, 193).is_none());
    store.release(&mut taken);
    assert_eq!((store.usage().held, store.usage().total), (0, 6));
}

#[test]
fn the_same_content_is_kept_once() {
    let mut store = store(&[(None, 8)]);
    let chain = chain(1, 1, 64);
    let mut tables = [compute(&mut store, &chain), store.tables()];
    store.reserve(&mut tables[1], 0, 64).expect("there are blocks");
    assert_eq!(store.usage().held, 4);
    assert_eq!(store.commit(&mut tables[1], &chain, 0, 64), 2);
    assert_eq!((store.usage().held, tables[0][0].blocks()), (2, tables[1][0].blocks()));
    store.audit(tables.iter());
}

#[test]
fn a_hit_in_layers_with_a_window_needs_only_what_they_still_see() {
    let mut store = store(&[(None, 16), (Some(40), 6)]);
    let long = chain(1, 1, 256);
    remember(&mut store, &long);
    // the windowed group has kept the last blocks: of the first 128 positions nothing is seen
    assert_eq!(store.lookup(&long, 8), 8);
    assert_eq!(store.lookup(&long, 3), 0);
    let tables = store.attach(&long, 8);
    assert_eq!((tables[0].gone(), tables[1].gone()), (0, 6));
    store.audit([tables].iter());
}

#[test]
fn forks_share_until_one_of_them_writes() {
    let mut store = store(&[(None, 8)]);
    let chain = chain(1, 1, 50);
    let mut first = compute(&mut store, &chain);
    let mut second = store.fork(&first, 49);
    assert_eq!(store.usage().held, 2);
    let copies = store.reserve(&mut second, 49, 50).expect("there are blocks");
    let [copy] = copies[..] else { panic!("one block is copied") };
    assert_eq!((copy.from, copy.to), (first[0].blocks()[1], second[0].blocks()[1]));
    assert_ne!(copy.from, copy.to);
    // now it is the first one's alone
    assert_eq!(store.reserve(&mut first, 50, 51), Some(vec![]));
    store.audit([first, second].iter());
}

#[test]
fn pinned_blocks_go_last_until_their_time_is_over() {
    let order = |ticks: u64| {
        let mut store = store(&[(None, 4)]);
        let (pinned, other) = (chain(1, 1, 64), chain(1, 2, 64));
        remember(&mut store, &pinned);
        remember(&mut store, &other);
        store.pin(&pinned, Duration::from_secs(10));
        store.tick(Duration::from_secs(ticks));
        let kept = store.usage().pinned;
        let mut taken = store.tables();
        store.reserve(&mut taken, 0, 64).expect("idle blocks");
        (kept, store.lookup(&pinned, 2), store.lookup(&other, 2))
    };
    assert_eq!(order(9), (2, 2, 0));
    assert_eq!(order(10), (0, 0, 2));
}

#[test]
fn pins_do_not_hold_when_nothing_else_is_left() {
    let mut store = store(&[(None, 2)]);
    let pinned = chain(1, 1, 64);
    store.pin(&pinned, Duration::from_secs(10));
    remember(&mut store, &pinned);
    store.pin(&pinned, Duration::from_secs(10));
    let mut taken = store.tables();
    assert!(store.reserve(&mut taken, 0, 64).is_some());
}

#[test]
fn what_was_disowned_is_not_found() {
    let mut store = store(&[(None, 4)]);
    let chain = chain(1, 1, 96);
    let tables = compute(&mut store, &chain);
    store.disown(&chain, 3);
    assert_eq!(store.lookup(&chain, 3), 0);
    store.audit([&tables].into_iter());
}
