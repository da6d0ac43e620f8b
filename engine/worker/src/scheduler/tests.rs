//! Scripts of what comes in and happens; [`bench`] has their words.

mod bench;
mod properties;
mod time;

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use bench::{Bench, Wanted};

fn run(groups: &[(Option<u32>, u32)], script: &str, expected: Expect) {
    let mut bench = Bench::new(groups, 64, 6);
    script.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| bench.line(line));
    expected.assert_eq(&bench.shown);
}

/// Runs a script on a pool of 8 blocks with 64 tokens a step and 6 places in the queue.
fn check(script: &str, expected: Expect) {
    run(&[(None, 8)], script, expected);
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
            step 1.0[10..11]! 2.0[0..63] | waiting 1 blocks 3/8
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
            step 2.0[0..64] | waiting 1 blocks 2/8
        "#]],
    );
}

#[test]
fn an_exhausted_pool_preempts_the_newest_which_starts_anew() {
    check(
        "submit 1 prompt=93 max=70
         submit 2 prompt=61 max=90
         run 37
         step 3
         run 29
         step 4
         run 99",
        expect![[r#"
            step 1.0[127..128]! 2.0[94..95]! | waiting 0 blocks 7/8
            step 1.0[128..129]! 2.0[95..96]! | waiting 0 blocks 8/8
            step 1.0[129..130]! -2.0 | waiting 1 blocks 5/8
            step 1.0[130..131]! | waiting 1 blocks 5/8
            step 1.0[159..160]! | waiting 1 blocks 5/8
            step 1.0[160..161]! | waiting 1 blocks 6/8
            step 1.0[161..162]! | waiting 1 blocks 6/8
            step 2.0[64..97]! | waiting 0 blocks 4/8
            step 2.0[97..98]! | waiting 0 blocks 4/8
            step | waiting 0 blocks 0/8
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
            step 1.0[0..64] | waiting 2 blocks 2/8
            step 1.0[64..70]! | waiting 2 blocks 3/8
            step 1.0[70..71]! 1.1[69..70]! 1.2[69..70]! 1.1 cached 69 1.2 cached 69 copy for 1.1 copy for 1.2 | waiting 0 blocks 5/8
            step 1.1[70..71]! 1.2[70..71]! | waiting 0 blocks 4/8
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
            step 1.0[0..64]! | waiting 2 blocks 2/8
            step 1.1[32..64]! 1.1 cached 32 | waiting 1 blocks 2/8
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
            step 1.0[0..64]! | waiting 2 blocks 2/8
            step 2.0[0..64] | waiting 0 blocks 2/8
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
         submit 8 share=1
         submit 9 share=1
         submit 10 share=2
         submit 11 share=3",
        expect![[r#"
            1 refused: NeverFits { pool: 256 }
            3 refused: NeverFits { pool: 256 }
            7 refused: Full
            10 refused: Full
            11 refused: Full
        "#]],
    );
}

#[test]
fn what_was_computed_for_one_is_there_for_the_next() {
    check(
        "submit 1 prompt=70 max=30
         step 2
         submit 2 prompt=90 max=2 like=1
         submit 3 prompt=90 max=2 like=1 namespace=1
         step 3
         cancel 1
         cancel 3
         step 2
         submit 4 prompt=64 max=2 like=1
         step",
        expect![[r#"
            step 1.0[0..64] | waiting 0 blocks 2/8
            step 1.0[64..70]! | waiting 0 blocks 3/8
            step 1.0[70..71]! 2.0[64..90]! 3.0[0..37] 2.0 cached 64 | waiting 0 blocks 6/8
            step 1.0[71..72]! 2.0[90..91]! 3.0[37..90]! | waiting 0 blocks 7/8
            step 1.0[72..73]! 3.0[90..91]! | waiting 0 blocks 6/8
            step | waiting 0 blocks 0/8
            step | waiting 0 blocks 0/8
            step 4.0[32..64]! 4.0 cached 32 | waiting 0 blocks 2/8
        "#]],
    );
}

#[test]
fn an_answer_is_cached_with_its_prompt() {
    check(
        "submit 1 prompt=30 max=40
         run 50
         submit 2 prompt=70 max=9 like=1
         step 1",
        expect![[r#"
            step | waiting 0 blocks 0/8
            step 2.0[64..70]! 2.0 cached 64 | waiting 0 blocks 3/8
        "#]],
    );
}

#[test]
fn idle_blocks_make_room_from_the_end_of_what_was_used_least() {
    check(
        "submit 1 prompt=96 max=1
         step 2
         submit 2 prompt=96 max=1
         step 2
         submit 3 prompt=96 max=1 like=1
         step 1
         submit 4 prompt=128 max=1
         step 3
         submit 5 prompt=97 max=1 like=1
         submit 6 prompt=97 max=1 like=2
         step 3",
        expect![[r#"
            step 1.0[0..64] | waiting 0 blocks 2/8
            step 1.0[64..96]! | waiting 0 blocks 3/8
            step 2.0[0..64] | waiting 0 blocks 2/8
            step 2.0[64..96]! | waiting 0 blocks 3/8
            step 3.0[64..96]! 3.0 cached 64 | waiting 0 blocks 3/8
            step 4.0[0..64] | waiting 0 blocks 2/8
            step 4.0[64..128]! | waiting 0 blocks 4/8
            step | waiting 0 blocks 0/8
            step 5.0[96..97]! 6.0[0..63] 5.0 cached 96 | waiting 0 blocks 6/8
            step 6.0[63..97]! | waiting 0 blocks 4/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

#[test]
fn a_right_draft_saves_a_step_and_a_wrong_one_costs_nothing() {
    check(
        "submit 1 prompt=30 max=20
         step
         draft 1 tokens=3 right=3
         step
         draft 1 tokens=4 right=2
         step
         draft 1 tokens=4
         step 2
         draft 1 tokens=9 right=9
         step
         step",
        expect![[r#"
            step 1.0[0..30]! | waiting 0 blocks 1/8
            step 1.0[30..34]!!!! | waiting 0 blocks 2/8
            step 1.0[34..39]!!!!! | waiting 0 blocks 2/8
            step 1.0[37..42]!!!!! | waiting 0 blocks 2/8
            step 1.0[38..39]! | waiting 0 blocks 2/8
            step 1.0[39..49]!!!!!!!!!! | waiting 0 blocks 2/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

#[test]
fn layers_with_a_window_give_back_what_they_no_longer_see() {
    run(
        &[(None, 12), (Some(40), 4)],
        "submit 1 prompt=200 max=40
         step 6
         submit 2 prompt=30 max=2
         run 35
         step 4
         submit 3 prompt=200 max=2 like=1
         step 2",
        expect![[r#"
            step 1.0[0..64] | waiting 0 blocks 2/4
            step 1.0[64..128] | waiting 0 blocks 4/4
            step 1.0[128..192] | waiting 0 blocks 4/4
            step 1.0[192..200]! | waiting 0 blocks 3/4
            step 1.0[200..201]! | waiting 0 blocks 7/12
            step 1.0[201..202]! | waiting 0 blocks 7/12
            step 1.0[236..237]! | waiting 1 blocks 8/12
            step 1.0[237..238]! | waiting 1 blocks 8/12
            step 1.0[238..239]! | waiting 1 blocks 8/12
            step 2.0[0..30]! | waiting 0 blocks 1/4
            step 2.0[30..31]! | waiting 0 blocks 1/4
            step 3.0[192..200]! 3.0 cached 192 | waiting 0 blocks 3/4
            step 3.0[200..201]! | waiting 0 blocks 7/12
        "#]],
    );
}

#[test]
fn shares_divide_the_time_for_prompts() {
    check(
        "submit 1 prompt=120 max=2 share=1
         submit 2 prompt=60 max=2 share=1
         submit 3 prompt=30 max=2 share=2
         step 4",
        expect![[r#"
            step 1.0[0..34] 3.0[0..30]! | waiting 1 blocks 3/8
            step 3.0[30..31]! 1.0[34..96] 2.0[0..1] | waiting 0 blocks 5/8
            step 1.0[96..120]! 2.0[1..41] | waiting 0 blocks 6/8
            step 1.0[120..121]! 2.0[41..60]! | waiting 0 blocks 6/8
        "#]],
    );
}

/// Who has more in the cache, as every turn of a talk that is ahead has, does not pass over who came
/// before it with as much to compute.
#[test]
fn what_is_cached_makes_nobody_wait_who_came_before() {
    check(
        "token 1
         submit 1 prompt=64 max=1
         step 2
         submit 2 prompt=40 max=2
         wait 10
         submit 3 prompt=104 max=2 like=1
         wait 10
         submit 4 prompt=20 max=2
         step 2",
        expect![[r#"
            step 1.0[0..64]! | waiting 0 blocks 2/8
            step | waiting 0 blocks 0/8
            step 4.0[0..20]! 2.0[0..40]! 3.0[64..68] 3.0 cached 64 | waiting 0 blocks 6/8
            step 4.0[20..21]! 2.0[40..41]! 3.0[68..104]! | waiting 0 blocks 7/8
        "#]],
    );
}

#[test]
fn lower_priorities_go_first_within_a_share_until_the_others_have_aged() {
    check(
        "submit 1 prompt=64 max=9
         submit 2 prompt=20 max=9 priority=2
         submit 3 prompt=20 max=9 priority=1
         step 1
         submit 4 prompt=64 max=9 priority=1
         step 1
         wait 60000
         submit 5 prompt=20 max=9
         submit 6 prompt=20 max=9 priority=3
         step 3",
        expect![[r#"
            step 1.0[0..64]! | waiting 2 blocks 2/8
            step 1.0[64..65]! 3.0[0..20]! 4.0[0..43] | waiting 1 blocks 6/8
            step 1.0[65..66]! 3.0[20..21]! 4.0[43..64]! 2.0[0..20]! | waiting 2 blocks 7/8
            step 1.0[66..67]! 3.0[21..22]! 4.0[64..65]! 2.0[20..21]! | waiting 2 blocks 8/8
            step 1.0[67..68]! 3.0[22..23]! 4.0[65..66]! 2.0[21..22]! | waiting 2 blocks 8/8
        "#]],
    );
}

#[test]
fn a_prompt_that_cannot_be_read_in_time_is_not_begun() {
    check(
        "token 2
         submit 1 prompt=120 max=4
         step 3
         submit 2 prompt=100 max=2 deadline=300
         submit 3 prompt=100 max=2 deadline=5000
         submit 4 prompt=100 max=2 deadline=5000 share=1
         step 5",
        expect![[r#"
            step 1.0[0..64] | waiting 0 blocks 2/8
            step 1.0[64..120]! | waiting 0 blocks 4/8
            step 1.0[120..121]! | waiting 0 blocks 4/8
            step 1.0[121..122]! 3.0[0..37] late 2.0 | waiting 1 blocks 6/8
            step 1.0[122..123]! 3.0[37..74] | waiting 1 blocks 7/8
            step 3.0[74..100]! 4.0[0..38] | waiting 0 blocks 6/8
            step 3.0[100..101]! 4.0[38..75] | waiting 0 blocks 7/8
            step 4.0[75..100]! | waiting 0 blocks 4/8
        "#]],
    );
}

/// A chunk that takes the last block ends there: its own sequence must not give way for more.
#[test]
fn a_prompt_takes_what_blocks_there_are() {
    run(
        &[(Some(66), 5)],
        "submit 1 prompt=48 max=49
         run 49
         submit 2 prompt=193 max=1 like=1
         step 5",
        expect![[r#"
            step 1.0[95..96]! | waiting 0 blocks 3/5
            step 2.0[96..160] 2.0 cached 96 | waiting 0 blocks 5/5
            step 2.0[160..193]! | waiting 0 blocks 5/5
            step | waiting 0 blocks 0/5
            step | waiting 0 blocks 0/5
            step | waiting 0 blocks 0/5
        "#]],
    );
}

#[test]
fn prompts_that_begin_alike_are_computed_once_though_they_come_together() {
    check(
        "submit 1 prompt=100 max=2 like=1
         submit 2 prompt=99 max=2 like=1
         submit 3 prompt=98 max=2 like=1 share=1
         submit 4 prompt=40 max=2 like=1 namespace=1
         step 5",
        expect![[r#"
            step 1.0[0..64] | waiting 3 blocks 2/8
            step 1.0[64..100]! 4.0[0..28] | waiting 2 blocks 5/8
            step 1.0[100..101]! 4.0[28..40]! 2.0[96..99]! 3.0[96..98]! 2.0 cached 96 3.0 cached 96 | waiting 0 blocks 8/8
            step 4.0[40..41]! 2.0[99..100]! 3.0[98..99]! | waiting 0 blocks 7/8
            step | waiting 0 blocks 0/8
        "#]],
    );
}

/// A deadline is for a request's first token. Giving one choice up later would end them all.
#[test]
fn choices_of_a_request_that_has_begun_are_never_late() {
    check(
        "token 2
         submit 1 prompt=64 max=4 n=2 deadline=5000
         step
         wait 60000
         step 2",
        expect![[r#"
            step 1.0[0..64]! | waiting 1 blocks 2/8
            step 1.0[64..65]! 1.1[63..64]! 1.1 cached 63 copy for 1.1 | waiting 0 blocks 4/8
            step 1.0[65..66]! 1.1[64..65]! | waiting 0 blocks 4/8
        "#]],
    );
}
