#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use engine_api::{ModelId, RequestId, ZoneId};
use engine_tiny::TinyEncoder;
use engine_wire::StreamId;

use super::*;

fn core(queue_max: usize, step_tokens_max: usize) -> EmbedCore {
    let folder = tempfile::tempdir().unwrap();
    TinyEncoder::default().write(folder.path()).unwrap();
    let model = folder.path().to_owned();
    let config = EmbedConfig { model, threads: 2, step_tokens_max, queue_max };
    let mut told = Vec::new();
    let core = EmbedCore::load(&config, &mut |progress| told.push(progress)).unwrap();
    assert!(told.last().is_some_and(|last| last.done == last.total && last.total > 0));
    core
}

fn key(name: &str) -> SequenceKey {
    SequenceKey { connection: 1, request: RequestId::new(name) }
}

/// A request of inputs of these lengths.
fn embed(core: &EmbedCore, name: &str, lengths: &[u32]) -> Embed {
    let ids = |length: u32| (0..length).map(|place| TokenId((place * 5 + length) % 70)).collect();
    Embed {
        stream: StreamId(1),
        id: RequestId::new(name),
        model: ModelId::new("m"),
        model_digest: core.card().digest,
        inputs: lengths.iter().enumerate().map(|(n, length)| (n as u32, ids(*length))).collect(),
        dimensions: 48,
        share: Share { key: 1, weight: NonZeroU32::MIN },
        deadline: None,
        zones: vec![ZoneId::new("z")],
        trace: None,
    }
}

fn run(core: &mut EmbedCore) -> Vec<(SequenceKey, CoreEvent)> {
    let mut events = Vec::new();
    while !core.is_idle() {
        events.extend(core.step());
    }
    events
}

/// Bits of a request's vectors in the order of its inputs.
fn vectors(events: &[(SequenceKey, CoreEvent)], name: &str) -> Vec<Vec<u32>> {
    let mut vectors: Vec<_> = events
        .iter()
        .filter(|(owner, _)| *owner == key(name))
        .filter_map(|(_, event)| match event {
            CoreEvent::Embedded(Embedded { input, values }) => Some((*input, values)),
            _ => None,
        })
        .collect();
    vectors.sort_by_key(|(input, _)| *input);
    vectors.into_iter().map(|(_, values)| values.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn requests_side_by_side_get_what_they_get_alone() {
    let requests: [(&str, &[u32]); 4] =
        [("a", &[3, 64, 1]), ("b", &[10; 9]), ("c", &[33]), ("d", &[7, 7, 8, 21])];
    let mut alone = Vec::new();
    for (name, lengths) in requests {
        let mut core = core(8, 256);
        core.embed(key(name), embed(&core, name, lengths)).unwrap();
        alone.push(vectors(&run(&mut core), name));
    }
    for step_tokens_max in [1, 40, 1000] {
        let mut core = core(8, step_tokens_max);
        for (name, lengths) in requests {
            core.embed(key(name), embed(&core, name, lengths)).unwrap();
        }
        assert_eq!(core.load_now().waiting, 4);
        let events = run(&mut core);
        for ((name, lengths), alone) in requests.iter().zip(&alone) {
            assert_eq!(alone.len(), lengths.len());
            assert_eq!(&vectors(&events, name), alone, "{name} in steps of {step_tokens_max}");
            let (_, last) = events.iter().rfind(|(owner, _)| *owner == key(name)).unwrap();
            let CoreEvent::Usage(usage, _) = last else { panic!("{last:?}") };
            assert_eq!(usage.prompt_tokens, lengths.iter().sum::<u32>());
        }
        let tokens: u32 = requests.iter().flat_map(|(_, lengths)| *lengths).sum();
        assert_eq!(core.load_now().counters.prompt_tokens, u64::from(tokens));
        assert_eq!(core.load_now().running, 0);
    }
}

#[test]
fn what_is_cancelled_is_computed_no_further() {
    let mut core = core(8, 10);
    core.embed(key("a"), embed(&core, "a", &[10; 20])).unwrap();
    core.embed(key("b"), embed(&core, "b", &[10; 3])).unwrap();
    assert_eq!(vectors(&core.step(), "a").len(), 1);
    core.cancel(&key("a"));
    core.cancel(&key("a"));
    let events = run(&mut core);
    assert_eq!((vectors(&events, "a").len(), vectors(&events, "b").len()), (0, 3));
    assert_eq!(core.load_now().counters.prompt_tokens, 40);
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let mut core = core(4, 256);
    let mut refusal = |change: &dyn Fn(&mut Embed)| {
        let mut request = embed(&core, "a", &[3]);
        change(&mut request);
        core.embed(key("a"), request).unwrap_err().to_string()
    };
    let long: Arc<[TokenId]> = vec![TokenId(1); 65].into();
    assert_eq!(
        refusal(&|request| request.inputs[0].1 = long.clone()),
        "`input` has 65 tokens; this model takes 1 to 64"
    );
    assert_eq!(
        refusal(&|request| request.inputs[0].1 = vec![TokenId(9999)].into()),
        "`input` has token 9999, which this model does not have"
    );
    assert_eq!(
        refusal(&|request| request.dimensions = 49),
        "`dimensions` must be between 1 and 48"
    );
    assert_eq!(
        refusal(&|request| request.model_digest = ModelDigest([0; 32])),
        EngineError::Internal.to_string()
    );
}

#[test]
fn a_share_leaves_places_to_others_and_late_requests_are_not_begun() {
    let mut core = core(4, 256);
    let mut take = |name: &str, share| {
        let share = Share { key: share, weight: NonZeroU32::MIN };
        core.embed(key(name), Embed { share, ..embed(&core, name, &[3]) })
    };
    take("a", 1).unwrap();
    take("b", 1).unwrap();
    assert!(matches!(take("c", 1), Err(EngineError::Overloaded { .. })));
    take("d", 2).unwrap();
    let events = run(&mut core);
    assert_eq!(events.iter().filter(|(_, event)| matches!(event, CoreEvent::Usage(..))).count(), 3);
    let late = Embed { deadline: Some(Duration::ZERO), ..embed(&core, "late", &[3, 3]) };
    core.embed(key("late"), late).unwrap();
    std::thread::sleep(Duration::from_millis(2));
    let events = run(&mut core);
    assert!(
        matches!(&events[..], [(_, CoreEvent::Failed(EngineError::DeadlineExceeded { .. }))]),
        "{events:?}"
    );
}

#[test]
fn folders_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let load = || {
        let model = folder.path().to_owned();
        let config = EmbedConfig { model, threads: 1, step_tokens_max: 1, queue_max: 1 };
        let error = EmbedCore::load(&config, &mut |_| {}).err().unwrap();
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    };
    assert_eq!(load(), "the model's folder has no model.safetensors");
    TinyEncoder::default().write(folder.path()).unwrap();
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let layers = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    std::fs::write(folder.path().join("config.json"), layers).unwrap();
    assert!(load().contains("does not belong to this architecture"), "{}", load());
    let layers = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    std::fs::write(folder.path().join("config.json"), layers).unwrap();
    assert!(load().contains("`encoder.layer.2.attention.self.query.weight` is missing"));
    std::fs::write(folder.path().join("model.safetensors"), "noise").unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    assert!(load().starts_with("model.safetensors is not sound"), "{}", load());
}
