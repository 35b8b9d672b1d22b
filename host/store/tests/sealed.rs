//! What `SealedFiles` promises: private, whole, and believed only with the right seal.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use atelier_store::{Error, SealedFiles};

#[test]
fn bytes_come_back_as_they_were_put_even_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("a-1", b"first").unwrap();
    files.put("a-1", b"second").unwrap();
    assert_eq!(files.get("a-1").unwrap().as_deref(), Some(&b"second"[..]));
    let again = SealedFiles::open(dir.path()).unwrap();
    assert_eq!(again.get("a-1").unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(again.get("other").unwrap(), None);
}

#[test]
fn a_changed_byte_reads_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("code", b"machine code").unwrap();
    let path = dir.path().join("code");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(files.get("code").unwrap(), None);
    assert!(files.contains("code").unwrap());
}

#[test]
fn more_bytes_than_were_put_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("code", b"machine code").unwrap();
    assert_eq!(files.get_within("code", 12).unwrap().as_deref(), Some(&b"machine code"[..]));
    assert_eq!(files.get_within("code", 11).unwrap(), None);
    // 64 GiB that lie on no disk: nobody could read them
    fs::File::options().write(true).open(dir.path().join("code")).unwrap().set_len(1 << 36).unwrap();
    assert_eq!(files.get_within("code", 12).unwrap(), None);
}

#[test]
fn a_file_moved_to_another_key_or_cut_short_reads_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("one", b"of one").unwrap();
    fs::copy(dir.path().join("one"), dir.path().join("two")).unwrap();
    assert_eq!(files.get("two").unwrap(), None);
    fs::write(dir.path().join("three"), b"short").unwrap();
    assert_eq!(files.get("three").unwrap(), None);
}

#[test]
fn a_file_sealed_under_another_secret_reads_as_absent() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = SealedFiles::open(ours.path()).unwrap();
    SealedFiles::open(theirs.path()).unwrap().put("code", b"evil").unwrap();
    fs::copy(theirs.path().join("code"), ours.path().join("code")).unwrap();
    assert_eq!(files.get("code").unwrap(), None);
}

#[test]
fn the_folder_its_files_and_its_secret_are_private() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("code", b"x").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path().to_owned()), 0o700);
    assert_eq!(mode(dir.path().join("code")), 0o600);
    assert_eq!(mode(dir.path().join("secret.key")), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left behind");
}

#[test]
fn many_that_open_a_new_folder_at_once_agree_on_its_secret() {
    for _ in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let new = &new;
                scope.spawn(move || {
                    let files = SealedFiles::open(new).unwrap();
                    files.put(&format!("by-{writer}"), b"mine").unwrap();
                });
            }
        });
        let files = SealedFiles::open(&new).unwrap();
        for writer in 0..8 {
            assert_eq!(files.get(&format!("by-{writer}")).unwrap().as_deref(), Some(&b"mine"[..]));
        }
    }
}

#[test]
fn keys_that_would_leave_the_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    for key in ["", "../up", "a/b", ".hidden", "a.b", &"x".repeat(129)] {
        assert!(matches!(files.put(key, b""), Err(Error::InvalidName(_))), "{key}");
    }
}

#[test]
fn a_secret_of_the_wrong_length_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret.key"), b"short").unwrap();
    let error = SealedFiles::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("secret.key") && error.contains("32 bytes"), "{error}");
}

#[test]
fn what_was_removed_is_gone_and_removing_it_again_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let files = SealedFiles::open(dir.path()).unwrap();
    files.put("code", b"machine code").unwrap();
    files.remove("code").unwrap();
    assert_eq!((files.get("code").unwrap(), files.contains("code").unwrap()), (None, false));
    files.remove("code").unwrap();
}
