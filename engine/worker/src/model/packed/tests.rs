#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use engine_api::ModelDigest;
use engine_kernels::{Activations, DeviceName, KvKind, PACKING_VERSION};
use engine_tiny::{FloatType, TinyModel, WeightType};

use super::format::{self, Unfit};
use super::{PackedDir, Place};
use crate::kv::{BlockStore, KvCache};
use crate::model::digest::sha256;
use crate::model::{Batch, Loaded, Setup, load_packed};

const SETUP: Setup =
    Setup { device: DeviceName::Cpu, activations: Activations::Int8, context_max: None };

/// A model's file, and a folder for its packed weights.
struct Site {
    folder: tempfile::TempDir,
    model: PathBuf,
    dir: PackedDir,
}

impl Site {
    fn new() -> Self {
        Self::of(&TinyModel { layers: 1, weights: WeightType::Q4_1, ..TinyModel::default() })
    }

    fn of(model: &TinyModel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        fs::write(&path, model.to_bytes()).unwrap();
        let digest = ModelDigest(sha256(&model.to_bytes()));
        let dir =
            PackedDir { path: folder.path().join("packed"), model: digest, bytes_max: 1 << 30 };
        Self { folder, model: path, dir }
    }

    fn load(&self) -> Loaded {
        load_packed(&self.model, SETUP, Some(&self.dir), &mut |_| {}).unwrap()
    }

    /// Loads, and writes what is to be written; whether anything was.
    fn start(&self) -> (Vec<u32>, bool) {
        let mut loaded = self.load();
        let saved = loaded.save.take().map(|save| save.write().unwrap());
        (bits(&loaded), matches!(saved, Some(Some(_))))
    }

    fn unfit(&self) -> Unfit {
        self.dir.open(&mut |_| {}).err().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir.path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The bits of a few logits.
fn bits(loaded: &Loaded) -> Vec<u32> {
    let shape = loaded.model.cache_shape();
    let cache = KvCache::new(&shape, KvKind::F16, 64 << 20, &candle_core::Device::Cpu).unwrap();
    let mut store = BlockStore::new(cache.groups());
    let mut tables = store.tables();
    store.reserve(&mut tables, 0, 9).unwrap();
    let mut batch = Batch::default();
    batch.push((0..9).map(|place| 3 + 7 * place), 0, &tables, 9);
    let logits = loaded.model.forward(&batch, &cache).unwrap();
    logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_second_start_finds_what_the_first_packed() {
    let site = Site::new();
    let (first, wrote) = site.start();
    assert!(wrote);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&site.dir.path), mode(&site.dir.file())), (0o700, 0o600));
    let before = fs::read(site.dir.file()).unwrap();
    let mut heard = Vec::new();
    let second =
        load_packed(&site.model, SETUP, Some(&site.dir), &mut |told| heard.push(told)).unwrap();
    assert!(second.save.is_none(), "nothing is packed twice");
    assert_eq!(second.digest, site.dir.model.0);
    assert_eq!(bits(&second), first);
    assert!(heard.iter().all(|progress| progress.done <= progress.total));
    assert_eq!(heard.last().map(|progress| progress.done > 0), Some(true));
    // the same model gives the same file, byte for byte
    fs::remove_file(site.dir.file()).unwrap();
    assert!(site.start().1);
    assert_eq!(fs::read(site.dir.file()).unwrap(), before);
    assert_eq!(site.names().len(), 2, "the file and the lock: {:?}", site.names());
}

#[test]
fn a_folder_of_safetensors_is_packed_too() {
    let model = TinyModel { layers: 1, ..TinyModel::default() };
    let mut site = Site::new();
    site.model = site.folder.path().join("folder");
    fs::create_dir(&site.model).unwrap();
    model.write_folder(&site.model, FloatType::BF16, 2, &[]).unwrap();
    let plain = load_packed(&site.model, SETUP, None, &mut |_| {}).unwrap();
    site.dir.model = ModelDigest(plain.digest);
    assert_eq!(site.start(), (bits(&plain), true));
    assert_eq!(site.start(), (bits(&plain), false));
}

