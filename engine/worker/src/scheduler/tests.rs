//! Scripts: `submit request prompt=.. max=.. n=..`, `step`, `cancel request`.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// A scheduler whose sequences draw a token whenever they may, until they are whole.
struct Bench {
    scheduler: Scheduler,
    lengths: BTreeMap<SequenceId, Lengths>,
    finished: usize,
    shown: String,
}

impl Bench {
    fn new(blocks: u32, step_tokens_max: u32, queue_max: usize) -> Self {
        let scheduler = Scheduler::new(blocks, step_tokens_max, queue_max);
        Self { scheduler, lengths: BTreeMap::new(), finished: 0, shown: String::new() }
    }

    fn submit(&mut self, request: u64, prompt: u32, max: u32, choices: u8) -> Result<(), Refusal> {
        let lengths = Lengths { prompt, known: prompt, whole: prompt + max };
        let lanes: Vec<_> =
            (0..choices).map(|choice| (SequenceId { request, choice }, lengths)).collect();
        self.scheduler.submit(&lanes)?;
        self.lengths.extend(lanes);
        Ok(())
    }

    fn cancel(&mut self, request: u64) {
        let ids: Vec<_> = self.lengths.keys().filter(|id| id.request == request).copied().collect();
        for id in ids {
            self.scheduler.remove(id);
            self.lengths.remove(&id);
        }
    }

    /// Plans, draws, and checks what every plan must keep.
    fn step(&mut self) -> Plan {
        let plan = self.scheduler.plan();
        assert!(plan.tokens() <= self.scheduler.step_tokens_max);
        let stalled = plan.chunks.is_empty() && plan.preempted.is_empty();
        assert!(!stalled || self.scheduler.is_idle(), "whoever is here gets on");
        for chunk in &plan.chunks {
            let table = self.scheduler.table(chunk.sequence);
            // every planned position has a slot
            table.slot(chunk.start + chunk.length - 1);
        }
        self.show(&plan);
        for chunk in plan.chunks.iter().filter(|chunk| chunk.drawn) {
            let lengths = self.lengths.get_mut(&chunk.sequence).expect("it was submitted");
            assert_eq!(chunk.start + chunk.length, lengths.known);
            lengths.known += 1;
            if lengths.known < lengths.whole {
                self.scheduler.grow(chunk.sequence);
            } else {
                self.finished += 1;
                self.lengths.remove(&chunk.sequence);
                self.scheduler.remove(chunk.sequence);
            }
        }
        plan
    }

    fn show(&mut self, plan: &Plan) {
        let name = |id: SequenceId| format!("{}.{}", id.request, id.choice);
        let out = &mut self.shown;
        out.push_str("step");
        for chunk in &plan.chunks {
            let end = chunk.start + chunk.length;
            let mark = if chunk.drawn { "!" } else { "" };
            let _ = write!(out, " {}[{}..{end}]{mark}", name(chunk.sequence), chunk.start);
        }
        for id in &plan.preempted {
            let _ = write!(out, " -{}", name(*id));
        }
        let (used, total) = self.scheduler.blocks();
        let _ = writeln!(out, " | waiting {} blocks {used}/{total}", self.scheduler.waiting());
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |name: &str, otherwise: u32| {
            let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.map_or(otherwise, |value| value.parse().expect("a number"))
        };
        let request = words.get(1).map_or(0, |word| word.parse().expect("a number"));
        match words[0] {
            "submit" => {
                let (prompt, max) = (number("prompt", 1), number("max", 1));
                if let Err(refusal) = self.submit(request, prompt, max, number("n", 1) as u8) {
                    let _ = writeln!(self.shown, "{request} refused: {refusal:?}");
                }
            }
            "cancel" => self.cancel(request),
            // the number of steps
            "step" => (0..request.max(1)).for_each(|_| drop(self.step())),
            other => panic!("no such line: {other}"),
        }
    }
}

/// Runs a script on a pool of 8 blocks with 64 tokens a step and 4 places in the queue.
fn check(script: &str, expected: Expect) {
    let mut bench = Bench::new(8, 64, 4);
    script.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| bench.line(line));
    expected.assert_eq(&bench.shown);
}

