//! CLIP's text encoder (arXiv 2103.00020; transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`): token ids to
//! hidden states.

mod config;

use atelier_inference::Precision;
use candle_core::{D, IndexOp, Result as TensorResult, Tensor};
use candle_nn::{Embedding, Module};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Activation, LayerNorm, Linear, Mask, attention};
use crate::weights::{Builder, Slots, Weights};

pub use config::ClipConfig;

/// Its weights' file, without extension.
pub(crate) const STEM: &str = "model";

/// A text encoder with its weights.
#[derive(Debug)]
pub struct ClipTextEncoder {
    /// (vocabulary, width)
    token_embedding: Embedding,
    /// (positions, width)
    position_embedding: Tensor,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    eos_token_id: u32,
    slots: Slots,
}

/// Which layer's states are taken, counted from the last, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum States {
    /// With the final norm: Stable Diffusion 1 and 2.
    Normed(usize),
    /// As the layer left them: XL.
    Raw(usize),
}

/// What the encoder makes of a batch of token ids.
#[derive(Debug)]
pub struct Encoded {
    /// The chosen layer's states: (batch, tokens, width).
    pub hidden: Tensor,
    /// The last layer's normed state at each end-of-text token, projected where the encoder has a projection:
    /// (batch, width).
    pub pooled: Tensor,
}

impl ClipTextEncoder {
    /// Reads a folder, such as `text_encoder`.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, folder: &str, device: &candle_core::Device) -> Result<Self> {
        let config = ClipConfig::read(files, folder)?;
        // transformers 5 writes the same tensors without the outer name
        let weights = Weights::load(files, folder, STEM, device)?.without_prefix("text_model.");
        let (encoder, slots) = weights.build(|vb| Self::load(&config, vb))?;
        Ok(Self { slots, ..encoder })
    }

    fn load(config: &ClipConfig, vb: Builder) -> TensorResult<Self> {
        let (width, embeddings) = (config.hidden_size, vb.pp("embeddings"));
        let tokens = embeddings.pp("token_embedding").get((config.vocab_size, width), "weight")?;
        let positions = (config.max_position_embeddings, width);
        let layers = vb.pp("encoder").pp("layers");
        let projection = |outputs| Linear::load_no_bias(width, outputs, vb.pp("text_projection"));
        Ok(Self {
            token_embedding: Embedding::new(tokens, width),
            position_embedding: embeddings.pp("position_embedding").get(positions, "weight")?,
            layers: (0..config.num_hidden_layers)
                .map(|index| EncoderLayer::load(config, layers.pp(index)))
                .collect::<TensorResult<_>>()?,
            final_layer_norm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("final_layer_norm"))?,
            text_projection: config.projection_dim.map(projection).transpose()?,
            eos_token_id: config.eos_token_id,
            slots: Slots::default(),
        })
    }

    /// Where adapters are attached to its layers; names begin below `text_model`.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Width of the states.
    pub(crate) fn width(&self) -> usize {
        self.token_embedding.hidden_size()
    }

    /// Learns the vectors (ids, width) of new token ids from `first` on. Rows that the table has there already belong to
    /// no token.
    pub(crate) fn learn(&mut self, first: usize, vectors: &Tensor) -> TensorResult<()> {
        let known = self.token_embedding.embeddings().narrow(0, 0, first)?;
        let width = self.width();
        self.token_embedding = Embedding::new(Tensor::cat(&[&known, vectors], 0)?, width);
        Ok(())
    }

    /// Layers, so the most that may be skipped.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Encodes rows of ids, all of one length. `states` counts layers back as transformers' `hidden_states[-(n + 1)]`.
    pub fn forward(&self, ids: &[Vec<u32>], states: States) -> TensorResult<Encoded> {
        let mut state = self.embed(ids)?; // (b, tokens, width)
        let (States::Normed(skip) | States::Raw(skip)) = states;
        let kept = self.layers.len().saturating_sub(skip);
        let mut hidden = state.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            state = layer.forward(&state)?;
            if index + 1 == kept {
                hidden = state.clone();
            }
        }
        let last = self.final_layer_norm.forward(&state)?;
        let hidden = match states {
            States::Normed(0) => last.clone(),
            States::Normed(_) => self.final_layer_norm.forward(&hidden)?,
            States::Raw(_) => hidden,
        };
        Ok(Encoded { hidden, pooled: self.pool(&last, ids)? })
    }

    /// Rows of ids to (batch, tokens, width): what each token means, and where it stands.
    fn embed(&self, ids: &[Vec<u32>]) -> TensorResult<Tensor> {
        let tokens = ids.first().map_or(0, Vec::len);
        let flat: Vec<u32> = ids.concat();
        let ids = Tensor::from_vec(flat, (ids.len(), tokens), self.position_embedding.device())?;
        let positions = self.position_embedding.narrow(0, 0, tokens)?;
        self.token_embedding.forward(&ids)?.broadcast_add(&positions)
    }

    /// (batch, width or projection's width), from the final norm's states (batch, tokens, width).
    fn pool(&self, last: &Tensor, ids: &[Vec<u32>]) -> TensorResult<Tensor> {
        let at = |(row, ids): (usize, &Vec<u32>)| last.i((row, end_of_text(ids, self.eos_token_id)));
        let rows: Vec<_> = ids.iter().enumerate().map(at).collect::<TensorResult<_>>()?;
        let pooled = Tensor::stack(&rows, 0)?;
        match &self.text_projection {
            Some(projection) => projection.forward(&pooled),
            None => Ok(pooled),
        }
    }
}

