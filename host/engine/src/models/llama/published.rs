//! `config.json` of a language model as transformers writes it, of version 4 and of version 5, to what the network is made
//! of. Keys that would change the network and are not implemented are refused by name; the rest is left alone.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::{LayerConfig, LlamaConfig, MAX_LAYERS, Rope, Scaling};
use crate::files::ModelFiles;
use crate::kernels::{Activation, Pairs};
use crate::{Error, Result};

pub(super) const NAME: &str = "config.json";
const WHAT: &str = "language model with";
/// Gemma 2 and 3: every so many layers, one sees the whole text; transformers' defaults.
const GEMMA_2_PATTERN: usize = 2;
const GEMMA_3_PATTERN: usize = 6;
const GEMMA_LOCAL_THETA: f64 = 10_000.0;
const THETA: f64 = 10_000.0;

/// The keys of all families; a missing one is the family's default.
#[derive(Debug, Deserialize)]
struct File {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    query_pre_attn_scalar: Option<f64>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    use_bidirectional_attention: Option<bool>,
}

/// What makes one family another.
struct Family {
    name: &'static str,
    context: usize,
    eps: f64,
    has_qkv_bias: bool,
    has_head_norms: bool,
    is_tied: bool,
    /// Whether `sliding_window` is of every layer where nothing else is said.
    slides: bool,
}

const FAMILIES: [(&str, Family); 7] = {
    const PLAIN: Family = Family {
        name: "llama",
        context: 2_048,
        eps: 1e-6,
        has_qkv_bias: false,
        has_head_norms: false,
        is_tied: false,
        slides: false,
    };
    [
        ("llama", PLAIN),
        ("mistral", Family { name: "mistral", context: 131_072, slides: true, ..PLAIN }),
        ("qwen2", Family { name: "qwen2", context: 32_768, has_qkv_bias: true, ..PLAIN }),
        ("qwen3", Family { name: "qwen3", context: 32_768, has_head_norms: true, ..PLAIN }),
        ("gemma2", Family { name: "gemma2", context: 8_192, is_tied: true, ..PLAIN }),
        (
            "gemma3_text",
            Family { name: "gemma3", context: 131_072, has_head_norms: true, is_tied: true, ..PLAIN },
        ),
        ("phi3", Family { name: "phi3", context: 4_096, eps: 1e-5, slides: true, ..PLAIN }),
    ]
};

/// Whether a folder's `model_type` is that of a language model.
pub(super) fn is_known(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}

/// Reads and checks the file.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::Unsupported`] name the file or the key.
pub(super) fn read(files: &ModelFiles) -> Result<LlamaConfig> {
    let file: File = files.json(NAME)?;
    let malformed = |reason: String| files.malformed(NAME, reason);
    let Some((_, family)) = FAMILIES.iter().find(|(name, _)| *name == file.model_type) else {
        return Err(unsupported(format!("model_type = {}", file.model_type)));
    };
    file.check_kind(family)?;
    if file.num_attention_heads == 0 || file.num_hidden_layers > MAX_LAYERS {
        let reason = format!("{} heads in {} layers", file.num_attention_heads, file.num_hidden_layers);
        return Err(malformed(reason));
    }
    let head_width = file.head_dim.unwrap_or(file.hidden_size / file.num_attention_heads);
    let is_gemma = family.is_gemma();
    let ropes = file.ropes(family, head_width).map_err(|value| unsupported(value.to_string()))?;
    let config = LlamaConfig {
        family: family.name,
        vocabulary: file.vocab_size,
        width: file.hidden_size,
        heads: file.num_attention_heads,
        kv_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
        head_width,
        inner: file.intermediate_size,
        context: file.max_position_embeddings.unwrap_or(family.context),
        eps: file.rms_norm_eps.unwrap_or(family.eps),
        norm_offset: if is_gemma { 1.0 } else { 0.0 },
        activation: file.activation(is_gemma)?,
        has_qkv_bias: family.has_qkv_bias,
        has_head_norms: family.has_head_norms,
        has_outer_norms: is_gemma,
        is_tied: file.tie_word_embeddings.unwrap_or(family.is_tied),
        embedding_scale: if is_gemma { (file.hidden_size as f64).sqrt() } else { 1.0 },
        attention_scale: match file.query_pre_attn_scalar.filter(|_| is_gemma) {
            Some(scalar) => scalar.powf(-0.5),
            None if is_gemma => 256f64.powf(-0.5),
            None => (head_width as f64).powf(-0.5),
        },
        attention_softcap: file.attn_logit_softcapping,
        logit_softcap: file.final_logit_softcapping.filter(|_| is_gemma),
        layers: file.layers(family, ropes.len())?,
        ropes,
    };
    config.check().map_err(malformed)?;
    Ok(config)
}

impl Family {
    fn is_gemma(&self) -> bool {
        self.name.starts_with("gemma")
    }

