//! A disk without room: writes fail with an error that is the operator's, what was there can be read, and when there is room
//! again, writes go on without a restart. What stands for the full disk is the size that files of this process may have. The
//! signal that goes with it would end the process, so that the test starts itself by a shell that ignores it.

use std::path::Path;
use std::process::Command;

use atelier_store::{Container, Error, Owner, Storage, StorageConfig};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;

const FOLDER: &str = "ATELIER_STORE_DISK_FOLDER";
const LARGE: usize = 600_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match std::env::var_os(FOLDER) {
        Some(folder) => check(Path::new(&folder)).await,
        None => {
            let folder = tempfile::tempdir().unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' XFSZ; exec \"$0\""]).arg(std::env::current_exe().unwrap());
            assert!(shell.env(FOLDER, folder.path()).status().unwrap().success());
            println!("a full disk failed writes and nothing else");
        }
    }
}

fn owner() -> Owner {
    Owner::new("a", None)
}

/// Files of this process may have so many bytes; as many as they like when `None`.
fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

async fn put(storage: &Storage, container: &Container, name: &str) -> Result<(), Error> {
    let mut draft = storage.draft(owner()).await?;
    draft.write(Bytes::from(vec![7; LARGE])).await?;
    draft.finish(container, name.into()).await
}

async fn check(folder: &Path) {
    let dir = folder.join("storage");
    let storage = Storage::open(&dir, StorageConfig::default()).unwrap();
    let (bucket, container) = (storage.bucket(owner(), "b"), storage.container(owner(), "c"));
    container.create().await.unwrap();
    bucket.set("before".into(), b"kept".to_vec()).await.unwrap();
    put(&storage, &container, "before").await.unwrap();
    let used = storage.used(&owner()).await.unwrap();
    for _ in 0..3 {
        limit_files(Some(4_096));
        let error = bucket.set("large".into(), vec![1; LARGE]).await.unwrap_err();
        assert!(error.is_operators(), "{error}");
        let error = put(&storage, &container, "large").await.unwrap_err();
        assert!(error.is_operators(), "{error}");
        limit_files(None);
        assert_eq!(std::fs::read_dir(dir.join("drafts")).unwrap().count(), 0);
        // the first order after it opens the index anew
        bucket.set("again".into(), b"kept too".to_vec()).await.unwrap();
        assert_eq!(bucket.get("before").await.unwrap().unwrap(), b"kept");
        assert_eq!(bucket.get("large").await.unwrap(), None);
        assert_eq!(storage.used(&owner()).await.unwrap(), used + 13);
        let mut bytes = Vec::new();
        let blob = container.read("before", 0, u64::MAX).await.unwrap();
        blob.into_reader().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, [7; LARGE]);
        bucket.delete("again".into()).await.unwrap();
    }
    put(&storage, &container, "large").await.unwrap();
    bucket.set("large".into(), vec![1; LARGE]).await.unwrap();
    drop((bucket, container, storage));
    let storage = Storage::open(&dir, StorageConfig::default()).unwrap();
    assert_eq!(storage.bucket(owner(), "b").get("large").await.unwrap().unwrap().len(), LARGE);
}
