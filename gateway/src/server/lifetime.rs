//! The gateway's own entries in the log: when it ran, with what configuration, and what a
//! crash before left open.

use audit::{Configuration, Digest, Entry, Log, Started, Stopped, Terminal, Timestamp};

use super::ServeError;

/// A run of the gateway that is in the log.
pub struct Lifetime {
    log: Log,
    instance: String,
}

impl Lifetime {
    /// Enters an unknown end for each request that a crash left open, then the start and what
    /// is in force.
    pub async fn begin(
        log: Log,
        configuration: Vec<(&'static str, Digest)>,
    ) -> Result<Self, ServeError> {
        let recovery = log.recovery().clone();
        let time = Timestamp::now();
        let unknown = |one| Entry::Terminal(Box::new(Terminal::unknown(time, one)));
        // all are queued before the first is waited for, so that they share their flushes
        let ends: Vec<_> = recovery.unfinished.iter().map(|one| log.append(unknown(one))).collect();
        for end in ends {
            end.await?;
        }
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
        let instance = format!("{:016x}", u64::from_be_bytes(bytes));
        let started = Started {
            time,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: instance.clone(),
            cut_bytes: recovery.cut_bytes,
            unfinished: recovery.unfinished.len() as u64,
        };
        log.append(Entry::Started(started)).await?;
        for (what, after) in configuration {
            let what = what.to_owned();
            let entry = Configuration { time, what, before: None, after };
            log.append(Entry::Configuration(entry)).await?;
        }
        Ok(Self { log, instance })
    }

    /// Enters the end of the run; everything before is durable then.
    pub async fn end(self, reason: &str) -> Result<(), ServeError> {
        let (time, reason) = (Timestamp::now(), reason.to_owned());
        let stopped = Stopped { time, instance: self.instance, reason };
        self.log.append(Entry::Stopped(stopped)).await?;
        Ok(())
    }
}
