//! The two kinds of attention of a Whisper's layers, and the feed-forward part that both have. Keys have no bias.

use atelier_inference::Precision;
use candle_core::{Result, Tensor};

use super::config::WhisperConfig;
use crate::kernels::{Activation, Heads, LayerNorm, Linear, Mask, Past, Seen, attention, attention_to_past};
use crate::weights::Builder;

/// Added to the variance by layer norms; torch's default, which no configuration changes.
pub(super) const EPS: f64 = 1e-5;

/// Queries up to which keys are better left as they lie than packed for the products.
const FEW: usize = 32;

/// The projections around an attention.
#[derive(Debug)]
pub(super) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    pub(super) fn load(width: usize, heads: usize, vb: Builder) -> Result<Self> {
        Ok(Self {
            q_proj: Linear::load(width, width, vb.pp("q_proj"))?,
            k_proj: Linear::load_no_bias(width, width, vb.pp("k_proj"))?,
            v_proj: Linear::load(width, width, vb.pp("v_proj"))?,
            out_proj: Linear::load(width, width, vb.pp("out_proj"))?,
            heads,
        })
    }

    /// Of states to each other: (b, n, width).
    pub(super) fn to_itself(&self, x: &Tensor) -> Result<Tensor> {
        let (k, v) = self.keys(x)?;
        self.out_proj.forward(&attention(
            &self.q_proj.forward(x)?,
            &k,
            &v,
            self.heads,
            Mask::None,
            Precision::F32,
        )?)
    }

    /// Of new positions to themselves and those before: (rows, n, width).
    pub(super) fn to_past(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        let (k, v) = self.keys(x)?;
        self.out_proj.forward(&past.attend(&self.q_proj.forward(x)?, &k, &v, Heads::plain(self.heads))?)
    }

    /// Of texts to what is heard. Rows that belong to one window share its keys: (windows * group, n, width), where the
    /// keys are of as many windows.
    pub(super) fn to_heard(&self, x: &Tensor, (k, v): &(Tensor, Tensor)) -> Result<Tensor> {
        let (rows, count, width) = x.dims3()?;
        let windows = k.dim(0)?;
        let q = self.q_proj.forward(x)?.reshape((windows, rows / windows * count, width))?;
        let out = match q.dim(1)? <= FEW {
            true => attention_to_past(&q, k, v, Heads::plain(self.heads), Seen::All)?,
            false => attention(&q, k, v, self.heads, Mask::None, Precision::F32)?,
        };
        self.out_proj.forward(&out.reshape((rows, count, width))?)
    }

    /// Keys and values of states.
    pub(super) fn keys(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.k_proj.forward(x)?, self.v_proj.forward(x)?))
    }

    /// The scores of one head before they are made weights: of text states (1, n, width) against keys (1, m, width), (n, m).
    pub(super) fn scores(&self, x: &Tensor, keys: &Tensor, head: usize) -> Result<Tensor> {
        let d = x.dim(2)? / self.heads;
        let of_head = |x: &Tensor| x.squeeze(0)?.narrow(1, head * d, d)?.contiguous();
        let q = (of_head(&self.q_proj.forward(x)?)? * (d as f64).powf(-0.5))?;
        q.matmul(&of_head(keys)?.t()?.contiguous()?)
    }
}

/// Two linear layers after a norm, beside a shortcut.
#[derive(Debug)]
pub(super) struct FeedForward {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl FeedForward {
    /// Takes `final_layer_norm`, `fc1` and `fc2` of a layer.
    pub(super) fn load(config: &WhisperConfig, inner: usize, layer: &Builder) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::load(config.d_model, EPS, layer.pp("final_layer_norm"))?,
            fc1: Linear::load(config.d_model, inner, layer.pp("fc1"))?,
            fc2: Linear::load(inner, config.d_model, layer.pp("fc2"))?,
            activation: config.activation(),
        })
    }

    /// The shape is kept.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.activation.forward(&self.fc1.forward(&self.norm.forward(x)?)?)?;
        x + self.fc2.forward(&inner)?
    }
}
