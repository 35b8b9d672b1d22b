//! The files of one model in the layout of diffusers: a folder on disk, one file of a folder, a list embedded in the binary,
//! or a single-file checkpoint that stands for a folder. Reads bytes and JSON; never knows what they mean, but that one component, the
//! autoencoder, may come from elsewhere. Every error names the file.
//!
//! Names come from this crate and from a model's own index files, never from requests; those of an index are checked
//! by `weights` before they get here.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::checkpoint::{Checkpoint, PredictionType};
use crate::{Error, Result};

/// Most bytes of a file that is read whole (JSON, vocabulary, merges); weights are read tensor by tensor.
const MAX_TEXT_BYTES: u64 = 32 << 20;
/// The component that may be replaced, and what of its configuration belongs to the model and not to it: the denoiser was
/// trained on latents of this scale.
const VAE: &str = "vae";
const VAE_CONFIG: &str = "vae/config.json";
const SCALE: &str = "scaling_factor";
const SHIFT: &str = "shift_factor";
/// How the name of a single file ends that says all of its model itself.
const BLOCKS_FILE: &str = "gguf";

/// Where a model's files come from. Names are relative, with `/`, as in `unet/config.json`.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// Private, so that nobody but this module can tell the kinds apart.
    root: Root,
    /// Another autoencoder, in place of the model's own.
    vae: Option<Box<ModelFiles>>,
}

#[derive(Debug, Clone)]
enum Root {
    /// Read anew each time: a folder that is replaced under a running host shows up at the next load.
    Folder(Folder),
    /// Names and bytes of a model that is part of the binary; a handful, so they are searched one by one.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// A file that stands for a folder.
    Single(Single),
}

/// A folder, of which some files may lie elsewhere, or all but one are somebody else's.
#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
    /// Names, and what is read in their place; a handful, so they are searched one by one.
    elsewhere: Vec<(&'static str, PathBuf)>,
    /// The one file that is the model; the others around it are not its own.
    only: Option<String>,
}

impl Folder {
    fn place(&self, name: &str) -> PathBuf {
        match self.elsewhere.iter().find(|(other, _)| *other == name) {
            Some((_, path)) => path.clone(),
            None => self.path.join(name),
        }
    }

