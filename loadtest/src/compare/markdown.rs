//! The table for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::Report;
use super::spread::Spread;

/// The report as a table in Markdown.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut row = |cells: Vec<String>| {
        writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a String");
    };
    let first = &report.servers[0].name;
    let others = report.servers[1..].iter().map(|server| &server.name);
    let names = report.servers.iter().map(|server| server.name.clone());
    let mut head = vec![String::new(), String::new()];
    head.extend(names);
    head.extend(others.clone().map(|other| format!("{first} to {other}")));
    let line = (0..head.len()).map(|column| if column < 2 { "---" } else { "---:" });
    let line = line.map(String::from).collect();
    row(head);
    row(line);
    for figure in &report.figures {
        let values = report.servers.iter().map(|server| cell(&figure.values, &server.name, ""));
        let ratios = others.clone().map(|other| cell(&figure.ratios, other, "×"));
        let names = [figure.workload.clone(), figure.name.to_string()];
        row(names.into_iter().chain(values).chain(ratios).collect());
    }
    text
}

/// `median (min to max)`; the median alone where there is no more.
fn cell(of: &BTreeMap<String, Spread>, name: &str, unit: &str) -> String {
    let Some(spread) = of.get(name) else { return "-".into() };
    let median = format!("{}{unit}", number(spread.median));
    match spread.min < spread.max {
        true => format!("{median} ({} to {})", number(spread.min), number(spread.max)),
        false => median,
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::memory::Memory;
    use super::super::report::{FigureReport, Machine, ServerReport};
    use super::*;

    fn spread(median: f64, min: f64, max: f64) -> Spread {
        Spread { median, min, max }
    }

    #[test]
    fn people_can_read_it() {
        let server = |name: &str, memory| ServerReport {
            name: name.into(),
            url: "http://a/v1".into(),
            model: "m".into(),
            memory,
        };
        let figure =
            |workload: &str, name, values: Vec<(&str, Spread)>, ratio: Spread| FigureReport {
                workload: workload.into(),
                name,
                more_is_better: true,
                values: values
                    .into_iter()
                    .map(|(name, spread)| (name.to_string(), spread))
                    .collect(),
                ratios: BTreeMap::from([("other".to_string(), ratio)]),
            };
        let ours = spread(250.0, 240.4, 260.0);
        let memory = Memory { peak_rss_mib: 10.0, pss_mib: 5.0 };
        let report = Report {
            machine: Machine { cores: 2, processor: String::new() },
            seed: 1,
            rounds: 3,
            servers: vec![server("hanse", Some(memory)), server("other", None)],
            figures: vec![
                figure(
                    "decode",
                    "tokens out/s",
                    vec![("hanse", ours), ("other", spread(99.96, 9.996, 110.0))],
                    spread(2.5, 2.444, 3.0),
                ),
                figure(
                    "memory",
                    "peak RSS, MiB",
                    vec![("hanse", spread(10.0, 10.0, 10.0))],
                    spread(2.0, 2.0, 2.0),
                ),
            ],
            measurements: Vec::new(),
        };
        expect![[r#"
            |  |  | hanse | other | hanse to other |
            | --- | --- | ---: | ---: | ---: |
            | decode | tokens out/s | 250 (240 to 260) | 100 (10.0 to 110) | 2.50× (2.44 to 3.00) |
            | memory | peak RSS, MiB | 10.0 | - | 2.00× |
        "#]]
        .assert_eq(&render(&report));
    }
}
