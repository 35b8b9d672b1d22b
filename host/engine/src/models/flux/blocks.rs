//! The two kinds of blocks (diffusers' `FluxTransformerBlock` and `FluxSingleTransformerBlock`).

use atelier_inference::Precision;
use candle_core::{Result, Tensor};

use super::config::FluxConfig;
use crate::kernels::{Activation, Linear, Mask, RmsNorm, Rotation, attention, modulated_norm};
use crate::weights::Builder;

/// Of every norm; diffusers fixes it and writes it nowhere.
pub(super) const NORM_EPS: f64 = 1e-6;
/// Width of the feed-forward parts, in widths of the states.
const RATIO: usize = 4;

/// Text and image with weights of their own, looking at each other in one attention.
#[derive(Debug)]
pub(super) struct DoubleBlock {
    image: Stream,
    text: Stream,
    heads: usize,
    precision: Precision,
}

/// One half of a double block.
#[derive(Debug)]
struct Stream {
    /// Makes six vectors: shift, scale and gate of the attention, then of the feed-forward part.
    norm1: Linear,
    heads: Heads,
    to_out: Linear,
    ff_in: Linear,
    ff_out: Linear,
}

/// Queries, keys and values, the first two normalised head by head.
#[derive(Debug)]
struct Heads {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    /// Width of a head.
    width: usize,
}

