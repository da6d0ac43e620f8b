use proptest::prelude::*;

use super::*;

fn namespace(number: u8) -> CacheNamespace {
    CacheNamespace([number; 16])
}

fn key(number: u32) -> Key {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

fn ids(count: usize) -> Arc<[TokenId]> {
    vec![TokenId(7); count].into()
}

fn known(turns: &Turns, of: u8, numbers: impl Iterator<Item = u32>) -> Vec<bool> {
    let found = turns.find(namespace(of), numbers.map(key));
    found.iter().map(Option::is_some).collect()
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    // room for four entries of a namespace
    let turns = Turns::new(NAMESPACE_PART * 4 * cost(&ids(16)));
    (0..4).for_each(|number| turns.add(namespace(1), key(number), ids(16)));
    assert_eq!(known(&turns, 1, 0..1), [true]);
    turns.add(namespace(1), key(4), ids(16));
    assert_eq!(known(&turns, 1, 0..5), [true, false, true, true, true]);
    // the same key again takes no more room
    turns.add(namespace(1), key(4), ids(16));
    assert_eq!(known(&turns, 1, 0..5), [true, false, true, true, true]);
    turns.add(namespace(1), key(9), ids(1 << 20));
    assert_eq!(known(&turns, 1, 9..10), [false], "it is larger than all room");
}

#[test]
fn a_namespace_sees_and_loses_only_its_own() {
    let turns = Turns::new(10_000 * cost(&ids(1)));
    turns.add(namespace(1), key(1), ids(1));
    assert!(turns.has(namespace(1)) && !turns.has(namespace(2)));
    assert_eq!(known(&turns, 2, 1..2), [false]);
    for other in 2..12 {
        (0..5_000).for_each(|number| turns.add(namespace(other), key(number), ids(1)));
    }
    assert_eq!(known(&turns, 1, 1..2), [true], "others take room from each other");
}

proptest! {
    #[test]
    fn bytes_are_bounded_and_counted(
        adds in prop::collection::vec((0..6u8, 0..20u32, 0..200usize, any::<bool>()), 0..300),
        bytes_max in 0..40_000usize,
    ) {
        let turns = Turns::new(bytes_max);
        for (of, number, count, asks) in adds {
            if asks {
                turns.find(namespace(of), [key(number)].into_iter());
            }
            turns.add(namespace(of), key(number), ids(count));
            let state = turns.lock();
            prop_assert!(state.bytes <= bytes_max);
            let mut sum = 0;
            for space in state.spaces.values() {
                let bytes: usize = space.entries.values().map(|entry| cost(&entry.ids)).sum();
                prop_assert_eq!(space.bytes, bytes);
                prop_assert!(space.bytes <= bytes_max / NAMESPACE_PART);
                prop_assert_eq!(space.by_use.len(), space.entries.len());
                sum += bytes;
            }
            prop_assert_eq!(state.bytes, sum);
        }
    }
}