#[test]
fn a_damaged_file_is_never_used_and_written_anew() {
    let site = Site::new();
    let (expected, _) = site.start();
    let whole = fs::read(site.dir.file()).unwrap();
    // every byte of the head that says something, and many of the rest
    let places =
        (0..160).chain((160..whole.len()).step_by(whole.len() / 97)).chain([whole.len() - 1]);
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (place % 8);
        fs::write(site.dir.file(), damaged).unwrap();
        let unfit = site.unfit();
        assert!(matches!(unfit, Unfit::Damaged(_) | Unfit::Other(_)), "byte {place}: {unfit}");
    }
    for length in [0, 1, 4095, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(site.dir.file(), &whole[..length]).unwrap();
        assert!(matches!(site.unfit(), Unfit::Damaged(_)), "{length} bytes");
    }
    fs::write(site.dir.file(), [&whole[..], &[0]].concat()).unwrap();
    assert!(matches!(site.unfit(), Unfit::Damaged(_)));
    assert_eq!(site.start(), (expected.clone(), true));
    assert_eq!(fs::read(site.dir.file()).unwrap(), whole);
    assert_eq!(site.start(), (expected, false));
}

#[test]
fn what_others_could_have_written_is_not_used() {
    let site = Site::new();
    let (expected, _) = site.start();
    let file = site.dir.file();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set(&file, 0o640).unwrap();
    assert_eq!(site.unfit().to_string(), "it has mode 640, not 600");
    // it is replaced by one that only we can read
    assert_eq!(site.start(), (expected.clone(), true));
    assert_eq!(site.start(), (expected.clone(), false));

    let elsewhere = site.folder.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(site.unfit().to_string(), "it is not a regular file");
    assert_eq!(site.start(), (expected.clone(), true));
    assert!(fs::symlink_metadata(&file).unwrap().is_file(), "the link is gone");

    set(&site.dir.path, 0o777).unwrap();
    assert_eq!(site.unfit().to_string(), "its folder has mode 777: others can write it");
    let mut loaded = site.load();
    let error = loaded.save.take().unwrap().write().unwrap_err();
    assert!(error.to_string().contains("others can write it"), "{error}");
    assert_eq!(bits(&loaded), expected);
}

#[test]
fn another_model_or_version_is_told_apart() {
    let (site, other) =
        (Site::new(), Site::of(&TinyModel { layers: 1, seed: 9, ..Default::default() }));
    let (expected, _) = site.start();
    other.start();
    fs::copy(other.dir.file(), site.dir.file()).unwrap();
    assert_eq!(site.unfit().to_string(), "it is of another model");
    assert_eq!(site.start(), (expected.clone(), true));

    let mut bytes = fs::read(site.dir.file()).unwrap();
    bytes[12..16].copy_from_slice(&(PACKING_VERSION + 1).to_ne_bytes());
    fs::write(site.dir.file(), &bytes).unwrap();
    assert_eq!(site.unfit().to_string(), "it is of another version of the layout");
    assert_eq!(site.start(), (expected, true));
}

/// Weights that were packed do not make a changed model file right.
#[test]
fn a_model_file_that_was_changed_is_found_out() {
    let site = Site::new();
    site.start();
    let mut bytes = fs::read(&site.model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&site.model, &bytes).unwrap();
    let loaded = site.load();
    assert_eq!(loaded.digest, sha256(&bytes), "it was hashed again");
    assert!(loaded.save.is_none(), "it is not the model that was asked for");

    // so is a file whose digest nobody has taken into account
    let mut site = Site::new();
    site.dir.model = ModelDigest([7; 32]);
    assert!(site.load().save.is_none());
}

