//! What the workers say of themselves, and what the fleet knows of them.

use std::fmt;

use engine_fleet::{PartitionState, PartitionStatus};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::labels::{BlockLabels, CacheLabels, Place, StateLabel};

type Reading<T> = (&'static str, &'static str, fn(&PartitionStatus) -> T);

const GAUGES: [Reading<f64>; 4] = [
    ("vllm:num_requests_running", "Sequences in the batch", |one| one.load.running.into()),
    ("vllm:num_requests_waiting", "Sequences in the queue", |one| one.load.waiting.into()),
    ("vllm:kv_cache_usage_perc", "Blocks that requests hold; 1 is all of them", |one| {
        f64::from(one.load.blocks_used) / f64::from(one.load.blocks_total.max(1))
    }),
    ("hanse_worker_up", "1 while the partition takes requests", |one| {
        f64::from(u8::from(one.state == PartitionState::Ready))
    }),
];

/// `_total` is added when they are written.
const COUNTERS: [Reading<u64>; 8] = [
    ("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache", |one| {
        one.done.prefix_queries
    }),
    ("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache", |one| {
        one.done.prefix_hits
    }),
    ("vllm:num_preemptions", "Sequences that had to give their blocks back", |one| {
        one.done.preemptions
    }),
    ("vllm:prompt_tokens", "Prompt tokens of requests that got a first token", |one| {
        one.done.prompt_tokens
    }),
    ("vllm:generation_tokens", "Tokens that were drawn", |one| one.done.generation_tokens),
    (
        "vllm:spec_decode_num_draft_tokens",
        "Tokens that were guessed to follow, and checked",
        |one| one.done.drafted,
    ),
    ("vllm:spec_decode_num_accepted_tokens", "Guessed tokens that were right", |one| {
        one.done.accepted
    }),
    ("hanse_worker_restarts", "Starts of the partition's worker after the first", |one| {
        one.epoch.0.saturating_sub(1)
    }),
];

const STATES: [&str; 5] = ["starting", "loading", "ready", "down", "stopped"];

/// Writes all of it.
pub fn encode(all: &[PartitionStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, value) in GAUGES {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for one in all {
            metric.encode_family(&Place::of(one))?.encode_gauge(&value(one))?;
        }
    }
    for (name, help, value) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for one in all {
            let none = None::<&Exemplar>;
            metric.encode_family(&Place::of(one))?.encode_counter(&value(one), none)?;
        }
    }
    cache(all, encoder)?;
    blocks(all, encoder)?;
    workers(all, encoder)
}

/// A number without labels that only rises.
pub fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    count: u64,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter(&count, None::<&Exemplar>)
}

/// There are none; the encoder wants to know of which kind.
type Exemplar = prometheus_client::metrics::exemplar::Exemplar<[(String, String); 0], u64>;

fn cache(all: &[PartitionStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (name, help) = ("vllm:cache_config_info", "The shape of the cache of a running worker");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for one in all.iter().filter(|one| one.load.block_tokens > 0) {
        let labels = CacheLabels {
            place: Place::of(one),
            block_size: one.load.block_tokens,
            num_gpu_blocks: one.load.blocks_total,
        };
        metric.encode_family(&labels)?.encode_gauge(&1u32)?;
    }
    Ok(())
}

fn blocks(all: &[PartitionStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Blocks of the cache: all of them, those that requests hold, those that only the \
                prefix cache knows, and those that it may not give away";
    let mut metric = encoder.encode_descriptor("hanse_kv_blocks", help, None, MetricType::Gauge)?;
    for one in all {
        let load = &one.load;
        for (state, blocks) in [
            ("total", load.blocks_total),
            ("used", load.blocks_used),
            ("cached", load.blocks_cached),
            ("pinned", load.blocks_pinned),
        ] {
            let labels = BlockLabels { place: Place::of(one), state };
            metric.encode_family(&labels)?.encode_gauge(&blocks)?;
        }
    }
    Ok(())
}

fn workers(all: &[PartitionStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Partitions, by what their worker does";
    let mut metric = encoder.encode_descriptor("hanse_workers", help, None, MetricType::Gauge)?;
    for state in STATES {
        let count = all.iter().filter(|one| name(&one.state) == state).count();
        metric.encode_family(&StateLabel { state })?.encode_gauge(&(count as u64))?;
    }
    Ok(())
}

fn name(state: &PartitionState) -> &'static str {
    match state {
        PartitionState::Starting => "starting",
        PartitionState::Loading { .. } => "loading",
        PartitionState::Ready => "ready",
        PartitionState::Down { .. } => "down",
        PartitionState::Stopped => "stopped",
    }
}
