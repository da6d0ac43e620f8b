#![allow(clippy::unwrap_used)]

use engine_api::{
    LogitBias, MinP, Penalty, RepetitionPenalty, Seed, Temperature, TopK, TopLogprobs, TopP,
};

use super::*;

fn draw_at(logits: &[f32], sampling: &Sampling, index: u32) -> Drawn {
    let occurrences = Occurrences::default();
    Draw { choice: 0, index, prompt: &[], occurrences: &occurrences, barred: &[], allowed: None }
        .from(logits, sampling, &mut Scratch::default())
        .unwrap()
}

fn greedy() -> Sampling {
    Sampling { temperature: Temperature::GREEDY, ..Sampling::default() }
}

/// Share of each token among many draws.
fn shares(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let draws = 20_000;
    let mut shares = vec![0.0; logits.len()];
    for index in 0..draws {
        shares[draw_at(logits, sampling, index).id.index()] += 1.0 / draws as f64;
    }
    shares
}

#[track_caller]
fn close(shares: &[f64], expected: &[f64]) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() < 0.015, "{shares:?}");
    }
}

#[test]
fn greedy_ties_go_to_the_lowest_id() {
    assert_eq!(draw_at(&[1.0, 3.0, 3.0, -1.0], &greedy(), 0).id, TokenId(1));
}

#[test]
fn shares_follow_the_softmax() {
    let logits: Vec<f32> = [0.1f32, 0.2, 0.7].map(|p| p.ln() + 5.0).to_vec();
    close(&shares(&logits, &Sampling::default()), &[0.1, 0.2, 0.7]);
    let hot = Sampling { temperature: Temperature::new(2.0).unwrap(), ..Sampling::default() };
    let root = [0.1f64, 0.2, 0.7].map(f64::sqrt);
    close(&shares(&logits, &hot), &root.map(|p| p / root.iter().sum::<f64>()));
}

#[test]
fn the_nucleus_is_the_smallest_set_with_its_mass() {
    let logits: Vec<f32> = [0.1f32, 0.3, 0.6].map(f32::ln).to_vec();
    let with = |p| Sampling { top_p: TopP::new(p).unwrap(), ..Sampling::default() };
    close(&shares(&logits, &with(0.7)), &[0.0, 1.0 / 3.0, 2.0 / 3.0]);
    close(&shares(&logits, &with(0.5)), &[0.0, 0.0, 1.0]);
    close(&shares(&logits, &with(0.0)), &[0.0, 0.0, 1.0]);
}

#[test]
fn a_flat_distribution_needs_more_than_the_first_sort() {
    let logits = vec![0.5; 4096];
    let half = Sampling { top_p: TopP::new(0.5).unwrap(), ..Sampling::default() };
    let drawn: Vec<u32> = (0..2000).map(|index| draw_at(&logits, &half, index).id.0).collect();
    // ties go to lower ids, so the nucleus is the first half
    assert!(drawn.iter().all(|id| *id < 2048));
    assert!(drawn.iter().any(|id| *id > 1500));
}

#[test]
fn bias_penalties_and_bars_change_the_draw_but_not_the_logprobs() {
    let logits = [1.0, 2.0, 1.5];
    let mut occurrences = Occurrences::default();
    occurrences.add(TokenId(1));
    occurrences.add(TokenId(1));
    let draw = |sampling: &Sampling, barred: &[TokenId]| {
        Draw { choice: 0, index: 0, prompt: &[], occurrences: &occurrences, barred, allowed: None }
            .from(&logits, sampling, &mut Scratch::default())
    };
    let plain = Sampling { logprobs: Some(TopLogprobs::new(1).unwrap()), ..greedy() };
    let frequency = Sampling { frequency_penalty: Penalty::new(0.3).unwrap(), ..plain.clone() };
    let presence = Sampling { presence_penalty: Penalty::new(0.6).unwrap(), ..plain.clone() };
    let mild = Sampling { presence_penalty: Penalty::new(0.4).unwrap(), ..plain.clone() };
    let bias = LogitBias::new([(TokenId(0), 2.0)].into()).unwrap();
    let biased = Sampling { logit_bias: bias, ..plain.clone() };
    let ids = [&plain, &frequency, &presence, &mild, &biased]
        .map(|sampling| draw(sampling, &[]).unwrap().id.0);
    assert_eq!(ids, [1, 2, 2, 1, 0]);
    assert_eq!(draw(&plain, &[TokenId(1)]).unwrap().id, TokenId(2));
    let tops = [&plain, &biased].map(|sampling| draw(sampling, &[]).unwrap().logprobs.unwrap().top);
    assert_eq!(tops[0], tops[1]);
    assert_eq!(draw(&plain, &[0, 1, 2].map(TokenId)), Err(NotFinite));
}

