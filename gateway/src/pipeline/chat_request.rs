//! A chat request, whichever endpoint it came through.

use engine_api::{
    Choices, Demand, LogitBias, MaxTokens, MinP, ModelId, Penalty, Priority, PromptSource,
    RepetitionPenalty, Sampling, Seed, StopStrings, StopTokens, Stopping, Temperature, TopK,
    TopLogprobs, TopP,
};

/// What the client asks for, parsed and checked; `None` is what it left to us.
#[derive(Clone, PartialEq, Debug)]
pub struct ChatRequest {
    /// The model by its configured name.
    pub model: ModelId,
    /// What the model reads: the turns of a chat, or a text as it is.
    pub source: PromptSource,
    /// What the answer has to be.
    pub demand: Demand,
    /// Longest answer.
    pub max_tokens: Option<MaxTokens>,
    /// How many answers.
    pub choices: Choices,
    /// Divides the logits.
    pub temperature: Option<Temperature>,
    /// Mass of the nucleus.
    pub top_p: Option<TopP>,
    /// How many of the likeliest tokens stay.
    pub top_k: Option<TopK>,
    /// How likely a token must be against the likeliest to stay.
    pub min_p: Option<MinP>,
    /// Seed of every draw; one is drawn where it is absent, and recorded.
    pub seed: Option<Seed>,
    /// Per earlier occurrence.
    pub frequency_penalty: Option<Penalty>,
    /// Once for any earlier occurrence.
    pub presence_penalty: Option<Penalty>,
    /// For tokens of the prompt and of the answer.
    pub repetition_penalty: Option<RepetitionPenalty>,
    /// Added to single tokens.
    pub logit_bias: LogitBias,
    /// Log-probabilities in the answer.
    pub logprobs: Option<TopLogprobs>,
    /// Texts that end an answer.
    pub stop: StopStrings,
    /// Tokens that end an answer.
    pub stop_tokens: StopTokens,
    /// End tokens end nothing.
    pub ignore_eos: bool,
    /// Nothing ends an answer before so many tokens.
    pub min_tokens: u32,
    /// Its place among the requests of its tenant.
    pub priority: Priority,
    /// The answer is written as it is made; only for the record.
    pub stream: bool,
}

impl ChatRequest {
    /// Whether the model is told of tools.
    pub fn offers_tools(&self) -> bool {
        matches!(&self.source, PromptSource::Chat(chat) if !chat.tools.is_empty())
    }

    /// How tokens are drawn, with every default resolved. `draw` makes a seed where the client
    /// names none.
    pub fn sampling(&self, draw: impl FnOnce() -> Seed) -> Sampling {
        let defaults = Sampling::default();
        Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            seed: self.seed.unwrap_or_else(draw),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            logit_bias: self.logit_bias.clone(),
            logprobs: self.logprobs,
        }
    }

    /// When an answer ends. `room` is what prompt, permit and context leave of the wanted
    /// length, in tokens, and at least 1.
    pub fn stopping(&self, room: u32) -> Stopping {
        let max_tokens = MaxTokens::new(room.max(1)).expect("1 and more is in range");
        Stopping {
            max_tokens,
            stop: self.stop.clone(),
            stop_tokens: self.stop_tokens.clone(),
            ignore_eos: self.ignore_eos,
            min_tokens: self.min_tokens.min(max_tokens.get()),
        }
    }
}
