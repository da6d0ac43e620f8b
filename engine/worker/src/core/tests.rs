//! A core over a tiny random model, from submission to usage.

#![allow(clippy::unwrap_used)]

mod bench;
mod constraints;
mod determinism;
mod real_model;

use std::num::NonZeroU32;

use engine_api::{
    Choices, FinishReason, LogitBias, MaxTokens, ModelDigest, Penalty, StopStrings, Temperature,
    TopLogprobs, Usage,
};
use engine_tiny::{TinyModel, WeightType};

use super::*;
use crate::kv::LayerCache;
use bench::{Bench, Outcome, prompt, submission};
use engine_kernels::KvKind;

#[test]
fn the_card_describes_the_file() {
    let card = Bench::new(16, 64).core.card();
    assert_eq!(card.context, 384);
    assert_eq!(card.vocabulary, TinyModel::default().vocabulary());
    assert_eq!((card.blocks, card.block_tokens), (16, 32));
    assert_ne!(card.digest, ModelDigest([0; 32]));
}

#[test]
fn a_request_gives_tokens_then_its_end_then_usage() {
    let mut bench = Bench::new(16, 64);
    let mut wanted = submission("a", &prompt(1, 100));
    wanted.sampling.logprobs = Some(TopLogprobs::new(3).unwrap());
    bench.submit(wanted);
    let outcome = bench.finish().remove("a").unwrap();
    let [choice] = &outcome.choices[..] else { panic!("one choice") };
    assert_eq!(choice.tokens.len(), 8);
    assert_eq!(choice.reason, Some(FinishReason::Length));
    let usage = Usage { prompt_tokens: 100, completion_tokens: 8, cached_tokens: 0 };
    assert_eq!(outcome.usage, Some(usage));
    for token in &choice.tokens {
        let logprob = token.logprob.as_ref().unwrap();
        assert_eq!((logprob.top.len(), logprob.drawn.id), (3, token.id));
        // greedy: what was drawn is the likeliest
        assert_eq!(logprob.drawn, logprob.top[0]);
    }
    assert!(bench.core.is_idle());
    assert_eq!(bench.core.load_now().blocks_used, 0);
}

/// The next turn of a conversation finds what the last one computed; another tenant does not.
#[test]
fn what_was_computed_is_counted_as_cached_for_its_own_tenant() {
    let mut bench = Bench::new(48, 64);
    let mut cached = |id: &str, tenant: u8, tokens: &[u32]| {
        let mut wanted = submission(id, tokens);
        wanted.namespace = engine_api::CacheNamespace([tenant; 16]);
        bench.submit(wanted);
        let outcome = bench.finish().remove(id).unwrap();
        let next = [tokens, &outcome.choices[0].ids(), &[7, 8, 9]].concat();
        (outcome.usage.unwrap().cached_tokens, next)
    };
    let (first, next) = cached("first turn", 1, &prompt(1, 90));
    let (second, _) = cached("second turn", 1, &next);
    let (other, _) = cached("another tenant", 2, &next);
    let (again, _) = cached("the same again", 2, &next);
    // of 101 tokens three blocks are full, of which the answer has the end of the last
    assert_eq!((first, second, other, again), (0, 96, 0, 96));
}

#[test]
fn what_a_tool_may_soon_answer_is_kept_before_the_rest() {
    let mut bench = Bench::new(12, 64);
    let mut run = |id: &str, tokens: &[u32], hold: Option<u64>| {
        let mut wanted = submission(id, tokens);
        wanted.hold = hold.map(Duration::from_secs);
        bench.submit(wanted);
        let outcome = bench.finish().remove(id).unwrap();
        (outcome.usage.unwrap().cached_tokens, bench.core.load_now().blocks_pinned)
    };
    assert_eq!(run("with tools", &prompt(1, 130), Some(3600)), (0, 4));
    assert_eq!(run("plain", &prompt(2, 130), None), (0, 4));
    // this one needs the blocks of one of them
    assert_eq!(run("large", &prompt(3, 200), None), (0, 4));
    assert_eq!(run("plain again", &prompt(2, 130), None), (32, 4));
    assert_eq!(run("with tools again", &prompt(1, 130), None), (128, 4));
}

