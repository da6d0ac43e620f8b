//! `gateway audit`: checks the log as an auditor would, beside a running gateway or without
//! one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use audit::{Anchor, Verified, VerifyError};
use clap::{Args, Subcommand};

use super::DataArg;

/// How many open requests are named.
const SHOWN_MAX: usize = 20;

/// Arguments of `gateway audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Check that no entry was changed, removed or moved
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    data: DataArg,
    /// Folder of the log [default: audit in the data folder]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// An entry that must be in the log: a head noted earlier (INDEX:HASH) or the receipt of a
    /// response (INDEX-HASH); may be repeated
    #[arg(long = "head", value_name = "INDEX:HASH")]
    heads: Vec<Anchor>,
}

/// Does it.
pub fn run(args: AuditArgs) -> anyhow::Result<()> {
    let Action::Verify(args) = args.action;
    let dir = args.dir.unwrap_or_else(|| args.data.data.join("audit"));
    print!("{}", verify(&dir, &args.heads)?);
    Ok(())
}

/// What is to be printed about an intact log.
fn verify(dir: &Path, heads: &[Anchor]) -> anyhow::Result<String> {
    let verified = audit::verify(dir, heads).map_err(|error| {
        let context = match &error {
            VerifyError::Read { .. } => "the audit log cannot be checked",
            VerifyError::Entry { .. } => "the audit log is NOT intact",
        };
        anyhow::Error::new(error).context(context)
    })?;
    report(dir, &verified, heads.len()).context("formatting the report")
}

fn report(dir: &Path, verified: &Verified, heads: usize) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "the audit log in {} is intact", dir.display())?;
    writeln!(text, "  entries    {}", verified.entries)?;
    writeln!(text, "  segments   {}", verified.segments)?;
    if let (Some(hash), Some(index)) = (verified.head, verified.entries.checked_sub(1)) {
        writeln!(text, "  head       {index}:{hash}")?;
    }
    if heads > 0 {
        writeln!(text, "  anchors    {heads}, found in it")?;
    }
    writeln!(text, "  open       {} requests without an end", verified.unfinished.len())?;
    for open in verified.unfinished.iter().take(SHOWN_MAX) {
        writeln!(text, "             {} (entry {})", open.request, open.decision)?;
    }
    if verified.unfinished.len() > SHOWN_MAX {
        writeln!(text, "             and {} more", verified.unfinished.len() - SHOWN_MAX)?;
    }
    if verified.incomplete_bytes > 0 {
        let bytes = verified.incomplete_bytes;
        writeln!(text, "  incomplete {bytes} bytes at the end: being written, or left by a crash")?;
    }
    if heads == 0 {
        writeln!(
            text,
            "\nkeep the head elsewhere, and give it (or any receipt) to --head next time: the\n\
             files alone cannot show that entries at the end were cut off or all were replaced"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use audit::{Entry, Log, LogOptions, Stopped, Timestamp};
    use expect_test::expect;

    use super::*;

    fn written(entries: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), LogOptions::default()).unwrap();
        for number in 0..entries {
            let time = Timestamp::from_unix_ms(0);
            let (instance, reason) = (format!("run-{number}"), "signal".into());
            log.append(Entry::Stopped(Stopped { time, instance, reason })).wait().unwrap();
        }
        log.close();
        dir
    }

    /// What the command says, as `main` prints it, without the folder.
    fn said(dir: &Path, heads: &[&str]) -> String {
        let heads: Vec<Anchor> = heads.iter().map(|head| head.parse().unwrap()).collect();
        let said = verify(dir, &heads).unwrap_or_else(|error| format!("error: {error:#}"));
        said.replace(&dir.display().to_string(), "DIR")
    }

    #[test]
    fn an_intact_log() {
        let dir = written(3);
        expect![[r#"
            the audit log in DIR is intact
              entries    3
              segments   1
              head       2:bca780910cef04d890d4bfd9873ce4d40e87dac05151c89a85750a0e3bf93856
              open       0 requests without an end

            keep the head elsewhere, and give it (or any receipt) to --head next time: the
            files alone cannot show that entries at the end were cut off or all were replaced
        "#]]
        .assert_eq(&said(dir.path(), &[]));
        let head = said(dir.path(), &[]);
        let head = head.lines().find_map(|line| line.trim().strip_prefix("head ")).unwrap();
        expect![[r#"
            the audit log in DIR is intact
              entries    3
              segments   1
              head       2:bca780910cef04d890d4bfd9873ce4d40e87dac05151c89a85750a0e3bf93856
              anchors    1, found in it
              open       0 requests without an end
        "#]]
        .assert_eq(&said(dir.path(), &[head.trim()]));
        expect![[r#"
            the audit log in DIR is intact
              entries    0
              segments   0
              open       0 requests without an end

            keep the head elsewhere, and give it (or any receipt) to --head next time: the
            files alone cannot show that entries at the end were cut off or all were replaced
        "#]]
        .assert_eq(&said(written(0).path(), &[]));
    }

    #[test]
    fn a_log_that_is_not() {
        let dir = written(3);
        expect!["error: the audit log is NOT intact: DIR/00000000000000000000.jsonl:4: entry 3 was cut off: it is known to have existed"].assert_eq(&said(dir.path(), &["3:0123456789abcdef"]));
        expect!["error: the audit log is NOT intact: DIR/00000000000000000000.jsonl:2: entry 1 was replaced: it is known to have had another hash"].assert_eq(&said(dir.path(), &["1:0123456789abcdef"]));
        let file = dir.path().join("00000000000000000000.jsonl");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("run-1", "run-7")).unwrap();
        expect!["error: the audit log is NOT intact: DIR/00000000000000000000.jsonl:2: entry 1 was changed"].assert_eq(&said(dir.path(), &[]));
        expect!["error: the audit log cannot be checked: cannot read DIR: No such file or directory (os error 2)"].assert_eq(&said(&dir.path().join("nowhere"), &[]));
    }
}
