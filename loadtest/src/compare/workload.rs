//! The four workloads.
//!
//! All are greedy and forbid the end token, so that every server computes the same number of tokens.
//! Each request has a connection of its own, as a client has that is started for one task.

use std::fmt;
use std::time::Instant;

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::measurement::Measurement;
use super::text::Texts;
use crate::client::Client;
use crate::sample::Answer;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// 3 requests one by one: 100 words in, 128 tokens out.
    Decode,
    /// 3 requests one by one: 1,700 words in, 1 token out.
    Prefill,
    /// 16 requests at once: 100 words in, 64 tokens out.
    Batch,
    /// 8 conversations at once over one system prompt of 950 words: 5 turns each, 32 tokens out, and
    /// 90 words more before the next.
    Agent,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Batch => "batch",
            Self::Agent => "agent",
        })
    }
}

/// Sends requests to one server.
#[derive(Clone, Debug)]
pub struct Asker {
    client: Client,
    model: String,
}

/// One conversation: what is said first, and what is said before each later turn.
#[derive(Debug)]
struct Session {
    messages: Vec<Value>,
    /// A conversation goes on; what is not one begins anew with each of these.
    later: Vec<String>,
    goes_on: bool,
    output_tokens: u64,
}

impl Workload {
    /// Sends it to one server and waits for all answers. An answer that failed, or that has other than
    /// the tokens that were asked for, is an error: figures without it would flatter the server.
    pub async fn measure(self, asker: &Asker, texts: Texts) -> anyhow::Result<Measurement> {
        let sessions = self.sessions(texts);
        let started = Instant::now();
        let mut running = JoinSet::new();
        for session in sessions {
            let asker = asker.clone();
            running.spawn(async move { asker.hold(session).await });
        }
        let mut answers = Vec::new();
        while let Some(done) = running.join_next().await {
            answers.extend(done??);
        }
        Ok(Measurement::new(&answers, started.elapsed()))
    }

    /// What a person wants to see of one measurement.
    pub fn shown(self, measurement: &Measurement) -> String {
        match self {
            Self::Prefill => format!("{:.0} tokens in/s", measurement.input_tokens_per_s),
            _ => format!("{:.1} tokens out/s", measurement.output_tokens_per_s),
        }
    }

    fn sessions(self, texts: Texts) -> Vec<Session> {
        let said = |words, number| texts.words(words, number);
        let alone = |first: String, later, output_tokens| Session {
            messages: vec![message("user", &first)],
            later,
            goes_on: false,
            output_tokens,
        };
        match self {
            Self::Decode => vec![alone(said(100, 0), vec![said(100, 1), said(100, 2)], 128)],
            Self::Prefill => vec![alone(said(1700, 99), vec![said(1700, 100), said(1700, 101)], 1)],
            Self::Batch => (0..16).map(|i| alone(said(100, 1000 + i), Vec::new(), 64)).collect(),
            Self::Agent => {
                let system = format!("You operate a production line. Tools: {}", said(950, 7));
                let result =
                    |k: u64, turn: u64| format!("Result: {}", said(90, 9000 + 10 * k + turn));
                let session = |k: u64| Session {
                    messages: vec![
                        message("system", &system),
                        message("user", &said(40, 5000 + k)),
                    ],
                    later: (0..4).map(|turn| result(k, turn)).collect(),
                    goes_on: true,
                    output_tokens: 32,
                };
                (0..8).map(session).collect()
            }
        }
    }
}

impl Asker {
    /// Of one model.
    pub fn new(client: Client, model: String) -> Self {
        Self { client, model }
    }

    /// The model that is asked.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// One short request.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        self.ask(&[message("user", "hello")], 4).await.map(drop)
    }

    /// All turns of a session, each after the answer to the one before.
    async fn hold(&self, session: Session) -> anyhow::Result<Vec<Answer>> {
        let Session { mut messages, later, goes_on, output_tokens } = session;
        let mut answers = vec![self.ask(&messages, output_tokens).await?];
        for text in later {
            match answers.last() {
                Some(answer) if goes_on => messages.push(message("assistant", &answer.text)),
                _ => messages.clear(),
            }
            messages.push(message("user", &text));
            answers.push(self.ask(&messages, output_tokens).await?);
        }
        Ok(answers)
    }

    async fn ask(&self, messages: &[Value], output_tokens: u64) -> anyhow::Result<Answer> {
        let body = json!({
            "model": self.model,
            "messages": messages,
            "max_tokens": output_tokens,
            "temperature": 0,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let sample = self.client.chat(body.to_string().into(), Instant::now()).await;
        let answer = match sample.outcome {
            Ok(answer) => answer,
            Err(failure) => bail!("a request failed: {failure}"),
        };
        if answer.tokens.output != output_tokens {
            bail!(
                "an answer has {} tokens where {output_tokens} were asked for: the server does not \
                 honour `ignore_eos`, or sends no usage",
                answer.tokens.output
            );
        }
        Ok(answer)
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}