#[test]
fn keys_and_values_may_be_kept_whole() {
    let run = |step_tokens_max| {
        let bytes = 24 * bench::block_bytes(KvKind::F16);
        let mut bench =
            Bench::with(&bench::model().to_bytes(), bytes, step_tokens_max, KvKind::F32);
        bench.submit(submission("a", &prompt(1, 200)));
        (bench.core.card(), bench.finish().remove("a").unwrap())
    };
    let (card, outcome) = run(64);
    // the same bytes buy half as many blocks
    assert_eq!((card.numerics.as_str().contains("f32"), card.blocks), (true, 12));
    assert_eq!(run(7).1, outcome);
}

#[test]
fn guessed_tokens_save_steps_and_change_nothing() {
    let run = |draft_tokens_max| {
        let mut bench = Bench::new(48, 64);
        bench.core.drafts = Drafts::new(draft_tokens_max);
        let mut wanted = submission("a", &prompt(1, 20));
        // who can say only one thing repeats himself
        wanted.sampling.logit_bias = LogitBias::new([(TokenId(40), 100.0)].into()).unwrap();
        wanted.stopping.max_tokens = MaxTokens::new(60).unwrap();
        wanted.sampling.logprobs = Some(TopLogprobs::new(2).unwrap());
        bench.submit(wanted);
        let mut steps = 1;
        while bench.step() {
            steps += 1;
        }
        let load = bench.core.load_now();
        let counts = (load.drafted, load.accepted);
        (steps, bench.finish().remove("a").unwrap(), counts)
    };
    let (plain, expected, none) = run(0);
    let (guessed, outcome, (drafted, accepted)) = run(8);
    assert_eq!(outcome, expected);
    // each token came by a step or by a guess
    assert_eq!((none, guessed + accepted), ((0, 0), 60));
    assert!(drafted >= accepted, "{drafted} guessed, {accepted} right");
    assert!(plain == 60 && guessed < 20, "{plain} steps without, {guessed} with guesses");
}

#[test]
fn choices_differ_and_are_counted_together() {
    let mut bench = Bench::new(24, 64);
    let mut wanted = submission("a", &prompt(1, 70));
    wanted.choices = Choices::new(4).unwrap();
    wanted.sampling.temperature = Temperature::new(1.5).unwrap();
    bench.submit(wanted);
    let outcome = bench.finish().remove("a").unwrap();
    let answers: Vec<_> = outcome.choices.iter().map(|choice| choice.ids()).collect();
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().enumerate().all(|(i, answer)| !answers[..i].contains(answer)));
    assert_eq!(outcome.usage.unwrap().completion_tokens, 32);
}

#[test]
fn an_answer_ends_with_an_end_token_unless_it_is_ignored() {
    let run = |ignore_eos, min_tokens| {
        let mut bench = Bench::new(16, 64);
        let mut wanted = submission("a", &prompt(1, 10));
        // the end of a turn is token 2: draw nothing else
        wanted.sampling.logit_bias = LogitBias::new([(TokenId(2), 100.0)].into()).unwrap();
        wanted.stopping.ignore_eos = ignore_eos;
        wanted.stopping.min_tokens = min_tokens;
        bench.submit(wanted);
        bench.finish().remove("a").unwrap().choices.remove(0)
    };
    let stopped = run(false, 0);
    assert_eq!((stopped.ids(), stopped.reason), (vec![2], Some(FinishReason::Stop)));
    let ignored = run(true, 0);
    assert_eq!((ignored.ids(), ignored.reason), (vec![2; 8], Some(FinishReason::Length)));
    assert_eq!(ignored.text(), "");
    let late = run(false, 3);
    assert_eq!(late.ids().iter().position(|id| *id == 2), Some(3));
    assert_eq!(late.reason, Some(FinishReason::Stop));
}

