//! The way of one request through the fleet: placed, answered, and carried over to another
//! worker when its own dies or its reader is slow.
//!
//! A journey is driven by whoever reads the events; there is no task behind it. A reader that
//! stops reading stops nothing but its own request, and dropping the journey cancels it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use engine_api::{EngineError, Event, OutputEvent, Placement, Submission};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::journal::{Entry, Journal};
use crate::link::{Attempt, Ended, Link, OpenError, Word};
use crate::model::Model;
use crate::reader::Reader;
use crate::roster::{DEATHS_MAX, RETRY_AFTER, Roster, Seat, unavailable};
use crate::turns::Turns;

/// Wait before a request that has begun asks a busy worker again.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// Where answers are remembered, for the prompts that continue them.
pub(crate) struct Memory {
    /// The model that answers.
    pub(crate) model: Arc<Model>,
    /// Its answers, and those of others.
    pub(crate) turns: Arc<Turns>,
}

/// One request.
pub(crate) struct Journey {
    roster: Arc<Roster>,
    journal: Journal,
    /// One for each choice. They read what is new in the journal, so nothing comes twice.
    readers: Vec<Reader>,
    memory: Memory,
    attempt: Option<Attempt>,
    /// Where the attempt runs, until its first event shows that it does.
    placed: Option<Placement>,
    /// Events that are due.
    due: VecDeque<Event>,
    /// By when the request must have got on; set while it does not.
    deadline: Option<Instant>,
    /// Workers that said that they are busy, before the request began.
    busy: Vec<Arc<Link>>,
    /// Present until the end; counts the request.
    seat: Option<Seat>,
}

impl Journey {
    pub(crate) fn new(
        roster: Arc<Roster>,
        submission: Submission,
        seat: Seat,
        memory: Memory,
    ) -> Self {
        let reading = &submission.prompt.answer.reading;
        let reader = |choice| Reader::of(reading, &submission.id, choice);
        Self {
            roster,
            readers: (0..submission.choices.get()).map(reader).collect(),
            journal: Journal::new(submission),
            memory,
            attempt: None,
            placed: None,
            due: VecDeque::new(),
            deadline: None,
            busy: Vec::new(),
            seat: Some(seat),
        }
    }

    /// Waits until the request has got somewhere: the errors before are the caller's.
    pub(crate) async fn begin(&mut self) -> Result<(), EngineError> {
        match self.next().await {
            Some(Ok(event)) => {
                self.due.push_front(event);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Err(EngineError::Internal),
        }
    }

    /// The next event; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, EngineError>> {
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
        if matches!(result, Err(_) | Ok(Event::Usage(..))) {
            self.attempt = None;
            self.seat = None;
        }
        // the place comes before what happened there
        match (self.placed.take(), result) {
            (Some(place), Ok(event)) => {
                self.due.push_front(event);
                Some(Ok(Event::Placed(place)))
            }
            (_, result) => Some(result),
        }
    }

    /// Gets on until there is an event.
    async fn travel(&mut self) -> Result<Event, EngineError> {
        loop {
            let Some(attempt) = &mut self.attempt else {
                self.embark().await?;
                continue;
            };
            match attempt.next().await {
                Ok(Word::Said(said)) => {
                    let entry = self.journal.enter(said).map_err(|contradiction| {
                        error!(request = %self.id(), %contradiction, "answer refused");
                        EngineError::Internal
                    })?;
                    if let Entry::New(event) = entry {
                        self.deadline = None;
                        self.remember(&event);
                        let event = self.read(event);
                        return Ok(event);
                    }
                }
                Ok(Word::Failed(error)) => self.failed(error).await?,
                Err(Ended::Paused) => {
                    self.roster.incidents().paused();
                    info!(request = %self.id(), "the reader has caught up; going on");
                    self.attempt = None;
                }
                Err(Ended::Lost { charged }) => self.lost(charged)?,
            }
        }
    }

    /// Keeps what the end of a choice makes known.
    fn remember(&self, event: &Event) {
        if let Event::Finished(finished) = event {
            let Memory { model, turns } = &self.memory;
            let drawn = self.journal.drawn(finished.choice);
            model.remember(self.journal.submission(), drawn, finished.reason, turns);
        }
    }

