#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use audit::Ending;
use engine_api::{
    Epoch, Event, FinishReason, Finished, ModelDigest, ModelId, NumericsClass, PartitionId,
    Placement, Timings, Token, TokenId, Usage, ZoneId,
};
use engine_fleet::{PartitionCounters, PartitionLoad, PartitionState};

use super::*;

fn status() -> PartitionStatus {
    PartitionStatus {
        id: PartitionId::new("p"),
        model: ModelId::new("m"),
        zone: ZoneId::new("z"),
        state: PartitionState::Ready,
        epoch: Epoch(3),
        pid: Some(1),
        failures: 0,
        last_failure: Some("a secret path".into()),
        load: PartitionLoad {
            running: 2,
            waiting: 3,
            blocks_used: 4,
            blocks_total: 16,
            blocks_cached: 5,
            blocks_pinned: 6,
            block_tokens: 32,
        },
        done: PartitionCounters {
            preemptions: 7,
            prompt_tokens: 8,
            generation_tokens: 9,
            prefix_queries: 11,
            prefix_hits: 10,
            drafted: 16,
            accepted: 17,
        },
    }
}

fn metrics(instruments: &Instruments) -> Metrics {
    let incidents = Incidents { resumed: 12, paused: 13, quarantined: 14 };
    let observed = Observed {
        partitions: Box::new(|| vec![status()]),
        incidents: Box::new(move || incidents),
        in_flight: Box::new(|| 15),
    };
    Metrics::new(instruments, observed)
}

/// The value of a series as it is written.
fn value<'a>(text: &'a str, series: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("there is no {series} in\n{text}"))
}

const PLACE: &str = r#"model_name="m",zone="z",partition="p""#;

