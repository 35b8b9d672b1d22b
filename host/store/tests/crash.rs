//! What was acknowledged is there after a SIGKILL, 20 times at a moment that nobody chose. This program is both sides: with a
//! folder as its argument it writes there and says what was acknowledged, until it is killed; without one it starts itself so,
//! kills, and looks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use atelier_store::{Container, Owner, Storage, StorageConfig};
use bytes::Bytes;
use tokio::io::AsyncReadExt;

const ROUNDS: u64 = 20;
/// Says to this program that it is the one to be killed.
const WRITER: &str = "ATELIER_STORE_CRASH_FOLDER";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match std::env::var_os(WRITER) {
        Some(folder) => write(Path::new(&folder)).await,
        None => check().await,
    }
}

fn open(dir: &Path) -> Storage {
    Storage::open(dir, StorageConfig::default()).unwrap()
}

fn owner() -> Owner {
    Owner::new("a", None)
}

/// What stands under a number: of some KiB for objects, of a few bytes for values.
fn content(number: u64, is_object: bool) -> Vec<u8> {
    let length = if is_object { 1_000 + number % 50_000 } else { 1 + number % 500 };
    (0..length).map(|index| ((index ^ number) % 251) as u8).collect()
}

/// Writes values and objects, over each other too, and says of each that it is kept.
async fn write(dir: &Path) {
    let storage = open(dir);
    let (bucket, container) = (storage.bucket(owner(), "b"), storage.container(owner(), "c"));
    if container.created().await.unwrap().is_none() {
        container.create().await.unwrap();
    }
    let first = bucket.increment("rounds".into(), 1).await.unwrap() as u64 * 1_000_000;
    let mut out = std::io::stdout();
    for number in first.. {
        let key = format!("{}", number % 50);
        bucket.set(key.clone(), content(number, false)).await.unwrap();
        writeln!(out, "value {key} {number}").and_then(|()| out.flush()).unwrap();
        let mut draft = storage.draft(owner()).await.unwrap();
        for piece in content(number, true).chunks(4_096) {
            draft.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        draft.finish(&container, key.clone()).await.unwrap();
        writeln!(out, "object {key} {number}").and_then(|()| out.flush()).unwrap();
        if number % 7 == 0 {
            let copied = container.copy(key.clone(), &container, format!("copy {key}"), number % 2 == 0);
            copied.await.unwrap();
        }
    }
}

async fn check() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("storage");
    let mut seen = 0;
    for round in 0..ROUNDS {
        // how long a start takes is the machine's affair: a life begins with the first acknowledgement
        seen += killed(&dir, Duration::from_millis(37 * (round * 7 % 11))).await;
    }
    println!("{seen} acknowledged writes outlived {ROUNDS} kills");
}

/// One life of a writer, and what it left; how much it had acknowledged.
async fn killed(dir: &Path, life: Duration) -> u64 {
    let program = std::env::current_exe().unwrap();
    let mut writer = Command::new(program).env(WRITER, dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the writer writes").unwrap();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    tokio::time::sleep(life).await;
    writer.kill().unwrap();
    writer.wait().unwrap();
    let mut lines = reader.join().unwrap();
    lines.insert(0, first);
    let mut newest: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        if let [kind, key, number] = words[..] {
            newest.insert((kind.into(), key.into()), number.parse().unwrap());
        }
    }
    let storage = open(dir);
    for ((kind, key), number) in &newest {
        assert_kept(&storage, kind == "object", key, *number).await;
    }
    assert_sound(dir, &storage).await;
    lines.len() as u64
}

/// What is there is what was acknowledged, or what was being written over it when the end came.
async fn assert_kept(storage: &Storage, is_object: bool, key: &str, number: u64) {
    let (bucket, container) = (storage.bucket(owner(), "b"), storage.container(owner(), "c"));
    if !is_object {
        let kept = bucket.get(key).await.unwrap().unwrap_or_default();
        let newer = content(number + 50, false);
        assert!(kept == content(number, false) || kept == newer, "value {key} is not of {number}");
        return;
    }
    // an object that was moved away as it was acknowledged lies under its copy's name
    let moved = format!("copy {key}");
    let name = if container.info(key).await.unwrap().is_some() { key } else { moved.as_str() };
    let kept = whole(&container, name).await;
    let newer = content(number + 50, true);
    assert!(kept == content(number, true) || kept == newer, "object {name} is not of {number}");
}

async fn whole(container: &Container, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let blob = container.read(name, 0, u64::MAX).await.unwrap();
    blob.into_reader().read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Every object that is listed can be read, the owner is charged with what is there, and nothing is left half-written.
async fn assert_sound(dir: &Path, storage: &Storage) {
    let (bucket, container) = (storage.bucket(owner(), "b"), storage.container(owner(), "c"));
    let mut sum = 0;
    for key in bucket.keys(None).await.unwrap().keys {
        sum += key.len() + bucket.get(&key).await.unwrap().unwrap().len();
    }
    let (names, is_last) = container.list(None, usize::MAX).await.unwrap();
    assert!(is_last);
    for name in &names {
        let size = container.info(name).await.unwrap().unwrap().size;
        assert_eq!(whole(&container, name).await.len() as u64, size);
        sum += name.len() + size as usize;
    }
    assert_eq!(storage.used(&owner()).await.unwrap(), sum as u64);
    let list = |dir: std::path::PathBuf| std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    assert_eq!(list(dir.join("drafts")).count(), 0);
    // what nobody has is removed beside the host's work: at last there are no more files than objects
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let files = list(dir.join("objects")).flat_map(list).count();
        if files <= names.len() {
            return;
        }
        assert!(Instant::now() < end, "{files} files for {} objects", names.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
