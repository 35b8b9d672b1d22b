//! What the storage promises, without a crash (`crash.rs` has those): owners apart, bounds to the byte, lists in pages, and
//! objects that are whole or not there.

use std::path::Path;

use atelier_store::{
    Bucket, Container, Error, MAX_NAME_BYTES, MAX_PAGE, Owner, Storage, StorageConfig, Version,
};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

fn open(dir: &Path) -> Storage {
    Storage::open(
        dir,
        StorageConfig { value_bytes: 1_024, object_bytes: 100_000, ..StorageConfig::default() },
    )
    .unwrap()
}

fn fresh() -> (TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("storage"));
    (dir, storage)
}

fn owner(id: &str) -> Owner {
    Owner::new(id, None)
}

async fn put(storage: &Storage, container: &Container, name: &str, bytes: &[u8]) -> Result<(), Error> {
    put_for(storage, owner("a"), container, name, bytes).await
}

async fn put_for(
    storage: &Storage,
    owner: Owner,
    container: &Container,
    name: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut draft = storage.draft(owner).await?;
    for piece in bytes.chunks(1_000) {
        draft.write(Bytes::copy_from_slice(piece)).await?;
    }
    draft.finish(container, name.into()).await
}

async fn read(container: &Container, name: &str, start: u64, end: u64) -> Result<Vec<u8>, Error> {
    let blob = container.read(name, start, end).await?;
    let (size, mut bytes) = (blob.size(), Vec::new());
    blob.into_reader().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len() as u64, size);
    Ok(bytes)
}

async fn whole(container: &Container, name: &str) -> Result<Vec<u8>, Error> {
    read(container, name, 0, u64::MAX).await
}

async fn all_keys(bucket: &Bucket) -> Vec<String> {
    bucket.keys(None).await.unwrap().keys
}

/// Files of objects and of drafts.
fn files(dir: &Path) -> usize {
    let list = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let objects = list(&dir.join("storage/objects")).flat_map(|folder| list(&folder).collect::<Vec<_>>());
    objects.count() + list(&dir.join("storage/drafts")).count()
}

#[tokio::test]
async fn a_value_is_its_owners_in_its_bucket_and_there_after_a_restart() {
    let (dir, storage) = fresh();
    let bucket = storage.bucket(owner("a"), "notes");
    bucket.set("key".into(), b"mine".to_vec()).await.unwrap();
    storage.bucket(owner("b"), "notes").set("key".into(), b"theirs".to_vec()).await.unwrap();
    assert_eq!(storage.bucket(owner("a"), "other").get("key").await.unwrap(), None);
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"mine");
    drop((bucket, storage));
    let storage = open(&dir.path().join("storage"));
    let bucket = storage.bucket(owner("a"), "notes");
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"mine");
    assert!(bucket.exists("key").await.unwrap());
    bucket.delete("key".into()).await.unwrap();
    bucket.delete("key".into()).await.unwrap();
    assert_eq!((bucket.get("key").await.unwrap(), all_keys(&bucket).await), (None, vec![]));
    assert_eq!(storage.bucket(owner("b"), "notes").get("key").await.unwrap().unwrap(), b"theirs");
}

#[tokio::test]
async fn no_name_reaches_another_place() {
    let (_dir, storage) = fresh();
    let names = ["../../x", "/etc/passwd", "a\0b", "CON", "Key", "key", "..", "ä", "a/b", "\u{1F600}"];
    let (bucket, container) = (storage.bucket(owner("a"), "b"), storage.container(owner("a"), "c"));
    container.create().await.unwrap();
    for name in names {
        bucket.set(name.into(), name.into()).await.unwrap();
        put(&storage, &container, name, name.as_bytes()).await.unwrap();
    }
    for name in names {
        assert_eq!(bucket.get(name).await.unwrap().unwrap(), name.as_bytes());
        assert_eq!(whole(&container, name).await.unwrap(), name.as_bytes());
    }
    assert_eq!(all_keys(&bucket).await.len(), names.len());
}