    /// One of so many layers sees the whole text.
    fn pattern(&self) -> Option<usize> {
        match self.name {
            "gemma2" => Some(GEMMA_2_PATTERN),
            "gemma3" => Some(GEMMA_3_PATTERN),
            _ => None,
        }
    }
}

impl File {
    fn check_kind(&self, family: &Family) -> Result<()> {
        for (key, value) in [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
            ("use_bidirectional_attention", self.use_bidirectional_attention),
        ] {
            if value == Some(true) {
                return Err(unsupported(format!("{key} = true in a {}", family.name)));
            }
        }
        // transformers does not look at it elsewhere
        match self.attn_logit_softcapping.filter(|_| family.name != "gemma2") {
            Some(cap) => Err(unsupported(format!("attn_logit_softcapping = {cap} in a {}", family.name))),
            None => Ok(()),
        }
    }

    fn activation(&self, is_gemma: bool) -> Result<Activation> {
        let default = if is_gemma { "gelu_pytorch_tanh" } else { "silu" };
        let own = if is_gemma { &self.hidden_activation } else { &self.hidden_act };
        let name = own.as_deref().unwrap_or(default);
        Activation::from_name(name).ok_or_else(|| unsupported(format!("hidden_act = {name}")))
    }

    /// The window and the rope of each layer.
    fn layers(&self, family: &Family, ropes: usize) -> Result<Vec<LayerConfig>> {
        let pattern = family.pattern().map(|pattern| self.sliding_window_pattern.unwrap_or(pattern).max(1));
        let is_qwen = family.name.starts_with("qwen");
        let slides = |index: usize| -> Result<bool> {
            if is_qwen && self.use_sliding_window != Some(true) {
                return Ok(false);
            }
            match self.layer_types.as_ref().map(|types| types.get(index).map(String::as_str)) {
                Some(Some("sliding_attention")) => Ok(true),
                Some(Some("full_attention")) => Ok(false),
                Some(other) => {
                    Err(unsupported(format!("layer_types[{index}] = {}", other.unwrap_or("missing"))))
                }
                None if let Some(pattern) = pattern => Ok(!(index + 1).is_multiple_of(pattern)),
                None if is_qwen => Ok(index >= self.max_window_layers.unwrap_or(28)),
                None => Ok(family.slides),
            }
        };
        let layer = |index: usize| {
            let is_local = slides(index)?;
            let window = self.sliding_window.filter(|_| is_local);
            Ok(LayerConfig { window, rope: usize::from(is_local && ropes > 1) })
        };
        (0..self.num_hidden_layers).map(layer).collect()
    }

    /// The rope of layers that see everything, and where there is one, that of the others.
    fn ropes(&self, family: &Family, head: usize) -> std::result::Result<Vec<Rope>, String> {
        let own = Map::new();
        let parameters = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()).unwrap_or(&own);
        let of = |parameters: &Map<String, Value>, theta: Option<f64>| -> std::result::Result<Rope, String> {
            let number = |key: &str| parameters.get(key).and_then(Value::as_f64);
            let part = number("partial_rotary_factor").or(self.partial_rotary_factor).unwrap_or(1.0);
            Ok(Rope {
                width: (head as f64 * part.clamp(0.0, 1.0)) as usize,
                theta: number("rope_theta").or(theta).unwrap_or(THETA),
                scaling: self.scaling(parameters, family)?,
                pairs: Pairs::Halves,
            })
        };
        if family.name != "gemma3" {
            return Ok(vec![of(parameters, self.rope_theta)?]);
        }
        // version 5 writes both kinds under one key
        let part = |name: &str| parameters.get(name).and_then(Value::as_object);
        let global = of(part("full_attention").unwrap_or(parameters), self.rope_theta.or(Some(1_000_000.0)))?;
        let local_theta = self.rope_local_base_freq.or(Some(GEMMA_LOCAL_THETA));
        let local = of(part("sliding_attention").unwrap_or(&own), local_theta)?;
        Ok(vec![global, local])
    }

    fn scaling(
        &self,
        parameters: &Map<String, Value>,
        family: &Family,
    ) -> std::result::Result<Scaling, String> {
        let number = |key: &str| {
            let value = parameters.get(key).and_then(Value::as_f64);
            value.ok_or_else(|| format!("rope_scaling without {key}"))
        };
        let kind = parameters.get("rope_type").or(parameters.get("type")).and_then(Value::as_str);
        match kind.unwrap_or("default") {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear(number("factor")?)),
            "llama3" => Ok(Scaling::Llama3 {
                factor: number("factor")?,
                low: number("low_freq_factor")?,
                high: number("high_freq_factor")?,
                original: number("original_max_position_embeddings")? as usize,
            }),
            // `su` is what the first files called it
            "longrope" | "su" => self.long(parameters, family),
            other => Err(format!("rope_scaling.rope_type = {other}")),
        }
    }

    fn long(&self, parameters: &Map<String, Value>, family: &Family) -> std::result::Result<Scaling, String> {
        let list = |key: &str| {
            let values = parameters.get(key).and_then(Value::as_array);
            let values =
                values.and_then(|values| values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
            values.filter(|values| !values.is_empty()).ok_or_else(|| format!("rope_scaling without {key}"))
        };
        let context = self.max_position_embeddings.unwrap_or(family.context);
        let own = parameters.get("original_max_position_embeddings").and_then(Value::as_u64);
        let original =
            own.map(|own| own as usize).or(self.original_max_position_embeddings).unwrap_or(context);
        let number = |key: &str| parameters.get(key).and_then(Value::as_f64);
        let factor = number("factor").unwrap_or(context as f64 / original.max(1) as f64);
        let scale = number("attention_factor").unwrap_or_else(|| long_scale(factor, original));
        Ok(Scaling::Long { short: list("short_factor")?, long: list("long_factor")?, original, scale })
    }
}

