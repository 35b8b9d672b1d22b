//! One layer: attention of a text to its own past, and a gated feed-forward part, each beside a shortcut.

use candle_core::{Result, Tensor};

use super::config::{LayerConfig, LlamaConfig};
use crate::kernels::{Activation, Heads, Linear, RmsNorm, Rotation};
use crate::weights::Builder;

#[derive(Debug)]
pub(super) struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    /// Of what attention adds to the states.
    attended_norm: Option<RmsNorm>,
    inner_norm: RmsNorm,
    feed_forward: FeedForward,
    /// Of what the feed-forward part adds.
    outer_norm: Option<RmsNorm>,
    /// Which of the ropes turns its queries and keys.
    rope: usize,
}

impl Layer {
    pub(super) fn load(config: &LlamaConfig, layer: LayerConfig, vb: Builder) -> Result<Self> {
        let norm = |name: &str| norm(config, config.width, vb.pp(name));
        let outer = |name: &str| config.has_outer_norms.then(|| norm(name)).transpose();
        // with outer norms, the name is that of the norm after attention, and the one before the next part has its own
        let inner_name =
            if config.has_outer_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention::load(config, layer, vb.pp("self_attn"))?,
            attended_norm: outer("post_attention_layernorm")?,
            inner_norm: norm(inner_name)?,
            feed_forward: FeedForward::load(config, vb.pp("mlp"))?,
            outer_norm: outer("post_feedforward_layernorm")?,
            rope: layer.rope,
        })
    }

    /// States of new positions (1, n, width); the shape is kept. `attend` adds their keys and values to what they belong to,
    /// and lets their queries look at it.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        rotations: &[Rotation],
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor, Heads) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let through = |norm: &Option<RmsNorm>, x: Tensor| match norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        };
        let Some(rotation) = rotations.get(self.rope) else {
            candle_core::bail!("a layer is turned by rope {} of {}", self.rope, rotations.len());
        };
        let attended = self.attention.forward(&self.input_norm.forward(x)?, rotation, attend)?;
        let x = (x + through(&self.attended_norm, attended)?)?;
        let inner = self.feed_forward.forward(&self.inner_norm.forward(&x)?)?;
        x + through(&self.outer_norm, inner)?
    }
}

/// A norm over the last dimension.
pub(super) fn norm(config: &LlamaConfig, width: usize, vb: Builder) -> Result<RmsNorm> {
    RmsNorm::load_offset(width, config.eps, config.norm_offset, vb)
}

#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Of each head's queries, and of its keys.
    head_norms: Option<(RmsNorm, RmsNorm)>,
    heads: Heads,
    head_width: usize,
}

impl Attention {
    fn load(config: &LlamaConfig, layer: LayerConfig, vb: Builder) -> Result<Self> {
        let (width, kv_width) = (config.width, config.kv_width());
        let q_width = config.heads * config.head_width;
        let linear = |outputs: usize, name: &str| match config.has_qkv_bias {
            true => Linear::load(width, outputs, vb.pp(name)),
            false => Linear::load_no_bias(width, outputs, vb.pp(name)),
        };
        let head_norm = |name: &str| norm(config, config.head_width, vb.pp(name));
        Ok(Self {
            q_proj: linear(q_width, "q_proj")?,
            k_proj: linear(kv_width, "k_proj")?,
            v_proj: linear(kv_width, "v_proj")?,
            o_proj: Linear::load_no_bias(q_width, width, vb.pp("o_proj"))?,
            head_norms: match config.has_head_norms {
                true => Some((head_norm("q_norm")?, head_norm("k_norm")?)),
                false => None,
            },
            heads: config.heads(layer),
            head_width: config.head_width,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor, Heads) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (mut q, mut k) = (self.q_proj.forward(x)?, self.k_proj.forward(x)?);
        if let Some((q_norm, k_norm)) = &self.head_norms {
            (q, k) = (self.by_head(q_norm, &q)?, self.by_head(k_norm, &k)?);
        }
        let (q, k) = (rotation.apply(&q)?, rotation.apply(&k)?);
        self.o_proj.forward(&attend(&q, &k, &self.v_proj.forward(x)?, self.heads)?)
    }

    fn by_head(&self, norm: &RmsNorm, x: &Tensor) -> Result<Tensor> {
        let (rows, count, width) = x.dims3()?;
        let heads = x.reshape((rows, count, width / self.head_width, self.head_width))?;
        norm.forward(&heads)?.reshape((rows, count, width))
    }
}

/// `down(activation(gate(x)) * up(x))` (arXiv 2002.05202).
#[derive(Debug)]
struct FeedForward {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    activation: Activation,
}

impl FeedForward {
    fn load(config: &LlamaConfig, vb: Builder) -> Result<Self> {
        let (width, inner) = (config.width, config.inner);
        Ok(Self {
            gate_proj: Linear::load_no_bias(width, inner, vb.pp("gate_proj"))?,
            up_proj: Linear::load_no_bias(width, inner, vb.pp("up_proj"))?,
            down_proj: Linear::load_no_bias(inner, width, vb.pp("down_proj"))?,
            activation: config.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.activation.forward(&self.gate_proj.forward(x)?)?;
        self.down_proj.forward(&(gate * self.up_proj.forward(x)?)?)
    }
}
