//! Textual inversion (arXiv 2208.01618): words that a text encoder learns beside its vocabulary, each one or several
//! vectors in its table of tokens. Files of diffusers (one tensor, named as the word) and of A1111's and kohya's tools
//! (`emb_params`, or `clip_l` and `clip_g` for XL's two encoders; the word is the file's name).
//!
//! The one place where a tokenizer's ids and an encoder's table grow: both or none.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::adapters::Component;
use crate::files::ModelFiles;
use crate::models::clip::ClipTextEncoder;
use crate::tokenizer::ClipTokenizer;
use crate::weights::TensorFile;
use crate::{Error, Result};

/// Most vectors of a word: a chunk of the prompt holds no more.
const MAX_VECTORS: usize = 75;
/// Longest word, in bytes.
const MAX_WORD_BYTES: usize = 128;

/// A word and its vectors for each text encoder.
#[derive(Debug)]
pub struct Inversion {
    word: String,
    file: ModelFiles,
    name: String,
    /// (vectors, width); the same number of vectors for each.
    vectors: BTreeMap<Component, Tensor>,
}

impl Inversion {
    /// Reads a file. `word` is what prompts say; without one it is what the file says, or the file's name.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file, and the tensor or the word that is wrong.
    pub fn open(path: &Path, word: Option<&str>, device: &Device) -> Result<Self> {
        let files = ModelFiles::folder(path.parent().unwrap_or(Path::new("")));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::of_file(files, name, word, device)
    }

    fn of_file(files: ModelFiles, name: String, word: Option<&str>, device: &Device) -> Result<Self> {
        let mut file = TensorFile::open(&files, &name)?;
        let mut vectors = BTreeMap::new();
        let mut own_word = None;
        let shapes = file.shapes();
        for (key, shape) in &shapes {
            let component = match key.as_str() {
                "clip_g" => Component::TextEncoder2,
                "clip_l" | "emb_params" => Component::TextEncoder,
                // diffusers names the only tensor as the word
                _ if shapes.len() == 1 => {
                    own_word = Some(key.clone());
                    Component::TextEncoder
                }
                _ => {
                    return Err(file
                        .malformed(format!("tensor `{key}` is of no text encoder; clip_l and clip_g are")));
                }
            };
            let read = read_vectors(&mut file, key, shape, device)?;
            if vectors.insert(component, read).is_some() {
                return Err(file.malformed("emb_params and clip_l are vectors of the same text encoder"));
            }
        }
        let stem = || Path::new(&name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let word = word.map(String::from).or(own_word).or_else(stem).unwrap_or_default();
        check_word(&file, &word)?;
        let mut counts = vectors.values().map(|vectors| vectors.dim(0));
        let first = counts.next().ok_or_else(|| file.malformed("holds no vectors"))??;
        if counts.any(|count| count.ok() != Some(first)) {
            return Err(file.malformed("clip_l and clip_g have different numbers of vectors"));
        }
        Ok(Self { word, file: files, name, vectors })
    }

    /// What prompts say.
    pub fn word(&self) -> &str {
        &self.word
    }

    fn of(&self, component: Component) -> Result<&Tensor> {
        self.vectors.get(&component).ok_or_else(|| {
            self.malformed(format!("holds no vectors for {}; it is for another family", component.folder()))
        })
    }

    fn malformed(&self, reason: impl Into<String>) -> Error {
        self.file.malformed(&self.name, reason)
    }
}

/// (vectors, width), in range.
fn read_vectors(file: &mut TensorFile, key: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
    let vectors = match *shape {
        [_] => 1,
        [vectors, _] => vectors,
        _ => {
            return Err(file.malformed(format!(
                "tensor `{key}` is {shape:?}; vectors of the text encoder's width are read"
            )));
        }
    };
    if !(1..=MAX_VECTORS).contains(&vectors) {
        return Err(
            file.malformed(format!("tensor `{key}` holds {vectors} vectors; 1 to {MAX_VECTORS} are read"))
        );
    }
    let read = file.read(key, shape, device)?;
    let width = shape.last().copied().unwrap_or(0);
    Ok(read.reshape((vectors, width))?)
}

/// A word that can be found in a text.
fn check_word(file: &TensorFile, word: &str) -> Result<()> {
    if word.is_empty()
        || word.len() > MAX_WORD_BYTES
        || word.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        let reason = format!(
            "`{word}` cannot be a word of prompts: 1 to {MAX_WORD_BYTES} bytes without spaces; name another"
        );
        return Err(file.malformed(reason));
    }
    Ok(())
}

