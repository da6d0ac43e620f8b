//! Hours of a simulated clock.

use super::*;

/// Prompts come for two hours, faster than they can be read. No answer that has begun waits for
/// its next token longer than a few steps of the time that a step should take, and nobody who
/// waits is passed over for ever.
#[test]
fn a_stream_of_prompts_starves_neither_answers_nor_anyone_who_waits() {
    const HOURS: Duration = Duration::from_secs(2 * 3600);
    const PATIENCE: Duration = Duration::from_millis(250);

    let mut bench = Bench::new(&[(None, 2000)], 256, 64);
    bench.token_takes = Duration::from_millis(1);
    let mut last_token: BTreeMap<SequenceId, Duration> = BTreeMap::new();
    let (mut request, mut longest, mut tokens) = (0, Duration::ZERO, 0);
    while bench.now < HOURS {
        // one tenant floods with long prompts, two others ask for little
        for (share, prompt, max) in [(0, 1500, 40), (0, 700, 5), (1, 100, 60), (2, 20, 200)] {
            request += 1;
            let seed = request as u32;
            // a full queue refuses, which is its right
            let _ = bench.submit(request, Wanted { prompt, max, share, seed, ..Wanted::default() });
        }
        for _ in 0..8 {
            let plan = bench.step();
            for chunk in plan.chunks.iter().filter(|chunk| chunk.drawn > 0) {
                tokens += 1;
                if let Some(before) = last_token.insert(chunk.sequence, bench.now) {
                    longest = longest.max(bench.now - before);
                }
            }
            for id in plan.preempted {
                last_token.remove(&id);
            }
        }
        bench.shown.clear();
        last_token.retain(|id, _| bench.lengths.contains_key(id));
    }
    assert!(longest < PATIENCE, "a decoding sequence waited {longest:?}");
    assert!(bench.finished > 1000 && tokens > 100_000, "{} ended, {tokens}", bench.finished);
    // everyone who is still waiting came lately
    let oldest = bench.scheduler.waiting.iter().map(|lane| lane.arrived).min();
    let waited = oldest.map_or(Duration::ZERO, |arrived| bench.now - arrived);
    assert!(waited < Duration::from_secs(600), "someone has waited {waited:?}");
}

/// Tenants that want more than there is are served by their weights, whatever the lengths of
/// their prompts.
#[test]
fn tenants_are_served_by_their_weights() {
    let mut bench = Bench::new(&[(None, 400)], 128, 30);
    bench.token_takes = Duration::from_millis(1);
    let kinds = [(0, 1, 600, 10), (1, 1, 60, 10), (2, 2, 200, 10)];
    let mut served = [0u32; 3];
    let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
    let mut request = 0;
    for _ in 0..4000 {
        for (share, weight, prompt, max) in kinds {
            request += 1;
            let seed = request as u32;
            let wanted = Wanted { prompt, max, share, weight, seed, ..Wanted::default() };
            if bench.submit(request, wanted).is_ok() {
                owners.insert(request, share as usize);
            }
        }
        for admitted in bench.step().admitted {
            let owner = owners[&admitted.sequence.request];
            served[owner] += kinds[owner].2;
        }
        bench.shown.clear();
    }
    let [a, b, c] = served.map(f64::from);
    assert!((0.8..1.25).contains(&(a / b)), "{served:?}");
    assert!((1.6..2.5).contains(&(c / b)), "{served:?}");
}
