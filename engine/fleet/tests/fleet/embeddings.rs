//! Vectors from real worker processes: the same bits whoever makes them.

use std::num::NonZeroU32;
use std::sync::Arc;

use engine_api::{
    Demand, EmbeddingEvent, EmbeddingRequest, EmbeddingSource, EmbeddingStream,
    EmbeddingSubmission, Engine, EngineError, ModelDigest, ModelId, ModelKind, Placement,
    PrepareRequest, PromptSource, RequestId, Share, TokenId, Usage, ZoneId,
};
use engine_fleet::{Fleet, FleetConfig, PartitionState};
use engine_tiny::TinyEncoder;
use futures_util::StreamExt;
use futures_util::future::join_all;
use libtest_mimic::Trial;
use tokio::time::timeout;

use crate::site::{SOON, Site, kill, started, until, worker};
use crate::trial;

/// A token that workers die of.
const POISON: u32 = 76;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("vectors are the same alone, side by side and in any zone", the_same_anywhere),
        trial("no vector is lost when workers are killed", nothing_is_lost),
        trial("inputs that kill workers are quarantined alone", poison),
        trial("each kind of model refuses the other's requests", kinds),
    ]
}

/// The site's fleet, with an encoder in the place of its model.
fn config(site: &Site, zones: &[&str]) -> FleetConfig {
    let mut config = site.config(zones);
    let folder = config.run_dir.parent().unwrap().join("encoder");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        TinyEncoder::default().write(&folder).unwrap();
    }
    let model = &mut config.models[0];
    model.kind = ModelKind::Embed;
    let sha256 = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        ModelDigest(digest.as_ref().try_into().unwrap())
    };
    let line =
        |name: String| format!("{}  {name}\n", sha256(&std::fs::read(folder.join(&name)).unwrap()));
    let lines: String = engine_fleet::model_files(&folder).unwrap().into_iter().map(line).collect();
    model.digest = sha256(lines.as_bytes());
    model.path = folder;
    config
}

async fn submission(fleet: &Fleet, inputs: Vec<Vec<TokenId>>) -> EmbeddingSubmission {
    let (model, source) = (ModelId::new("tiny"), EmbeddingSource::Tokens(inputs));
    let request = EmbeddingRequest { model, source, dimensions: None };
    EmbeddingSubmission {
        id: RequestId::new(format!("r{}", uniq())),
        inputs: fleet.prepare_embedding(request).await.unwrap(),
        share: Share { key: 0, weight: NonZeroU32::MIN },
        deadline: None,
        zones: vec![ZoneId::new("a"), ZoneId::new("b")],
        trace: None,
    }
}

fn uniq() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// So many inputs of up to 60 tokens, which depend on `number`.
fn inputs(number: u32, count: u32) -> Vec<Vec<TokenId>> {
    let id = |input: u32, place: u32| TokenId(5 + (number * 17 + input * 7 + place * 3) % 70);
    let ids =
        |input: u32| (0..1 + (input * 11 + number) % 60).map(|place| id(input, place)).collect();
    (0..count).map(ids).collect()
}

/// Everything that came of a request so far.
#[derive(Default)]
struct Reading {
    places: Vec<Placement>,
    /// The bits of each vector.
    vectors: Vec<Option<Vec<u32>>>,
    usage: Option<Usage>,
}

impl Reading {
    /// Reads until there are `enough` vectors, or to the end.
    async fn read(
        &mut self,
        events: &mut EmbeddingStream,
        enough: usize,
    ) -> Result<(), EngineError> {
        while self.vectors.iter().flatten().count() < enough {
            let Some(event) = timeout(SOON, events.next()).await.expect("something comes") else {
                break;
            };
            match event? {
                EmbeddingEvent::Placed(place) => self.places.push(place),
                EmbeddingEvent::Vector { input, values } => {
                    let place = input as usize;
                    self.vectors.resize(self.vectors.len().max(place + 1), None);
                    assert!(self.vectors[place].is_none(), "a vector comes once");
                    self.vectors[place] = Some(values.into_iter().map(f32::to_bits).collect());
                }
                EmbeddingEvent::Usage(usage, _) => self.usage = Some(usage),
            }
        }
        Ok(())
    }
}

async fn answer(fleet: &Fleet, submission: EmbeddingSubmission) -> Result<Reading, EngineError> {
    let mut reading = Reading::default();
    let (tokens, count) = (submission.inputs.tokens(), submission.inputs.inputs.len());
    reading.read(&mut fleet.embed(submission), usize::MAX).await?;
    assert_eq!(reading.usage.map(|usage| usage.prompt_tokens), Some(tokens));
    assert_eq!(reading.vectors.iter().flatten().count(), count);
    Ok(reading)
}