#[test]
fn decodes_go_before_prompts_and_prompts_come_in_chunks() {
    check(
        "submit 1 prompt=10 max=4
         step
         submit 2 prompt=100 max=2
         submit 3 prompt=5 max=2
         step 4",
        expect![[r#"
            step 1.0[0..10]! | waiting 0 blocks 1/8
            step 1.0[10..11]! 2.0[0..63] | waiting 1 blocks 5/8
            step 1.0[11..12]! 2.0[63..100]! 3.0[0..5]! | waiting 0 blocks 6/8
            step 1.0[12..13]! 2.0[100..101]! 3.0[5..6]! | waiting 0 blocks 6/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

#[test]
fn the_first_that_does_not_fit_holds_back_all_behind_it() {
    check(
        "submit 1 prompt=60 max=3
         submit 2 prompt=200 max=2
         submit 3 prompt=1 max=2
         step
         step
         step
         step",
        expect![[r#"
            step 1.0[0..60]! | waiting 2 blocks 2/8
            step 1.0[60..61]! | waiting 2 blocks 2/8
            step 1.0[61..62]! | waiting 2 blocks 2/8
            step 2.0[0..64] | waiting 1 blocks 7/8
        "#]],
    );
}

#[test]
fn an_exhausted_pool_preempts_the_newest_which_starts_anew() {
    check(
        "submit 1 prompt=93 max=70
         submit 2 prompt=61 max=40
         submit 3 prompt=60 max=40
         step 8
         cancel 1
         step 2
         cancel 2
         step 3",
        expect![[r#"
            step 1.0[0..64] | waiting 2 blocks 3/8
            step 1.0[64..93]! 2.0[0..35] | waiting 1 blocks 5/8
            step 1.0[93..94]! 2.0[35..61]! 3.0[0..37] | waiting 0 blocks 7/8
            step 1.0[94..95]! 2.0[61..62]! 3.0[37..60]! | waiting 0 blocks 7/8
            step 1.0[95..96]! 2.0[62..63]! 3.0[60..61]! | waiting 0 blocks 7/8
            step 1.0[96..97]! 2.0[63..64]! 3.0[61..62]! | waiting 0 blocks 8/8
            step 1.0[97..98]! 2.0[64..65]! -3.0 | waiting 1 blocks 7/8
            step 1.0[98..99]! 2.0[65..66]! | waiting 1 blocks 7/8
            step 2.0[66..67]! 3.0[0..63]! | waiting 0 blocks 5/8
            step 2.0[67..68]! 3.0[63..64]! | waiting 0 blocks 5/8
            step 3.0[64..65]! | waiting 0 blocks 3/8
            step 3.0[65..66]! | waiting 0 blocks 3/8
            step 3.0[66..67]! | waiting 0 blocks 3/8
        "#]],
    );
}

#[test]
fn choices_share_the_full_blocks_of_their_prompt() {
    check(
        "submit 1 prompt=70 max=2 n=3
         step
         step
         step
         step",
        expect![[r#"
            step 1.0[0..64] | waiting 0 blocks 5/8
            step 1.0[64..70]! 1.1[64..70]! 1.2[64..70]! | waiting 0 blocks 5/8
            step 1.0[70..71]! 1.1[70..71]! 1.2[70..71]! | waiting 0 blocks 5/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

#[test]
fn choices_of_one_token_share_too() {
    check(
        "submit 1 prompt=64 max=1 n=3
         step
         step",
        expect![[r#"
            step 1.0[0..64]! | waiting 0 blocks 4/8
            step 1.1[32..64]! 1.2[32..64]! | waiting 0 blocks 3/8
        "#]],
    );
}

#[test]
fn a_cancelled_request_frees_its_blocks_at_once() {
    check(
        "submit 1 prompt=64 max=9 n=2
         submit 2 prompt=200 max=9
         step
         cancel 1
         step
         cancel 2
         step",
        expect![[r#"
            step 1.0[0..64]! | waiting 1 blocks 5/8
            step 2.0[0..64] | waiting 0 blocks 7/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

#[test]
fn a_full_queue_and_a_hopeless_request_are_refused() {
    check(
        "submit 1 prompt=257 max=1
         submit 2 prompt=256 max=1
         submit 3 prompt=255 max=3
         submit 4
         submit 5
         submit 6
         submit 7
         step
         submit 8
         submit 9",
        expect![[r#"
            1 refused: NeverFits { pool: 256 }
            3 refused: NeverFits { pool: 256 }
            7 refused: Full
            step 2.0[0..64] | waiting 3 blocks 8/8
            9 refused: Full
        "#]],
    );
}

#[derive(Clone, Debug)]
enum Move {
    Submit { prompt: u32, max: u32, choices: u8 },
    Cancel(u64),
    Step,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let submit = (1..300u32, 1..80u32, 1..5u8).prop_map(|(prompt, max, choices)| Move::Submit {
        prompt,
        max,
        choices,
    });
    let one =
        prop_oneof![2 => submit, 1 => (0..40u64).prop_map(Move::Cancel), 6 => Just(Move::Step)];
    prop::collection::vec(one, 1..60)
}

proptest! {
    /// Whatever comes: every sequence that was taken and not cancelled ends, and in the end
    /// every block is free. The audits inside check the pool after each move.
    #[test]
    fn everything_ends(moves in moves(), blocks in 2..24u32, step_tokens_max in 1..100u32) {
        let mut bench = Bench::new(blocks, step_tokens_max, 6);
        for (number, one) in moves.into_iter().enumerate() {
            match one {
                Move::Submit { prompt, max, choices } => {
                    let _ = bench.submit(number as u64, prompt, max, choices);
                }
                Move::Cancel(request) => bench.cancel(request),
                Move::Step => drop(bench.step()),
            }
        }
        let mut steps = 0;
        while !bench.scheduler.is_idle() {
            bench.step();
            steps += 1;
            prop_assert!(steps < 1_000_000);
        }
        prop_assert!(bench.lengths.is_empty());
        prop_assert_eq!(bench.scheduler.blocks(), (0, blocks));
    }
}
