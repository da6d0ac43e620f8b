//! What was asked for, and the answers to it so far.

use engine_api::{EngineError, Finished, Submission, TokenId, Usage};
use engine_text::Tokenizer;

use crate::clock::Clock;
use crate::constraint::Guide;
use crate::event::{CoreEvent, SequenceKey};
use crate::sequence::{Ending, Sequence};
use crate::trace;

/// What bounds every request of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Longest sequence in tokens.
    pub(crate) context: u32,
    /// Width of the logits.
    pub(crate) vocabulary: u32,
}

/// A request that was found to be sound.
pub(crate) struct Request {
    /// Whose events these are.
    pub(crate) key: SequenceKey,
    /// As it came.
    pub(crate) submission: Submission,
    /// When each answer ends.
    pub(crate) ending: Ending,
    /// The answers.
    pub(crate) choices: Vec<Sequence>,
    /// Prompt tokens that were in the prefix cache when the request started for the first time.
    pub(crate) cached_tokens: Option<u32>,
    /// Where its time goes.
    pub(crate) clock: Clock,
    /// Open as long as the request is.
    pub(crate) span: tracing::Span,
}

impl Request {
    /// Checks a submission against the model, and replays the tokens that were drawn
    /// elsewhere, by choice. The events are the ends of choices that these tokens complete. Where
    /// the answers have to follow a grammar, there is a guide for each.
    pub(crate) fn new(
        key: SequenceKey,
        submission: Submission,
        resume: &[Vec<TokenId>],
        guides: Vec<Guide>,
        bounds: Bounds,
        tokenizer: &Tokenizer,
    ) -> Result<(Self, Vec<CoreEvent>), EngineError> {
        check_ids(&submission, bounds)?;
        let prompt = submission.prompt.ids.len() as u64;
        if prompt >= bounds.context as u64 {
            let context = bounds.context;
            return Err(EngineError::PromptTooLong { prompt_tokens: prompt, context });
        }
        let stopping = &submission.stopping;
        let asked = stopping.max_tokens.get().min(submission.prompt.max_tokens.max(1));
        let ending = Ending {
            tokens_max: asked.min(bounds.context - prompt as u32),
            tokens_min: stopping.min_tokens,
            ignore_eos: stopping.ignore_eos,
        };
        let count = submission.choices.get() as usize;
        let mut guides = guides.into_iter();
        let mut choice = || Sequence::new(stopping, &submission.markers, guides.next());
        let choices = (0..count).map(|_| choice()).collect();
        let span = trace::request(&submission);
        let (cached_tokens, clock) = (None, Clock::new());
        let mut request = Self { key, submission, ending, choices, cached_tokens, clock, span };
        let events = request.replay(resume, bounds, tokenizer)?;
        Ok((request, events))
    }

    fn replay(
        &mut self,
        resume: &[Vec<TokenId>],
        bounds: Bounds,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<CoreEvent>, EngineError> {
        let wrong =
            |message: &str| EngineError::Invalid { param: "resume", message: message.to_owned() };
        if !resume.is_empty() && resume.len() != self.choices.len() {
            return Err(wrong("must have a list of tokens for each choice"));
        }
        let mut events = Vec::new();
        for (choice, (sequence, tokens)) in self.choices.iter_mut().zip(resume).enumerate() {
            for id in tokens {
                let impossible = || wrong("holds tokens that this request cannot have drawn");
                if id.0 >= bounds.vocabulary || sequence.is_ended() {
                    return Err(impossible());
                }
                // the text of these tokens was released where they were drawn
                let accepted = sequence.accept(*id, &self.ending, tokenizer);
                let accepted = accepted.map_err(|_| impossible())?;
                let choice = choice as u8;
                events.extend(accepted.end.map(|end| {
                    CoreEvent::Finished(Finished { choice, reason: end.reason, text: end.text })
                }));
            }
        }
        let timings = self.clock.timings();
        events.extend(self.usage().map(|usage| CoreEvent::Usage(usage, timings)));
        Ok(events)
    }

    /// The token at a position of a choice: the prompt's, then the answer's.
    pub(crate) fn token(&self, choice: u8, position: u32) -> TokenId {
        let prompt = &self.submission.prompt.ids;
        match prompt.get(position as usize) {
            Some(id) => *id,
            None => self.choices[choice as usize].drawn()[position as usize - prompt.len()],
        }
    }

    /// All tokens of a choice: the prompt's, then the answer's.
    pub(crate) fn tokens(&self, choice: u8) -> impl Iterator<Item = u32> {
        let drawn = self.choices[choice as usize].drawn();
        self.submission.prompt.ids.iter().chain(drawn).map(|id| id.0)
    }

    /// How many they are.
    pub(crate) fn known(&self, choice: u8) -> u32 {
        let drawn = self.choices[choice as usize].drawn();
        (self.submission.prompt.ids.len() + drawn.len()) as u32
    }

    /// The choices that have not ended.
    pub(crate) fn open(&self) -> impl Iterator<Item = u8> {
        let open = self.choices.iter().enumerate().filter(|(_, sequence)| !sequence.is_ended());
        open.map(|(choice, _)| choice as u8)
    }

    /// What a choice may become, prompt and answer together, in tokens.
    pub(crate) fn whole(&self) -> u32 {
        self.submission.prompt.ids.len() as u32 + self.ending.tokens_max
    }

    /// Exact counts, once every choice has ended.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let drawn = |sequence: &Sequence| sequence.drawn().len() as u32;
        self.choices.iter().all(Sequence::is_ended).then(|| Usage {
            prompt_tokens: self.submission.prompt.ids.len() as u32,
            completion_tokens: self.choices.iter().map(drawn).sum(),
            cached_tokens: self.cached_tokens.unwrap_or(0),
        })
    }
}

/// Ids that index the embedding or the logits lie within them.
fn check_ids(submission: &Submission, bounds: Bounds) -> Result<(), EngineError> {
    let invalid = |param, message| Err(EngineError::Invalid { param, message });
    let is_unknown = |id: &TokenId| id.0 >= bounds.vocabulary;
    if submission.prompt.ids.is_empty() {
        return invalid("prompt", "must hold at least one token".to_owned());
    }
    if let Some(id) = submission.prompt.ids.iter().copied().find(is_unknown) {
        let last = bounds.vocabulary - 1;
        return invalid("prompt", format!("holds token {}, the last one is {last}", id.0));
    }
    let mut biased = submission.sampling.logit_bias.iter().map(|(id, _)| id);
    if let Some(id) = biased.find(is_unknown) {
        let last = bounds.vocabulary - 1;
        return invalid("logit_bias", format!("names token {}, the last one is {last}", id.0));
    }
    if let Some(id) = submission.stopping.stop_tokens.iter().find(is_unknown) {
        let last = bounds.vocabulary - 1;
        return invalid("stop_token_ids", format!("names token {}, the last one is {last}", id.0));
    }
    Ok(())
}
