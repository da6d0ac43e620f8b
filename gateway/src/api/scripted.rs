//! Events for the tests of what is made of events.

use engine_api::{
    Epoch, Event, FinishReason, Finished, ModelDigest, NumericsClass, OutputEvent, PartitionId,
    Placement, Timings, Token, TokenId, TokenLogprob, Usage, ZoneId,
};

pub fn placed() -> Event {
    Event::Placed(Placement {
        partition: PartitionId::new("p"),
        zone: ZoneId::new("eu-de-1"),
        epoch: Epoch(1),
        model_digest: ModelDigest([0xab; 32]),
        numerics: NumericsClass::new("cpu-v1"),
    })
}

pub fn token(logprob: Option<TokenLogprob>) -> Event {
    Event::Token(Token { choice: 0, index: 0, id: TokenId(1), text: String::new(), logprob })
}

pub fn output(output: OutputEvent) -> Event {
    Event::Output { choice: 0, output }
}

pub fn content(text: &str) -> Event {
    output(OutputEvent::Content(text.to_owned()))
}

pub fn reasoning(text: &str) -> Event {
    output(OutputEvent::Reasoning(text.to_owned()))
}

pub fn call(index: usize, name: &str) -> Event {
    let (id, name) = (format!("call_{index}"), name.to_owned());
    output(OutputEvent::CallStarted { index, id, name })
}

pub fn arguments(index: usize, text: &str) -> Event {
    output(OutputEvent::Arguments { index, text: text.to_owned() })
}

pub fn call_finished(index: usize) -> Event {
    output(OutputEvent::CallFinished { index })
}

pub fn finished(reason: FinishReason) -> Event {
    Event::Finished(Finished { choice: 0, reason, text: String::new() })
}

pub fn usage() -> Event {
    let usage = Usage { prompt_tokens: 5, completion_tokens: 3, cached_tokens: 2 };
    Event::Usage(usage, Timings::default())
}
