//! The files of a network, in either form: a folder as transformers writes it, or one GGUF file. Both come out with the same
//! description and the same names of tensors.

use candle_core::Device;

use super::{LlamaConfig, LlamaNetwork, ggml, published};
use crate::Result;
use crate::files::ModelFiles;
use crate::weights::{Metadata, Weights};

/// The folder of a model that has no parts: its own.
const FOLDER: &str = "";
/// Its weights' file, without extension.
const STEM: &str = "model";
const HEAD: &str = "lm_head.weight";
/// The files of a network: its description and its weights, none of them read yet.
pub(crate) struct Opened {
    pub(crate) config: LlamaConfig,
    pub(crate) weights: Weights,
    /// Of a GGUF file.
    pub(crate) metadata: Option<Metadata>,
}

impl Opened {
    /// A folder as transformers writes it, or one GGUF file.
    ///
    /// # Errors
    /// [`crate::Error::Read`], [`crate::Error::Malformed`] and [`crate::Error::Unsupported`] name the file, and the key.
    pub(crate) fn new(files: &ModelFiles, device: &Device) -> Result<Self> {
        match gguf_name(files)? {
            Some(name) => Self::of_gguf(files, &name, device),
            None => Self::of_folder(files, device),
        }
    }

    fn of_folder(files: &ModelFiles, device: &Device) -> Result<Self> {
        let config = published::read(files)?;
        let weights = Weights::find(files, FOLDER, STEM, STEM, device)?.compact().without_prefix("model.");
        // files that tie them may write the matrix twice
        let weights = if config.is_tied { weights.without(HEAD) } else { weights };
        Ok(Self { weights: in_parts(weights, &config)?, config, metadata: None })
    }

    fn of_gguf(files: &ModelFiles, name: &str, device: &Device) -> Result<Self> {
        let metadata = Metadata::open(files, name)?;
        let family = metadata.text(ggml::ARCHITECTURE)?.unwrap_or_default().to_string();
        let weights = Weights::file(files, name, device)?.compact();
        let weights = weights.renamed(|name| ggml::published_name(&family, name));
        let config = ggml::read(&metadata, &weights)?;
        Ok(Self { weights: in_parts(weights, &config)?, config, metadata: Some(metadata) })
    }

    /// Reads the weights. Matrices stay in the precision of their file.
    ///
    /// # Errors
    /// Those of the files, by tensor.
    pub(crate) fn network(self, device: &Device) -> Result<LlamaNetwork> {
        let (network, _) = self.weights.build(|vb| LlamaNetwork::load(self.config, vb, device))?;
        Ok(network)
    }
}

/// Whether files are those of such a network: one GGUF file of a known architecture, or a folder whose `config.json` names a
/// known type.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file.
pub(crate) fn is_known(files: &ModelFiles) -> Result<bool> {
    if let Some(name) = gguf_name(files)? {
        let metadata = Metadata::open(files, &name)?;
        return Ok(metadata.text(ggml::ARCHITECTURE)?.is_some_and(ggml::is_known));
    }
    if !files.contains(published::NAME) || files.contains("model_index.json") {
        return Ok(false);
    }
    #[derive(serde::Deserialize)]
    struct Kind {
        model_type: Option<String>,
    }
    let kind: Kind = files.json(published::NAME)?;
    Ok(kind.model_type.is_some_and(|kind| published::is_known(&kind)))
}

/// The one GGUF file of a folder that has no safetensors.
///
/// # Errors
/// [`crate::Error::Malformed`] where there are several.
fn gguf_name(files: &ModelFiles) -> Result<Option<String>> {
    let names = files.list(FOLDER)?;
    if names.iter().any(|name| name.ends_with(".safetensors")) {
        return Ok(None);
    }
    let mut ggufs = names.into_iter().filter(|name| name.ends_with(".gguf"));
    match (ggufs.next(), ggufs.next()) {
        (first, None) => Ok(first),
        (Some(first), Some(second)) => {
            let reason =
                format!("{first} and {second} could each be the model; name one of them as its source");
            Err(files.malformed(FOLDER, reason))
        }
        (None, Some(_)) => Ok(None),
    }
}

/// With fused matrices cut into those that the layers have.
fn in_parts(weights: Weights, config: &LlamaConfig) -> Result<Weights> {
    weights.split(|name, _| {
        let of = |parts: &[(&str, usize)]| {
            let (layer, _) = name.rsplit_once('.')?.0.rsplit_once('.')?;
            Some(parts.iter().map(|(part, rows)| (format!("{layer}.{part}.weight"), *rows)).collect())
        };
        let (heads, keys) = (config.heads * config.head_width, config.kv_width());
        match name {
            _ if name.ends_with("qkv_proj.weight") => {
                of(&[("q_proj", heads), ("k_proj", keys), ("v_proj", keys)])
            }
            _ if name.ends_with("gate_up_proj.weight") => {
                of(&[("gate_proj", config.inner), ("up_proj", config.inner)])
            }
            _ => None,
        }
    })
}
