//! Blocks that the denoiser and the autoencoder share (diffusers' `ResnetBlock2D`, `Downsample2D`, `Upsample2D`).

use candle_core::{D, Result, Tensor};

use crate::kernels::{Activation, Conv2d, GroupNorm, Linear, Window, upsample_nearest};
use crate::weights::Builder;

/// Group normalisation's two settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) groups: usize,
    pub(crate) eps: f64,
}

/// Norm, SiLU and convolution, twice, beside a shortcut; with a time embedding between them in the denoiser.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    // fields are named as the checkpoint's keys, here and in all networks
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    /// `time_width` is the time embedding's width, if there is one.
    pub(crate) fn load(
        inputs: usize,
        outputs: usize,
        time_width: Option<usize>,
        norm: Norm,
        vb: Builder,
    ) -> Result<Self> {
        let time_emb_proj = time_width.map(|width| Linear::load(width, outputs, vb.pp("time_emb_proj")));
        let shortcut = || Conv2d::load(inputs, outputs, Window::ONE, vb.pp("conv_shortcut"));
        Ok(Self {
            norm1: GroupNorm::load(norm.groups, inputs, norm.eps, vb.pp("norm1"))?,
            conv1: Conv2d::load(inputs, outputs, Window::SAME, vb.pp("conv1"))?,
            time_emb_proj: time_emb_proj.transpose()?,
            norm2: GroupNorm::load(norm.groups, outputs, norm.eps, vb.pp("norm2"))?,
            conv2: Conv2d::load(outputs, outputs, Window::SAME, vb.pp("conv2"))?,
            conv_shortcut: (inputs != outputs).then(shortcut).transpose()?,
        })
    }

    /// (b, inputs, h, w) and (b, time width) to (b, outputs, h, w).
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut hidden = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        if let (Some(projection), Some(time)) = (&self.time_emb_proj, time) {
            let shift = projection.forward(&Activation::Silu.forward(time)?)?; // (b, outputs)
            hidden = hidden.broadcast_add(&shift.unsqueeze(D::Minus1)?.unsqueeze(D::Minus1)?)?;
        }
        let hidden = self.conv2.forward(&self.norm2.forward_silu(&hidden)?)?;
        match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(x)? + hidden,
            None => x + hidden,
        }
    }
}

/// Nearest-neighbour upsampling and a convolution.
#[derive(Debug)]
pub(crate) struct Upsample(Conv2d);

impl Upsample {
    /// Takes the keys below `conv`, as diffusers names them.
    pub(crate) fn load(channels: usize, vb: Builder) -> Result<Self> {
        Ok(Self(Conv2d::load(channels, channels, Window::SAME, vb.pp("conv"))?))
    }

    /// To a given size, which is not always twice the input's: odd sizes were rounded up on the way down.
    pub(crate) fn forward(&self, x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
        self.0.forward(&upsample_nearest(x, height, width)?)
    }
}
