//! The thread that computes: orders in, steps, events out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use engine_api::{EngineError, Epoch, RequestId};
use engine_wire::{Counters, Embed, Heartbeat, Load, StreamId, Submit};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::compiler::{Compiler, Job};
use super::desk::Desk;
use super::fault::Fault;
use super::mailbox::{Mailbox, Undeliverable};
use crate::{Core, CoreEvent, EmbedCore, Grammars, Guide, SequenceKey};

/// Orders that are taken between two steps, so that a flood of them cannot stop the steps.
const ORDERS_PER_STEP_MAX: usize = 64;

/// What a connection wants of the computing thread.
pub(super) enum Order {
    /// A connection has greeted.
    Open { connection: u64, mailbox: Mailbox },
    /// A request.
    Submit { connection: u64, submit: Box<Submit> },
    /// A request whose grammar was compiled, or is not sound.
    Compiled { connection: u64, submit: Box<Submit>, guides: Result<Vec<Guide>, EngineError> },
    /// A request for vectors.
    Embed { connection: u64, embed: Box<Embed> },
    /// The end of a request.
    Cancel { connection: u64, stream: StreamId },
    /// No new requests from this connection.
    Drain { connection: u64 },
    /// The connection is gone.
    Close { connection: u64 },
    /// The worker stops: no new requests from any.
    DrainAll,
}

/// What the connections see of the computing thread without asking it.
pub(super) struct Pulse {
    steps: AtomicU64,
    busy: AtomicBool,
    load: watch::Sender<Load>,
}

impl Pulse {
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let busy = self.busy.load(Ordering::Relaxed);
        Heartbeat { steps: self.steps.load(Ordering::Relaxed), busy }
    }

    pub(super) fn loads(&self) -> watch::Receiver<Load> {
        self.load.subscribe()
    }
}

/// What the thread needs of a core; a trait so that tests can do without a model.
pub(super) trait Steps {
    /// Whoever completes texts has them.
    fn grammars(&self) -> Option<Arc<Grammars>> {
        None
    }
    /// There is a guide for each choice of a request with a constraint.
    fn submit(
        &mut self,
        key: SequenceKey,
        submit: Submit,
        guides: Vec<Guide>,
    ) -> Result<(), EngineError>;
    /// Only an encoder does it.
    fn embed(&mut self, _key: SequenceKey, _embed: Embed) -> Result<(), EngineError> {
        Err(EngineError::Unsupported("embeddings"))
    }
    fn cancel(&mut self, key: &SequenceKey);
    fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)>;
    fn is_idle(&self) -> bool;
    fn load(&self) -> Load;
}

impl Steps for Core {
    fn grammars(&self) -> Option<Arc<Grammars>> {
        Some(Core::grammars(self))
    }

    fn submit(
        &mut self,
        key: SequenceKey,
        submit: Submit,
        guides: Vec<Guide>,
    ) -> Result<(), EngineError> {
        self.submit_guided(key, submit.submission, submit.resume, guides)
    }

    fn cancel(&mut self, key: &SequenceKey) {
        Core::cancel(self, key);
    }

    fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        Core::step(self)
    }

    fn is_idle(&self) -> bool {
        Core::is_idle(self)
    }

    fn load(&self) -> Load {
        let load = self.load_now();
        Load {
            running: load.running,
            waiting: load.waiting,
            blocks_used: load.blocks_used,
            blocks_total: load.blocks_total,
            blocks_cached: load.blocks_cached,
            blocks_pinned: load.blocks_pinned,
            counters: Counters {
                preemptions: load.preemptions,
                prompt_tokens: load.prompt_tokens,
                generation_tokens: load.generation_tokens,
                prefix_queries: load.prefix_queries,
                prefix_hits: load.prefix_hits,
                drafted: load.drafted,
                accepted: load.accepted,
            },
        }
    }
}