/// A model that names no end token draws until its length is reached.
#[test]
fn a_model_without_an_end_ends_by_length() {
    let mut file = bench::model().to_bytes();
    for name in ["<|im_end|>", "<|endoftext|>", "tokenizer.ggml.eos_token_id"] {
        let places: Vec<_> = file.windows(name.len()).enumerate().collect();
        let is_name = |(_, window): &(usize, &[u8])| *window == name.as_bytes();
        let found: Vec<_> = places.into_iter().filter(is_name).map(|(at, _)| at).collect();
        assert!(!found.is_empty(), "{name}");
        // another name of the same length
        found.into_iter().for_each(|at| file[at + name.len() - 2] = b'_');
    }
    let mut bench = Bench::over(&file, 16, 64);
    assert!(bench.core.tokenizer.end_tokens().is_empty());
    let mut wanted = submission("a", &prompt(1, 10));
    wanted.sampling.logit_bias = LogitBias::new([(TokenId(2), 100.0)].into()).unwrap();
    wanted.stopping.min_tokens = 3;
    bench.submit(wanted);
    let choice = bench.finish().remove("a").unwrap().choices.remove(0);
    assert_eq!((choice.ids(), choice.reason), (vec![2; 8], Some(FinishReason::Length)));
}

#[test]
fn a_cancelled_request_says_nothing_more_and_frees_its_blocks() {
    let mut bench = Bench::new(16, 64);
    let mut wanted = submission("a", &prompt(1, 200));
    wanted.choices = Choices::new(3).unwrap();
    bench.submit(wanted);
    bench.submit(submission("b", &prompt(2, 20)));
    for _ in 0..5 {
        bench.step();
    }
    assert!(bench.core.load_now().blocks_used > 7);
    bench.core.cancel(&bench::key("a"));
    bench.core.cancel(&bench::key("nobody"));
    let outcome = bench.finish();
    assert_eq!(outcome["a"].usage, None);
    assert!(outcome["b"].usage.is_some());
    assert_eq!(bench.core.load_now().blocks_used, 0);
    // the key is free again
    bench.submit(submission("a", &prompt(1, 20)));
}

