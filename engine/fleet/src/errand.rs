//! The way of one embedding request through the fleet: placed, answered, and given to another worker
//! when its own dies.
//!
//! A text's vector is the same wherever it is made, so what has arrived is kept, and only what is missing
//! is asked for again. An errand is driven by whoever reads its events; dropping it cancels it.

use std::collections::VecDeque;
use std::sync::Arc;

use engine_api::{
    EmbeddingEvent, EmbeddingSubmission, EngineError, Placement, Timings, TokenId, Usage,
};
use engine_wire::{Embed, Embedded, StreamId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::journal::Said;
use crate::link::{Attempt, Link, OpenError, Word};
use crate::roster::{DEATHS_MAX, RETRY_AFTER, Roster, Seat, unavailable};

/// One request.
pub(crate) struct Errand {
    roster: Arc<Roster>,
    submission: EmbeddingSubmission,
    /// When it was submitted; its deadline counts from here.
    since: Instant,
    /// Which inputs have their vectors.
    arrived: Vec<bool>,
    deaths: u32,
    attempt: Option<Attempt>,
    /// Where the attempt runs, until its first word shows that it does.
    placed: Option<Placement>,
    /// Events that are due.
    due: VecDeque<EmbeddingEvent>,
    /// By when it must have got on; set while it does not.
    deadline: Option<Instant>,
    /// Workers that said that they are busy.
    busy: Vec<Arc<Link>>,
    /// Present until the end; counts the request.
    seat: Option<Seat>,
}

impl Errand {
    pub(crate) fn new(roster: Arc<Roster>, submission: EmbeddingSubmission, seat: Seat) -> Self {
        let arrived = vec![false; submission.inputs.inputs.len()];
        let (due, busy) = Default::default();
        Self {
            roster,
            submission,
            since: Instant::now(),
            arrived,
            deaths: 0,
            attempt: None,
            placed: None,
            due,
            deadline: None,
            busy,
            seat: Some(seat),
        }
    }

    /// The next event; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<EmbeddingEvent, EngineError>> {
        if let Some(event) = self.due.pop_front() {
            return Some(Ok(event));
        }
        self.seat.as_ref()?;
        let roster = self.roster.clone();
        let result = tokio::select! {
            biased;
            result = self.travel() => result,
            () = roster.halted() => Err(EngineError::Draining),
        };
        if matches!(result, Err(_) | Ok(EmbeddingEvent::Usage(..))) {
            self.attempt = None;
            self.seat = None;
        }
        // the place comes before what happened there
        match (self.placed.take(), result) {
            (Some(place), Ok(event)) => {
                self.due.push_back(event);
                Some(Ok(EmbeddingEvent::Placed(place)))
            }
            (_, result) => Some(result),
        }
    }

    /// Gets on until there is an event.
    async fn travel(&mut self) -> Result<EmbeddingEvent, EngineError> {
        loop {
            let Some(attempt) = &mut self.attempt else {
                // a worker may die with nothing left to say but the end
                if self.arrived.iter().all(|arrived| *arrived) {
                    return Ok(self.usage(Timings::default()));
                }
                self.embark().await?;
                continue;
            };
            match attempt.next().await {
                Ok(Word::Said(said)) => {
                    self.deadline = None;
                    return self.enter(said);
                }
                Ok(Word::Failed(error)) => self.failed(error)?,
                Err(ended) => self.lost(ended.is_charged())?,
            }
        }
    }

    /// Takes what a worker says, each vector once.
    fn enter(&mut self, said: Said) -> Result<EmbeddingEvent, EngineError> {
        let dimensions = self.submission.inputs.dimensions as usize;
        match said {
            Said::Embedded(Embedded { input, values }) if values.len() == dimensions => {
                let place = self.arrived.get_mut(input as usize);
                if let Some(arrived @ false) = place {
                    *arrived = true;
                    return Ok(EmbeddingEvent::Vector { input, values });
                }
            }
            Said::Usage(_, timings) if self.arrived.iter().all(|arrived| *arrived) => {
                return Ok(self.usage(timings));
            }
            _ => {}
        }
        error!(request = %self.submission.id, "the worker's answer is none to this request");
        Err(EngineError::Internal)
    }

    /// Of all inputs, whoever read them.
    fn usage(&self, timings: Timings) -> EmbeddingEvent {
        let prompt_tokens = self.submission.inputs.tokens();
        EmbeddingEvent::Usage(Usage { prompt_tokens, ..Usage::default() }, timings)
    }

    /// Places the request on a ready partition of its zones.
    async fn embark(&mut self) -> Result<(), EngineError> {
        let limits = self.roster.limits();
        let has_begun = self.deaths > 0 || self.arrived.contains(&true);
        let wait = if has_begun { limits.failover_wait_max } else { limits.ready_wait_max };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + wait);
        let mut changes = self.roster.changes();
        loop {
            changes.mark_unchanged();
            let Some(link) = self.choose()? else {
                let changed = timeout_at(deadline, changes.changed()).await;
                if !matches!(changed, Ok(Ok(()))) {
                    return Err(self.unavailable());
                }
                continue;
            };
            // suspects run alone
            let probation = if self.deaths > 0 {
                let Some(permit) = link.probation().await else { continue };
                Some(permit)
            } else {
                None
            };
            match self.open(&link, probation)? {
                Some(attempt) => {
                    self.placed = Some(attempt.placement().clone());
                    self.attempt = Some(attempt);
                    return Ok(());
                }
                None => continue,
            }
        }
    }

    /// Sends what is missing; `None` where the worker cannot take it now.
    fn open(
        &mut self,
        link: &Arc<Link>,
        probation: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Attempt>, EngineError> {
        let late = EngineError::DeadlineExceeded { retry_after: RETRY_AFTER };
        let deadline = match self.submission.deadline.filter(|_| !self.arrived.contains(&true)) {
            None => None,
            Some(deadline) => Some(deadline.checked_sub(self.since.elapsed()).ok_or(late)?),
        };
        let EmbeddingSubmission { id, inputs, share, zones, trace, .. } = &self.submission;
        let missing: Vec<(u32, Arc<[TokenId]>)> = (0..)
            .zip(&inputs.inputs)
            .filter(|(index, _)| !self.arrived[*index as usize])
            .map(|(index, ids)| (index, ids.clone()))
            .collect();
        let embed = |stream: StreamId| Embed {
            stream,
            id: id.clone(),
            model: inputs.model.clone(),
            model_digest: inputs.model_digest,
            inputs: missing,
            dimensions: inputs.dimensions,
            share: *share,
            deadline,
            zones: zones.clone(),
            trace: *trace,
        };
        match link.embed((id, zones), inputs.inputs.len(), probation, embed) {
            Ok(attempt) => Ok(Some(attempt)),
            Err(OpenError::Closed) => Ok(None),
            Err(OpenError::Full) => {
                self.busy.push(link.clone());
                // an error here says that there is no other worker to try
                self.choose().map(|_| None)
            }
            Err(OpenError::Refused(error)) => Err(error),
        }
    }

    /// The ready partition with the least to do; `None` when there is none yet.
    fn choose(&self) -> Result<Option<Arc<Link>>, EngineError> {
        let EmbeddingSubmission { inputs, zones, .. } = &self.submission;
        self.roster.choose(&inputs.model, zones, &self.busy)
    }

    /// The worker gives the request up: one that is busy is not asked again, and another one is.
    fn failed(&mut self, error: EngineError) -> Result<(), EngineError> {
        let attempt = self.attempt.take();
        self.placed = None;
        match (&error, attempt) {
            (EngineError::Overloaded { .. } | EngineError::Draining, Some(attempt)) => {
                self.busy.push(attempt.link().clone());
                self.choose().map(drop).map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    /// The worker is gone.
    fn lost(&mut self, charged: bool) -> Result<(), EngineError> {
        self.attempt = None;
        self.placed = None;
        let (request, prompt_tokens) = (&self.submission.id, self.submission.inputs.tokens());
        warn!(%request, charged, "the worker of a request is gone");
        if charged {
            self.deaths += 1;
        }
        if self.deaths >= DEATHS_MAX {
            error!(%request, prompt_tokens, reason = "workers died on it", "request quarantined");
            self.roster.quarantine().add_inputs(&self.submission);
            self.roster.incidents().quarantined();
            return Err(EngineError::Quarantined);
        }
        self.roster.incidents().resumed();
        Ok(())
    }

    fn unavailable(&self) -> EngineError {
        unavailable(&self.submission.inputs.model)
    }
}
