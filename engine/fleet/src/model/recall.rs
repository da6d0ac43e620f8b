//! Prompts that begin with answers of this model: they get the ids that were drawn.

use std::sync::Arc;

use engine_api::{CacheNamespace, FinishReason, Submission, TokenId};
use engine_text::Control;

use super::Model;
use crate::turns::{Trail, Turns};

impl Model {
    /// The ids of a rendered text: those that were drawn where the namespace remembers an answer
    /// in its place, and elsewhere those of the text. They say exactly the text either way.
    pub(super) fn recall(
        &self,
        text: &str,
        control: Control,
        namespace: CacheNamespace,
        turns: &Turns,
    ) -> Vec<TokenId> {
        if !self.remembers() || !turns.has(namespace) {
            return self.begun(self.encode(text, control));
        }
        let segments = self.tokenizer.segments(text, control);
        let mut trail = Trail::new(self.card.digest);
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        if let Some(bos) = self.tokenizer.bos() {
            let is_written = segments.first().is_some_and(|first| first.is_mark(bos));
            if !is_written {
                trail.mark(&[], bos);
                ids.push(TokenId(bos));
            }
        }
        let marked = segments.iter().filter_map(|segment| Some((segment.plain, segment.mark?)));
        let keys = marked.map(|(plain, mark)| trail.mark(plain.as_bytes(), mark));
        let mut known = turns.find(namespace, keys).into_iter();
        for segment in &segments {
            // the last one has no mark, and no key
            match segment.mark.and_then(|_| known.next().flatten()) {
                Some(drawn) => ids.extend_from_slice(&drawn),
                None => ids.extend(self.encode(segment.plain, Control::Never)),
            }
            ids.extend(segment.mark.map(TokenId));
        }
        ids
    }

    /// Remembers an answer whose ids are not those of its text. One that was cut at its length
    /// may be followed by any end of a turn. What was cut at a stop text, and what is no text, is
    /// not remembered: no later prompt can say the same.
    pub(crate) fn remember(
        &self,
        submission: &Submission,
        drawn: &[TokenId],
        reason: FinishReason,
        turns: &Turns,
    ) {
        let ends = self.tokenizer.end_tokens().iter().copied();
        let mut ends: Vec<u32> = ends.filter(|id| self.tokenizer.is_control(*id)).collect();
        let answer = match (reason, drawn.split_last()) {
            (FinishReason::Length, _) => drawn,
            (FinishReason::Stop, Some((end, answer))) => {
                ends.retain(|id| *id == end.0);
                answer
            }
            (FinishReason::Stop, None) => return,
        };
        if ends.is_empty() || answer.is_empty() || !self.remembers() {
            return;
        }
        let prompt = &submission.prompt.ids;
        let is_control = |id: &TokenId| self.tokenizer.is_control(id.0);
        let begin = prompt.iter().rposition(is_control).map_or(0, |place| place + 1);
        let turn = [&prompt[begin..], answer].concat();
        let bytes = self.bytes(&turn);
        let is_own = |text: &str| self.encode(text, Control::Never) == turn;
        if !self.is_plain(&turn) || std::str::from_utf8(&bytes).map_or(true, is_own) {
            return;
        }
        let mut trail = Trail::new(self.card.digest);
        for marked in prompt[..begin].split_inclusive(is_control) {
            let (mark, plain) = marked.split_last().expect("no part of a split is empty");
            trail.mark(&self.bytes(plain), mark.0);
        }
        let turn: Arc<[TokenId]> = turn.into();
        for end in ends {
            turns.add(submission.namespace, trail.clone().mark(&bytes, end), turn.clone());
        }
    }

    /// Whether ids say exactly the text that they were made of, and the begin token is markup.
    fn remembers(&self) -> bool {
        let bos = self.tokenizer.bos();
        self.tokenizer.spells_exactly() && bos.is_none_or(|bos| self.tokenizer.is_control(bos))
    }

    /// Whether every id is text.
    fn is_plain(&self, ids: &[TokenId]) -> bool {
        ids.iter().all(|id| !self.tokenizer.bytes(id.0).is_empty())
    }

    fn bytes(&self, ids: &[TokenId]) -> Vec<u8> {
        ids.iter().flat_map(|id| self.tokenizer.bytes(id.0)).copied().collect()
    }
}

#[cfg(test)]
mod tests;
