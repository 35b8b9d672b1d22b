//! How the files of models stand, as texts: another text where a file is another one. Told by names, sizes and times, as tools
//! that copy files keep them; of what is inside the binary by the bytes. Reads no weights, and says nothing of what the files mean.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use atelier_inference::ModelId;

/// Folders in each other, and files in all, that are looked at; what is beyond that is no model's.
const DEPTH: u32 = 4;
const FILES: usize = 4_096;

/// Bytes inside the binary.
type Embedded = &'static [(&'static str, &'static [u8])];

/// Where the files of models are.
#[derive(Default)]
pub(crate) struct Weights(Vec<(ModelId, Kept)>);

struct Kept {
    places: Vec<PathBuf>,
    embedded: Embedded,
    /// Of what is inside the binary, once somebody wanted it: it does not change.
    digest: OnceLock<String>,
}

impl Weights {
    /// Adds a model.
    pub(crate) fn add(&mut self, id: ModelId, places: Vec<PathBuf>, embedded: Option<Embedded>) {
        let embedded = embedded.unwrap_or_default();
        self.0.push((id, Kept { places, embedded, digest: OnceLock::new() }));
    }

    /// How a model's files stand; nothing is known of one that is elsewhere. Looks at the disk.
    pub(crate) fn text(&self, id: &ModelId) -> String {
        let Some((_, kept)) = self.0.iter().find(|(other, _)| other == id) else { return String::new() };
        let mut digest = blake3::Hasher::new();
        digest.update(kept.digest.get_or_init(|| of_bytes(kept.embedded)).as_bytes());
        let mut left = FILES;
        kept.places.iter().for_each(|place| add(&mut digest, place, DEPTH, &mut left));
        digest.finalize().to_string()
    }
}

fn of_bytes(files: Embedded) -> String {
    let mut digest = blake3::Hasher::new();
    for (name, bytes) in files {
        digest.update(format!("{name}\0{}\0", bytes.len()).as_bytes()).update(bytes);
    }
    digest.finalize().to_string()
}

/// Adds a file, or those of a folder in their order.
fn add(digest: &mut blake3::Hasher, place: &Path, depth: u32, left: &mut usize) {
    let found = std::fs::metadata(place);
    digest.update(format!("{}\0", place.display()).as_bytes());
    match found {
        Ok(found) if found.is_dir() && depth > 0 => {
            let entries = std::fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths.iter().for_each(|path| add(digest, path, depth - 1, left));
        }
        Ok(found) if *left > 0 => {
            *left -= 1;
            digest.update(of_file(&found).as_bytes());
        }
        // what is not there, or not looked at, is told by its name
        _ => {}
    }
}

fn of_file(found: &Metadata) -> String {
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}\0{:?}\0", found.len(), modified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_changes_with_the_files_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let unet = dir.path().join("unet");
        std::fs::create_dir(&unet).unwrap();
        std::fs::write(unet.join("weights"), b"1234").unwrap();
        let mut weights = Weights::default();
        weights.add(ModelId::new("a"), vec![dir.path().into(), dir.path().join("missing")], None);
        weights.add(ModelId::new("b"), Vec::new(), Some(&[("w", b"1")]));
        weights.add(ModelId::new("c"), Vec::new(), Some(&[("w", b"2")]));
        let text = |id: &str| weights.text(&ModelId::new(id));
        let first = text("a");
        assert_eq!(first, text("a"));
        std::fs::write(unet.join("weights"), b"12345").unwrap();
        let second = text("a");
        assert_ne!(first, second);
        std::fs::write(dir.path().join("missing"), b"").unwrap();
        assert_ne!(second, text("a"));
        assert_ne!(text("b"), text("c"));
        assert_eq!(text("elsewhere"), "");
    }
}