    /// Whether a file of that name would be the model's.
    fn is_own(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    /// Names of files directly in `folder` that lie elsewhere.
    fn elsewhere_in(&self, folder: &str) -> impl Iterator<Item = String> {
        let names = self.elsewhere.iter().map(|(name, _)| name.to_string());
        names.filter(move |name| parent(name) == folder)
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A single-file checkpoint.
#[derive(Debug, Clone)]
struct Single {
    path: PathBuf,
    /// Where the file does not say it.
    prediction: Option<PredictionType>,
    /// What it was when it was first looked at.
    seen: Arc<OnceLock<Arc<Checkpoint>>>,
}

/// A single file: the folder it lies in, its name there, and what it is.
pub(crate) type SingleFile<'a> = (ModelFiles, &'a str, Arc<Checkpoint>);

/// Bytes at offsets, so that a file of gigabytes needs no copy in memory.
pub(crate) enum Blob {
    File(File),
    Embedded(&'static [u8]),
}

impl ModelFiles {
    /// The files below a folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::overlaid(path, Vec::new())
    }

    /// The files below a folder, but for those that are named here with a file that is read in their place: a model
    /// that is published as another one's denoiser. Weights are named as the folder's in full precision are, which
    /// come before all others.
    pub fn overlaid(path: impl Into<PathBuf>, elsewhere: Vec<(&'static str, PathBuf)>) -> Self {
        Self { root: Root::Folder(Folder { path: path.into(), elsewhere, only: None }), vae: None }
    }

    /// A GGUF file, which says all of its model itself; or a safetensors file with all parts of a model, in the layout of the
    /// original training code. What that one holds is told from its names and shapes when it is first looked at; `prediction`
    /// says what these cannot, where the manifest does.
    pub fn single_file(path: impl Into<PathBuf>, prediction: Option<PredictionType>) -> Self {
        let path = path.into();
        if path.extension().is_some_and(|extension| extension == BLOCKS_FILE) {
            let only = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let path = path.parent().map(Path::to_path_buf).unwrap_or_default();
            return Self { root: Root::Folder(Folder { path, elsewhere: Vec::new(), only }), vae: None };
        }
        let single = Single { path, prediction, seen: Arc::default() };
        Self { root: Root::Single(single), vae: None }
    }

    /// With another autoencoder: a single file, an autoencoder's folder, or that of a model which has one.
    pub fn with_vae(self, vae: ModelFiles) -> Self {
        Self { vae: Some(Box::new(vae)), ..self }
    }

    /// Files inside the binary: relative name and bytes.
    pub fn embedded(files: &'static [(&'static str, &'static [u8])]) -> Self {
        Self { root: Root::Embedded(files), vae: None }
    }

    /// The name that errors show for a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if let Some((vae, name)) = self.of_vae(name) {
            return vae.path(&name);
        }
        match &self.root {
            Root::Folder(folder) => match &folder.only {
                Some(only) if name.is_empty() => folder.place(only),
                _ => folder.place(name),
            },
            Root::Embedded(_) => Path::new("builtin").join(name),
            Root::Single(single) if name.is_empty() => single.path.clone(),
            Root::Single(single) => single.path.join(name),
        }
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, name: &str) -> bool {
        if let Some((vae, name)) = self.of_vae(name) {
            return vae.contains(&name);
        }
        match &self.root {
            Root::Folder(folder) => folder.is_own(name) && folder.place(name).is_file(),
            Root::Embedded(_) => self.embedded_bytes(name).is_some(),
            // a file that cannot be read says why when it is
            Root::Single(single) => {
                single.checkpoint().is_ok_and(|checkpoint| checkpoint.text(name).is_some())
            }
        }
    }

    /// The files right inside of a folder, by name; none where there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        if let Some((vae, folder)) = self.of_vae(folder) {
            return vae.list(&folder);
        }
        let inside = |name: &str| if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
        let mut names: Vec<String> = match &self.root {
            Root::Folder(root) => match std::fs::read_dir(root.path.join(folder)) {
                Ok(entries) => entries
                    .filter_map(|entry| Some(inside(entry.ok()?.file_name().to_str()?)))
                    .chain(root.elsewhere_in(folder))
                    .filter(|name| self.contains(name))
                    .collect(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => root.elsewhere_in(folder).collect(),
                Err(source) => return Err(self.unreadable(folder, source)),
            },
            // what is in it has no files of its own
            Root::Single(_) => Vec::new(),
            Root::Embedded(files) => {
                let names = files.iter().map(|(name, _)| name.to_string());
                names.filter(|name| parent(name) == folder).collect()
            }
        };
        names.sort();
        Ok(names)
    }

    /// A small file, whole.
    pub(crate) fn bytes(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        if let Some((vae, at)) = self.of_vae(name) {
            let bytes = vae.bytes(&at)?;
            return if name == VAE_CONFIG { self.with_own_scale(vae, bytes) } else { Ok(bytes) };
        }
        if let Root::Single(single) = &self.root {
            return single.text(self, name);
        }
        let mut blob = self.open(name)?;
        let length = blob.len().map_err(|source| self.unreadable(name, source))?;
        if length > MAX_TEXT_BYTES {
            return Err(self.malformed(name, format!("{length} bytes; at most {MAX_TEXT_BYTES}")));
        }
        blob.read_at(0, length as usize).map_err(|source| self.unreadable(name, source))
    }

    /// A small text file.
    #[doc(hidden)]
    pub fn text(&self, name: &str) -> Result<String> {
        String::from_utf8(self.bytes(name)?.into_owned())
            .map_err(|error| self.malformed(name, format!("not UTF-8: {error}")))
    }

