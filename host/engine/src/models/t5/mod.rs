//! T5's encoder (arXiv 1910.10683, version 1.1; transformers' `T5EncoderModel`): token ids to hidden states.
//!
//! Positions are no part of the states; each layer adds a bias to its scores, told by how far two tokens are apart. The
//! first layer holds that bias for all.

mod config;
mod names;

use candle_core::{Device, Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Activation, Embedding, Linear, RmsNorm, biased_attention};
use crate::weights::{Builder, Weights};

pub use config::T5Config;

/// The component's folder in a diffusers layout.
pub(crate) const FOLDER: &str = "text_encoder_2";
/// Its weights' file, without extension.
pub(crate) const STEM: &str = "model";

/// How the name of a single file begins that stands for the folder.
const BESIDE: &str = "t5";

/// A T5 encoder with its weights.
#[derive(Debug)]
pub struct T5Encoder {
    /// (vocabulary, width)
    shared: Embedding,
    /// (classes of distances, heads)
    relative_attention_bias: Tensor,
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
    config: T5Config,
}

impl T5Encoder {
    /// Reads `text_encoder_2/`: safetensors in transformers' names or one GGUF file in llama.cpp's. Weights stay in the
    /// precision of their file.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        let weights = open(files, device)?;
        let config = T5Config::of(files, &weights)?;
        Ok(weights.build(|builder| Self::load(config, builder))?.0)
    }

    fn load(config: T5Config, builder: Builder) -> TensorResult<Self> {
        let (encoder, width) = (builder.pp("encoder"), config.d_model);
        let shared = Embedding::load(config.vocab_size, width, builder.pp("shared"))?;
        let blocks = encoder.pp("block");
        let bias = blocks.pp(0).pp("layer").pp(0).pp("SelfAttention").pp("relative_attention_bias");
        let bias = bias.get((config.relative_attention_num_buckets, config.num_heads), "weight")?;
        Ok(Self {
            shared,
            relative_attention_bias: bias,
            blocks: (0..config.num_layers)
                .map(|index| Block::load(&config, blocks.pp(index).pp("layer")))
                .collect::<TensorResult<_>>()?,
            final_layer_norm: RmsNorm::load(
                width,
                config.layer_norm_epsilon,
                encoder.pp("final_layer_norm"),
            )?,
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Ids, padded by the caller, to states (1, tokens, width). As in diffusers, padding is looked at like any token.
    pub fn forward(&self, ids: &[u32]) -> TensorResult<Tensor> {
        let bias = self.bias(ids.len())?;
        let mut hidden = self.shared.forward(ids)?.unsqueeze(0)?; // (1, tokens, width)
        for block in &self.blocks {
            hidden = block.forward(&hidden, &bias)?;
        }
        self.final_layer_norm.forward(&hidden)
    }

    /// What every layer adds to its scores: (heads, tokens, tokens).
    fn bias(&self, tokens: usize) -> TensorResult<Tensor> {
        let class = |query: usize, key: usize| class(key as i64 - query as i64, &self.config);
        let classes: Vec<u32> =
            (0..tokens).flat_map(|query| (0..tokens).map(move |key| class(query, key))).collect();
        let classes = Tensor::from_vec(classes, tokens * tokens, self.relative_attention_bias.device())?;
        let rows = self.relative_attention_bias.index_select(&classes, 0)?; // (tokens * tokens, heads)
        rows.t()?.contiguous()?.reshape((self.config.num_heads, tokens, tokens))
    }
}

/// The class of a distance (`_relative_position_bucket`): half for each direction; of a half, single distances first,
/// then ever wider ranges. The logarithm is taken in f32, as torch does: at the limits of a range its rounding decides.
fn class(distance: i64, config: &T5Config) -> u32 {
    let half = config.relative_attention_num_buckets / 2;
    let exact = half / 2;
    let magnitude = distance.unsigned_abs() as usize;
    let within = if magnitude < exact {
        magnitude
    } else {
        let ratio = (magnitude as f32 / exact as f32).ln();
        let range = (config.relative_attention_max_distance as f64 / exact as f64).ln() as f32;
        let beyond = ratio / range * (half - exact) as f32;
        (exact + beyond as usize).min(half - 1)
    };
    (within + if distance > 0 { half } else { 0 }) as u32
}

/// Self-attention and a gated feed-forward part, each after a norm and beside a shortcut.
#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
    feed_forward_norm: RmsNorm,
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

impl Block {
    fn load(config: &T5Config, builder: Builder) -> TensorResult<Self> {
        let (width, inner, eps) = (config.d_model, config.num_heads * config.d_kv, config.layer_norm_epsilon);
        let (first, second) = (builder.pp(0), builder.pp(1));
        let (attention, dense) = (first.pp("SelfAttention"), second.pp("DenseReluDense"));
        Ok(Self {
            attention_norm: RmsNorm::load(width, eps, first.pp("layer_norm"))?,
            q: Linear::load_no_bias(width, inner, attention.pp("q"))?,
            k: Linear::load_no_bias(width, inner, attention.pp("k"))?,
            v: Linear::load_no_bias(width, inner, attention.pp("v"))?,
            o: Linear::load_no_bias(inner, width, attention.pp("o"))?,
            heads: config.num_heads,
            feed_forward_norm: RmsNorm::load(width, eps, second.pp("layer_norm"))?,
            wi_0: Linear::load_no_bias(width, config.d_ff, dense.pp("wi_0"))?,
            wi_1: Linear::load_no_bias(width, config.d_ff, dense.pp("wi_1"))?,
            wo: Linear::load_no_bias(config.d_ff, width, dense.pp("wo"))?,
        })
    }

    fn forward(&self, x: &Tensor, bias: &Tensor) -> TensorResult<Tensor> {
        let normed = self.attention_norm.forward(x)?;
        let (q, k, v) = (self.q.forward(&normed)?, self.k.forward(&normed)?, self.v.forward(&normed)?);
        let x = (x + self.o.forward(&biased_attention(&q, &k, &v, self.heads, bias)?)?)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let gate = Activation::GeluTanh.forward(&self.wi_0.forward(&normed)?)?;
        x + self.wo.forward(&(gate * self.wi_1.forward(&normed)?)?)?
    }
}

/// The component's weights under transformers' names, whoever wrote them.
fn open(files: &ModelFiles, device: &Device) -> Result<Weights> {
    let weights = Weights::find(files, FOLDER, STEM, BESIDE, device)?.compact();
    // the table of `shared` once more, which some files have
    Ok(weights.renamed(names::to_transformers).without("encoder.embed_tokens.weight"))
}

/// The encoder's configuration and the bytes that it takes in memory, from the headers alone.
pub(crate) fn describe(files: &ModelFiles) -> Result<(T5Config, u64)> {
    let weights = open(files, &Device::Cpu)?;
    Ok((T5Config::of(files, &weights)?, weights.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_the_classes_of_transformers() {
        // T5Attention._relative_position_bucket of these distances, 32 classes, 128 at most
        let known = [
            (0, 0),
            (1, 17),
            (-1, 1),
            (7, 23),
            (-7, 7),
            (8, 24),
            (-8, 8),
            (12, 25),
            (-15, 9),
            (16, 26),
            (-23, 11),
            (31, 27),
            (-46, 13),
            (64, 30),
            (-90, 14),
            (91, 31),
            (-128, 15),
            (511, 31),
        ];
        for (distance, expected) in known {
            assert_eq!(class(distance, &T5Config::default()), expected, "{distance}");
        }
    }
}
