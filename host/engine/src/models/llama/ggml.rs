//! Metadata of a language model's GGUF file, as llama.cpp's converter writes it, to what the network is made of; and the
//! names that tensors have there. What llama.cpp knows by heart of a family, and so does not write, stands here.

use super::config::{LayerConfig, LlamaConfig, MAX_LAYERS, Rope, Scaling};
use crate::kernels::{Activation, Pairs};
use crate::weights::{Metadata, Weights};
use crate::{Error, Result};

pub(super) const ARCHITECTURE: &str = "general.architecture";
/// Gemma 2 and 3: one layer of so many sees the whole text.
const GEMMA_2_PATTERN: usize = 2;
const GEMMA_3_PATTERN: usize = 6;
/// What turns Gemma 3's other layers.
const GEMMA_LOCAL_THETA: f64 = 10_000.0;
/// The one size of each whose scores are scaled by something else than the width of a head.
const GEMMA_27B: [(&str, usize); 2] = [("gemma2", 46), ("gemma3", 62)];
/// Pieces of Gemma's norms hold the whole weight here, other than in safetensors.
const NORM_OFFSET: f64 = 0.0;

/// Families by the name of their architecture.
const FAMILIES: [&str; 6] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"];

/// The keys below an architecture's name.
struct Keys<'a> {
    metadata: &'a Metadata,
    family: &'static str,
}

/// Whether a file's architecture is that of a language model.
pub(super) fn is_known(architecture: &str) -> bool {
    FAMILIES.contains(&architecture)
}

/// Reads and checks the metadata; `weights` are of the same file.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::Unsupported`] name the file or the key.
pub(super) fn read(metadata: &Metadata, weights: &Weights) -> Result<LlamaConfig> {
    let keys = Keys { metadata, family: family(metadata)? };
    let number_of_layers = keys.needed("block_count")?;
    let heads = keys.needed("attention.head_count")?;
    if heads == 0 || number_of_layers > MAX_LAYERS {
        return Err(metadata.malformed(format!("{heads} heads in {number_of_layers} layers")));
    }
    let width = keys.needed("embedding_length")?;
    let is_gemma = keys.family.starts_with("gemma");
    let head_width = keys.count("attention.key_length")?.unwrap_or(width / heads);
    let values = keys.count("attention.value_length")?.unwrap_or(head_width);
    if values != head_width {
        return Err(metadata.malformed(format!("values are {values} wide and keys {head_width}")));
    }
    let vocabulary = weights.shape("embed_tokens.weight").and_then(|shape| shape.first()).copied();
    let ropes = keys.ropes(head_width)?;
    let is_27b = GEMMA_27B.contains(&(keys.family, number_of_layers));
    let attention_width = if is_27b { width / heads } else { head_width };
    let config = LlamaConfig {
        family: keys.family,
        vocabulary: metadata.needed("token_embd.weight", vocabulary)?,
        width,
        heads,
        kv_heads: keys.count("attention.head_count_kv")?.unwrap_or(heads),
        head_width,
        inner: keys.needed("feed_forward_length")?,
        context: keys.needed("context_length")?,
        eps: keys.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        norm_offset: NORM_OFFSET,
        activation: if is_gemma { Activation::GeluTanh } else { Activation::Silu },
        has_qkv_bias: keys.family == "qwen2",
        has_head_norms: ["qwen3", "gemma3"].contains(&keys.family),
        has_outer_norms: is_gemma,
        is_tied: weights.shape("lm_head.weight").is_none(),
        embedding_scale: if is_gemma { (width as f64).sqrt() } else { 1.0 },
        attention_scale: (attention_width as f64).powf(-0.5),
        attention_softcap: keys.number("attn_logit_softcapping")?,
        logit_softcap: keys.number("final_logit_softcapping")?,
        layers: keys.layers(number_of_layers, ropes.len())?,
        ropes,
    };
    config.check().map_err(|reason| metadata.malformed(reason))?;
    Ok(config)
}

/// The file's architecture, if it is known.
fn family(metadata: &Metadata) -> Result<&'static str> {
    let name = metadata.needed(ARCHITECTURE, metadata.text(ARCHITECTURE)?)?;
    FAMILIES.into_iter().find(|family| *family == name).ok_or_else(|| Error::Unsupported {
        what: ARCHITECTURE,
        value: name.into(),
        supported: "llama, qwen2, qwen3, gemma2, gemma3 and phi3",
    })
}

impl Keys<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.family)
    }

    fn count(&self, key: &str) -> Result<Option<usize>> {
        self.metadata.count(&self.key(key))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.key(key))
    }

    fn needed(&self, key: &str) -> Result<usize> {
        self.metadata.needed(&self.key(key), self.count(key)?)
    }

    fn layers(&self, count: usize, ropes: usize) -> Result<Vec<LayerConfig>> {
        let window = self.count("attention.sliding_window")?.filter(|window| *window > 0);
        let pattern = match self.family {
            "gemma2" => Some(GEMMA_2_PATTERN),
            "gemma3" => Some(GEMMA_3_PATTERN),
            _ => None,
        };
        let layer = |index: usize| {
            let is_local = pattern.is_none_or(|pattern| !(index + 1).is_multiple_of(pattern));
            LayerConfig { window: window.filter(|_| is_local), rope: usize::from(is_local && ropes > 1) }
        };
        Ok((0..count).map(layer).collect())
    }

    fn ropes(&self, head: usize) -> Result<Vec<Rope>> {
        let rope = Rope {
            width: self.count("rope.dimension_count")?.unwrap_or(head),
            theta: self.number("rope.freq_base")?.unwrap_or(10_000.0),
            scaling: self.scaling()?,
            // llama.cpp's converter reorders the rows of this architecture alone
            pairs: if self.family == "llama" { Pairs::Neighbours } else { Pairs::Halves },
        };
        if self.family != "gemma3" {
            return Ok(vec![rope]);
        }
        let theta = self.number("rope.freq_base_swa")?.unwrap_or(GEMMA_LOCAL_THETA);
        let local = Rope { theta, scaling: Scaling::None, ..rope.clone() };
        Ok(vec![rope, local])
    }

    /// Llama 3's and LongRoPE's factors are tensors of the file.
    fn scaling(&self) -> Result<Scaling> {
        if let Some(scale) = self.number("rope.scaling.attn_factor")? {
            let original = self.needed("rope.scaling.original_context_length")?;
            return Ok(Scaling::Long { short: vec![], long: vec![], original, scale });
        }
        let key = self.key("rope.scaling.type");
        match self.metadata.text(&key)?.unwrap_or("none") {
            "none" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear(self.number("rope.scaling.factor")?.unwrap_or(1.0))),
            other => Err(Error::Unsupported {
                what: "rope.scaling.type",
                value: other.into(),
                supported: "none and linear, and what tensors of the file say",
            }),
        }
    }
}

/// The name that a tensor has in safetensors, for one of a GGUF file.
pub(super) fn published_name(family: &str, name: &str) -> Option<String> {
    let whole = match name {
        "token_embd.weight" => "embed_tokens.weight",
        "output_norm.weight" => "norm.weight",
        "output.weight" => "lm_head.weight",
        _ => "",
    };
    if !whole.is_empty() {
        return Some(whole.into());
    }
    let (index, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let is_gemma = family.starts_with("gemma");
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_norm" if is_gemma => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_attention_norm" => "post_attention_layernorm",
        "post_ffw_norm" => "post_feedforward_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        // gate and value in one
        "ffn_up" if family == "phi3" => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("layers.{index}.{part}.{kind}"))
}