#[tokio::test]
async fn names_and_values_have_their_bounds_to_the_byte() {
    let (_dir, storage) = fresh();
    let (bucket, container) = (storage.bucket(owner("a"), "b"), storage.container(owner("a"), "c"));
    container.create().await.unwrap();
    let longest = "k".repeat(MAX_NAME_BYTES);
    bucket.set(longest.clone(), vec![0; 1_024]).await.unwrap();
    put(&storage, &container, &longest, &[1; 100_000]).await.unwrap();
    for bad in [String::new(), format!("{longest}k")] {
        let error = bucket.set(bad.clone(), Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("1 to 1024"), "{error}");
        let error = put(&storage, &container, &bad, b"").await.unwrap_err();
        assert!(matches!(error, Error::NameLength { .. }), "{error}");
    }
    let error = bucket.set("k".into(), vec![0; 1_025]).await.unwrap_err();
    assert!(error.to_string().contains("store.value-bytes"), "{error}");
    let error = put(&storage, &container, "o", &[0; 100_001]).await.unwrap_err();
    assert!(error.to_string().contains("store.object-bytes"), "{error}");
    assert_eq!(container.info("o").await.unwrap(), None);
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_none_twice() {
    let (_dir, storage) = fresh();
    let bucket = storage.bucket(owner("a"), "b");
    let key = |index: usize| format!("{index:05}");
    let pairs = |from: usize| (from..from + MAX_PAGE).map(|index| (key(index), vec![1])).collect();
    bucket.set_many(pairs(0)).await.unwrap();
    assert_eq!(bucket.keys(None).await.unwrap().next, None, "the last page says so, however full");
    bucket.set_many(pairs(MAX_PAGE)).await.unwrap();
    bucket.set(key(2 * MAX_PAGE), vec![1]).await.unwrap();
    // of its neighbours in the index it sees nothing
    storage.bucket(owner("a"), "a").set("00000".into(), vec![]).await.unwrap();
    storage.bucket(owner("a"), "c").set("00000".into(), vec![]).await.unwrap();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = bucket.keys(after).await.unwrap();
        assert!(page.keys.len() <= MAX_PAGE);
        listed.extend(page.keys);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, (0..=2 * MAX_PAGE).map(key).collect::<Vec<_>>());
    let none = bucket.keys(Some("no such cursor, after all".into())).await.unwrap();
    assert_eq!((none.keys, none.next), (vec![], None));
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all_and_has_its_bounds() {
    let (_dir, storage) = fresh();
    let bucket = storage.bucket(Owner::new("a", Some(10)), "b");
    let pair = |key: &str, bytes: usize| (key.to_owned(), vec![7; bytes]);
    bucket.set_many(vec![pair("a", 4), pair("b", 5)]).await.unwrap_err();
    assert_eq!(all_keys(&bucket).await, Vec::<String>::new());
    bucket.set_many(vec![pair("a", 100), pair("a", 4), pair("b", 4)]).await.unwrap();
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 10, "of two values of a key, the last counts");
    let keys = || ["a", "none", "b"].map(String::from).to_vec();
    let found = bucket.get_many(keys(), 8).await.unwrap();
    assert_eq!(found, [Some(pair("a", 4)), None, Some(pair("b", 4))]);
    assert!(matches!(bucket.get_many(keys(), 7).await.unwrap_err(), Error::TooMany(_)));
    let many = || vec!["k".to_owned(); MAX_PAGE + 1];
    assert!(matches!(bucket.get_many(many(), 8).await.unwrap_err(), Error::TooMany(_)));
    assert!(matches!(bucket.delete_many(many()).await.unwrap_err(), Error::TooMany(_)));
    bucket.delete_many(keys()).await.unwrap();
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_and_swapping_lose_nothing_to_others() {
    let (_dir, storage) = fresh();
    let bucket = storage.bucket(owner("a"), "b");
    let count = |bucket: Bucket| async move {
        for _ in 0..25 {
            bucket.increment("n".into(), 2).await.unwrap();
        }
    };
    let counting: Vec<_> = (0..8).map(|_| tokio::spawn(count(bucket.clone()))).collect();
    for task in counting {
        task.await.unwrap();
    }
    assert_eq!(bucket.get("n").await.unwrap().unwrap(), b"400");
    assert_eq!(bucket.increment("n".into(), -401).await.unwrap(), -1);
    bucket.set("text".into(), b"seven".to_vec()).await.unwrap();
    bucket.set("most".into(), i64::MAX.to_string().into_bytes()).await.unwrap();
    for key in ["text", "most"] {
        let error = bucket.increment(key.into(), 1).await.unwrap_err();
        assert!(matches!(error, Error::NoNumber(_)) && error.to_string().contains(key), "{error}");
    }
    let absent = Version::of(None);
    bucket.swap("s".into(), absent, b"first".to_vec()).await.unwrap().unwrap();
    let newer = bucket.swap("s".into(), absent, b"second".to_vec()).await.unwrap().unwrap_err();
    assert_eq!(newer, Version::of(Some(b"first")));
    bucket.swap("s".into(), newer, b"third".to_vec()).await.unwrap().unwrap();
    assert_eq!(bucket.get("s").await.unwrap().unwrap(), b"third");
}

#[tokio::test]
async fn an_owner_keeps_so_many_bytes_of_everything_and_no_byte_more() {
    let (dir, storage) = fresh();
    let limited = || Owner::new("a", Some(1_000));
    let bucket = storage.bucket(limited(), "b");
    let container = storage.container(limited(), "c");
    container.create().await.unwrap();
    bucket.set("key".into(), vec![0; 497]).await.unwrap();
    let error = put_for(&storage, limited(), &container, "name", &[0; 497]).await.unwrap_err();
    assert!(matches!(error, Error::Full { limit: 1_000, .. }), "{error}");
    assert!(error.to_string().contains("tenant.quotas.stored-bytes"), "{error}");
    put_for(&storage, limited(), &container, "name", &[0; 496]).await.unwrap();
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 1_000);
    assert!(matches!(bucket.set("k".into(), vec![]).await.unwrap_err(), Error::Full { .. }));
    assert!(matches!(bucket.increment("key".into(), 1).await.unwrap_err(), Error::NoNumber(_)));
    let copied = container.copy("name".into(), &container, "copy".into(), false).await;
    assert!(matches!(copied.unwrap_err(), Error::Full { .. }));
    // what takes no more room than before fits, an object beside the one that it replaces; others have room of their own
    bucket.set("key".into(), vec![1; 497]).await.unwrap();
    let error = put_for(&storage, limited(), &container, "name", &[1; 1]).await.unwrap_err();
    assert!(matches!(error, Error::Full { used: 1_000, .. }), "{error}");
    container.copy("name".into(), &container, "mane".into(), true).await.unwrap();
    storage.bucket(owner("b"), "b").set("key".into(), vec![0; 1_000]).await.unwrap();
    container.delete().await.unwrap();
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 500);
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn what_is_being_written_counts_before_it_is_kept() {
    let (dir, storage) = fresh();
    let limited = || Owner::new("a", Some(1_000));
    let container = storage.container(limited(), "c");
    container.create().await.unwrap();
    let mut drafts = Vec::new();
    for _ in 0..2 {
        let mut draft = storage.draft(limited()).await.unwrap();
        draft.write(vec![0; 499].into()).await.unwrap();
        drafts.push(draft);
    }
    let mut third = storage.draft(limited()).await.unwrap();
    assert!(matches!(third.write(vec![0; 3].into()).await.unwrap_err(), Error::Full { .. }));
    let bucket = storage.bucket(limited(), "b");
    assert!(matches!(bucket.set("key".into(), vec![]).await.unwrap_err(), Error::Full { .. }));
    drop((drafts.pop(), third));
    bucket.set("key".into(), vec![]).await.unwrap();
    drafts.pop().unwrap().finish(&container, "n".into()).await.unwrap();
    assert_eq!((storage.used(&owner("a")).await.unwrap(), files(dir.path())), (503, 1));
}