    /// Reads the text of an event: what it turns out to be follows a token, and comes before an
    /// end. The first of these events; the others are due.
    fn read(&mut self, event: Event) -> Event {
        match event {
            Event::Token(token) => {
                let output = self.reader(token.choice).push(&token.text);
                self.due.extend(output_of(token.choice, output));
                Event::Token(token)
            }
            Event::Finished(finished) => {
                let reader = self.reader(finished.choice);
                let mut output = reader.push(&finished.text);
                output.extend(reader.finish());
                self.due.extend(output_of(finished.choice, output));
                self.due.push_back(Event::Finished(finished));
                self.due.pop_front().expect("the end is there")
            }
            other => other,
        }
    }

    fn reader(&mut self, choice: u8) -> &mut Reader {
        let reader = self.readers.get_mut(usize::from(choice));
        reader.expect("the journal takes no choice that was not asked for")
    }

    /// Places the request on a ready partition of its zones.
    async fn embark(&mut self) -> Result<(), EngineError> {
        let limits = self.roster.limits();
        let wait =
            if self.journal.has_begun() { limits.failover_wait_max } else { limits.ready_wait_max };
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
            let probation = if self.journal.is_suspect() {
                let Some(permit) = link.probation().await else { continue };
                Some(permit)
            } else {
                None
            };
            let Some(submission) = self.journal.outgoing(Instant::now()) else {
                return Err(EngineError::DeadlineExceeded { retry_after: RETRY_AFTER });
            };
            match link.open(submission, self.journal.resume(), probation) {
                Ok(attempt) => {
                    self.placed = Some(attempt.placement().clone());
                    self.attempt = Some(attempt);
                    return Ok(());
                }
                Err(OpenError::Closed) => {}
                Err(OpenError::Full) => self.put_off(link).await?,
                Err(OpenError::Refused(error)) => return Err(error),
            }
        }
    }

    /// The ready partition with the least to do; `None` when there is none yet.
    fn choose(&self) -> Result<Option<Arc<Link>>, EngineError> {
        let submission = self.journal.submission();
        self.roster.choose(&submission.prompt.model, &submission.zones, &self.busy)
    }

    /// The worker gives the request up.
    async fn failed(&mut self, error: EngineError) -> Result<(), EngineError> {
        let attempt = self.attempt.take();
        self.placed = None;
        match (&error, attempt) {
            (
                EngineError::Overloaded { .. }
                | EngineError::DeadlineExceeded { .. }
                | EngineError::Draining,
                Some(attempt),
            ) => {
                let link = attempt.link().clone();
                self.put_off(link).await.map_err(|_| error)
            }
            _ => Err(self.named(error)),
        }
    }

    /// A worker knows a constraint and not which field of the client's made it.
    fn named(&self, error: EngineError) -> EngineError {
        match (error, self.journal.submission().prompt.answer.demanded_by) {
            (EngineError::Invalid { param: "grammar", message }, Some(param)) => {
                EngineError::Invalid { param, message }
            }
            (error, _) => error,
        }
    }

    /// A worker is too busy. A request that has begun waits, because its client has read half
    /// an answer; another one tries the other workers, and then its client is told.
    async fn put_off(&mut self, link: Arc<Link>) -> Result<(), EngineError> {
        if !self.journal.has_begun() {
            self.busy.push(link);
            // an error here says that there is no other worker to try
            return self.choose().map(drop);
        }
        let wait = self.roster.limits().failover_wait_max;
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + wait);
        if Instant::now() + BUSY_WAIT > deadline {
            return Err(self.unavailable());
        }
        sleep(BUSY_WAIT).await;
        Ok(())
    }

    /// The worker is gone.
    fn lost(&mut self, charged: bool) -> Result<(), EngineError> {
        self.attempt = None;
        self.placed = None;
        warn!(request = %self.id(), charged, "the worker of a request is gone");
        if charged && self.journal.count_death() >= DEATHS_MAX {
            let prompt_tokens = self.journal.submission().prompt.ids.len();
            let (drawn_tokens, reason) = (self.journal.drawn_tokens(), "workers died on it");
            error!(request = %self.id(), prompt_tokens, drawn_tokens, reason, "request quarantined");
            self.roster.quarantine().add(self.journal.submission());
            self.roster.incidents().quarantined();
            return Err(EngineError::Quarantined);
        }
        self.roster.incidents().resumed();
        Ok(())
    }

    fn unavailable(&self) -> EngineError {
        unavailable(&self.journal.submission().prompt.model)
    }

    fn id(&self) -> &engine_api::RequestId {
        &self.journal.submission().id
    }
}

fn output_of(choice: u8, output: Vec<OutputEvent>) -> impl Iterator<Item = Event> {
    output.into_iter().map(move |output| Event::Output { choice, output })
}