/// The first end-of-text token. Configurations from before transformers 4.31 name id 2, which was a mistake; with those
/// the token of the highest id is meant.
fn end_of_text(ids: &[u32], eos: u32) -> usize {
    let wanted = if eos == 2 { ids.iter().copied().max().unwrap_or(eos) } else { eos };
    ids.iter().position(|id| *id == wanted).unwrap_or(0)
}

/// One transformer layer with the norms before its two parts. Attention is causal: a token sees none after itself.
#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
    heads: usize,
}

impl EncoderLayer {
    fn load(config: &ClipConfig, vb: Builder) -> TensorResult<Self> {
        let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let (self_attn, mlp) = (vb.pp("self_attn"), vb.pp("mlp"));
        Ok(Self {
            layer_norm1: LayerNorm::load(width, eps, vb.pp("layer_norm1"))?,
            q_proj: Linear::load(width, width, self_attn.pp("q_proj"))?,
            k_proj: Linear::load(width, width, self_attn.pp("k_proj"))?,
            v_proj: Linear::load(width, width, self_attn.pp("v_proj"))?,
            out_proj: Linear::load(width, width, self_attn.pp("out_proj"))?,
            layer_norm2: LayerNorm::load(width, eps, vb.pp("layer_norm2"))?,
            fc1: Linear::load(width, inner, mlp.pp("fc1"))?,
            activation: config.activation,
            fc2: Linear::load(inner, width, mlp.pp("fc2"))?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let (q, k, v) =
            (self.q_proj.forward(&normed)?, self.k_proj.forward(&normed)?, self.v_proj.forward(&normed)?);
        let x = (x + self.out_proj.forward(&attention(
            &q,
            &k,
            &v,
            self.heads,
            Mask::Causal,
            Precision::F32,
        )?)?)?;
        let inner = self.activation.forward(&self.fc1.forward(&self.layer_norm2.forward(&x)?)?)?;
        x + self.fc2.forward(&inner)?
    }
}

/// Rows of hidden states side by side: chunks of one prompt become one long sequence.
pub(crate) fn join_chunks(hidden: &Tensor) -> TensorResult<Tensor> {
    let width = hidden.dim(D::Minus1)?;
    hidden.reshape((1, (), width)) // (chunks, tokens, width) to (1, chunks * tokens, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_text_is_the_first_eos_or_by_the_old_rule_the_highest_id() {
        assert_eq!(end_of_text(&[9, 4, 7, 7], 7), 2);
        assert_eq!(end_of_text(&[8, 4, 9, 9], 2), 2);
        assert_eq!(end_of_text(&[1, 3], 7), 0);
    }
}
