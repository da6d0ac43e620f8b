//! The binary as an operator meets it before and while it serves: files, messages, exit codes.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use aws_lc_rs::digest::{SHA256, digest};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A folder with a configuration, a tiny model in it, and nothing made yet.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("tiny.gguf");
        engine_tiny::TinyModel::default().write(&weights).unwrap();
        let hex = sha256(&weights);
        let models = format!(
            "[[zone]]\nid = \"eu-de-1\"\njurisdiction = \"DE\"\n\n\
             [[model]]\nid = \"tiny\"\nsource = {{ path = \"tiny.gguf\" }}\nsha256 = \"{hex}\"\n\n\
             [[partition]]\nid = \"cpu-0\"\nmodel = \"tiny\"\nzone = \"eu-de-1\"\n\
             threads = 1\nkv_memory = \"8MiB\"\n"
        );
        fs::write(folder.path().join("models.toml"), models).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from:?} is in {name}");
        fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }

    /// The gateway with these arguments, in this folder, and with none of the caller's settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.current_dir(self.folder.path()).args(arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HANSE_")) {
            command.env_remove(name);
        }
        // several run at once
        command.env("HANSE_METRICS_LISTEN", "127.0.0.1:0");
        command.env("HANSE_POLICIES", Path::new(REPOSITORY).join("policies"));
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn serve(&self) -> Gateway {
        let mut command = self.command(&["--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while address.is_none() && stdout.read_line(&mut line).unwrap() > 0 {
            let url =
                line.strip_prefix("ready on https://").and_then(|rest| rest.strip_suffix("/v1\n"));
            address = url.map(|address| address.parse().unwrap());
            line.clear();
        }
        if address.is_none() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the gateway did not become ready:\n{said}");
        }
        Gateway { child, address: address.unwrap() }
    }
}

