//! What a step may say of a request.

use engine_api::ModelKind;

use super::*;
use crate::{Counters, Load};

fn candidate() -> impl Strategy<Value = CandidateToken> {
    (any::<u32>(), vec(any::<u8>(), 0..8), -90.0f32..=0.0)
        .prop_map(|(id, bytes, logprob)| CandidateToken { id: TokenId(id), bytes, logprob })
}

pub(super) fn token() -> impl Strategy<Value = Token> {
    let logprob = (candidate(), vec(candidate(), 0..=20))
        .prop_map(|(drawn, top)| TokenLogprob { drawn, top });
    (any::<u8>(), any::<u32>(), any::<u32>(), ".{0,10}", option::of(logprob)).prop_map(
        |(choice, index, id, text, logprob)| Token {
            choice,
            index,
            id: TokenId(id),
            text,
            logprob,
        },
    )
}

pub(super) fn finished() -> impl Strategy<Value = Finished> {
    let reason = prop_oneof![Just(FinishReason::Stop), Just(FinishReason::Length)];
    (any::<u8>(), reason, ".{0,10}").prop_map(|(choice, reason, text)| Finished {
        choice,
        reason,
        text,
    })
}

pub(super) fn usage() -> impl Strategy<Value = Usage> {
    any::<[u32; 3]>().prop_map(|[prompt_tokens, completion_tokens, cached_tokens]| Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
    })
}

pub(super) fn timings() -> impl Strategy<Value = Timings> {
    any::<[u64; 3]>().prop_map(|micros| {
        let [queue, prefill, decode] = micros.map(Duration::from_micros);
        Timings { queue, prefill, decode }
    })
}

pub(super) fn load() -> impl Strategy<Value = Load> {
    let counters = any::<[u64; 7]>().prop_map(|[preemptions, tokens @ ..]| {
        let [prompt_tokens, generation_tokens, prefix_queries, prefix_hits, drafted, accepted] =
            tokens;
        Counters {
            preemptions,
            prompt_tokens,
            generation_tokens,
            prefix_queries,
            prefix_hits,
            drafted,
            accepted,
        }
    });
    (any::<[u32; 6]>(), counters).prop_map(|([running, waiting, blocks @ ..], counters)| {
        let blocks_total = blocks.into_iter().max().unwrap_or_default();
        let [blocks_used, blocks_cached, blocks_pinned, _] = blocks;
        Load { running, waiting, blocks_used, blocks_total, blocks_cached, blocks_pinned, counters }
    })
}

pub(super) fn welcome() -> impl Strategy<Value = Welcome> {
    let numbers = (any::<u32>(), any::<u64>(), 1u32.., 1u32.., 1u32.., 1u32..);
    (numbers, any::<[u8; 32]>(), name(), any::<bool>()).prop_map(
        |(numbers, digest, numerics, embeds)| {
            let (protocol, epoch, context, vocabulary, blocks, block_tokens) = numbers;
            let (kind, blocks, block_tokens) = match embeds {
                true => (ModelKind::Embed, 0, 0),
                false => (ModelKind::Generate, blocks, block_tokens),
            };
            Welcome {
                protocol,
                epoch: Epoch(epoch),
                model_digest: ModelDigest(digest),
                numerics: NumericsClass::new(numerics),
                context,
                vocabulary,
                blocks,
                block_tokens,
                kind,
            }
        },
    )
}
