//! A worker as a process: a socket, a thread that computes, and what joins them.
//!
//! The [`Core`] has a thread of its own, which takes orders from a bounded queue between two
//! steps and never waits for a socket. Each connection has a bounded mailbox for what the
//! steps make; a fleet that lets it fill up loses its connection, and no other one notices.

mod bench;
mod compiler;
mod connection;
mod desk;
mod fault;
mod mailbox;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use engine_kernels::DeviceName;
use engine_wire::{Connection, Listener, Loading};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::{
    Activations, Core, CoreCard, CoreConfig, EmbedConfig, EmbedCore, LoadError, PackedDir,
    WorkerArgs, WorkerKind,
};
use bench::{Bench, Order, Steps};
use connection::Reception;
use fault::Fault;

/// Orders that wait for the end of a step; beyond them connections are not read.
const ORDERS_MAX: usize = 256;
/// How long a worker that cannot start stays to say why.
const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// How far a worker is.
#[derive(Clone, PartialEq, Debug)]
enum Stage {
    Loading(Loading),
    Ready(CoreCard),
    Failed(String),
}

/// Loads the model and serves it until a signal, the end of standard input (where asked for)
/// or a failure. The caller has set up logging.
pub fn run(args: WorkerArgs) -> anyhow::Result<()> {
    if args.exit_with_stdin {
        let socket = args.socket.clone();
        thread::Builder::new().name("stdin".into()).spawn(move || exit_with_stdin(&socket))?;
    }
    // everything but computing happens on this one thread, which seldom has anything to do
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(args))
}

/// Waits for the end of standard input and ends the process at once: whoever held the other
/// end is gone, and nobody is left to answer.
fn exit_with_stdin(socket: &Path) {
    let mut byte = [0];
    let mut stdin = std::io::stdin().lock();
    loop {
        match stdin.read(&mut byte) {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    // may be missing: the end can come before the beginning
    let _ = std::fs::remove_file(socket);
    std::process::exit(0);
}

async fn serve(args: WorkerArgs) -> anyhow::Result<()> {
    let listener = Listener::bind(&args.socket)
        .with_context(|| format!("cannot listen on {}", args.socket.display()))?;
    let (stage, stages) = watch::channel(Stage::Loading(Loading { done: 0, total: 0 }));
    let (orders, waiting) = mpsc::channel(ORDERS_MAX);
    let bench = Bench::new(waiting, orders.downgrade(), args.epoch, Fault::of(&args));
    let reception = Arc::new(Reception {
        epoch: engine_api::Epoch(args.epoch),
        orders: orders.clone(),
        stages: stages.clone(),
        pulse: bench.pulse(),
    });
    let drain = Duration::from_secs(args.drain_seconds);
    let (ended, end) = tokio::sync::oneshot::channel();
    thread::Builder::new().name("engine".into()).spawn(move || {
        compute(&args, bench, stage);
        // the receiver is gone only when the process ends anyway
        let _ = ended.send(());
    })?;
    let (connections, server) = engine_wire::serve(listener, std::future::pending());
    tokio::select! {
        result = server => result.context("the socket failed")?,
        () = receive(connections, reception) => {}
        () = stopped(orders, drain) => info!("not all requests ended in time"),
        end = end => end.context("the computing thread panicked")?,
    }
    let last = stages.borrow().clone();
    match last {
        Stage::Failed(reason) => anyhow::bail!("{reason}"),
        _ => Ok(()),
    }
}

/// The life of the computing thread.
fn compute(args: &WorkerArgs, bench: Bench, stage: watch::Sender<Stage>) {
    match args.kind {
        WorkerKind::Generate => work(args, bench, &stage, load(args, &stage)),
        WorkerKind::Embed => work(args, bench, &stage, load_encoder(args, &stage)),
    }
}

/// Serves what was loaded, or says why nothing was.
fn work<C: Steps>(
    args: &WorkerArgs,
    bench: Bench,
    stage: &watch::Sender<Stage>,
    loaded: Result<(C, CoreCard), String>,
) {
    match loaded {
        Ok((core, card)) => {
            info!(
                partition = args.partition,
                epoch = args.epoch,
                model = %card.digest,
                numerics = %card.numerics,
                blocks = card.blocks,
                "worker is ready"
            );
            stage.send_replace(Stage::Ready(card));
            bench.run(core);
        }
        Err(reason) => {
            error!(partition = args.partition, epoch = args.epoch, reason, "worker cannot start");
            stage.send_replace(Stage::Failed(reason));
            // connections that come now are told; the fleet calls within this time
            thread::sleep(REFUSAL_MAX);
        }
    }
}

/// Reads the model, and refuses one that is not what was asked for.
fn load(args: &WorkerArgs, stage: &watch::Sender<Stage>) -> Result<(Core, CoreCard), String> {
    let config = CoreConfig {
        model: args.model.clone(),
        device: args.device,
        kv_bytes: args.kv_bytes,
        kv_kind: args.kv_type.map(Into::into),
        context_max: args.context_max,
        threads: threads(args),
        step_tokens_max: args.step_tokens_max,
        queue_max: args.queue_max,
        draft_tokens_max: args.draft_tokens_max,
        activations: Activations::Int8,
        packed: args.packed_dir.clone().map(|path| PackedDir {
            path,
            model: args.digest,
            bytes_max: args.packed_bytes_max,
        }),
    };
    checked(args, stage, |progress| Core::load(&config, progress), Core::card)
}

/// The same of an encoder.
fn load_encoder(
    args: &WorkerArgs,
    stage: &watch::Sender<Stage>,
) -> Result<(EmbedCore, CoreCard), String> {
    if args.device != DeviceName::Cpu {
        return Err(format!("texts are embedded on a CPU, and the device is {}", args.device));
    }
    let config = EmbedConfig {
        model: args.model.clone(),
        threads: threads(args),
        step_tokens_max: args.step_tokens_max,
        queue_max: args.queue_max,
    };
    checked(args, stage, |progress| EmbedCore::load(&config, progress), EmbedCore::card)
}

fn threads(args: &WorkerArgs) -> usize {
    match args.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

fn checked<C>(
    args: &WorkerArgs,
    stage: &watch::Sender<Stage>,
    load: impl FnOnce(&mut dyn FnMut(crate::LoadProgress)) -> Result<C, LoadError>,
    card: impl FnOnce(&C) -> CoreCard,
) -> Result<(C, CoreCard), String> {
    let mut progress = |progress: crate::LoadProgress| {
        let total = progress.total.max(progress.done);
        stage.send_replace(Stage::Loading(Loading { done: progress.done, total }));
    };
    let core = load(&mut progress).map_err(|error| chain(&error))?;
    let card = card(&core);
    if card.digest != args.digest {
        let (found, digest) = (card.digest, args.digest);
        return Err(format!("the model file has SHA-256 {found}, but {digest} is expected"));
    }
    Ok((core, card))
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn receive(mut connections: mpsc::Receiver<Connection>, reception: Arc<Reception>) {
    while let Some(connection) = connections.recv().await {
        tokio::spawn(reception.clone().serve(connection));
    }
}

/// Waits for a signal, asks for the end, and then for the deadline.
async fn stopped(orders: mpsc::Sender<Order>, drain: Duration) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // without handlers the signals end the process, which is as good
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    info!("worker stops: no new requests");
    let deadline = Instant::now() + drain;
    let _ = orders.send(Order::DrainAll).await;
    tokio::select! {
        () = sleep_until(deadline) => {}
        // a second signal means now
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
