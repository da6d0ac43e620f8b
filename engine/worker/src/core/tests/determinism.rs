//! A request's results depend on nothing but the request.
//!
//! Each case runs some requests alone, and then together: in random order and at random
//! steps, with random chunks, in a pool that is nearly too small, beside neighbours that are
//! cancelled midway, with what the prefix cache has of others and of itself, with guessed
//! tokens, with tokens that a grammar forces in one chunk or one by one, and taken over from
//! another core at a random token. Ids, texts and the bits of
//! log-probabilities must be the same.

use std::cell::RefCell;

use engine_api::{
    Constraint, LogitBias, MinP, RepetitionPenalty, Sampling, Seed, StopTokens, TopK, TopP,
};
use engine_tiny::{Architecture, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Cases that a default run tries, and those of a full one.
const CASES: u32 = 2_000;
const CASES_FULL: u32 = 10_000;

/// One request of a case.
#[derive(Clone, Debug)]
struct Asked {
    submission: Submission,
    /// The step at which it arrives.
    arrives: u32,
    /// The step at which it is cancelled.
    cancelled: Option<u32>,
    /// How much of each choice another core has drawn: 0 is nothing, 255 everything.
    resumed: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Case {
    asked: Vec<Asked>,
    blocks: u64,
    step_tokens_max: usize,
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let penalty = prop_oneof![2 => Just(0.0f32), 1 => -1.0f32..1.5];
    (
        prop_oneof![Just(0.0f32), 0.3f32..1.8],
        (
            prop_oneof![Just(1.0f32), 0.0f32..1.0],
            prop_oneof![3 => Just(0i64), 1 => 1..300i64],
            prop_oneof![3 => Just(0.0f32), 1 => 0.0f32..1.0],
        ),
        any::<u64>(),
        (penalty.clone(), penalty, prop_oneof![2 => Just(1.0f32), 1 => 0.5f32..2.0]),
        prop::collection::btree_map((0..267u32).prop_map(TokenId), -5.0f32..5.0, 0..4),
        prop::option::of(0..5u32),
    )
        .prop_map(|(temperature, (top_p, top_k, min_p), seed, penalties, bias, logprobs)| {
            let (frequency, presence, repetition) = penalties;
            Sampling {
                temperature: Temperature::new(temperature).unwrap(),
                top_p: TopP::new(top_p).unwrap(),
                top_k: TopK::new(top_k).unwrap(),
                min_p: MinP::new(min_p).unwrap(),
                seed: Seed(seed),
                repetition_penalty: RepetitionPenalty::new(repetition).unwrap(),
                frequency_penalty: Penalty::new(frequency).unwrap(),
                presence_penalty: Penalty::new(presence).unwrap(),
                logit_bias: LogitBias::new(bias).unwrap(),
                logprobs: logprobs.map(|count| TopLogprobs::new(count).unwrap()),
            }
        })
}

/// Grammars whose text is forced here and free there, and which end early, late or never.
const GRAMMARS: [&str; 5] = [
    r#"start: %json { "type": "object", "properties": { "name": { "type": "string" }, "ages": { "type": "array", "items": { "type": "integer" } } }, "required": ["name", "ages"], "additionalProperties": false }"#,
    r#"start: %json { "enum": ["the end and", "the end of it", 12.5, null] }"#,
    r#"start: "the in" /[a-z ]{0,9}/ (" and the " /[0-9é€]/)+"#,
    r#"start: <[1]> "x: the\n" /(.|\n)*/ <[2]> " and" /[^x]*/"#,
    "start: /(?s:.*)/",
];

fn asked() -> impl Strategy<Value = Asked> {
    let length = prop_oneof![3 => 1..40usize, 3 => 40..130usize, 1 => 240..340usize];
    let strings = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["a".into(), " the".into()])];
    let tokens = prop_oneof![3 => Just(0..0u32), 1 => Just(20..40u32)];
    let stops = (strings, tokens);
    (
        (1..4u32, length, prop_oneof![3 => Just(1u32), 1 => 2..4u32]),
        sampling(),
        (1..60u32, stops, any::<bool>(), prop_oneof![2 => Just(0u32), 1 => 1..9u32]),
        (0..30u32, prop::option::weighted(0.2, 1..40u32)),
        prop::option::weighted(0.3, prop::collection::vec(any::<u8>(), 3)),
        (0..2u8, 0..3u64),
        prop::option::weighted(0.4, prop::sample::select(&GRAMMARS[..])),
    )
        .prop_map(
            |(prompt, sampling, stopping, (arrives, after), resumed, tenant, grammar)| {
                let (seed, length, choices) = prompt;
                let (max_tokens, (stop, stop_tokens), ignore_eos, min_tokens) = stopping;
                let mut submission = submission("", &bench::prompt(seed, length));
                submission.choices = Choices::new(choices).unwrap();
                submission.sampling = sampling;
                submission.stopping.max_tokens = MaxTokens::new(max_tokens).unwrap();
                submission.stopping.stop = StopStrings::new(stop).unwrap();
                submission.stopping.stop_tokens =
                    StopTokens::new(stop_tokens.map(TokenId)).unwrap();
                submission.stopping.ignore_eos = ignore_eos;
                submission.stopping.min_tokens = min_tokens;
                submission.namespace = engine_api::CacheNamespace([tenant.0; 16]);
                submission.share.key = tenant.1;
                submission.constraint = grammar.map(|text| Constraint::new(text).unwrap());
                submission.markers = vec![TokenId(1)];
                Asked {
                    submission,
                    arrives,
                    cancelled: after.map(|after| arrives + after),
                    resumed,
                }
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let step_tokens_max = prop_oneof![1..12usize, 12..300usize];
    // at most 4 requests: the queue takes the sequences of all of them
    let blocks = prop_oneof![3 => 12..14u64, 1 => 14..40u64];
    (prop::collection::vec(asked(), 1..5), blocks, step_tokens_max).prop_map(
        |(mut asked, blocks, step_tokens_max)| {
            for (number, asked) in asked.iter_mut().enumerate() {
                asked.submission.id = engine_api::RequestId::new(number.to_string());
            }
            Case { asked, blocks, step_tokens_max }
        },
    )
}

/// The part of a full outcome that comes from a core that takes over.
fn cut(asked: &Asked, alone: &Outcome) -> Vec<Vec<TokenId>> {
    let Some(shares) = &asked.resumed else { return Vec::new() };
    let choices = alone.choices.iter().zip(shares);
    choices
        .map(|(choice, share)| {
            let count = choice.tokens.len() * *share as usize / 255;
            choice.tokens[..count].iter().map(|token| token.id).collect()
        })
        .collect()
}

/// Compares, with log-probabilities by their bits.
fn same(
    together: &Outcome,
    alone: &Outcome,
    resumed: &[Vec<TokenId>],
) -> Result<(), TestCaseError> {
    // what was cached depends on who came before, and is the one thing that does
    let counts = |usage: &Option<Usage>| usage.map(|usage| Usage { cached_tokens: 0, ..usage });
    prop_assert_eq!(counts(&together.usage), counts(&alone.usage));
    prop_assert_eq!(&together.failed, &None);
    for (number, (joined, whole)) in together.choices.iter().zip(&alone.choices).enumerate() {
        let from = resumed.get(number).map_or(0, Vec::len);
        prop_assert_eq!((&joined.reason, &joined.rest), (&whole.reason, &whole.rest));
        prop_assert_eq!(&joined.tokens, &whole.tokens[from..]);
        for (token, other) in joined.tokens.iter().zip(&whole.tokens[from..]) {
            let bits = |token: &engine_api::Token| -> Vec<u32> {
                let logprob = token.logprob.iter();
                logprob
                    .flat_map(|l| l.top.iter().chain([&l.drawn]))
                    .map(|c| c.logprob.to_bits())
                    .collect()
            };
            prop_assert_eq!(bits(token), bits(other));
        }
    }
    Ok(())
}

/// What each case met, so that a run shows that it tried everything.
#[derive(Debug, Default)]
struct Met {
    sequences: u32,
    preemptions: u64,
    cancelled: u32,
    resumed: u32,
    /// Prompt tokens that came from the prefix cache, in either run.
    cached: u32,
    /// Sequences that followed a grammar, and those of them that came to its end.
    guided: u32,
    complete: u32,
}

fn run(file: &[u8], case: &Case, alone: &mut Bench, met: &mut Met) -> Result<(), TestCaseError> {
    let mut together = Bench::over(file, case.blocks, case.step_tokens_max);
    let mut expected = Vec::new();
    for asked in &case.asked {
        alone.submit(asked.submission.clone());
        let outcome = alone.finish().pop_first().expect("one was submitted").1;
        let resumed = cut(asked, &outcome);
        met.sequences += outcome.choices.len() as u32;
        if asked.submission.constraint.is_some() {
            let ends = outcome.choices.iter().map(|choice| choice.reason);
            met.guided += outcome.choices.len() as u32;
            met.complete += ends.filter(|end| *end == Some(FinishReason::Stop)).count() as u32;
        }
        met.resumed += u32::from(asked.resumed.is_some());
        expected.push((outcome, resumed));
    }
    for now in 0..=70 {
        for (asked, (_, resumed)) in case.asked.iter().zip(&expected) {
            if asked.arrives == now {
                together.resume(asked.submission.clone(), resumed.clone());
            }
            if asked.cancelled == Some(now) {
                together.core.cancel(&bench::key(asked.submission.id.as_str()));
            }
        }
        together.step();
    }
    let outcomes = together.finish();
    let load = together.core.load_now();
    prop_assert_eq!((load.blocks_used, load.running, load.waiting), (0, 0, 0));
    met.preemptions += load.preemptions;
    for (asked, (alone, resumed)) in case.asked.iter().zip(&expected) {
        let outcome = &outcomes[asked.submission.id.as_str()];
        let usages = [&outcome.usage, &alone.usage].into_iter().flatten();
        met.cached += usages.map(|usage| usage.cached_tokens).sum::<u32>();
        // a cancelled request may have ended before
        if asked.cancelled.is_some() && outcome.usage.is_none() {
            met.cancelled += 1;
        } else {
            same(outcome, alone, resumed)?;
        }
    }
    Ok(())
}

fn check(model: &TinyModel, cases: u32) -> Met {
    let file = model.to_bytes();
    let alone = RefCell::new(Bench::over(&file, 64, CoreConfig::STEP_TOKENS_MAX));
    alone.borrow_mut().core.forced_max = 0;
    let met = RefCell::new(Met::default());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&case(), |case| run(&file, &case, &mut alone.borrow_mut(), &mut met.borrow_mut()));
    println!("{cases} cases met {:?}", met.borrow());
    if let Err(error) = result {
        panic!("{error}");
    }
    met.into_inner()
}

fn cases() -> u32 {
    let full = std::env::var_os("HANSE_FULL").is_some_and(|value| value == "1");
    if full { CASES_FULL } else { CASES }
}

/// One layer sees a window of positions that is no multiple of a block, and gives blocks back while a
/// sequence grows; the other sees everything.
#[test]
fn a_window_changes_nothing_of_that() {
    let metadata = vec![
        ("attention.sliding_window", Value::U32(48)),
        ("attention.sliding_window_pattern", Value::U32(2)),
    ];
    let architecture = Architecture::Gemma3;
    let met = check(&TinyModel { architecture, metadata, ..bench::model() }, cases() / 4);
    assert!(met.cached > 0 && met.resumed > 0, "{met:?}");
}

#[test]
fn results_depend_on_nothing_but_the_request() {
    let met = check(&bench::model(), cases());
    let rare = [met.cancelled, met.resumed, met.cached, met.guided, met.complete].map(u64::from);
    let rare = [&rare[..], &[met.preemptions]].concat();
    assert!(rare.iter().all(|count| *count > 0), "{met:?}");
}