#[test]
fn what_workers_say_is_written() {
    let text = metrics(&Instruments::default()).text();
    for (series, expected) in [
        ("vllm:num_requests_running", "2.0"),
        ("vllm:num_requests_waiting", "3.0"),
        ("vllm:kv_cache_usage_perc", "0.25"),
        ("vllm:num_preemptions_total", "7"),
        ("vllm:prompt_tokens_total", "8"),
        ("vllm:generation_tokens_total", "9"),
        ("vllm:prefix_cache_queries_total", "11"),
        ("vllm:prefix_cache_hits_total", "10"),
        ("vllm:spec_decode_num_draft_tokens_total", "16"),
        ("vllm:spec_decode_num_accepted_tokens_total", "17"),
        ("hanse_worker_up", "1.0"),
        ("hanse_worker_restarts_total", "2"),
    ] {
        assert_eq!(value(&text, &format!("{series}{{{PLACE}}}")), expected, "{series}");
    }
    let info = format!("vllm:cache_config_info{{{PLACE},block_size=\"32\",num_gpu_blocks=\"16\"}}");
    assert_eq!(value(&text, &info), "1");
    for (series, expected) in [
        ("hanse_requests_resumed_total", "12"),
        ("hanse_requests_paused_total", "13"),
        ("hanse_requests_quarantined_total", "14"),
        ("hanse_requests_in_flight", "15"),
        (r#"hanse_workers{state="ready"}"#, "1"),
        (r#"hanse_workers{state="down"}"#, "0"),
        (r#"hanse_decisions_total{outcome="denied"}"#, "0"),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(!text.contains("secret"), "why a worker died is for the log");
}

fn placed() -> Event {
    Event::Placed(Placement {
        partition: PartitionId::new("p"),
        zone: ZoneId::new("z"),
        epoch: Epoch(3),
        model_digest: ModelDigest([1; 32]),
        numerics: NumericsClass::new("n"),
    })
}

fn token(choice: u8, index: u32) -> Event {
    Event::Token(Token { choice, index, id: TokenId(1), text: "secret".into(), logprob: None })
}

#[test]
fn an_answer_is_measured_from_its_arrival_to_its_end() {
    let instruments = Instruments::default();
    let metrics = metrics(&instruments);
    let (received, ms) = (Instant::now(), Duration::from_millis);
    let mut timer = instruments.answers.begin(ModelId::new("m"), received);
    let finished =
        |choice, reason| Event::Finished(Finished { choice, reason, text: "secret".into() });
    let usage = Usage { prompt_tokens: 30, completion_tokens: 4, cached_tokens: 0 };
    let timings = Timings { queue: ms(250), prefill: ms(500), decode: ms(750) };
    for (event, at) in [
        (placed(), 500),
        (token(0, 0), 500),
        (token(1, 0), 500),
        (token(0, 1), 625),
        (token(1, 1), 750),
        (finished(0, FinishReason::Stop), 750),
        (finished(1, FinishReason::Length), 750),
        (Event::Usage(usage, timings), 750),
    ] {
        timer.observe(&event, received + ms(at));
    }
    timer.end(Ending::Completed, received + ms(1000));
    let text = metrics.text();
    for (name, sum, count) in [
        ("vllm:time_to_first_token_seconds", "0.5", "1"),
        ("vllm:inter_token_latency_seconds", "0.375", "2"),
        ("vllm:e2e_request_latency_seconds", "1.0", "1"),
        ("vllm:request_queue_time_seconds", "0.25", "1"),
        ("vllm:request_prefill_time_seconds", "0.5", "1"),
        ("vllm:request_decode_time_seconds", "0.75", "1"),
        ("vllm:request_prompt_tokens", "30.0", "1"),
    ] {
        assert_eq!(value(&text, &format!("{name}_sum{{{PLACE}}}")), sum, "{name}");
        assert_eq!(value(&text, &format!("{name}_count{{{PLACE}}}")), count, "{name}");
    }
    let ended = |reason: &str| {
        format!("vllm:request_success_total{{{PLACE},finished_reason=\"{reason}\"}}")
    };
    for (reason, expected) in [("stop", "1"), ("length", "1"), ("abort", "0"), ("error", "0")] {
        assert_eq!(value(&text, &ended(reason)), expected, "{reason}");
    }
    assert!(!text.contains("secret"), "no text is in the metrics");
}

#[test]
fn every_other_end_is_counted_once() {
    let instruments = Instruments::default();
    let metrics = metrics(&instruments);
    let begin = || instruments.answers.begin(ModelId::new("m"), Instant::now());
    let ran = || {
        let mut timer = begin();
        timer.observe(&placed(), Instant::now());
        timer
    };
    ran().end(Ending::Cancelled, Instant::now());
    ran().end(Ending::Failed, Instant::now());
    ran().end(Ending::Failed, Instant::now());
    // left while it waited: nobody knows where it would have run
    begin().end(Ending::Cancelled, Instant::now());
    // refused by the engine: counted with the refusals alone
    begin().end(Ending::Failed, Instant::now());
    let text = metrics.text();
    let ended = |place: &str, reason: &str| {
        let series = format!("vllm:request_success_total{{{place},finished_reason=\"{reason}\"}}");
        value(&text, &series).to_owned()
    };
    assert_eq!((ended(PLACE, "abort"), ended(PLACE, "error")), ("1".into(), "2".into()));
    assert_eq!(ended(r#"model_name="m",zone="",partition="""#, "abort"), "1");
    assert_eq!(value(&text, &format!("vllm:e2e_request_latency_seconds_count{{{PLACE}}}")), "0");
}

/// Name, kind, labels and meaning of everything that is written.
fn written(text: &str) -> BTreeSet<[String; 4]> {
    let mut helps = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            helps.insert(name, help.trim_end_matches('.'));
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            kinds.insert(name, kind);
            current = name;
        } else if let Some((_, rest)) = line.split_once('{') {
            let inside = rest.rsplit_once('}').unwrap().0;
            let names = inside.split("\",").map(|pair| pair.split_once('=').unwrap().0);
            let names = names.filter(|name| *name != "le").map(str::to_owned);
            labels.entry(current).or_default().extend(names);
        }
    }
    assert_eq!(helps.len(), kinds.len());
    let row = |(name, help): (&str, &str)| {
        let labels: Vec<_> = labels.remove(name).unwrap_or_default().into_iter().collect();
        [name.to_owned(), kinds[name].to_owned(), labels.join(", "), help.to_owned()]
    };
    helps.into_iter().map(row).collect()
}

#[test]
fn the_book_lists_what_is_written_and_nothing_else() {
    let instruments = Instruments::default();
    instruments.refused("overloaded");
    instruments.answered("/v1/responses", 200);
    let metrics = metrics(&instruments);
    let book = include_str!("../../../docs/metrics.md");
    let rows = book.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').collect();
        let cell = |place: usize| cells[place].trim().trim_matches('`').replace("` ", " ");
        Some([cell(0), cell(1), cell(2), cell(3)])
    });
    let listed: BTreeSet<_> = rows.collect();
    let written = written(&metrics.text());
    let line = |[name, kind, labels, help]: &[String; 4]| {
        format!("| `{name}` | {kind} | {labels} | {help} |")
    };
    let missing: Vec<_> = written.difference(&listed).map(line).collect();
    let extra: Vec<_> = listed.difference(&written).map(line).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks\n{}", missing.join("\n"));
    assert!(extra.is_empty(), "nobody writes\n{}", extra.join("\n"));
}
