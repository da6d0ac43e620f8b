//! The sampler against its definition, written plainly in double precision over sorted lists.

use std::collections::BTreeSet;

use engine_api::{
    LogitBias, MinP, Penalty, RepetitionPenalty, Sampling, Seed, Temperature, TokenId, TopK, TopP,
};
use proptest::prelude::*;

use super::{Draw, Occurrences, Scratch, philox};

/// One draw.
#[derive(Clone, Debug)]
struct Case {
    logits: Vec<f32>,
    prompt: Vec<TokenId>,
    drawn: Vec<TokenId>,
    sampling: Sampling,
    index: u32,
}

impl Case {
    fn draw(&self) -> TokenId {
        let mut occurrences = Occurrences::default();
        self.drawn.iter().for_each(|id| occurrences.add(*id));
        let draw = Draw {
            choice: 0,
            index: self.index,
            prompt: &self.prompt,
            occurrences: &occurrences,
            barred: &[],
            allowed: None,
        };
        let drawn = draw.from(&self.logits, &self.sampling, &mut Scratch::default());
        drawn.expect("the logits are finite").id
    }
}

/// What may be drawn, with its part of the probability, in the order in which parts are added
/// up; `None` where rounding decides.
fn expected(case: &Case) -> Option<Vec<(usize, f64)>> {
    let sampling = &case.sampling;
    let mut logits = case.logits.clone();
    for (id, bias) in sampling.logit_bias.iter() {
        logits[id.index()] += bias;
    }
    let seen: BTreeSet<TokenId> = case.prompt.iter().chain(&case.drawn).copied().collect();
    for id in seen {
        let (logit, penalty) = (&mut logits[id.index()], sampling.repetition_penalty.get());
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
    for (id, logit) in logits.iter_mut().enumerate() {
        let count = case.drawn.iter().filter(|drawn| drawn.index() == id).count();
        if count > 0 {
            *logit -=
                count as f32 * sampling.frequency_penalty.get() + sampling.presence_penalty.get();
        }
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    if sampling.temperature.get() == 0.0 {
        return Some(vec![(order[0], 1.0)]);
    }
    let scaled = |id: usize| logits[id] as f64 / sampling.temperature.get() as f64;
    let sum: f64 = order.iter().map(|id| scaled(*id).exp()).sum();
    let mut kept: Vec<(usize, f64)> =
        order.iter().map(|id| (*id, scaled(*id).exp() / sum)).collect();
    let least = kept[0].1 * sampling.min_p.get() as f64;
    if kept.iter().skip(1).any(|(_, part)| (part / least - 1.0).abs() < 1e-9) {
        return None;
    }
    kept.retain(|(_, part)| *part >= least);
    let leaves_out = |count: std::num::NonZeroU32| (count.get() as usize) < order.len();
    let is_whole = !sampling.top_k.get().is_some_and(leaves_out) && sampling.top_p == TopP::ALL;
    if let Some(count) = sampling.top_k.get() {
        kept.truncate(count.get() as usize);
    }
    let wanted = kept.iter().map(|(_, part)| part).sum::<f64>() * sampling.top_p.get() as f64;
    let mut reached = 0.0;
    let mut count = 0;
    while count == 0 || (count < kept.len() && reached < wanted) {
        reached += kept[count].1;
        count += 1;
        if sampling.top_p != TopP::ALL && (reached - wanted).abs() < 1e-9 {
            return None;
        }
    }
    kept.truncate(if sampling.top_p == TopP::ALL { kept.len() } else { count });
    if is_whole {
        kept.sort_by_key(|(id, _)| *id);
    }
    Some(kept)
}

/// The token at a place between 0 and 1; `None` where rounding decides.
fn at(kept: &[(usize, f64)], uniform: f64) -> Option<usize> {
    let mass: f64 = kept.iter().map(|(_, part)| part).sum();
    let mut sum = 0.0;
    for (id, part) in kept {
        sum += part / mass;
        if (sum - uniform).abs() < 1e-9 {
            return None;
        }
        if sum > uniform {
            return Some(*id);
        }
    }
    None
}

fn ids(vocabulary: usize) -> impl Strategy<Value = Vec<TokenId>> {
    prop::collection::vec((0..vocabulary as u32).prop_map(TokenId), 0..12)
}

fn sampling(vocabulary: usize) -> impl Strategy<Value = Sampling> {
    let penalty = || prop_oneof![Just(0.0f32), -2.0f32..2.0];
    let bias = (0..vocabulary as u32).prop_map(TokenId);
    (
        prop_oneof![1 => Just(0.0f32), 4 => 0.2f32..2.0],
        prop_oneof![Just(1.0f32), 0.0f32..1.0],
        prop_oneof![Just(0i64), Just(1), 2..vocabulary as i64 + 3],
        prop_oneof![Just(0.0f32), 0.0f32..1.0],
        (penalty(), penalty(), prop_oneof![Just(1.0f32), 0.5f32..2.0]),
        prop::collection::btree_map(bias, -3.0f32..3.0, 0..3),
        any::<u64>(),
    )
        .prop_map(|(temperature, top_p, top_k, min_p, penalties, bias, seed)| Sampling {
            temperature: Temperature::new(temperature).expect("in range"),
            top_p: TopP::new(top_p).expect("in range"),
            top_k: TopK::new(top_k).expect("in range"),
            min_p: MinP::new(min_p).expect("in range"),
            seed: Seed(seed),
            frequency_penalty: Penalty::new(penalties.0).expect("in range"),
            presence_penalty: Penalty::new(penalties.1).expect("in range"),
            repetition_penalty: RepetitionPenalty::new(penalties.2).expect("in range"),
            logit_bias: LogitBias::new(bias).expect("in range"),
            logprobs: None,
        })
}

fn case() -> impl Strategy<Value = Case> {
    let size = prop_oneof![3 => 2..20usize, 1 => 300..700usize];
    size.prop_flat_map(|size| {
        // steps of a half make ties
        let logit = prop_oneof![
            3 => (-8.0f32..8.0).boxed(),
            1 => (-6..6).prop_map(|half| half as f32 / 2.0).boxed(),
        ];
        let logits = prop::collection::vec(logit, size);
        (logits, ids(size), ids(size), sampling(size), 0..64u32).prop_map(
            |(logits, prompt, drawn, sampling, index)| Case {
                logits,
                prompt,
                drawn,
                sampling,
                index,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_draw_is_the_definition_s(case in case()) {
        let kept = expected(&case);
        let uniform = philox::uniform(case.sampling.seed.0, 0, case.index);
        if let Some(id) = kept.and_then(|kept| at(&kept, uniform)) {
            prop_assert_eq!(case.draw().index(), id);
        }
    }

    #[test]
    fn one_token_kept_is_greedy(case in case(), min_p in any::<bool>()) {
        let greedy = Sampling { temperature: Temperature::GREEDY, ..case.sampling.clone() };
        let alone = if min_p {
            Sampling { min_p: MinP::new(1.0).expect("in range"), ..case.sampling.clone() }
        } else {
            Sampling { top_k: TopK::new(1).expect("in range"), ..case.sampling.clone() }
        };
        let greedy = Case { sampling: greedy, ..case.clone() };
        // min-p keeps all that are as likely as the likeliest; top-k keeps the lowest id
        if let Some(kept) = expected(&Case { sampling: alone.clone(), ..case.clone() })
            && kept.len() == 1
        {
            let alone = Case { sampling: alone, ..case };
            prop_assert_eq!(alone.draw(), greedy.draw());
        } else {
            prop_assert!(min_p, "top-k of 1 keeps one");
        }
    }
}