async fn the_same_anywhere() {
    let site = Site::new();
    let fleet = started(config(&site, &["a", "b"])).await;
    let all = inputs(1, 30);
    let together = answer(&fleet, submission(&fleet, all.clone()).await).await.unwrap().vectors;
    let mut zones = Vec::new();
    for (input, expected) in all.iter().zip(&together) {
        for zone in ["a", "b"] {
            let mut alone = submission(&fleet, vec![input.clone()]).await;
            alone.zones = vec![ZoneId::new(zone)];
            let reading = answer(&fleet, alone).await.unwrap();
            assert_eq!(&reading.vectors[0], expected);
            zones.extend(reading.places.into_iter().map(|place| place.zone));
        }
    }
    assert!(zones.chunks(2).all(|pair| [pair[0].as_str(), pair[1].as_str()] == ["a", "b"]));
    let mut nowhere = submission(&fleet, inputs(1, 1)).await;
    nowhere.zones = vec![ZoneId::new("c")];
    assert!(matches!(answer(&fleet, nowhere).await, Err(EngineError::Unavailable { .. })));
    assert_eq!(fleet.incidents(), Default::default());
    // every text was read three times, and workers say so a moment later
    let read = 3 * u64::from(submission(&fleet, all).await.inputs.tokens());
    until(&fleet, |all| all.iter().map(|one| one.done.prompt_tokens).sum::<u64>() == read).await;
}

async fn nothing_is_lost() {
    let site = Site::new();
    let fleet = started(config(&site, &["a"])).await;
    let mut expected = Vec::new();
    for number in 0..4 {
        let submission = submission(&fleet, inputs(number, 500)).await;
        expected.push(answer(&fleet, submission).await.unwrap().vectors);
    }
    for moment in [1, 40, 300] {
        let mut running = Vec::new();
        for number in 0..4 {
            let events = fleet.embed(submission(&fleet, inputs(number, 500)).await);
            running.push((Reading::default(), events));
        }
        let (first, events) = &mut running[0];
        first.read(events, moment).await.unwrap();
        let epoch = fleet.partitions()[0].epoch;
        kill(fleet.partitions()[0].pid.unwrap(), "9");
        let rest = running.into_iter().map(|(mut reading, mut events)| async move {
            reading.read(&mut events, usize::MAX).await.unwrap();
            reading
        });
        let answers = join_all(rest).await;
        let moved = answers.iter().filter(|one| one.places.len() > 1).count();
        assert!(moved > 0, "the worker had ended before it was killed at {moment}");
        for (answer, expected) in answers.iter().zip(&expected) {
            assert_eq!(&answer.vectors, expected, "killed at {moment}");
            assert!(answer.usage.is_some());
        }
        until(&fleet, |all| all[0].state == PartitionState::Ready && all[0].epoch > epoch).await;
    }
}

async fn poison() {
    let site = Site::new();
    let mut config = config(&site, &["a"]);
    config.worker = worker(&["--fault-token", &POISON.to_string()]);
    let fleet = started(config).await;
    let expected = answer(&fleet, submission(&fleet, inputs(1, 300)).await).await.unwrap();
    let mut good = fleet.embed(submission(&fleet, inputs(1, 300)).await);
    let mut reading = Reading::default();
    reading.read(&mut good, 5).await.unwrap();
    let bad = || vec![vec![TokenId(9)], vec![TokenId(POISON)]];
    let (bad_answer, good_answer) = tokio::join!(
        answer(&fleet, submission(&fleet, bad()).await),
        reading.read(&mut good, usize::MAX)
    );
    assert_eq!(bad_answer.err(), Some(EngineError::Quarantined));
    good_answer.unwrap();
    assert_eq!(reading.vectors, expected.vectors);
    assert_eq!(fleet.incidents().quarantined, 1);
    until(&fleet, |all| all[0].state == PartitionState::Ready).await;
    let epoch = fleet.partitions()[0].epoch;
    let again = answer(&fleet, submission(&fleet, bad()).await).await;
    assert_eq!(again.err(), Some(EngineError::Quarantined));
    assert_eq!(fleet.partitions()[0].epoch, epoch, "no worker dies of it again");
}

async fn kinds() {
    let site = Site::new();
    let embeds: Arc<Fleet> = started(config(&site, &["a"])).await;
    let prepare = |source| PrepareRequest {
        model: ModelId::new("tiny"),
        source,
        demand: Demand::default(),
        namespace: engine_api::CacheNamespace([0; 16]),
        now: 0,
        max_tokens: None,
    };
    let chat = embeds.prepare(prepare(PromptSource::Text("a".into()))).await;
    assert_eq!(
        chat.unwrap_err().to_string(),
        "`model` is `tiny`, which makes embeddings and generates no text"
    );
    assert_eq!(embeds.tokenize(&ModelId::new("tiny"), "ab").unwrap().len(), 2);
    let generates = site.fleet(&["a"]).await;
    let source = EmbeddingSource::Texts(vec!["a".into()]);
    let request = EmbeddingRequest { model: ModelId::new("tiny"), source, dimensions: None };
    assert_eq!(
        generates.prepare_embedding(request).await.unwrap_err().to_string(),
        "`model` is `tiny`, which generates text and makes no embeddings"
    );
}