fn sha256(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    /// As a supervisor stops it.
    fn stop(mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_names_every_command_and_variable() {
    let (code, help, _) = Place::new().run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["serve", "env", "models", "certs", "keys", "audit", "HANSE_DATA", "HANSE_LISTEN"] {
        assert!(help.contains(word), "{word} is in\n{help}");
    }
    assert!(!help.contains("worker"), "the worker is the gateway's own affair");
}

#[test]
fn env_needs_a_gateway_that_has_started_and_makes_nothing() {
    let place = Place::new();
    let (code, stdout, stderr) = place.run(&["env"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(
        stderr,
        "error: there is no data directory data; start the gateway once, or name it with --data\n"
    );
    assert!(!place.path("data").exists());
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let spoilt: [(&str, &str, &str, &str); 3] = [
        ("jurisdiction", "juristiction", "models.toml:3:1: ", "did you mean `jurisdiction`?"),
        ("\"8MiB\"", "8", "models.toml:15:13: ", "memory with a unit"),
        ("[[zone]]", "[[zone", "models.toml:1:7: ", "unclosed"),
    ];
    for (from, to, position, reason) in spoilt {
        let place = Place::new();
        place.replace("models.toml", from, to);
        let (code, stdout, stderr) = place.run(&[]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.starts_with(&format!("error: {position}")), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
        assert!(!place.path("data").exists(), "nothing is half started");
    }
    let place = Place::new();
    let (code, _, stderr) = place.run(&["--models", "none.toml"]);
    assert_eq!(code, 2);
    assert!(
        stderr.starts_with("error: cannot read none.toml (hint: name it with --models"),
        "{stderr}"
    );
}

#[test]
fn a_taken_port_is_found_before_anything_is_made() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in
        [&["--listen", &address][..], &["--listen", "127.0.0.1:0", "--metrics-listen", &address]]
    {
        let (code, _, stderr) = place.run(arguments);
        let flag = arguments[arguments.len() - 2];
        assert_eq!(code, 1);
        assert!(
            stderr.contains(&format!("cannot listen on {address}; another program has it"))
                && stderr.contains(&format!("another address with {flag}")),
            "{stderr}"
        );
    }
    assert!(!place.path("data").exists());
}

#[test]
fn weights_that_are_not_what_was_pinned_are_not_served() {
    let place = Place::new();
    let mut bytes = fs::read(place.path("tiny.gguf")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("tiny.gguf"), bytes).unwrap();
    let (code, _, stderr) = place.run(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("has the wrong content: expected sha256 "), "{stderr}");
    let (code, stdout, _) = place.run(&["models", "verify"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("has the wrong content"), "{stdout}");
}

#[test]
fn a_partition_that_cannot_start_ends_the_start_with_its_reason() {
    let place = Place::new();
    let small = sha256(&place.path("tiny.gguf"));
    let model = engine_tiny::TinyModel { context: 8192, ..Default::default() };
    model.write(&place.path("tiny.gguf")).unwrap();
    place.replace("models.toml", &small, &sha256(&place.path("tiny.gguf")));
    // less than half of what one context takes
    place.replace("models.toml", "8MiB", "1MiB");
    let (code, stdout, stderr) = place.run(&["--listen", "127.0.0.1:0"]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    let reason = "error: cannot start partition `cpu-0`: 1048576 bytes of KV memory do not hold \
                  one context of 8192 tokens; give at least 2228224";
    assert!(stderr.contains(reason), "{stderr}");

    place.replace("models.toml", "sha256", "context_max = 2048\nsha256");
    assert_eq!(place.serve().stop(), 0, "a shorter context fits");
}

#[test]
fn a_truncated_file_is_refused_even_where_its_digest_is_right() {
    let place = Place::new();
    let bytes = fs::read(place.path("tiny.gguf")).unwrap();
    let whole = sha256(&place.path("tiny.gguf"));
    fs::write(place.path("tiny.gguf"), &bytes[..bytes.len() / 2]).unwrap();
    place.replace("models.toml", &whole, &sha256(&place.path("tiny.gguf")));
    let (code, stdout, stderr) = place.run(&["--listen", "127.0.0.1:0"]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("error: cannot start the engine"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn models_are_listed_and_verified() {
    let place = Place::new();
    let (code, stdout, _) = place.run(&["models", "list"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("tiny ") && stdout.contains("path tiny.gguf"), "{stdout}");
    assert!(!place.path("data").exists(), "listing makes nothing");
    let (code, stdout, stderr) = place.run(&["models", "pull", "tiny"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "tiny: tiny.gguf is right\n");
    let (code, _, stderr) = place.run(&["models", "pull", "tony"]);
    assert_eq!(code, 1);
    assert_eq!(stderr, "error: there is no model `tony` in models.toml\n");
}

#[test]
fn certificates_are_made_shown_and_renewed() {
    let place = Place::new();
    let (code, shown, stderr) = place.run(&["certs", "init"]);
    assert_eq!(code, 0, "{stderr}");
    for part in [
        "CN=Hanse development CA",
        "names        localhost, 127.0.0.1, ::1",
        "(3649 days left)",
        "(89 days left)",
        "SHA-256 ",
    ] {
        assert!(shown.contains(part), "{part} is in\n{shown}");
    }
    let read = |name: &str| fs::read(place.path("data").join(name)).unwrap();
    let names = ["ca/ca.key", "tls/server.key", "ca/ca.crt", "tls/server.crt"];
    let first = names.map(read);
    assert_eq!(place.run(&["certs", "init"]).0, 0);
    assert_eq!(names.map(read), first, "nothing is replaced without --force");
    assert_eq!(place.run(&["certs", "renew"]).0, 0);
    let renewed = names.map(read);
    assert_eq!(renewed[..3], first[..3], "a renewal keeps every key");
    assert_ne!(renewed[3], first[3]);
    assert_eq!(place.run(&["certs", "init", "--force"]).0, 0);
    assert!(names.map(read).iter().zip(&renewed).all(|(new, old)| new != old));
    let (code, stdout, _) = place.run(&["certs", "csr", "--name", "ai.example.eu"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("--tls-key"), "{stdout}");
    let (code, _, stderr) = place.run(&["certs", "csr"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("request.key exists already; --force replaces it"), "{stderr}");
}

#[test]
fn a_gateway_starts_is_found_and_starts_again() {
    let place = Place::new();
    let gateway = place.serve();
    TcpStream::connect(gateway.address).unwrap();
    let (code, exports, stderr) = place.run(&["env"]);
    assert_eq!(code, 0, "{stderr}");
    let url = format!("export OPENAI_BASE_URL='https://{}/v1'\n", gateway.address);
    assert!(exports.starts_with(&url), "{exports}");
    let ca = fs::canonicalize(place.path("data/ca/ca.crt")).unwrap();
    assert!(exports.contains(&format!("export SSL_CERT_FILE='{}'\n", ca.display())), "{exports}");

    let (code, _, stderr) = place.run(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("another gateway uses the data directory"), "{stderr}");

    assert_eq!(gateway.stop(), 0);
    let names = ["ca/ca.crt", "tls/server.crt", "keys/development.key", "secrets/key-hash"];
    let read = |name: &str| fs::read(place.path("data").join(name)).unwrap();
    let first = names.map(read);
    assert_eq!(place.serve().stop(), 0);
    assert_eq!(names.map(read), first, "a second start makes nothing new");
}
