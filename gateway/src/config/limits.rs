//! `limits.toml`: the bounds of a gateway.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::time::Duration;

use engine_fleet::FleetLimits;
use serde::Deserialize;

use super::{ConfigError, Document};
use crate::server::Settings;

/// The file that a source tree has is also what holds where there is none.
const DEFAULT: &str = include_str!("../../../limits.toml");

/// The lines of `limits.toml`; what is not written keeps its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Threads for connections, and as many for reading requests and prompts.
    pub threads_max: Option<NonZeroU16>,
    /// Connections at once; more wait in the kernel's backlog.
    pub connections_max: Option<NonZeroU32>,
    /// For a TLS handshake.
    pub handshake_seconds_max: Option<NonZeroU16>,
    /// For the headers of a request, and how long an HTTP/1 connection may be idle.
    pub header_seconds_max: Option<NonZeroU16>,
    /// Requests at once on one HTTP/2 connection.
    pub streams_per_connection_max: Option<NonZeroU32>,
    /// Requests at once, from their decision to their last entry in the audit log.
    pub requests_max: Option<NonZeroU16>,
    /// Longest body of a request.
    pub body_bytes_max: Option<NonZeroU32>,
    /// Texts of one request for embeddings.
    pub embedding_inputs_max: Option<InputsMax>,
    /// For a body to arrive.
    pub body_seconds_max: Option<NonZeroU16>,
    /// Silence in a stream before a comment keeps it open.
    pub keep_alive_seconds: Option<NonZeroU16>,
    /// A client that takes nothing for so long is gone: its request is cancelled.
    pub reader_stall_seconds_max: Option<NonZeroU16>,
    /// For the first token of an answer to be computed; what cannot make it is refused (503).
    pub first_token_seconds_max: Option<NonZeroU16>,
    /// How long what a tool may soon answer stays in the prefix cache before the rest.
    pub tool_wait_seconds: Option<NonZeroU16>,
    /// For running requests to end when the gateway stops.
    pub drain_seconds_max: Option<NonZeroU16>,
    /// Memory for the ids that answers were drawn as, so that the next turn's prompt begins with
    /// the same ones.
    pub turns_bytes_max: Option<NonZeroU32>,
    /// Requests that one worker holds, running and waiting together.
    pub requests_per_worker_max: Option<NonZeroU16>,
    /// Requests that wait in a worker before it says that it is busy.
    pub queue_max: Option<NonZeroU16>,
    /// Tokens that a worker guesses to follow and checks in one step; 0 guesses nothing.
    pub draft_tokens_max: Option<u8>,
    /// Tokens of one step of a worker, over all its requests.
    pub step_tokens_max: Option<NonZeroU16>,
    /// How long a new request waits for a partition that is starting.
    pub ready_wait_seconds_max: Option<NonZeroU16>,
    /// How long a request that has begun waits for another worker after its own died.
    pub failover_wait_seconds_max: Option<NonZeroU16>,
    /// A worker that says nothing for so long is replaced.
    pub heartbeat_seconds_max: Option<NonZeroU16>,
    /// A worker that has work but finishes no step for so long is replaced.
    pub stall_seconds_max: Option<NonZeroU16>,
}

/// 1 to 2048 texts: what OpenAI's API takes, and what fits on the way to a worker.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u16")]
pub struct InputsMax(u16);

impl TryFrom<u16> for InputsMax {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        match number {
            1..=2048 => Ok(Self(number)),
            _ => Err("a request for embeddings has 1 to 2048 texts"),
        }
    }
}