#[tokio::test]
async fn parts_of_objects_are_read_to_the_byte() {
    let (_dir, storage) = fresh();
    let container = storage.container(owner("a"), "c");
    container.create().await.unwrap();
    let bytes: Vec<u8> = (0..50_000_u32).map(|index| (index % 251) as u8).collect();
    put(&storage, &container, "o", &bytes).await.unwrap();
    put(&storage, &container, "empty", b"").await.unwrap();
    assert_eq!(whole(&container, "o").await.unwrap(), bytes);
    assert_eq!(read(&container, "o", 7, 7).await.unwrap(), bytes[7..8]);
    assert_eq!(read(&container, "o", 49_998, 60_000).await.unwrap(), bytes[49_998..]);
    assert_eq!(whole(&container, "empty").await.unwrap(), b"");
    for (name, start, end) in [("o", 50_000, 50_001), ("o", 3, 2), ("empty", 1, 1)] {
        assert!(matches!(read(&container, name, start, end).await.unwrap_err(), Error::Range { .. }));
    }
    let error = read(&container, "none", 0, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no object `none` in container `c`");
    let info = container.info("o").await.unwrap().unwrap();
    assert!(info.size == 50_000 && info.created > 1_600_000_000);
}

#[tokio::test]
async fn a_reader_reads_on_whatever_becomes_of_the_object() {
    let (dir, storage) = fresh();
    let container = storage.container(owner("a"), "c");
    container.create().await.unwrap();
    put(&storage, &container, "o", &[1; 90_000]).await.unwrap();
    let blob = container.read("o", 0, u64::MAX).await.unwrap();
    put(&storage, &container, "o", &[2; 10]).await.unwrap();
    container.delete_objects(vec!["o".into(), "none".into()]).await.unwrap();
    assert_eq!(files(dir.path()), 0);
    let mut bytes = Vec::new();
    blob.into_reader().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [1; 90_000]);
}

