//! Model files made byte by byte, whole or damaged.

use std::path::{Path, PathBuf};

use atelier_engine::ModelFiles;
use atelier_engine::tokenizer::ClipTokenizer;
use atelier_engine::weights::Weights;
use candle_core::Device;

/// A safetensors file of this header.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A GGUF file in its making.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// What the header claims, if that is not what there is.
    pub(crate) tensor_count: Option<u64>,
    pub(crate) entry_count: Option<u64>,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) alignment: usize,
}

impl Gguf {
    pub(crate) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            entry_count: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
            alignment: 32,
        }
    }

    /// A key with a value of this type, written as it is.
    pub(crate) fn entry(mut self, key: &[u8], kind: u32, value: &[u8]) -> Self {
        self.entries.push([&text(key), kind.to_le_bytes().as_slice(), value].concat());
        self
    }

    /// A tensor; sides as GGUF has them, the innermost first.
    pub(crate) fn tensor(mut self, name: &str, sides: &[u64], kind: u32, offset: u64) -> Self {
        let sides: Vec<u8> = [(sides.len() as u32).to_le_bytes().to_vec()]
            .into_iter()
            .chain(sides.iter().map(|side| side.to_le_bytes().to_vec()))
            .flatten()
            .collect();
        let tail = [kind.to_le_bytes().as_slice(), &offset.to_le_bytes()].concat();
        self.tensors.push([text(name.as_bytes()), sides, tail].concat());
        self
    }

    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Data begins at a multiple of this; the key is another matter.
    pub(crate) fn aligned(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let count = |claimed: Option<u64>, there: usize| claimed.unwrap_or(there as u64).to_le_bytes();
        let mut bytes = [self.magic, self.version.to_le_bytes()].concat();
        bytes.extend(count(self.tensor_count, self.tensors.len()));
        bytes.extend(count(self.entry_count, self.entries.len()));
        bytes.extend(self.entries.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// A text as GGUF has it.
pub(crate) fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// A list as GGUF has it: the type of its values, how many, and these.
pub(crate) fn list(kind: u32, count: u64, values: &[u8]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &count.to_le_bytes(), values].concat()
}

/// Files that go when this does.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().into()
    }

    pub(crate) fn with(self, name: &str, bytes: &[u8]) -> Self {
        self.set(name, bytes);
        self
    }

    pub(crate) fn set(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn files(&self) -> ModelFiles {
        ModelFiles::folder(self.folder.path())
    }

    /// Reads every tensor of a file of weights; gives how many values there were.
    pub(crate) fn read_weights(&self, name: &str) -> Result<usize, String> {
        let weights = Weights::file(&self.files(), name, &Device::Cpu).map_err(|error| error.to_string())?;
        let tensors: Vec<_> =
            weights.tensors().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect();
        let read = weights.build(|builder| {
            tensors.iter().try_fold(0, |values, (name, shape)| {
                Ok(values + builder.get(shape.as_slice(), name)?.elem_count())
            })
        });
        read.map(|(values, _)| values).map_err(|error| error.to_string())
    }

    /// Opens the tokenizer and encodes a text with it; gives how many ids there were.
    pub(crate) fn encode(&self, text: &str) -> Result<usize, String> {
        let tokenizer = ClipTokenizer::open(&self.files(), "tokenizer").map_err(|error| error.to_string())?;
        tokenizer.ids(text).map(|ids| ids.len()).map_err(|error| error.to_string())
    }
}

/// A vocabulary of letters with two merges, as its two files.
pub(crate) fn vocabulary() -> (String, String) {
    let letters = ('!'..='~').map(String::from);
    let ends = ('!'..='~').map(|letter| format!("{letter}</w>"));
    let words =
        letters.chain(ends).chain(["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"].map(String::from));
    let ids: serde_json::Map<_, _> = words.enumerate().map(|(id, word)| (word, id.into())).collect();
    (serde_json::Value::Object(ids).to_string(), "#version: 0.2\nc a\nca t</w>\n".into())
}

/// The same as a `tokenizer.json`.
pub(crate) fn tokenizer_json() -> String {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/nano/tokenizer/tokenizer.json");
    std::fs::read_to_string(fixture).unwrap()
}