impl LimitsConfig {
    /// Reads a file; without one, what the source tree says.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let document = match file {
            Some(file) => Document::read(file, "name it with --limits")?,
            None => Document::new("limits.toml", DEFAULT),
        };
        document.parse()
    }

    /// The bounds of the gateway.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        set(&mut settings.threads_max, self.threads_max.map(|n| n.get().into()));
        let (edge, api) = (&mut settings.edge, &mut settings.api);
        set(&mut edge.connections_max, self.connections_max.map(|n| n.get() as usize));
        set(&mut edge.handshake_max, seconds(self.handshake_seconds_max));
        set(&mut edge.header_read_max, seconds(self.header_seconds_max));
        set(&mut edge.streams_max, self.streams_per_connection_max.map(NonZeroU32::get));
        set(&mut api.body_bytes_max, self.body_bytes_max.map(|n| n.get() as usize));
        set(&mut api.embedding_inputs_max, self.embedding_inputs_max.map(|n| n.0.into()));
        set(&mut api.body_read_max, seconds(self.body_seconds_max));
        set(&mut api.keep_alive_every, seconds(self.keep_alive_seconds));
        set(&mut api.reader_stall_max, seconds(self.reader_stall_seconds_max));
        set(&mut settings.requests_max, self.requests_max.map(NonZeroU16::get));
        set(&mut settings.first_token_wait_max, seconds(self.first_token_seconds_max));
        set(&mut settings.tool_wait, seconds(self.tool_wait_seconds));
        set(&mut settings.drain_max, seconds(self.drain_seconds_max));
        settings
    }

    /// The bounds of the fleet.
    pub fn fleet(&self) -> FleetLimits {
        let mut fleet = FleetLimits::default();
        let count = |number: Option<NonZeroU16>| number.map(|n| usize::from(n.get()));
        set(&mut fleet.turns_bytes_max, self.turns_bytes_max.map(|n| n.get() as usize));
        set(&mut fleet.requests_per_worker_max, count(self.requests_per_worker_max));
        set(&mut fleet.queue_max, count(self.queue_max));
        set(&mut fleet.draft_tokens_max, self.draft_tokens_max.map(u32::from));
        set(&mut fleet.step_tokens_max, count(self.step_tokens_max));
        set(&mut fleet.ready_wait_max, seconds(self.ready_wait_seconds_max));
        set(&mut fleet.failover_wait_max, seconds(self.failover_wait_seconds_max));
        set(&mut fleet.heartbeat_max, seconds(self.heartbeat_seconds_max));
        set(&mut fleet.stall_max, seconds(self.stall_seconds_max));
        fleet
    }
}

fn set<T>(bound: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *bound = written;
    }
}

fn seconds(number: Option<NonZeroU16>) -> Option<Duration> {
    number.map(|seconds| Duration::from_secs(seconds.get().into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::expect;

    use super::*;

    fn parse(text: &str) -> Result<LimitsConfig, ConfigError> {
        Document::new("limits.toml", text).parse()
    }

    /// The file tells operators what holds without it, so it must be true.
    #[test]
    fn the_file_is_the_default() {
        let written = LimitsConfig::load(None).unwrap();
        let nothing = LimitsConfig::default();
        assert_eq!(format!("{:?}", written.settings()), format!("{:?}", nothing.settings()));
        assert_eq!(format!("{:?}", written.fleet()), format!("{:?}", nothing.fleet()));
        assert!(
            !format!("{written:?}").contains("None"),
            "every bound is in the file: {written:?}"
        );
    }

    #[test]
    fn what_is_written_holds() {
        let limits = parse("drain_seconds_max = 7\nqueue_max = 3\nbody_bytes_max = 5").unwrap();
        assert_eq!(limits.settings().drain_max, Duration::from_secs(7));
        assert_eq!(limits.settings().api.body_bytes_max, 5);
        assert_eq!(limits.fleet().queue_max, 3);
        assert_eq!(limits.settings().requests_max, Settings::default().requests_max);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let wrong = |text| parse(text).unwrap_err().to_string();
        expect!["limits.toml:1:13: invalid value: integer `0`, expected a nonzero u16"]
            .assert_eq(&wrong("queue_max = 0"));
        expect!["limits.toml:2:18: invalid value: integer `-1`, expected a nonzero u32"]
            .assert_eq(&wrong("\nbody_bytes_max = -1"));
        expect!["limits.toml:1:24: a request for embeddings has 1 to 2048 texts"]
            .assert_eq(&wrong("embedding_inputs_max = 2049"));
        assert!(wrong("drain_second_max = 1").contains("did you mean `drain_seconds_max`?"));
    }
}