impl Steps for EmbedCore {
    fn submit(
        &mut self,
        _key: SequenceKey,
        _submit: Submit,
        _guides: Vec<Guide>,
    ) -> Result<(), EngineError> {
        Err(EngineError::Unsupported("completion"))
    }

    fn embed(&mut self, key: SequenceKey, embed: Embed) -> Result<(), EngineError> {
        EmbedCore::embed(self, key, embed)
    }

    fn cancel(&mut self, key: &SequenceKey) {
        EmbedCore::cancel(self, key);
    }

    fn step(&mut self) -> Vec<(SequenceKey, CoreEvent)> {
        EmbedCore::step(self)
    }

    fn is_idle(&self) -> bool {
        EmbedCore::is_idle(self)
    }

    fn load(&self) -> Load {
        self.load_now()
    }
}

/// The thread's state.
pub(super) struct Bench {
    orders: mpsc::Receiver<Order>,
    pulse: Arc<Pulse>,
    epoch: Epoch,
    fault: Fault,
    desks: HashMap<u64, Desk>,
    compiler: Compiler,
    draining: bool,
}

impl Bench {
    /// `sender` is the other end of the orders.
    pub(super) fn new(
        orders: mpsc::Receiver<Order>,
        sender: mpsc::WeakSender<Order>,
        epoch: u64,
        fault: Fault,
    ) -> Self {
        let (load, _) = watch::channel(Load::default());
        let pulse = Pulse { steps: AtomicU64::new(0), busy: AtomicBool::new(false), load };
        let pulse = Arc::new(pulse);
        let (epoch, desks) = (Epoch(epoch), HashMap::new());
        let compiler = Compiler::new(sender);
        Self { orders, pulse, epoch, fault, desks, compiler, draining: false }
    }

    pub(super) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Serves until all orders are in and done, or until it is drained.
    pub(super) fn run(mut self, mut core: impl Steps) {
        loop {
            self.publish(&core);
            if !self.take_orders(&mut core) {
                return;
            }
            let events = core.step();
            self.pulse.steps.fetch_add(1, Ordering::Relaxed);
            self.deliver(&mut core, events);
            self.settle(&mut core);
            if self.draining && self.desks.is_empty() {
                return;
            }
        }
    }

    /// Tells the connections how things are.
    fn publish(&self, core: &impl Steps) {
        self.pulse.busy.store(!core.is_idle(), Ordering::Relaxed);
        let load = core.load();
        self.pulse.load.send_if_modified(|last| std::mem::replace(last, load) != load);
    }

    /// Waits for an order when there is nothing else to do. False when none can come.
    fn take_orders(&mut self, core: &mut impl Steps) -> bool {
        if core.is_idle() {
            let Some(order) = self.orders.blocking_recv() else {
                return false;
            };
            self.obey(core, order);
        }
        for _ in 0..ORDERS_PER_STEP_MAX {
            match self.orders.try_recv() {
                Ok(order) => self.obey(core, order),
                Err(_) => break,
            }
        }
        true
    }

    fn obey(&mut self, core: &mut impl Steps, order: Order) {
        match order {
            Order::Open { connection, mailbox } => {
                let desk = Desk::new(mailbox, self.epoch, self.draining);
                self.desks.insert(connection, desk);
            }
            Order::Submit { connection, submit } => self.submit(core, connection, *submit),
            Order::Compiled { connection, submit, guides } => {
                self.admit(core, connection, *submit, guides);
            }
            Order::Embed { connection, embed } => self.embed(core, connection, *embed),
            Order::Cancel { connection, stream } => {
                let request = self.desks.get_mut(&connection).and_then(|desk| desk.cancel(stream));
                if let Some(request) = request {
                    core.cancel(&SequenceKey { connection, request });
                }
            }
            Order::Drain { connection } => {
                if let Some(desk) = self.desks.get_mut(&connection) {
                    desk.drain();
                }
            }
            Order::Close { connection } => self.close(core, connection),
            Order::DrainAll => {
                self.draining = true;
                self.desks.values_mut().for_each(Desk::drain);
            }
        }
    }

