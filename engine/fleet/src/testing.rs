//! Requests for tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use engine_api::{
    CacheNamespace, Choices, MaxTokens, ModelDigest, ModelId, Priority, Prompt, RequestId,
    Sampling, Share, StopStrings, StopTokens, Stopping, Submission, TokenId, ZoneId,
};

/// A request that may run in these zones.
pub(crate) fn submission(zones: &[&str]) -> Submission {
    Submission {
        id: RequestId::new("r"),
        prompt: Prompt {
            model: ModelId::new("m"),
            model_digest: ModelDigest([1; 32]),
            ids: vec![TokenId(1), TokenId(2)].into(),
            max_tokens: 100,
            context: 200,
            answer: Default::default(),
        },
        choices: Choices::ONE,
        sampling: Sampling::default(),
        stopping: Stopping {
            max_tokens: MaxTokens::new(100).unwrap(),
            stop: StopStrings::default(),
            stop_tokens: StopTokens::default(),
            ignore_eos: false,
            min_tokens: 0,
        },
        constraint: None,
        markers: Vec::new(),
        namespace: CacheNamespace([0; 16]),
        share: Share { key: 0, weight: NonZeroU32::MIN },
        priority: Priority::default(),
        deadline: None,
        hold: None,
        zones: zones.iter().map(|zone| ZoneId::new(*zone)).collect(),
        trace: None,
    }
}
