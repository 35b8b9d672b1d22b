//! `text_encoder/config.json`, and `text_encoder_2/config.json` of XL.
//!
//! Unlike the other components' files it is full of keys for training and text generation, so those that would change
//! the network are looked for by name, and the rest is left alone.

use serde::Deserialize;
use serde_json::Value;

use crate::files::ModelFiles;
use crate::kernels::Activation;
use crate::models::config::{ensure, ensure_counts, unsupported};
use crate::{Error, Result};

const WHAT: &str = "text encoder configuration";

/// A checked configuration. Keys of transformers' base class that concern training or generation are not read.
#[derive(Debug, Clone)]
pub struct ClipConfig {
    /// Width of the states.
    pub hidden_size: usize,
    /// Width inside of the feed-forward part.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each layer.
    pub num_attention_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Token ids.
    pub vocab_size: usize,
    /// Added to the variance by layer norms.
    pub layer_norm_eps: f64,
    /// Between the two linear layers.
    pub activation: Activation,
    /// Where the pooled state is taken; 2 means the old rule.
    pub eos_token_id: u32,
    /// Width of the projected pooled state, for encoders that have the projection (XL's second one).
    pub projection_dim: Option<usize>,
}

/// transformers' defaults for what the file leaves out.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    architectures: Option<Vec<String>>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    layer_norm_eps: f64,
    hidden_act: String,
    eos_token_id: u32,
    use_attention_mask: bool,
    projection_dim: usize,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            architectures: None,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            vocab_size: 49_408,
            layer_norm_eps: 1e-5,
            hidden_act: "quick_gelu".into(),
            eos_token_id: 49_407,
            use_attention_mask: false,
            projection_dim: 512,
        }
    }
}

impl ClipConfig {
    /// Reads and checks `<folder>/config.json`.
    pub(crate) fn read(files: &ModelFiles, folder: &str) -> Result<Self> {
        let name = format!("{folder}/config.json");
        let raw: Raw = files.json(&name)?;
        let is_projected = raw.is_projected()?;
        let counts = [
            ("hidden_size", raw.hidden_size),
            ("intermediate_size", raw.intermediate_size),
            ("num_hidden_layers", raw.num_hidden_layers),
            ("num_attention_heads", raw.num_attention_heads),
            ("max_position_embeddings", raw.max_position_embeddings),
            ("vocab_size", raw.vocab_size),
            ("projection_dim", raw.projection_dim),
        ];
        ensure_counts(files, &name, &counts)?;
        ensure(raw.hidden_size.is_multiple_of(raw.num_attention_heads), files, &name, || {
            format!("{} heads do not divide hidden_size {}", raw.num_attention_heads, raw.hidden_size)
        })?;
        raw.checked(is_projected)
    }
}

impl Raw {
    /// Whether the encoder ends in a projection; refuses those of another kind, whose states would be the wrong ones.
    fn is_projected(&self) -> Result<bool> {
        const KINDS: [&str; 2] = ["CLIPTextModel", "CLIPTextModelWithProjection"];
        let architectures = self.architectures.as_deref().unwrap_or_default();
        if let Some(other) = architectures.iter().find(|name| !KINDS.contains(&name.as_str())) {
            return Err(unsupported(WHAT, "architectures", &Value::from(other.as_str())));
        }
        if self.use_attention_mask {
            return Err(unsupported(WHAT, "use_attention_mask", &Value::from(true)));
        }
        Ok(architectures.iter().any(|name| name == KINDS[1]))
    }

    fn checked(self, is_projected: bool) -> Result<ClipConfig> {
        let Some(activation) = Activation::from_name(&self.hidden_act) else {
            let value = format!("hidden_act = {}", self.hidden_act);
            return Err(Error::Unsupported { what: WHAT, value, supported: "quick_gelu, gelu, silu, relu" });
        };
        Ok(ClipConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            max_position_embeddings: self.max_position_embeddings,
            vocab_size: self.vocab_size,
            layer_norm_eps: self.layer_norm_eps,
            activation,
            eos_token_id: self.eos_token_id,
            projection_dim: is_projected.then_some(self.projection_dim),
        })
    }
}