    /// A JSON file.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| self.malformed(name, error.to_string()))
    }

    /// A file to be read piece by piece.
    pub(crate) fn open(&self, name: &str) -> Result<Blob> {
        if let Some((vae, name)) = self.of_vae(name) {
            return vae.open(&name);
        }
        match &self.root {
            Root::Single(_) => Err(self.unreadable(name, io::Error::from(io::ErrorKind::NotFound))),
            Root::Folder(folder) => {
                let file = match folder.is_own(name) {
                    true => File::open(folder.place(name)),
                    false => Err(io::ErrorKind::NotFound.into()),
                };
                file.map(Blob::File).map_err(|source| self.unreadable(name, source))
            }
            Root::Embedded(_) => match self.embedded_bytes(name) {
                Some(bytes) => Ok(Blob::Embedded(bytes)),
                None => Err(self.unreadable(name, io::Error::from(io::ErrorKind::NotFound))),
            },
        }
    }

    /// The error for a file of this model whose content is wrong.
    pub(crate) fn malformed(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path(name), reason: reason.into() }
    }

    /// The error for a file of this model that cannot be read at all.
    pub(crate) fn unreadable(&self, name: &str, source: io::Error) -> Error {
        Error::Read { path: self.path(name), source }
    }

    /// Whether they are one GGUF file, which says all of its model itself.
    pub(crate) fn is_one_file(&self) -> bool {
        matches!(&self.root, Root::Folder(Folder { only: Some(_), .. }))
    }

    /// Whether another autoencoder is laid over the model's own.
    pub(crate) fn has_other_vae(&self) -> bool {
        self.vae.is_some()
    }

    /// Whose files a component is made of, and its folder there.
    pub(crate) fn owner(&self, component: &str) -> (ModelFiles, String) {
        match self.of_vae(component) {
            Some((vae, name)) => (vae.clone(), name),
            None => (self.clone(), component.into()),
        }
    }

    /// The single file, if this is one, looked at anew: the weights are about to be read.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a file that is no checkpoint, or is that of another model than before.
    pub(crate) fn single(&self) -> Result<Option<SingleFile<'_>>> {
        let Root::Single(single) = &self.root else { return Ok(None) };
        let (before, now) = (single.checkpoint()?, single.open()?);
        if !now.is_like(&before) {
            let reason = "is the file of another model than when the host started; start it again";
            return Err(self.malformed("", reason));
        }
        let (folder, name) = single.place();
        Ok(Some((folder, name, Arc::new(now))))
    }

    /// Where a file of the autoencoder is looked for when it comes from elsewhere.
    fn of_vae(&self, name: &str) -> Option<(&ModelFiles, String)> {
        let vae = self.vae.as_deref()?;
        let rest = name.strip_prefix(VAE).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        // a folder is an autoencoder's own, or that of a whole model; a single file stands for one
        let is_own = matches!(vae.root, Root::Folder(_)) && !vae.contains(VAE_CONFIG);
        Some((vae, if is_own { rest.trim_start_matches('/').into() } else { name.into() }))
    }

    /// An autoencoder's configuration; that of a lone file with the scale of this model, which it cannot know.
    fn with_own_scale(&self, vae: &ModelFiles, config: Cow<'static, [u8]>) -> Result<Cow<'static, [u8]>> {
        if !matches!(vae.root, Root::Single(_)) {
            return Ok(config);
        }
        let mut config: Map<String, Value> =
            serde_json::from_slice(&config).map_err(|error| vae.malformed(VAE_CONFIG, error.to_string()))?;
        let own = ModelFiles { vae: None, ..self.clone() };
        let mut of_model: Map<String, Value> = match &self.root {
            Root::Single(single) => {
                [(SCALE.into(), single.checkpoint()?.scale().into())].into_iter().collect()
            }
            _ if own.contains(VAE_CONFIG) => own.json(VAE_CONFIG)?,
            _ => Map::new(),
        };
        for key in [SCALE, SHIFT] {
            config.extend(of_model.remove(key).map(|value| (key.to_string(), value)));
        }
        Ok(Value::Object(config).to_string().into_bytes().into())
    }

    fn embedded_bytes(&self, name: &str) -> Option<&'static [u8]> {
        let Root::Embedded(files) = &self.root else { return None };
        files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }
}

impl Single {
    /// What the file is, as of the first look.
    fn checkpoint(&self) -> Result<Arc<Checkpoint>> {
        if let Some(checkpoint) = self.seen.get() {
            return Ok(checkpoint.clone());
        }
        let opened = Arc::new(self.open()?);
        Ok(self.seen.get_or_init(|| opened).clone())
    }