/// What diffusers calls the layers of one stream, below the block's name.
struct Names {
    norm1: &'static str,
    qkv: [&'static str; 3],
    norms: [&'static str; 2],
    out: &'static str,
    ff: &'static str,
}

const IMAGE: Names = Names {
    norm1: "norm1",
    qkv: ["to_q", "to_k", "to_v"],
    norms: ["norm_q", "norm_k"],
    out: "to_out.0",
    ff: "ff",
};
const TEXT: Names = Names {
    norm1: "norm1_context",
    qkv: ["add_q_proj", "add_k_proj", "add_v_proj"],
    norms: ["norm_added_q", "norm_added_k"],
    out: "to_add_out",
    ff: "ff_context",
};

impl DoubleBlock {
    pub(super) fn load(config: &FluxConfig, builder: Builder) -> Result<Self> {
        Ok(Self {
            image: Stream::load(config, &IMAGE, &builder)?,
            text: Stream::load(config, &TEXT, &builder)?,
            heads: config.num_attention_heads,
            precision: builder.precision(),
        })
    }

    /// States of the image and of the text, (b, tokens, width) each. The text comes first in the attention.
    pub(super) fn forward(
        &self,
        image: &Tensor,
        text: &Tensor,
        time: &Tensor,
        rotation: &Rotation,
    ) -> Result<(Tensor, Tensor)> {
        let time = Activation::Silu.forward(time)?;
        let (image_plan, text_plan) = (self.image.plan(&time)?, self.text.plan(&time)?);
        let image_qkv = self.image.heads.forward(&image_plan.attention.norm(image)?)?;
        let text_qkv = self.text.heads.forward(&text_plan.attention.norm(text)?)?;
        let mixed = self.attend(image_qkv, text_qkv, rotation)?;
        let (text_tokens, image_tokens) = (text.dim(1)?, image.dim(1)?);
        Ok((
            self.image.finish(image, &mixed.narrow(1, text_tokens, image_tokens)?, &image_plan)?,
            self.text.finish(text, &mixed.narrow(1, 0, text_tokens)?, &text_plan)?,
        ))
    }

    /// (b, text + image tokens, width). Takes what it is given, so that none of it outlives the attention.
    fn attend(&self, image: [Tensor; 3], text: [Tensor; 3], rotation: &Rotation) -> Result<Tensor> {
        let [q, k, v] = [0, 1, 2].map(|part| Tensor::cat(&[&text[part], &image[part]], 1));
        drop((image, text));
        let (q, k) = (rotation.apply(&q?)?, rotation.apply(&k?)?);
        attention(&q, &k, &v?, self.heads, Mask::None, self.precision)
    }
}

/// How one part of a block is scaled, shifted and gated: (b, width) each.
struct Modulation {
    shift: Tensor,
    scale: Tensor,
    gate: Tensor,
}

/// What a stream does to both of its parts.
struct Plan {
    attention: Modulation,
    feed_forward: Modulation,
}

impl Modulation {
    /// Three neighbours of `chunks`, from `first` on.
    fn of(chunks: &[Tensor], first: usize) -> Self {
        let chunk = |index: usize| chunks[first + index].clone();
        Self { shift: chunk(0), scale: chunk(1), gate: chunk(2) }
    }

    fn norm(&self, x: &Tensor) -> Result<Tensor> {
        modulated_norm(x, &self.scale, &self.shift, NORM_EPS)
    }

    /// `x` and as much of `part` as the gate lets through.
    fn add(&self, x: &Tensor, part: &Tensor) -> Result<Tensor> {
        x + part.broadcast_mul(&self.gate.unsqueeze(1)?)?
    }
}

impl Stream {
    fn load(config: &FluxConfig, names: &Names, builder: &Builder) -> Result<Self> {
        let (width, attn, net) = (config.width(), builder.pp("attn"), builder.pp(names.ff).pp("net"));
        Ok(Self {
            norm1: Linear::load(width, 6 * width, builder.pp(names.norm1).pp("linear"))?,
            heads: Heads::load(config, names, &attn)?,
            to_out: Linear::load(width, width, attn.pp(names.out))?,
            ff_in: Linear::load(width, RATIO * width, net.pp(0).pp("proj"))?,
            ff_out: Linear::load(RATIO * width, width, net.pp(2))?,
        })
    }

    /// From the time after SiLU, (b, width).
    fn plan(&self, time: &Tensor) -> Result<Plan> {
        let chunks = self.norm1.forward(time)?.chunk(6, 1)?;
        Ok(Plan { attention: Modulation::of(&chunks, 0), feed_forward: Modulation::of(&chunks, 3) })
    }

    /// Adds what the attention made, then the feed-forward part.
    fn finish(&self, x: &Tensor, mixed: &Tensor, plan: &Plan) -> Result<Tensor> {
        let x = plan.attention.add(x, &self.to_out.forward(mixed)?)?;
        let inner = Activation::GeluTanh.forward(&self.ff_in.forward(&plan.feed_forward.norm(&x)?)?)?;
        plan.feed_forward.add(&x, &self.ff_out.forward(&inner)?)
    }
}

impl Heads {
    fn load(config: &FluxConfig, names: &Names, builder: &Builder) -> Result<Self> {
        let (width, head) = (config.width(), config.attention_head_dim);
        let linear = |name: &str| Linear::load(width, width, builder.pp(name));
        let norm = |name: &str| RmsNorm::load(head, NORM_EPS, builder.pp(name));
        let ([to_q, to_k, to_v], [norm_q, norm_k]) = (names.qkv.map(linear), names.norms.map(norm));
        Ok(Self { to_q: to_q?, to_k: to_k?, to_v: to_v?, norm_q: norm_q?, norm_k: norm_k?, width: head })
    }

    /// (b, tokens, width) three times.
    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let q = self.normalised(&self.norm_q, &self.to_q.forward(x)?)?;
        let k = self.normalised(&self.norm_k, &self.to_k.forward(x)?)?;
        Ok([q, k, self.to_v.forward(x)?])
    }

    fn normalised(&self, norm: &RmsNorm, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        norm.forward(&x.reshape((batch, tokens, width / self.width, self.width))?)?.reshape(x.dims())
    }
}

/// Text and image as one sequence; attention and feed-forward beside each other.
#[derive(Debug)]
pub(super) struct SingleBlock {
    /// Makes shift, scale and gate.
    norm: Linear,
    attn: Heads,
    proj_mlp: Linear,
    /// From what attention and the feed-forward part made, side by side.
    proj_out: Linear,
    heads: usize,
    precision: Precision,
}

impl SingleBlock {
    pub(super) fn load(config: &FluxConfig, builder: Builder) -> Result<Self> {
        let width = config.width();
        Ok(Self {
            norm: Linear::load(width, 3 * width, builder.pp("norm").pp("linear"))?,
            attn: Heads::load(config, &IMAGE, &builder.pp("attn"))?,
            proj_mlp: Linear::load(width, RATIO * width, builder.pp("proj_mlp"))?,
            proj_out: Linear::load((1 + RATIO) * width, width, builder.pp("proj_out"))?,
            heads: config.num_attention_heads,
            precision: builder.precision(),
        })
    }

    /// (b, tokens, width), the text's tokens first.
    pub(super) fn forward(&self, x: &Tensor, time: &Tensor, rotation: &Rotation) -> Result<Tensor> {
        let modulation = self.norm.forward(&Activation::Silu.forward(time)?)?;
        let modulation = Modulation::of(&modulation.chunk(3, 1)?, 0);
        let joined = self.both_parts(&modulation.norm(x)?, rotation)?;
        modulation.add(x, &self.proj_out.forward(&joined)?)
    }

    /// What attention and the feed-forward part make of the same states, side by side: (b, tokens, 5 * width).
    fn both_parts(&self, normed: &Tensor, rotation: &Rotation) -> Result<Tensor> {
        let mixed = self.attend(normed, rotation)?;
        let inner = Activation::GeluTanh.forward(&self.proj_mlp.forward(normed)?)?;
        Tensor::cat(&[mixed, inner], 2)
    }

    fn attend(&self, normed: &Tensor, rotation: &Rotation) -> Result<Tensor> {
        let [q, k, v] = self.attn.forward(normed)?;
        attention(&rotation.apply(&q)?, &rotation.apply(&k)?, &v, self.heads, Mask::None, self.precision)
    }
}