#[test]
fn only_the_likeliest_tokens_stay() {
    let logits: Vec<f32> = [0.1f32, 0.3, 0.05, 0.3, 0.25].map(f32::ln).to_vec();
    let top_k = |count| Sampling { top_k: TopK::new(count).unwrap(), ..Sampling::default() };
    close(&shares(&logits, &top_k(1)), &[0.0, 1.0, 0.0, 0.0, 0.0]);
    close(&shares(&logits, &top_k(3)), &[0.0, 0.353, 0.0, 0.353, 0.294]);
    close(&shares(&logits, &top_k(-1)), &[0.1, 0.3, 0.05, 0.3, 0.25]);
    let min_p = |part| Sampling { min_p: MinP::new(part).unwrap(), ..Sampling::default() };
    close(&shares(&logits, &min_p(0.3)), &[0.105, 0.316, 0.0, 0.316, 0.263]);
    close(&shares(&logits, &min_p(1.0)), &[0.0, 0.5, 0.0, 0.5, 0.0]);
    // half of what top-k leaves, not of everything
    let both = Sampling { top_p: TopP::new(0.5).unwrap(), ..top_k(2) };
    close(&shares(&logits, &both), &[0.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn repetition_is_penalized_once_for_prompt_and_answer() {
    let logits = [3.0, 2.0, -1.0, -1.5];
    let mut occurrences = Occurrences::default();
    (0..3).for_each(|_| occurrences.add(TokenId(0)));
    let adjusted = |penalty| {
        let prompt = [0, 2, 2].map(TokenId);
        let draw = Draw {
            choice: 0,
            index: 0,
            prompt: &prompt,
            occurrences: &occurrences,
            barred: &[],
            allowed: None,
        };
        let penalty = RepetitionPenalty::new(penalty).unwrap();
        let sampling = Sampling { repetition_penalty: penalty, ..greedy() };
        draw.adjust(&logits, &sampling, &mut Vec::new()).to_vec()
    };
    assert_eq!(adjusted(2.0), [1.5, 2.0, -2.0, -1.5]);
    assert_eq!(adjusted(0.5), [6.0, 2.0, -0.5, -1.5]);
    assert_eq!(adjusted(1.0), logits);
}

#[test]
fn logprobs_are_the_log_softmax_best_first() {
    let logits: Vec<f32> = [0.2f32, 0.5, 0.2, 0.1].map(|p| p.ln() - 3.0).to_vec();
    let sampling = Sampling { logprobs: Some(TopLogprobs::new(3).unwrap()), ..greedy() };
    let logprobs = draw_at(&logits, &sampling, 0).logprobs.unwrap();
    let ids: Vec<u32> = logprobs.top.iter().map(|candidate| candidate.id.0).collect();
    assert_eq!(ids, [1, 0, 2]);
    assert_eq!(logprobs.drawn, logprobs.top[0]);
    for (candidate, probability) in logprobs.top.iter().zip([0.5f32, 0.2, 0.2]) {
        assert!((candidate.logprob - probability.ln()).abs() < 1e-6);
    }
}

#[test]
fn a_logit_that_is_no_number_is_an_error() {
    let occurrences = Occurrences::default();
    let draw = Draw {
        choice: 0,
        index: 0,
        prompt: &[],
        occurrences: &occurrences,
        barred: &[],
        allowed: None,
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let drawn = draw.from(&[0.0, bad], &Sampling::default(), &mut Scratch::default());
        assert_eq!(drawn, Err(NotFinite));
    }
}

#[test]
fn a_draw_is_named_by_seed_choice_and_index() {
    let logits = vec![0.0; 1000];
    let sampling = |seed| Sampling { seed: Seed(seed), ..Sampling::default() };
    let ids = |seed| -> Vec<u32> {
        (0..5).map(|index| draw_at(&logits, &sampling(seed), index).id.0).collect()
    };
    assert_eq!(ids(7), ids(7));
    assert_ne!(ids(7), ids(8));
}

/// What a draw left in its memory is of no importance to the next one.
#[test]
fn a_used_memory_changes_nothing() {
    let logits: Vec<f32> = (0..2000u32).map(|n| ((n * 7919) % 1000) as f32 / 100.0).collect();
    let occurrences = Occurrences::default();
    let mut used = Scratch::default();
    for index in 0..200 {
        let sampling = Sampling {
            top_k: TopK::new([-1, 40, 1500][index as usize % 3]).unwrap(),
            top_p: TopP::new([1.0, 0.95, 0.3][index as usize / 3 % 3]).unwrap(),
            min_p: MinP::new([0.0, 0.1][index as usize % 2]).unwrap(),
            presence_penalty: Penalty::new([0.0, 0.5][index as usize / 2 % 2]).unwrap(),
            logprobs: (index % 5 == 0).then(|| TopLogprobs::new(3).unwrap()),
            ..Sampling::default()
        };
        // fewer logits now and then
        let logits = &logits[..logits.len() - (index as usize % 4) * 300];
        let draw = Draw {
            choice: 0,
            index,
            prompt: &[],
            occurrences: &occurrences,
            barred: &[],
            allowed: None,
        };
        let drawn = draw.from(logits, &sampling, &mut used);
        assert_eq!(drawn, draw.from(logits, &sampling, &mut Scratch::default()), "{sampling:?}");
    }
}