#[tokio::test]
async fn copies_share_a_file_which_goes_with_the_last_of_them() {
    let (dir, storage) = fresh();
    let (from, to) = (storage.container(owner("a"), "from"), storage.container(owner("a"), "to"));
    from.create().await.unwrap();
    put(&storage, &from, "o", b"bytes").await.unwrap();
    let missing = from.copy("o".into(), &to, "o".into(), false).await.unwrap_err();
    assert!(matches!(missing, Error::NoContainer(_)));
    to.create().await.unwrap();
    assert!(matches!(to.create().await.unwrap_err(), Error::ContainerExists(_)));
    from.copy("o".into(), &to, "copy".into(), false).await.unwrap();
    from.copy("o".into(), &from, "o".into(), true).await.unwrap();
    assert_eq!(files(dir.path()), 1);
    from.copy("o".into(), &to, "moved".into(), true).await.unwrap();
    assert!(matches!(whole(&from, "o").await.unwrap_err(), Error::NoObject { .. }));
    to.copy("moved".into(), &to, "copy".into(), true).await.unwrap();
    assert_eq!((whole(&to, "copy").await.unwrap(), files(dir.path())), (b"bytes".to_vec(), 1));
    assert_eq!(to.list(None, 10).await.unwrap(), (vec!["copy".to_owned()], true));
    to.delete().await.unwrap();
    to.delete().await.unwrap();
    assert_eq!((to.created().await.unwrap(), files(dir.path())), (None, 0));
    assert!(from.created().await.unwrap().is_some());
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 0);
}

#[tokio::test]
async fn objects_are_listed_in_pages_and_cleared_in_pieces() {
    let (dir, storage) = fresh();
    let container = storage.container(owner("a"), "c");
    container.create().await.unwrap();
    put(&storage, &container, "o", b"1").await.unwrap();
    let name = |index: usize| format!("p{index:05}");
    for index in 0..MAX_PAGE + 5 {
        container.copy("o".into(), &container, name(index), false).await.unwrap();
    }
    let (first, is_last) = container.list(None, usize::MAX).await.unwrap();
    assert!(first.len() == MAX_PAGE && !is_last);
    let (second, is_last) = container.list(first.last().cloned(), usize::MAX).await.unwrap();
    assert!(second.len() == 6 && is_last && second.last() == Some(&name(MAX_PAGE + 4)));
    assert_eq!(container.list(None, 1).await.unwrap(), (vec!["o".to_owned()], false));
    container.clear().await.unwrap();
    assert_eq!(container.list(None, 10).await.unwrap(), (vec![], true));
    assert!(container.created().await.unwrap().is_some() && files(dir.path()) == 0);
}

#[tokio::test]
async fn the_folder_belongs_to_one_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, storage) = fresh();
    let path = dir.path().join("storage");
    let error = Storage::open(&path, StorageConfig::default()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }) && error.to_string().contains("store.data-dir"), "{error}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("index.redb"))), (0o700, 0o600));
    drop(storage);
    open(&path);
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let (_dir, storage) = fresh();
    let bucket = storage.bucket(Owner::new("a", Some(6)), "b");
    bucket.set("k".into(), vec![0; 5]).await.unwrap();
    bucket.set("k".into(), vec![0; 6]).await.unwrap_err();
    bucket.get("k").await.unwrap();
    let values = storage.values();
    assert_eq!(values.operations(), [("get", 1), ("set", 2)]);
    assert_eq!((values.errors(), values.written_bytes(), values.read_bytes()), (vec![("quota", 1)], 5, 5));
    assert_eq!(storage.blobs().operations(), []);
    let mut draft = storage.draft(Owner::new("a", Some(6))).await.unwrap();
    draft.write(vec![0; 1].into()).await.unwrap_err();
    assert_eq!(
        (storage.blobs().operations(), storage.blobs().errors()),
        (vec![("write", 1)], vec![("quota", 1)])
    );
}