/// What LongRoPE multiplies by where a context is so many times longer than it was at first.
pub(super) fn long_scale(factor: f64, original: usize) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() }
}

fn unsupported(value: String) -> Error {
    let supported = "model_type llama, mistral, qwen2, qwen3, gemma2, gemma3_text and phi3 as they are published, with rope_scaling \
                     of the types linear, llama3 and longrope";
    Error::Unsupported { what: WHAT, value, supported }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_with(change: impl FnOnce(&mut Value)) -> Result<LlamaConfig> {
        let mut file = json!({
            "model_type": "llama", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256, "rope_theta": 500_000.0,
        });
        change(&mut file);
        let bytes: &'static [u8] = file.to_string().into_bytes().leak();
        read(&ModelFiles::embedded(vec![(NAME, bytes)].leak()))
    }

    #[test]
    fn windows_and_ropes_are_those_of_the_family() {
        let windows =
            |config: &LlamaConfig| config.layers.iter().map(|layer| layer.window).collect::<Vec<_>>();
        let plain = read_with(|file| file["sliding_window"] = 9.into()).unwrap();
        assert_eq!((windows(&plain), plain.ropes[0].theta), (vec![None; 4], 500_000.0));
        let mistral = read_with(|file| {
            file["model_type"] = "mistral".into();
            file["sliding_window"] = 9.into();
        });
        assert_eq!(windows(&mistral.unwrap()), [Some(9); 4]);
        let gemma = read_with(|file| {
            file["model_type"] = "gemma3_text".into();
            file["sliding_window"] = 9.into();
            file["sliding_window_pattern"] = 2.into();
            file["rope_local_base_freq"] = 10.0.into();
        });
        let gemma = gemma.unwrap();
        assert_eq!(windows(&gemma), [Some(9), None, Some(9), None]);
        assert_eq!(gemma.ropes.iter().map(|rope| rope.theta).collect::<Vec<_>>(), [500_000.0, 10.0]);
        assert_eq!(gemma.layers.iter().map(|layer| layer.rope).collect::<Vec<_>>(), [1, 0, 1, 0]);
        let qwen = read_with(|file| {
            file["model_type"] = "qwen2".into();
            file["sliding_window"] = 9.into();
            file["use_sliding_window"] = true.into();
            file["max_window_layers"] = 3.into();
        });
        assert_eq!(windows(&qwen.unwrap()), [None, None, None, Some(9)]);
    }

    #[test]
    fn what_would_need_another_network_or_makes_no_sense_is_refused_by_its_key() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 14] = [
            (|file| file["model_type"] = "mamba".into(), "model_type = mamba"),
            (|file| file["attention_bias"] = true.into(), "attention_bias = true"),
            (|file| file["mlp_bias"] = true.into(), "mlp_bias = true"),
            (|file| file["hidden_act"] = "relu6".into(), "hidden_act = relu6"),
            (|file| file["attn_logit_softcapping"] = 5.0.into(), "attn_logit_softcapping = 5"),
            (|file| file["rope_scaling"] = json!({"type": "yarn", "factor": 4.0}), "rope_type = yarn"),
            (|file| file["rope_scaling"] = json!({"type": "linear"}), "rope_scaling without factor"),
            (|file| file["rope_scaling"] = json!({"type": "linear", "factor": 0.0}), "factor 0"),
            (|file| file["layer_types"] = json!(["full_attention"]), "layer_types[1] = missing"),
            (|file| file["num_attention_heads"] = 0.into(), "0 heads"),
            (|file| file["num_key_value_heads"] = 3.into(), "4 heads share 3"),
            (|file| file["head_dim"] = 7.into(), "each 7 wide"),
            (|file| file["hidden_size"] = json!(1u64 << 40), "the width is"),
            (|file| file["partial_rotary_factor"] = 0.1.into(), "turns 0 values"),
        ];
        for (change, wrong) in cases {
            let error = read_with(change).unwrap_err().to_string();
            assert!(error.contains(wrong), "wanted `{wrong}`: {error}");
        }
    }
}