    fn open(&self) -> Result<Checkpoint> {
        let (folder, name) = self.place();
        Checkpoint::open(&folder, name, self.prediction)
    }

    /// The folder that it lies in, and its name there.
    fn place(&self) -> (ModelFiles, &str) {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        (ModelFiles::folder(folder), self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default())
    }

    fn text(&self, files: &ModelFiles, name: &str) -> Result<Cow<'static, [u8]>> {
        match self.checkpoint()?.text(name) {
            Some(bytes) => Ok(bytes.to_vec().into()),
            None if name == VAE_CONFIG => {
                let reason = "holds no autoencoder; add vae = \"path\" of one to its [[model]]";
                Err(files.malformed("", reason))
            }
            None => Err(files.unreadable(name, io::Error::from(io::ErrorKind::NotFound))),
        }
    }
}

impl Blob {
    /// Bytes in all, as of now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Blob::File(file) => file.metadata().map(|metadata| metadata.len()),
            Blob::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Exactly `length` bytes from `offset`. The caller bounds `length` by [`Blob::len`].
    pub(crate) fn read_at(&mut self, offset: u64, length: usize) -> io::Result<Cow<'static, [u8]>> {
        match self {
            Blob::File(file) => {
                // `length` was held against the file's size, so a lying header cannot make this allocate more
                let mut buffer = vec![0; length];
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut buffer)?;
                Ok(buffer.into())
            }
            Blob::Embedded(bytes) => {
                let start = usize::try_from(offset).ok();
                let piece = start.and_then(|start| bytes.get(start..start.checked_add(length)?));
                piece.map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &[u8])] = &[("unet/config.json", b"{\"in_channels\": 4}"), ("broken.json", b"{")];

    #[test]
    fn an_embedded_file_reads_as_json() {
        let config: serde_json::Value = ModelFiles::embedded(FILES).json("unet/config.json").unwrap();
        assert_eq!(config["in_channels"], 4);
    }

    #[test]
    fn a_folders_own_files_are_listed_and_those_of_no_folder_are_none() {
        let files = ModelFiles::embedded(FILES);
        assert_eq!(files.list("unet").unwrap(), ["unet/config.json"]);
        assert_eq!(files.list("").unwrap(), ["broken.json"]);
        assert!(files.list("vae").unwrap().is_empty());
        let source = ModelFiles::folder(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(source.list("").unwrap(), ["Cargo.toml"]);
        assert!(source.list("src").unwrap().contains(&"src/lib.rs".to_string()));
        assert!(source.list("vae").unwrap().is_empty());
    }

    #[test]
    fn a_gguf_file_is_all_that_its_model_has() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.gguf", "b.gguf", "config.json"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let files = ModelFiles::single_file(folder.path().join("a.gguf"), None);
        assert_eq!(files.list("").unwrap(), ["a.gguf"]);
        assert_eq!(files.text("a.gguf").unwrap(), "a.gguf");
        assert!(!files.contains("config.json") && files.bytes("b.gguf").is_err());
        assert_eq!(files.path(""), folder.path().join("a.gguf"));
        let gone = ModelFiles::single_file(folder.path().join("c.gguf"), None);
        assert!(gone.list("").unwrap().is_empty() && gone.text("c.gguf").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = ModelFiles::embedded(FILES).text("vae/config.json").unwrap_err().to_string();
        assert!(error.contains("builtin/vae/config.json"), "{error}");
        let error = ModelFiles::folder("/nowhere").text("vae/config.json").unwrap_err().to_string();
        assert!(error.contains("/nowhere/vae/config.json"), "{error}");
    }

    #[test]
    fn broken_json_is_named_with_its_place() {
        let error =
            ModelFiles::embedded(FILES).json::<serde_json::Value>("broken.json").unwrap_err().to_string();
        assert!(error.contains("broken.json") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn reading_past_the_end_of_an_embedded_file_is_an_error() {
        let mut blob = ModelFiles::embedded(FILES).open("broken.json").unwrap();
        assert!(blob.read_at(0, 2).is_err());
        assert!(blob.read_at(u64::MAX, 1).is_err());
    }
}
