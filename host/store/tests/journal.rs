//! What `Journal` promises: every line is there until its file is the oldest, and the disk is bounded.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use atelier_store::Journal;

#[test]
fn lines_come_back_the_newest_first_even_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::new(&path, 1 << 20);
    assert!(journal.newest(10).unwrap().is_empty() && !path.exists(), "nothing is touched by reading");
    for line in ["one", "two", "three"] {
        journal.append(line).unwrap();
    }
    assert_eq!(Journal::new(&path, 1 << 20).newest(2).unwrap(), ["three", "two"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_full_journal_loses_its_oldest_lines_and_never_outgrows_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path().join("journal"), 400);
    for line in 0..200 {
        journal.append(&format!("line {line:04}")).unwrap();
        let sizes = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        assert!(sizes.sum::<u64>() <= 400);
    }
    let lines = journal.newest(1_000).unwrap();
    assert!((30..=40).contains(&lines.len()), "{} of 10 bytes each", lines.len());
    let expected: Vec<String> =
        (0..200).rev().take(lines.len()).map(|line| format!("line {line:04}")).collect();
    assert_eq!(lines, expected);
}
