#![allow(clippy::unwrap_used)]

mod server;

use std::time::Duration;

use server::{Answer, Asked, FileServer};

use super::*;
use crate::config::Name;

struct Place {
    _folder: tempfile::TempDir,
    store: ModelStore,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("data")).unwrap();
        Self { store: ModelStore::of(&data), _folder: folder }
    }

    fn part(&self, model: &ModelConfig) -> PathBuf {
        self.store.file(model).with_extension("gguf.part")
    }
}

/// 300 kB without a pattern that a wrong offset would hide.
fn content() -> Vec<u8> {
    (0..300_000_u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes())
        .step_by(4)
        .collect()
}

fn sha256(bytes: &[u8]) -> ModelDigest {
    let mut hasher = digest::Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

fn model(source: Source, sha256: ModelDigest) -> ModelConfig {
    let id = Name::new("tiny").unwrap();
    ModelConfig {
        id,
        kind: engine_api::ModelKind::Generate,
        source,
        sha256,
        context_max: None,
        template: None,
        tool_calls: None,
        reasoning: None,
    }
}

fn hub_model() -> ModelConfig {
    let (repository, file, revision) = ("org/tiny".into(), "q/tiny.gguf".into(), "main".into());
    model(Source::Hub { repository, file, revision }, sha256(&content()))
}

fn settings(variables: &[(&str, &str)]) -> HubSettings {
    let mut settings = HubSettings::from_variables(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
    .unwrap();
    settings.attempts_max = 3;
    settings.backoff_min = Duration::from_millis(1);
    settings
}

fn pull(place: &Place, server: &FileServer) -> Result<Weights, FetchError> {
    place.store.pull(&hub_model(), &settings(&[("HF_ENDPOINT", &server.url())]))
}

#[test]
fn a_file_is_fetched_once() {
    let (place, server) = (Place::new(), FileServer::start(content(), vec![]));
    let weights = pull(&place, &server).unwrap();
    assert_eq!(fs::read(&weights.file).unwrap(), content());
    assert_eq!(weights.bytes, 300_000);
    assert_eq!(weights.file, place.store.root.join("tiny/tiny.gguf"));
    assert!(!place.part(&hub_model()).exists());
    assert_eq!(server.asked()[0].path, "/org/tiny/resolve/main/q/tiny.gguf");
    pull(&place, &server).unwrap();
    assert_eq!(server.asked().len(), 1, "the second time fetches nothing");
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_ended() {
    let server = FileServer::start(content(), vec![Answer::Cut(100_000), Answer::Cut(50_000)]);
    let place = Place::new();
    let weights = pull(&place, &server).unwrap();
    assert_eq!(fs::read(&weights.file).unwrap(), content());
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=150000-")]);
    assert_eq!(asked[1].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn a_later_process_goes_on_too() {
    let place = Place::new();
    let cut = || Answer::Cut(1);
    let broken = FileServer::start(
        content(),
        vec![Answer::Cut(100_000), Answer::Status(503), Answer::Status(503), Answer::Status(503)],
    );
    let error = pull(&place, &broken).unwrap_err();
    assert!(error.to_string().contains("gave up on http://127.0.0.1"), "{error}");
    assert!(!place.store.file(&hub_model()).exists(), "what is not whole has no final name");
    assert_eq!(fs::metadata(place.part(&hub_model())).unwrap().len(), 100_000);
    let server = FileServer::start(content(), vec![cut()]);
    assert_eq!(fs::read(pull(&place, &server).unwrap().file).unwrap(), content());
    assert_eq!(server.asked()[0].range.as_deref(), Some("bytes=100000-"));
}

#[test]
fn another_version_on_the_server_starts_from_nothing() {
    let place = Place::new();
    let first =
        FileServer::start(vec![7; 200_000], vec![Answer::Cut(100_000), Answer::Status(404)]);
    assert!(pull(&place, &first).is_err());
    let second = FileServer::with_version(content(), vec![], "\"v2\"");
    assert_eq!(fs::read(pull(&place, &second).unwrap().file).unwrap(), content());
}

#[test]
fn a_server_that_ignores_or_misreads_ranges_does_no_harm() {
    let answers = vec![Answer::Cut(100_000), Answer::Whole, Answer::Whole];
    let (place, server) = (Place::new(), FileServer::start(content(), answers));
    assert_eq!(fs::read(pull(&place, &server).unwrap().file).unwrap(), content());
    let answers = vec![Answer::Cut(100_000), Answer::WrongRange];
    let (place, server) = (Place::new(), FileServer::start(content(), answers));
    assert_eq!(fs::read(pull(&place, &server).unwrap().file).unwrap(), content());
    let answers = vec![Answer::Cut(100_000), Answer::Status(416)];
    let (place, server) = (Place::new(), FileServer::start(content(), answers));
    assert_eq!(fs::read(pull(&place, &server).unwrap().file).unwrap(), content());
}

#[test]
fn the_wrong_content_is_removed_and_named() {
    let mut wrong = content();
    wrong[200_000] ^= 1;
    let (place, server) = (Place::new(), FileServer::start(wrong.clone(), vec![]));
    let error = pull(&place, &server).unwrap_err();
    assert_eq!(digests(&error), Some((sha256(&content()), sha256(&wrong))));
    let message = error.to_string();
    assert!(message.contains(&sha256(&content()).to_string()), "{message}");
    assert!(message.contains(&sha256(&wrong).to_string()), "{message}");
    let left: Vec<_> = fs::read_dir(place.store.root.join("tiny")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the lock is left: {left:?}");
}

#[test]
fn a_file_that_changed_on_disk_is_fetched_again() {
    let (place, server) = (Place::new(), FileServer::start(content(), vec![]));
    let weights = pull(&place, &server).unwrap();
    fs::write(&weights.file, "changed").unwrap();
    assert!(matches!(place.store.verify(&hub_model()), Err(FetchError::Digest { .. })));
    pull(&place, &server).unwrap();
    assert_eq!(fs::read(&weights.file).unwrap(), content());
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn refusals_are_not_tried_again_and_say_what_to_do() {
    let refused = |status: u16, variables: &[(&str, &str)]| {
        let (place, server) =
            (Place::new(), FileServer::start(content(), vec![Answer::Status(status)]));
        let url = server.url();
        let mut all = vec![("HF_ENDPOINT", url.as_str())];
        all.extend(variables);
        let error = place.store.pull(&hub_model(), &settings(&all)).unwrap_err();
        assert_eq!(server.asked().len(), 1, "{error}");
        error.to_string().replace(&url, "URL")
    };
    let path = "URL/org/tiny/resolve/main/q/tiny.gguf";
    assert_eq!(
        refused(401, &[]),
        format!("{path} answered 401 Unauthorized; a private or gated repository needs HF_TOKEN")
    );
    assert_eq!(
        refused(403, &[("HF_TOKEN", "t")]),
        format!("{path} answered 403 Forbidden; HF_TOKEN is not allowed to read this repository")
    );
    assert_eq!(
        refused(404, &[]),
        format!(
            "{path} answered 404 Not Found; check repository, file and revision in models.toml"
        )
    );
}

#[test]
fn faults_of_the_server_are_tried_again_and_then_given_up() {
    let answers = vec![Answer::Status(500), Answer::Status(429)];
    let (place, server) = (Place::new(), FileServer::start(content(), answers));
    pull(&place, &server).unwrap();
    assert_eq!(server.asked().len(), 3);
    let (place, server) =
        (Place::new(), FileServer::start(content(), vec![Answer::Status(500); 9]));
    let error = pull(&place, &server).unwrap_err();
    assert!(error.to_string().contains("after 3 attempts"), "{error}");
    assert!(error.to_string().contains("500 Internal Server Error"), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_redirect_to_another_host_does_not_get_the_token() {
    let network = FileServer::start(content(), vec![]);
    let to = Answer::Redirect(format!("{}/blob?signature=secret", network.url()));
    let server = FileServer::start(content(), vec![Answer::Redirect("/renamed".into()), to]);
    let place = Place::new();
    let settings = settings(&[("HF_ENDPOINT", &server.url()), ("HF_TOKEN", "hf_token")]);
    place.store.pull(&hub_model(), &settings).unwrap();
    let authorization = |asked: &Asked| asked.authorization.clone();
    let with_token = Some("Bearer hf_token".to_owned());
    assert_eq!(
        server.asked().iter().map(authorization).collect::<Vec<_>>(),
        [with_token.clone(), with_token]
    );
    assert_eq!(network.asked().iter().map(authorization).collect::<Vec<_>>(), [None]);
    assert_eq!(network.asked()[0].path, "/blob?signature=secret");
}

#[test]
fn endless_and_unsafe_redirects_are_refused() {
    let circle = vec![Answer::Redirect("/again".into()); 20];
    let (place, server) = (Place::new(), FileServer::start(content(), circle));
    assert!(pull(&place, &server).unwrap_err().to_string().ends_with("redirects too often"));
    assert_eq!(server.asked().len(), 6);
    let away = vec![Answer::Redirect("http://192.0.2.1/x".into())];
    let (place, server) = (Place::new(), FileServer::start(content(), away));
    let error = pull(&place, &server).unwrap_err().to_string();
    assert!(error.ends_with("redirects to an address without encryption"), "{error}");
}

#[test]
fn offline_connects_to_nothing() {
    let (place, server) = (Place::new(), FileServer::start(content(), vec![]));
    let url = server.url();
    let offline = settings(&[("HF_ENDPOINT", &url), ("HF_HUB_OFFLINE", "1")]);
    let error = place.store.pull(&hub_model(), &offline).unwrap_err();
    assert!(error.to_string().starts_with("HF_HUB_OFFLINE is set"), "{error}");
    assert_eq!(server.connections(), 0);
    let file = place.store.file(&hub_model());
    fs::write(&file, content()).unwrap();
    place.store.pull(&hub_model(), &offline).unwrap();
    assert_eq!(server.connections(), 0, "what is there is used");
}

#[test]
fn nobody_listening_is_an_error_and_no_hang() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new();
    let settings = settings(&[("HF_ENDPOINT", &format!("http://{free}"))]);
    let error = place.store.pull(&hub_model(), &settings).unwrap_err().to_string();
    assert!(error.contains("cannot reach") && error.contains("Connection refused"), "{error}");
}

#[test]
fn a_local_file_is_verified_and_never_changed() {
    let place = Place::new();
    let file = place.store.root.join("mine.gguf");
    fs::write(&file, content()).unwrap();
    let hub = settings(&[]);
    let right = model(Source::Path(file.clone()), sha256(&content()));
    assert_eq!(place.store.pull(&right, &hub).unwrap().file, file);
    let wrong = model(Source::Path(file.clone()), sha256(b"other"));
    assert!(matches!(place.store.pull(&wrong, &hub), Err(FetchError::Digest { .. })));
    assert_eq!(fs::read(&file).unwrap(), content());
    let none = model(Source::Path("/nowhere/x.gguf".into()), sha256(b""));
    let error = place.store.pull(&none, &hub).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/x.gguf");
}

/// The digest of a folder is what its documentation says that a shell prints.
#[test]
fn a_local_folder_is_verified_like_a_file() {
    let place = Place::new();
    let folder = place.store.root.join("mine");
    fs::create_dir_all(folder.join("more.json")).unwrap();
    for name in ["model.safetensors", "config.json", "tokenizer.json", "README.md"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let lines: String = ["config.json", "model.safetensors", "tokenizer.json"]
        .map(|name| format!("{}  {name}\n", sha256(name.as_bytes())))
        .concat();
    let right = model(Source::Path(folder.clone()), sha256(lines.as_bytes()));
    let weights = place.store.pull(&right, &settings(&[])).unwrap();
    assert_eq!((weights.file, weights.bytes), (folder.clone(), 11 + 17 + 14));
    fs::write(folder.join("config.json"), "changed").unwrap();
    assert!(matches!(place.store.verify(&right), Err(FetchError::Digest { .. })));
}