/// Teaches words to a text encoder and to the tokenizer before it.
///
/// # Errors
/// [`Error::Malformed`] names the file of a word that the tokenizer knows already, or that has no vectors of the encoder's
/// width. The model is then not to be used: words before it were learned.
pub fn teach(
    inversions: &[Inversion],
    component: Component,
    tokenizer: &mut ClipTokenizer,
    encoder: &mut ClipTextEncoder,
) -> Result<()> {
    let Some(first) = inversions.first() else { return Ok(()) };
    let begin = tokenizer.vocabulary();
    let mut rows = Vec::with_capacity(inversions.len());
    for inversion in inversions {
        let vectors = inversion.of(component)?;
        let (count, width) = vectors.dims2()?;
        if width != encoder.width() {
            let reason = format!("vectors of {width} values; {} has {}", component.folder(), encoder.width());
            return Err(inversion.malformed(reason));
        }
        tokenizer.learn(&inversion.word, count).map_err(|reason| inversion.malformed(reason))?;
        rows.push(vectors.clone());
    }
    // all at once: the table is copied
    let learned = encoder.learn(begin, &Tensor::cat(&rows, 0)?);
    learned.map_err(|error| first.malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn open(tensors: &[(&str, &[usize])], word: Option<&str>) -> Result<Inversion> {
        let bytes = |shape: &[usize]| 1.0f32.to_le_bytes().repeat(shape.iter().product());
        let data: Vec<_> =
            tensors.iter().map(|(name, shape)| (*name, shape.to_vec(), bytes(shape))).collect();
        let views = data
            .iter()
            .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let file: &'static [u8] = safetensors::serialize(views, None).unwrap().leak();
        let files = ModelFiles::embedded(vec![("ink.safetensors", file)].leak());
        Inversion::of_file(files, "ink.safetensors".into(), word, &Device::Cpu)
    }

    #[test]
    fn the_word_is_the_callers_or_the_files_or_the_files_name() {
        assert_eq!(open(&[("<cat>", &[8])], None).unwrap().word(), "<cat>");
        assert_eq!(open(&[("<cat>", &[8])], Some("dog")).unwrap().word(), "dog");
        assert_eq!(open(&[("emb_params", &[2, 8])], None).unwrap().word(), "ink");
        assert_eq!(open(&[("clip_l", &[2, 8]), ("clip_g", &[2, 12])], None).unwrap().word(), "ink");
    }

    #[test]
    fn what_is_no_word_with_vectors_is_refused_with_the_file() {
        for (tensors, word, named) in [
            (&[("clip_l", &[2, 8][..]), ("clip_g", &[3, 12])][..], None, "different numbers"),
            (&[("clip_l", &[2, 8]), ("emb_params", &[2, 8])], None, "same text encoder"),
            (&[("clip_l", &[2, 8]), ("other", &[2, 8])], None, "`other`"),
            (&[("emb_params", &[76, 8])], None, "76 vectors"),
            (&[("emb_params", &[0, 8])], None, "0 vectors"),
            (&[("emb_params", &[])], None, "`emb_params` is []"),
            (&[("emb_params", &[1, 8])], Some("two words"), "`two words`"),
            (&[("emb_params", &[1, 8])], Some(""), "cannot be a word"),
            (&[], None, "no vectors"),
        ] {
            let error = open(tensors, word).unwrap_err().to_string();
            assert!(error.contains("ink.safetensors") && error.contains(named), "{error}");
        }
    }
}
