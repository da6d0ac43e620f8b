//! All figures of a comparison.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Contestant;
use super::figures::{FIGURES, Figure, ratio};
use super::measurement::Measurement;
use super::memory::Memory;
use super::options::CompareOptions;
use super::spread::Spread;
use super::workload::Workload;

/// What is written as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// Seed of the prompts.
    pub seed: u64,
    /// How often each workload went to each server.
    pub rounds: u32,
    /// Who was compared; ratios are those of the first to each other.
    pub servers: Vec<ServerReport>,
    /// What the table shows.
    pub figures: Vec<FigureReport>,
    /// Everything, in the order in which it was measured.
    pub measurements: Vec<Entry>,
}

/// The machine that this program runs on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Cores that this program may use.
    pub cores: usize,
    /// What the processor calls itself; empty where Linux does not say.
    pub processor: String,
}

/// One server.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What was asked.
    pub model: String,
    /// What its processes took, where they were named.
    pub memory: Option<Memory>,
}

/// One row of the table.
#[derive(Debug, Serialize)]
pub struct FigureReport {
    /// Of which workload, or `memory`.
    pub workload: String,
    /// What it is, with its unit.
    pub name: &'static str,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// By server.
    pub values: BTreeMap<String, Spread>,
    /// How many times better the first server is than each other, of the rounds.
    pub ratios: BTreeMap<String, Spread>,
}

/// One workload on one server in one round.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Counted from 1.
    pub round: u32,
    /// Which workload.
    pub workload: Workload,
    /// Which server.
    pub server: String,
    /// What it showed.
    #[serde(flatten)]
    pub measurement: Measurement,
}

impl Report {
    /// Sums a comparison up. There are at least two contestants.
    pub(super) fn new(
        seed: u64,
        options: &CompareOptions,
        contestants: &[Contestant],
        measurements: Vec<Entry>,
    ) -> Self {
        let servers: Vec<ServerReport> = contestants.iter().map(ServerReport::new).collect();
        let measured = FIGURES.iter().filter(|figure| options.workloads.contains(&figure.workload));
        let mut figures: Vec<FigureReport> =
            measured.map(|figure| of_rounds(figure, &servers, &measurements)).collect();
        figures.extend(of_memory("peak RSS, MiB", &servers, |memory| memory.peak_rss_mib));
        figures.extend(of_memory("PSS, MiB", &servers, |memory| memory.pss_mib));
        let machine = Machine::here();
        Self { machine, seed, rounds: options.rounds, servers, figures, measurements }
    }
}

impl Machine {
    fn here() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: name.map(|(_, name)| name.trim().to_string()).unwrap_or_default(),
        }
    }
}

impl ServerReport {
    fn new(contestant: &Contestant) -> Self {
        Self {
            name: contestant.server.name.clone(),
            url: contestant.server.url.clone(),
            model: contestant.asker.model().to_string(),
            memory: contestant.memory,
        }
    }
}

/// Values by server over all rounds, and ratios within each round.
fn of_rounds(figure: &Figure, servers: &[ServerReport], entries: &[Entry]) -> FigureReport {
    let values = |server: &ServerReport| -> Vec<f64> {
        let own = entries
            .iter()
            .filter(|entry| entry.workload == figure.workload && entry.server == server.name);
        own.map(|entry| (figure.of)(&entry.measurement)).collect()
    };
    let first = values(&servers[0]);
    let ratios = servers[1..].iter().filter_map(|server| {
        let pairs = first.iter().zip(values(server));
        let ratios = pairs.filter_map(|(ours, theirs)| figure.ratio(*ours, theirs)).collect();
        Some((server.name.clone(), Spread::of(ratios)?))
    });
    let spreads = servers
        .iter()
        .filter_map(|server| Some((server.name.clone(), Spread::of(values(server))?)));
    FigureReport {
        workload: figure.workload.to_string(),
        name: figure.name,
        more_is_better: figure.more_is_better,
        values: spreads.collect(),
        ratios: ratios.collect(),
    }
}

/// A row for those whose memory was measured; `None` when nobody's was.
fn of_memory(
    name: &'static str,
    servers: &[ServerReport],
    of: fn(&Memory) -> f64,
) -> Option<FigureReport> {
    let one = |value| Spread::of(vec![value]);
    let value = |server: &ServerReport| server.memory.as_ref().map(of);
    let values: BTreeMap<String, Spread> = servers
        .iter()
        .filter_map(|server| Some((server.name.clone(), one(value(server)?)?)))
        .collect();
    let first = value(&servers[0]);
    let ratios = servers[1..].iter().filter_map(|server| {
        Some((server.name.clone(), one(ratio(false, first?, value(server)?)?)?))
    });
    let ratios = ratios.collect();
    let workload = "memory".to_string();
    (!values.is_empty()).then_some(FigureReport {
        workload,
        name,
        more_is_better: false,
        values,
        ratios,
    })
}
