//! A report for people.

use std::fmt::Write;

use crate::report::Report;

/// The report as text.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a String");
    line(format!(
        "{:<22}{} completed, {} failed in {:.2} s ({:.2}/s)",
        "requests", report.completed, report.failed, report.duration, report.request_throughput,
    ));
    line(format!(
        "{:<22}{} in, {} out ({:.1} out/s)",
        "tokens", report.total_input_tokens, report.total_output_tokens, report.output_throughput,
    ));
    line(format!(
        "{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "milliseconds", "mean", "p50", "p90", "p99", "max"
    ));
    let names = ["time to first token", "time per output token", "between tokens", "end to end"];
    for (name, summary) in names.iter().zip(&report.latencies) {
        line(format!(
            "{name:<22}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
            summary.mean, summary.median, summary.p90, summary.p99, summary.max
        ));
    }
    if report.max_concurrency.is_none() {
        line(format!(
            "{:<22}p99 {:.1} ms, max {:.1} ms",
            "client was late by", report.p99_client_lag_ms, report.max_client_lag_ms
        ));
    }
    for (name, count) in &report.errors_by_code {
        line(format!("{:<22}{count} x {name}", "failed"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use clap::Parser;
    use expect_test::expect;

    use super::*;
    use crate::chunk::Tokens;
    use crate::options::Options;
    use crate::run::Outcome;
    use crate::sample::{Answer, Failure, Sample};
    use crate::statistics::Statistics;

    fn report(line: &[&str], lag_ms: u64) -> Report {
        let mut statistics = Statistics::new();
        let lag = Duration::from_millis(lag_ms);
        let answer = Answer {
            first: Duration::from_millis(100),
            total: Duration::from_millis(400),
            gaps: vec![Duration::from_millis(150); 2],
            tokens: Tokens { prompt: 20, output: 3 },
            text: String::new(),
        };
        statistics.add(&Sample { lag, outcome: Ok(answer) });
        statistics.add(&Sample { lag, outcome: Err(Failure::Status(503, None)) });
        let outcome = Outcome { statistics, elapsed: Duration::from_secs(2), planned: 2 };
        let line = std::iter::once(&"loadtest").chain(line);
        Report::new(&Options::parse_from(line), "m", &outcome)
    }

    #[test]
    fn people_can_read_it() {
        expect![[r#"
            requests              1 completed, 1 failed in 2.00 s (0.50/s)
            tokens                20 in, 3 out (1.5 out/s)
            milliseconds                mean       p50       p90       p99       max
            time to first token        100.0     100.0     100.0     100.0     100.0
            time per output token      150.0     150.0     150.0     150.0     150.0
            between tokens             150.0     150.0     150.0     150.0     150.0
            end to end                 400.0     400.1     400.1     400.1     400.1
            failed                1 x http 503
        "#]]
        .assert_eq(&render(&report(&[], 0)));
    }

    #[test]
    fn a_late_client_makes_an_open_loop_void() {
        let open = ["--rate", "1", "--duration", "2"];
        assert!(report(&open, 10).void.is_none());
        assert!(report(&open, 80).void.unwrap().contains("left 80 ms late"));
        assert!(report(&[], 80).void.is_none(), "a closed loop has no schedule to miss");
    }

    #[test]
    fn json_has_the_names_of_vllm_bench_serve() {
        let json = serde_json::to_value(report(&[], 0)).unwrap();
        for name in [
            "duration",
            "completed",
            "failed",
            "total_input_tokens",
            "total_output_tokens",
            "request_throughput",
            "output_throughput",
            "total_token_throughput",
            "mean_ttft_ms",
            "median_ttft_ms",
            "std_ttft_ms",
            "p99_ttft_ms",
            "mean_tpot_ms",
            "median_tpot_ms",
            "p99_tpot_ms",
            "mean_itl_ms",
            "p99_itl_ms",
            "mean_e2el_ms",
            "p99_e2el_ms",
        ] {
            assert!(json[name].is_number(), "{name}: {}", json[name]);
        }
        assert_eq!(json["request_rate"], "inf");
        assert_eq!(json["errors_by_code"]["http 503"], 1);
    }
}
