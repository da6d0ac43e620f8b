//! How many tokens of an answer were reasoning.

use engine_api::{Event, OutputEvent};

/// Counts them over all choices. A token is reasoning if the next that is known of its choice is
/// reasoning: what was held back with it is of its kind.
#[derive(Debug, Default)]
pub struct ReasoningTokens {
    /// By choice, tokens of which nothing is known yet.
    unknown: Vec<u32>,
    count: u32,
}

impl ReasoningTokens {
    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Token(token) => *self.unknown(token.choice) += 1,
            Event::Output { choice, output } => {
                let known = std::mem::take(self.unknown(*choice));
                if matches!(output, OutputEvent::Reasoning(_)) {
                    self.count += known;
                }
            }
            Event::Placed(_) | Event::Finished(_) | Event::Usage(..) => {}
        }
    }

    /// Those so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    fn unknown(&mut self, choice: u8) -> &mut u32 {
        let choice = usize::from(choice);
        if self.unknown.len() <= choice {
            self.unknown.resize(choice + 1, 0);
        }
        &mut self.unknown[choice]
    }
}

#[cfg(test)]
mod tests {
    use engine_api::{Token, TokenId};

    use super::*;

    #[test]
    fn tokens_are_of_the_kind_that_they_turn_out_to_be() {
        let token = |choice| {
            let (index, id, text) = (0, TokenId(1), String::new());
            Event::Token(Token { choice, index, id, text, logprob: None })
        };
        let output = |choice, output| Event::Output { choice, output };
        let reasoning = |choice| output(choice, OutputEvent::Reasoning("r".into()));
        let content = |choice| output(choice, OutputEvent::Content("c".into()));
        let mut tokens = ReasoningTokens::default();
        let events = [
            token(1),
            token(0),
            content(0),
            token(1),
            reasoning(1),
            reasoning(1),
            token(1),
            token(1),
            content(1),
            token(0),
        ];
        events.iter().for_each(|event| tokens.observe(event));
        assert_eq!(tokens.count(), 2);
    }
}