#[test]
fn what_cannot_run_is_refused_with_the_field_to_blame() {
    let refused = |change: &dyn Fn(&mut Submission)| {
        let mut bench = Bench::new(16, 64);
        let mut wanted = submission("a", &prompt(1, 10));
        wanted.prompt.model_digest = bench.core.card().digest;
        change(&mut wanted);
        let result = bench.core.submit(bench::key("a"), wanted, Vec::new());
        assert!(bench.core.is_idle());
        result.unwrap_err().to_string()
    };
    let shown = [
        refused(&|wanted| wanted.prompt.ids = [].into()),
        refused(&|wanted| wanted.prompt.ids = [TokenId(267)].into()),
        refused(&|wanted| wanted.prompt.ids = vec![TokenId(5); 384].into()),
        refused(&|wanted| {
            wanted.sampling.logit_bias = LogitBias::new([(TokenId(267), 1.0)].into()).unwrap();
        }),
        refused(&|wanted| wanted.prompt.model_digest = ModelDigest([7; 32])),
    ];
    expect_test::expect![[r#"
        `prompt` must hold at least one token
        `prompt` holds token 267, the last one is 266
        this model takes 384 tokens of context, but the prompt has 384 tokens; shorten the prompt
        `logit_bias` names token 267, the last one is 266
        the engine failed on this request"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_full_queue_is_overload_with_a_hint() {
    let mut bench = Bench::new(16, 64);
    let ask = |bench: &mut Bench, number: usize, tenant: u64| {
        let mut wanted = submission(&number.to_string(), &prompt(1, 10));
        wanted.prompt.model_digest = bench.core.card().digest;
        wanted.share.key = tenant;
        bench.core.submit(bench::key(&number.to_string()), wanted, Vec::new())
    };
    let taken = (0..).take_while(|number| ask(&mut bench, *number, 1).is_ok()).count();
    // one tenant gets no more of the queue than it leaves to others
    assert_eq!(taken, bench::QUEUE_MAX / 2 + 1);
    let error = ask(&mut bench, 100, 1).unwrap_err();
    let EngineError::Overloaded { retry_after } = error else { panic!("{error}") };
    assert!((1..=60).contains(&retry_after.as_secs()));
    assert_eq!(ask(&mut bench, 200, 2), Ok(()));
}

#[test]
fn the_output_is_cut_where_the_context_ends() {
    let mut bench = Bench::new(16, 64);
    let mut wanted = submission("a", &prompt(1, 380));
    wanted.stopping.max_tokens = MaxTokens::new(100).unwrap();
    wanted.prompt.max_tokens = 100;
    bench.submit(wanted);
    let outcome = bench.finish().remove("a").unwrap();
    assert_eq!(outcome.choices[0].tokens.len(), 4);
    assert_eq!(outcome.choices[0].reason, Some(FinishReason::Length));
}

#[test]
fn tokens_that_cannot_have_been_drawn_are_not_taken_over() {
    let mut bench = Bench::new(16, 64);
    let mut wanted = submission("a", &prompt(1, 10));
    wanted.prompt.model_digest = bench.core.card().digest;
    let mut resume = |tokens: Vec<Vec<TokenId>>| {
        bench.core.submit(bench::key("a"), wanted.clone(), tokens).unwrap_err().to_string()
    };
    let shown = [
        resume(vec![vec![], vec![]]),
        resume(vec![vec![TokenId(267)]]),
        // nothing follows an end token
        resume(vec![vec![TokenId(2), TokenId(5)]]),
        resume(vec![vec![TokenId(5); 9]]),
    ];
    expect_test::expect![[r#"
        `resume` must have a list of tokens for each choice
        `resume` holds tokens that this request cannot have drawn
        `resume` holds tokens that this request cannot have drawn
        `resume` holds tokens that this request cannot have drawn"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn weights_that_give_no_numbers_fail_the_request() {
    // no number in the embedding of token 5, which is also the head's row
    let model = TinyModel { embedding: WeightType::F16, ..bench::model() };
    let mut bytes = model.to_bytes();
    let header = engine_text::GgufHeader::parse(&bytes[..], bytes.len() as u64).unwrap();
    let start = header.tensor("token_embd.weight").unwrap().bytes.start as usize;
    let row = start + 5 * 2 * model.width as usize;
    bytes[row..row + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    let mut bench = Bench::over(&bytes, 16, 64);
    let mut wanted = submission("bad", &[5, 6]);
    wanted.choices = Choices::new(3).unwrap();
    bench.submit(wanted);
    let outcome = bench.finish();
    assert_eq!(outcome["bad"].failed, Some(EngineError::Internal));
    assert_eq!(bench.core.load_now().blocks_used, 0);
}

/// Blocks come back as whoever had them left them: even values that are no numbers must not
/// reach anyone.
#[test]
fn what_a_block_held_before_does_not_matter() {
    let run = |bench: &mut Bench| {
        bench.submit(submission("a", &prompt(1, 290)));
        bench.submit(submission("b", &prompt(2, 3)));
        bench.finish()
    };
    let clean = run(&mut Bench::new(16, 64));
    let mut bench = Bench::new(16, 64);
    let slots: Vec<u32> = (0..16 * BLOCK_TOKENS).collect();
    let device = bench.core.cache.layer(0).keys.device().clone();
    let noise = candle_core::Tensor::full(f32::NAN, (slots.len(), 2, 16), &device);
    let noise = noise.unwrap().contiguous().unwrap();
    for layer in 0..2 {
        let LayerCache { keys, values, .. } = bench.core.cache.layer(layer);
        engine_kernels::write_keys(keys, &noise, &slots, None).unwrap();
        engine_kernels::write_values(values, &noise, &slots).unwrap();
    }
    assert_eq!(run(&mut bench), clean);
}
