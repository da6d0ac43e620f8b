//! The two loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::{Semaphore, mpsc};

use crate::arrivals;
use crate::client::Client;
use crate::options::Options;
use crate::progress::Progress;
use crate::prompt::Prompts;
use crate::sample::Sample;
use crate::statistics::Statistics;

/// Samples that wait to be counted.
const SAMPLES_WAITING_MAX: usize = 1024;
/// Warm-up requests are numbered from here, so that their prompts differ from all others.
const WARMUP_FROM: u64 = 1 << 40;

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    /// All samples.
    pub statistics: Statistics,
    /// From the first request's intended moment to the last answer.
    pub elapsed: Duration,
    /// How many requests were to be sent.
    pub planned: u64,
}

/// Runs the loop that the options ask for.
pub async fn run(options: &Options, client: Client, prompts: Prompts) -> anyhow::Result<Outcome> {
    for number in 0..u64::from(options.warmup) {
        let sample = client.chat(prompts.body(WARMUP_FROM + number), Instant::now()).await;
        if let Err(failure) = sample.outcome {
            bail!("the warm-up request failed: {failure}");
        }
    }
    let (samples, received) = mpsc::channel(SAMPLES_WAITING_MAX);
    let asker = Asker { client, prompts, samples };
    let started = Instant::now();
    let planned = match (options.rate, options.duration) {
        (Some(rate), Some(duration)) => {
            let times = arrivals::poisson(rate, duration, options.seed);
            let planned = times.len() as u64;
            tokio::spawn(open_loop(asker, times, started, options.in_flight_max as usize));
            planned
        }
        _ => {
            closed_loop(&asker, options.requests, options.concurrency);
            // the clients hold what the counting waits for
            drop(asker);
            options.requests
        }
    };
    let statistics = count(received, planned).await;
    Ok(Outcome { statistics, elapsed: started.elapsed(), planned })
}

/// What each request needs.
#[derive(Clone)]
struct Asker {
    client: Client,
    prompts: Prompts,
    samples: mpsc::Sender<Sample>,
}

impl Asker {
    /// Sends request `number` and hands its sample over.
    async fn ask(&self, number: u64, intended: Option<Instant>) {
        let body = self.prompts.body(number);
        let intended = intended.unwrap_or_else(Instant::now);
        let sample = self.client.chat(body, intended).await;
        // the receiver lives as long as any sender
        let _ = self.samples.send(sample).await;
    }
}

/// Each client asks, waits for the answer and asks again, until all requests are taken.
fn closed_loop(asker: &Asker, requests: u64, concurrency: u32) {
    let next = Arc::new(AtomicU64::new(0));
    for _ in 0..requests.min(concurrency.into()) {
        let (asker, next) = (asker.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    break;
                }
                asker.ask(number, None).await;
            }
        });
    }
}

/// Requests leave at their times, whether or not earlier ones have been answered.
async fn open_loop(asker: Asker, times: Vec<Duration>, started: Instant, in_flight_max: usize) {
    let free = Arc::new(Semaphore::new(in_flight_max));
    for (number, at) in (0..).zip(times) {
        let intended = started + at;
        tokio::time::sleep_until(intended.into()).await;
        let place = free.clone().acquire_owned().await.expect("the semaphore is never closed");
        let asker = asker.clone();
        tokio::spawn(async move {
            asker.ask(number, Some(intended)).await;
            drop(place);
        });
    }
}

async fn count(mut samples: mpsc::Receiver<Sample>, planned: u64) -> Statistics {
    let mut statistics = Statistics::new();
    let mut progress = Progress::new(planned);
    while let Some(sample) = samples.recv().await {
        statistics.add(&sample);
        progress.show(&statistics);
    }
    progress.finish();
    statistics
}
