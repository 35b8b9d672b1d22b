//! Group and layer normalisation. On the CPU a group norm and the SiLU that follows it are one pass over the memory.
//!
//! Mean and variance are those of the population, as torch has it: divided by the count, not by one less.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;
use super::math::{LANES, silu, vectorized};
use crate::weights::Builder;

/// Normalises each group of channels over its pixels (arXiv 1803.08494).
#[derive(Debug, Clone)]
pub struct GroupNorm {
    /// (channels): each channel has a scale and a shift of its own.
    weight: Tensor,
    bias: Tensor,
    /// How many; each is `channels / groups` neighbouring channels.
    groups: usize,
    /// Added to the variance, so that a plain area does not divide by zero.
    eps: f64,
}

impl GroupNorm {
    /// `channels` is a multiple of `groups`.
    pub fn load(groups: usize, channels: usize, eps: f64, vb: Builder) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            candle_core::bail!("{groups} norm groups do not divide {channels} channels");
        }
        Ok(Self { weight: vb.get(channels, "weight")?, bias: vb.get(channels, "bias")?, groups, eps })
    }

    /// The norm alone; the shape is kept.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, false)
    }

    /// The norm and SiLU.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, true)
    }

    /// (b, channels, h, w), the shape kept.
    fn apply(&self, x: &Tensor, silu: bool) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let op = FusedGroupNorm { groups: self.groups, eps: self.eps as f32, silu };
            return x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &op);
        }
        let out = group_norm(x, self.groups, self.eps, &self.weight, &self.bias)?;
        if silu { out.silu() } else { Ok(out) }
    }
}

/// The plain form, by tensor operations; for devices without a kernel, and the kernel's reference.
fn group_norm(x: &Tensor, groups: usize, eps: f64, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let rows = x.reshape((batch, groups, channels / groups * height * width))?;
    let rows = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
    let deviation = (rows.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normed = rows.broadcast_div(&deviation)?.reshape(x.shape())?;
    let shape = (1, channels, 1, 1);
    normed.broadcast_mul(&weight.reshape(shape)?)?.broadcast_add(&bias.reshape(shape)?)
}

/// The kernel: a thread takes a group of one image, sums it while it is in the cache, and writes it once.
struct FusedGroupNorm {
    groups: usize,
    eps: f32,
    silu: bool,
}

impl CustomOp3 for FusedGroupNorm {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, channels, height, width) = layout.shape().dims4()?;
        let x = contiguous(x, layout)?;
        let (weight, bias) = (contiguous(weight, weight_layout)?, contiguous(bias, bias_layout)?);
        let plane = height * width;
        let per_group = channels / self.groups;
        let mut out = vec![0.0f32; x.len()];
        let groups = out
            .par_chunks_exact_mut((per_group * plane).max(1))
            .zip(x.par_chunks_exact((per_group * plane).max(1)));
        groups.enumerate().for_each(|(index, (out, x))| {
            let (mean, variance) = moments(x);
            let inverse = 1.0 / (variance + self.eps).sqrt();
            // groups of all images lie in one row; within an image they are numbered from 0
            let first = index % self.groups * per_group;
            for (channel, (out, x)) in out.chunks_exact_mut(plane).zip(x.chunks_exact(plane)).enumerate() {
                // norm, weight and bias folded into one multiplication and one addition for each value
                let scale = weight[first + channel] * inverse;
                let shift = bias[first + channel] - mean * scale;
                affine(out, x, scale, shift, self.silu);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

vectorized! {
    /// Mean and variance. Blocks are summed in f32 and their sums in f64: exact enough, and quick.
    pub(super) fn moments(x: &[f32]) -> (f32, f32) {
        const BLOCK: usize = 1024;
        let count = x.len().max(1) as f64;
        let mean = x.chunks(BLOCK).map(|block| f64::from(sum(block, |value| value))).sum::<f64>() / count;
        // the second pass needs the mean, and costs little: a group is small and has just been read
        let mean = mean as f32;
        let square = |value: f32| (value - mean) * (value - mean);
        let variance = x.chunks(BLOCK).map(|block| f64::from(sum(block, square))).sum::<f64>() / count;
        (mean, variance as f32)
    }
}

/// One running sum per lane, which the compiler keeps in a vector register.
#[inline(always)]
pub(super) fn sum(block: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let (lanes, rest) = block.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, x)| *sum += value(*x));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| value(*x)).sum::<f32>()
}

vectorized! {
    /// `x * scale + shift`, and SiLU of that where it is wanted.
    fn affine(out: &mut [f32], x: &[f32], scale: f32, shift: f32, with_silu: bool) {
        let pairs = out.iter_mut().zip(x);
        match with_silu {
            true => pairs.for_each(|(out, x)| *out = silu(x * scale + shift)),
            false => pairs.for_each(|(out, x)| *out = x * scale + shift),
        }
    }
}

/// Normalises over the last dimension (arXiv 1607.06450).
/// Left to candle: it is a small part of a step, and its rows are short.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// `width` is the last dimension.
    pub fn load(width: usize, eps: f64, vb: Builder) -> Result<Self> {
        Ok(Self { weight: vb.get(width, "weight")?, bias: vb.get(width, "bias")?, eps: eps as f32 })
    }

    /// The shape is kept.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn the_fused_group_norm_equals_the_plain_one() {
        for (shape, groups) in
            [((2, 8, 5, 7), 2), ((1, 32, 16, 16), 32), ((3, 6, 1, 1), 3), ((1, 4, 40, 40), 1)]
        {
            let x = (ramp(shape, 1) * 3.0).unwrap();
            let norm = GroupNorm { weight: ramp(shape.1, 2), bias: ramp(shape.1, 3), groups, eps: 1e-5 };
            let plain = group_norm(&x, groups, 1e-5, &norm.weight, &norm.bias).unwrap();
            assert_close(&norm.forward(&x).unwrap(), &plain, 1e-5);
            assert_close(&norm.forward_silu(&x).unwrap(), &plain.silu().unwrap(), 1e-5);
        }
    }

    #[test]
    fn a_strided_view_is_normalised_like_its_copy() {
        let x = ramp((1, 4, 6, 5), 4).transpose(2, 3).unwrap();
        let norm = GroupNorm { weight: ramp(4, 2), bias: ramp(4, 3), groups: 2, eps: 1e-6 };
        assert_close(&norm.forward(&x).unwrap(), &norm.forward(&x.contiguous().unwrap()).unwrap(), 0.0);
    }

    #[test]
    fn groups_that_do_not_divide_the_channels_are_refused() {
        let vb = Builder::zeros(&candle_core::Device::Cpu);
        for groups in [0, 3, 16] {
            let error = GroupNorm::load(groups, 8, 1e-5, vb.clone()).unwrap_err().to_string();
            assert!(error.contains("norm groups do not divide 8 channels"), "{error}");
        }
    }
}
