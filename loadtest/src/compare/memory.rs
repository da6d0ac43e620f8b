//! How much memory the processes of a server take, as Linux counts it (proc(5)).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, bail};
use serde::Serialize;

/// What the kernel keeps of a process's name.
const NAME_BYTES_MAX: usize = 15;

/// The processes of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processes {
    /// One with its children, and theirs.
    Tree(u32),
    /// All of one name, with their children.
    Named(String),
}

/// Memory of several processes together, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// The most that each had in memory (`VmHWM`), summed. What several share counts in each, and so
    /// do the pages of mapped files.
    pub peak_rss_mib: f64,
    /// What they have now (`Pss`), summed: what `n` share counts as one `n`th in each.
    pub pss_mib: f64,
}

impl Memory {
    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self {
            peak_rss_mib: self.peak_rss_mib.max(other.peak_rss_mib),
            pss_mib: self.pss_mib.max(other.pss_mib),
        }
    }
}

/// One line of the table of processes.
#[derive(Debug)]
struct Process {
    name: String,
    parent: u32,
}

impl Processes {
    /// A number is a process and all under it; anything else is a name.
    pub fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Named(text.to_string()), Self::Tree)
    }

    /// What they take now, and the most that they took.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let table = table()?;
        let found: Vec<u32> =
            table.keys().copied().filter(|pid| self.holds(&table, *pid)).collect();
        if found.is_empty() {
            match self {
                Self::Tree(pid) => bail!("there is no process {pid}"),
                Self::Named(name) => bail!("there is no process named `{name}`"),
            }
        }
        let mut memory = Memory { peak_rss_mib: 0.0, pss_mib: 0.0 };
        for pid in found {
            memory.peak_rss_mib += mebibytes(pid, "status", "VmHWM:");
            memory.pss_mib += mebibytes(pid, "smaps_rollup", "Pss:");
        }
        Ok(memory)
    }

    /// Whether `pid` or one that it descends from is meant.
    fn holds(&self, table: &BTreeMap<u32, Process>, pid: u32) -> bool {
        let mut at = Some(pid);
        // a parent is older than its child, so that this ends; the bound is for a table read in parts
        for _ in 0..table.len() {
            let Some((pid, process)) = at.and_then(|pid| Some((pid, table.get(&pid)?))) else {
                return false;
            };
            let is_meant = match self {
                Self::Tree(root) => pid == *root,
                Self::Named(name) => {
                    let kept = name.len().min(NAME_BYTES_MAX);
                    process.name.as_bytes() == &name.as_bytes()[..kept]
                }
            };
            if is_meant {
                return true;
            }
            at = Some(process.parent);
        }
        false
    }
}

fn table() -> anyhow::Result<BTreeMap<u32, Process>> {
    let entries = fs::read_dir("/proc").context("memory is measured on Linux only: no /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // a process may end while the table is read
    let alive = pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&stat)?))
    });
    Ok(alive.collect())
}

/// Reads `7 (name) S 1 ...`, where the name may hold spaces and parentheses.
fn parse(stat: &str) -> Option<Process> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let parent = after.split_whitespace().nth(1)?.parse().ok()?;
    Some(Process { name: name.to_string(), parent })
}

/// A line such as `VmHWM:     1024 kB`; 0 where there is none, as of a process that has ended.
fn mebibytes(pid: u32, file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let process = parse("12 (a) (b c) S 7 1 1 0 -1").unwrap();
        assert_eq!((process.name.as_str(), process.parent), ("a) (b c", 7));
        assert!(parse("12").is_none());
    }

    #[test]
    fn a_tree_holds_children_and_a_name_is_cut_as_the_kernel_cuts_it() {
        let process = |name: &str, parent| Process { name: name.into(), parent };
        let table = BTreeMap::from([
            (1, process("init", 0)),
            (5, process("a-long-name-of-", 1)),
            (6, process("worker", 5)),
            (7, process("other", 1)),
        ]);
        let held = |processes: Processes| -> Vec<u32> {
            table.keys().copied().filter(|pid| processes.holds(&table, *pid)).collect()
        };
        assert_eq!(held(Processes::new("5")), [5, 6]);
        assert_eq!(held(Processes::new("a-long-name-of-a-server")), [5, 6]);
        assert_eq!(held(Processes::new("worker")), [6]);
        assert!(held(Processes::new("8")).is_empty());
    }

    #[test]
    fn this_process_has_some() {
        let block = vec![1u8; 64 << 20];
        let memory = Processes::Tree(std::process::id()).memory().unwrap();
        assert!(block.iter().all(|byte| *byte == 1));
        assert!(memory.peak_rss_mib >= 64.0 && memory.pss_mib >= 64.0, "{memory:?}");
        let error = Processes::new("nobody-is-called").memory().unwrap_err().to_string();
        assert_eq!(error, "there is no process named `nobody-is-called`");
    }
}