    fn submit(&mut self, core: &mut impl Steps, connection: u64, submit: Submit) {
        self.fault.strike(&submit.submission.prompt.ids);
        let (stream, request) = (submit.stream, submit.submission.id.clone());
        self.open(core, connection, (stream, request), |core, compiler, key| {
            if submit.submission.constraint.is_some()
                && let Some(grammars) = core.grammars()
            {
                let job = Job { connection, submit: Box::new(submit), came: Instant::now() };
                return compiler.take(|| grammars, job);
            }
            core.submit(key, submit, Vec::new())
        });
    }

    fn embed(&mut self, core: &mut impl Steps, connection: u64, embed: Embed) {
        embed.inputs.iter().for_each(|(_, ids)| self.fault.strike(ids));
        let (stream, request) = (embed.stream, embed.id.clone());
        self.open(core, connection, (stream, request), |core, _, key| core.embed(key, embed));
    }

    /// Gives a request to the core, and its refusal back.
    fn open<S: Steps>(
        &mut self,
        core: &mut S,
        connection: u64,
        (stream, request): (StreamId, RequestId),
        give: impl FnOnce(&mut S, &mut Compiler, SequenceKey) -> Result<(), EngineError>,
    ) {
        let Some(desk) = self.desks.get_mut(&connection) else {
            return;
        };
        let taken = if desk.is_draining() {
            Err(EngineError::Draining)
        } else if desk.has(&request) {
            error!(%request, "the request is running already");
            Err(EngineError::Internal)
        } else {
            give(core, &mut self.compiler, SequenceKey { connection, request: request.clone() })
        };
        let delivered = match taken {
            Ok(()) => {
                desk.open(stream, request);
                Ok(())
            }
            Err(error) => desk.refuse(stream, error),
        };
        if delivered.is_err() {
            self.overrun(core, connection);
        }
    }

    /// A request that was taken before, and was waiting for its grammar. It may have been
    /// cancelled since.
    fn admit(
        &mut self,
        core: &mut impl Steps,
        connection: u64,
        submit: Submit,
        guides: Result<Vec<Guide>, EngineError>,
    ) {
        let request = submit.submission.id.clone();
        let is_open = |desk: &&mut Desk| desk.is_open(submit.stream, &request);
        let Some(desk) = self.desks.get_mut(&connection).filter(is_open) else {
            return;
        };
        let key = SequenceKey { connection, request: request.clone() };
        let taken = guides.and_then(|guides| core.submit(key, submit, guides));
        if let Err(error) = taken
            && desk.add(&request, CoreEvent::Failed(error)).is_err()
        {
            self.overrun(core, connection);
        }
    }

    fn deliver(&mut self, core: &mut impl Steps, events: Vec<(SequenceKey, CoreEvent)>) {
        for (SequenceKey { connection, request }, event) in events {
            let Some(desk) = self.desks.get_mut(&connection) else {
                continue;
            };
            if let Err(Undeliverable) = desk.add(&request, event) {
                self.overrun(core, connection);
            }
        }
    }

    /// Sends what the step made, and lets go of connections that are done.
    fn settle(&mut self, core: &mut impl Steps) {
        let mut behind = Vec::new();
        for (connection, desk) in &mut self.desks {
            if desk.send().is_err() {
                behind.push(*connection);
            }
        }
        for connection in behind {
            self.overrun(core, connection);
        }
        self.desks.retain(|_, desk| !desk.is_done());
    }

    fn overrun(&mut self, core: &mut impl Steps, connection: u64) {
        warn!(connection, "the fleet does not read what the steps make; connection closed");
        self.close(core, connection);
    }

    /// Cancels everything that a connection wanted. Dropping the mailbox ends it.
    fn close(&mut self, core: &mut impl Steps, connection: u64) {
        if let Some(desk) = self.desks.remove(&connection) {
            for request in desk.close() {
                core.cancel(&SequenceKey { connection, request });
            }
        }
    }
}

#[cfg(test)]
mod tests;