#[test]
fn workers_that_start_together_write_one_file() {
    let site = Site::new();
    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| site.start())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(results.iter().all(|(bits, _)| *bits == results[0].0));
    assert!(results.iter().any(|(_, wrote)| *wrote));
    assert_eq!(site.start(), (results[0].0.clone(), false));
    assert_eq!(site.names().len(), 2, "{:?}", site.names());

    // one holds the lock: the other goes on without
    fs::remove_file(site.dir.file()).unwrap();
    let lock = fs::File::create(site.dir.path.join(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(site.start(), (results[0].0.clone(), false));
    drop(lock);
    assert_eq!(site.start(), (results[0].0.clone(), true));
}

#[test]
fn a_folder_that_cannot_be_written_stops_nobody() {
    let mut site = Site::new();
    let expected = bits(&site.load());
    for path in ["/proc/packed", "/dev/null/packed"] {
        site.dir.path = path.into();
        let mut loaded = site.load();
        let save = loaded.save.take().unwrap();
        assert!(save.write().is_err(), "{path}");
        save.run();
        assert_eq!(bits(&loaded), expected);
    }
}

/// A disk that is full after so many bytes.
struct Full(Cursor<Vec<u8>>, usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.1.saturating_sub(self.0.position() as usize);
        match room.min(bytes.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            count => self.0.write(&bytes[..count]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let site = Site::new();
    let save = site.load().save.unwrap();
    let (dir, head, kept) = save.parts();
    let mut whole = Full(Cursor::new(Vec::new()), usize::MAX);
    let length = format::write(&mut whole, dir.model.0, head, kept).unwrap() as usize;
    assert_eq!(whole.0.get_ref().len(), length);
    for room in [0, 1000, 4096, 5000, length - 1] {
        let mut full = Full(Cursor::new(Vec::new()), room);
        let error = format::write(&mut full, dir.model.0, head, kept).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{room}");
    }
    // the name cannot be taken: what was written is removed
    fs::create_dir_all(site.dir.file()).unwrap();
    fs::set_permissions(&site.dir.path, fs::Permissions::from_mode(0o700)).unwrap();
    save.write().unwrap_err();
    assert!(site.names().iter().all(|name| !name.ends_with(".part")), "{:?}", site.names());
    fs::remove_dir(site.dir.file()).unwrap();
    assert!(save.write().unwrap().is_some());
}

#[test]
fn the_folder_is_bounded_and_old_versions_go() {
    let mut site = Site::new();
    site.start();
    let length = fs::metadata(site.dir.file()).unwrap().len();
    let put = |name: String, bytes: u64, age: u64| {
        let file = fs::File::create(site.dir.path.join(&name)).unwrap();
        file.set_len(bytes).unwrap();
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(then).unwrap();
        name
    };
    put(format!("{}-v0.packed", site.dir.model), 10, 0);
    put("half.packed.part".into(), 10, 0);
    let newer = put(format!("{}-v1.packed", ModelDigest([1; 32])), length, 100);
    put(format!("{}-v1.packed", ModelDigest([2; 32])), length, 200);
    let foreign = put("notes.txt".into(), 10, 300);
    fs::remove_file(site.dir.file()).unwrap();
    site.dir.bytes_max = 2 * length;
    assert!(site.start().1);
    let own = site.dir.file().file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = vec![".lock".to_owned(), own, newer, foreign];
    expected.sort();
    assert_eq!(site.names(), expected);
    // what does not fit at all is not written
    fs::remove_file(site.dir.file()).unwrap();
    site.dir.bytes_max = 100;
    let error = site.load().save.unwrap().write().unwrap_err();
    assert!(error.to_string().ends_with("and 100 are allowed"), "{error}");
}

/// A newer program of the same layout that reads a model in other parts packs what it lacks.
#[test]
fn what_is_missing_in_the_file_is_packed_anew() {
    let site = Site::new();
    let (expected, _) = site.start();
    let save = {
        fs::remove_file(site.dir.file()).unwrap();
        site.load().save.unwrap()
    };
    let (dir, head, kept) = save.parts();
    let mut bytes = Cursor::new(Vec::new());
    format::write(&mut bytes, dir.model.0, head, &kept[1..]).unwrap();
    fs::write(site.dir.file(), bytes.into_inner()).unwrap();
    fs::set_permissions(site.dir.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let found = site.dir.open(&mut |_| {}).unwrap();
    let all: Vec<&Place> = kept.iter().map(|kept| &kept.place).collect();
    assert!(all[1..].iter().all(|place| found.places.contains_key(place)));
    assert!(!found.places.contains_key(all[0]));
    assert_eq!(site.start(), (expected.clone(), true));
    assert_eq!(site.start(), (expected, false));
}
