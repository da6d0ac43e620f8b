//! Whatever comes, everything ends.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Move {
    Submit(Wanted),
    Cancel(u64),
    Draft { nth: u8, tokens: u32, right: u32 },
    Wait(u64),
    Step,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let sizes = (1..300u32, 1..80u32, prop_oneof![3 => Just(1u8), 1 => 2..5u8]);
    let owner = (0..3u64, 1..4u32, 0..2u8, 0..3u32);
    let urgency = (-2..3i32, prop::option::weighted(0.1, 0..9000u64));
    (sizes, owner, urgency).prop_map(|(sizes, owner, urgency)| {
        let (prompt, max, choices) = sizes;
        let (share, weight, namespace, seed) = owner;
        let (priority, deadline) = (urgency.0, urgency.1.map(Duration::from_millis));
        Wanted { prompt, max, choices, seed, share, weight, namespace, priority, deadline }
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => wanted().prop_map(Move::Submit),
        1 => (0..40u64).prop_map(Move::Cancel),
        2 => (0..9u8, 1..9u32, 0..9u32)
            .prop_map(|(nth, tokens, right)| Move::Draft { nth, tokens, right }),
        1 => (1..20_000u64).prop_map(Move::Wait),
        6 => Just(Move::Step),
    ];
    prop::collection::vec(one, 1..60)
}

fn groups() -> impl Strategy<Value = Vec<(Option<u32>, u32)>> {
    prop_oneof![
        2 => (2..24u32).prop_map(|blocks| vec![(None, blocks)]),
        1 => (2..24u32, 1..80u32, 5..12u32)
            .prop_map(|(blocks, window, few)| vec![(None, blocks), (Some(window), few)]),
        1 => (1..80u32, 5..12u32).prop_map(|(window, blocks)| vec![(Some(window), blocks)]),
    ]
}

proptest! {
    /// Every sequence that was taken and not cancelled ends or is late, and in the end no table
    /// holds a block. The audits inside check pools and cache after each move.
    #[test]
    fn everything_ends(moves in moves(), groups in groups(), step_tokens_max in 1..100u32) {
        let mut bench = Bench::new(&groups, step_tokens_max, 16);
        bench.token_takes = Duration::from_millis(1);
        for (number, one) in moves.into_iter().enumerate() {
            match one {
                Move::Submit(wanted) => drop(bench.submit(number as u64, wanted)),
                Move::Cancel(request) => bench.cancel(request),
                Move::Draft { nth, tokens, right } => {
                    let decoding = bench.scheduler.decoding().nth(nth.into());
                    decoding.into_iter().for_each(|id| bench.scheduler.draft(id, tokens));
                    bench.drafts_right = right;
                }
                Move::Wait(milliseconds) => bench.now += Duration::from_millis(milliseconds),
                Move::Step => drop(bench.step()),
            }
        }
        let mut steps = 0;
        while !bench.scheduler.is_idle() {
            bench.step();
            steps += 1;
            prop_assert!(steps < 5_000);
        }
        prop_assert!(bench.lengths.is_empty());
        prop_assert_eq!(bench.scheduler.usage().held, 0);
    }
}
