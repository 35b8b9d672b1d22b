//! `text_encoder_2/config.json`; where there is none, the shapes of the tensors say as much.
//!
//! As CLIP's, the file is full of keys for training and generation, so those that would change the network are looked
//! for by name.

use serde::Deserialize;
use serde_json::Value;

use super::FOLDER;
use crate::files::ModelFiles;
use crate::models::config::{ensure, ensure_counts, unsupported};
use crate::weights::Weights;
use crate::{Error, Result};

const WHAT: &str = "T5 encoder configuration";
/// The feed-forward part of T5 v1.1, the only one that image models use.
const GATED: &str = "gated-gelu";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Width of the states.
    pub d_model: usize,
    /// Width of a head; `num_heads` of them need not add up to `d_model`.
    pub d_kv: usize,
    /// Width inside of the feed-forward part.
    pub d_ff: usize,
    /// Layers.
    pub num_layers: usize,
    /// Heads of each layer.
    pub num_heads: usize,
    /// Token ids.
    pub vocab_size: usize,
    /// Distances between tokens are told apart in so many classes.
    pub relative_attention_num_buckets: usize,
    /// From this distance on they are no longer.
    pub relative_attention_max_distance: usize,
    /// Added to the mean square by norms.
    pub layer_norm_epsilon: f64,
    architectures: Option<Vec<String>>,
    feed_forward_proj: String,
}

/// transformers' defaults for what the file leaves out, but for the feed-forward part.
impl Default for T5Config {
    fn default() -> Self {
        Self {
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            vocab_size: 32_128,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            architectures: None,
            feed_forward_proj: "relu".into(),
        }
    }
}

impl T5Config {
    /// Reads and checks the file, or tells the configuration from the weights.
    pub(super) fn of(files: &ModelFiles, weights: &Weights) -> Result<Self> {
        let name = format!("{FOLDER}/config.json");
        match files.contains(&name) {
            true => Self::read(files, &name),
            false => Self::from_shapes(weights).ok_or_else(|| {
                weights.malformed("holds no T5 v1.1 encoder; others need text_encoder_2/config.json")
            }),
        }
    }

    fn read(files: &ModelFiles, name: &str) -> Result<Self> {
        let config: Self = files.json(name)?;
        let architectures = config.architectures.as_deref().unwrap_or_default();
        if let Some(other) = architectures.iter().find(|name| *name != "T5EncoderModel") {
            return Err(unsupported(WHAT, "architectures", &Value::from(other.as_str())));
        }
        if config.feed_forward_proj != GATED {
            let value = format!("feed_forward_proj = {}", config.feed_forward_proj);
            return Err(Error::Unsupported { what: WHAT, value, supported: GATED });
        }
        let counts = [
            ("d_model", config.d_model),
            ("d_kv", config.d_kv),
            ("d_ff", config.d_ff),
            ("num_layers", config.num_layers),
            ("num_heads", config.num_heads),
            ("vocab_size", config.vocab_size),
            ("relative_attention_num_buckets", config.relative_attention_num_buckets),
            ("relative_attention_max_distance", config.relative_attention_max_distance),
        ];
        ensure_counts(files, name, &counts)?;
        // half of the classes for each direction, half of those for single distances; the rest grow to the maximum
        let (buckets, distance) = (counts[6].1, counts[7].1);
        ensure(buckets.is_multiple_of(4) && distance > buckets / 4, files, name, || {
            format!(
                "relative_attention_num_buckets {buckets} must be a multiple of 4 and less than 4 times \
                     relative_attention_max_distance {distance}"
            )
        })?;
        Ok(config)
    }

    /// What no tensor says is as in every published T5 v1.1.
    fn from_shapes(weights: &Weights) -> Option<Self> {
        let [vocab_size, d_model] = *weights.shape("shared.weight")? else { return None };
        let bias = weights.shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")?;
        let [relative_attention_num_buckets, num_heads] = *bias else { return None };
        let [inner, _] = *weights.shape("encoder.block.0.layer.0.SelfAttention.q.weight")? else {
            return None;
        };
        let [d_ff, _] = *weights.shape("encoder.block.0.layer.1.DenseReluDense.wi_0.weight")? else {
            return None;
        };
        let has_layer = |index: &usize| {
            weights.shape(&format!("encoder.block.{index}.layer.0.layer_norm.weight")).is_some()
        };
        let num_layers = (0..).take_while(has_layer).count();
        let is_sound =
            num_heads > 0 && inner.is_multiple_of(num_heads) && relative_attention_num_buckets == 32;
        is_sound.then(|| Self {
            d_model,
            d_kv: inner / num_heads,
            d_ff,
            num_layers,
            num_heads,
            vocab_size,
            relative_attention_num_buckets,
            feed_forward_proj: GATED.into(),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &'static str) -> Result<T5Config> {
        let files: &'static [(&str, &[u8])] = vec![("text_encoder_2/config.json", json.as_bytes())].leak();
        T5Config::read(&ModelFiles::embedded(files), "text_encoder_2/config.json")
    }

    #[test]
    fn keys_of_training_and_generation_are_left_alone() {
        let config =
            read(r#"{"feed_forward_proj": "gated-gelu", "d_model": 4096, "use_cache": true}"#).unwrap();
        assert_eq!((config.d_model, config.num_heads), (4096, 8));
    }

    #[test]
    fn another_encoder_is_refused_by_key() {
        for (json, named) in [
            ("{}", "feed_forward_proj = relu"),
            (r#"{"feed_forward_proj": "gated-gelu", "architectures": ["T5Model"]}"#, "architectures"),
            (r#"{"feed_forward_proj": "gated-gelu", "num_heads": 0}"#, "num_heads"),
            (r#"{"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 30}"#, "num_buckets"),
            (r#"{"feed_forward_proj": "gated-gelu", "relative_attention_max_distance": 8}"#, "max_distance"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }
}
