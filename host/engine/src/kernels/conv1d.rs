//! One-dimensional convolution over sequences: three neighbouring frames side by side, and a linear layer over them.
//!
//! Channels come last, as in all sequences here, so the three frames of an output are one piece of memory.

use candle_core::{Result, Tensor};

use super::Linear;
use crate::weights::Builder;

/// Frames that an output sees.
const TAPS: usize = 3;

/// A convolution of three taps with a zero before the first frame and after the last.
#[derive(Debug)]
pub struct Conv1d {
    /// (outputs, taps * inputs)
    linear: Linear,
    stride: usize,
}

impl Conv1d {
    /// Takes `weight` (outputs, inputs, 3) and `bias`.
    pub fn load(inputs: usize, outputs: usize, stride: usize, vb: Builder) -> Result<Self> {
        let weight = vb.get((outputs, inputs, TAPS), "weight")?;
        let weight = weight.transpose(1, 2)?.contiguous()?.reshape((outputs, TAPS * inputs))?;
        Ok(Self { linear: Linear::bare(weight, vb.get(outputs, "bias")?, vb.precision())?, stride })
    }

    /// (b, frames, inputs) to (b, frames / stride, outputs); the stride divides the frames.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, frames, inputs) = x.dims3()?;
        if !frames.is_multiple_of(self.stride) {
            candle_core::bail!("{frames} frames are no multiple of the stride {}", self.stride);
        }
        let padded = x.pad_with_zeros(1, 1, 1)?;
        let tap = |tap: usize| {
            let frames = padded.narrow(1, tap, frames)?.contiguous()?;
            // of each stride's frames the first
            frames.reshape((batch, frames.dim(1)? / self.stride, self.stride * inputs))?.narrow(2, 0, inputs)
        };
        let taps = (0..TAPS).map(tap).collect::<Result<Vec<_>>>()?;
        self.linear.forward(&Tensor::cat(&taps, 2)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn it_is_the_convolution_of_the_tensor_library() {
        for (stride, frames, inputs, outputs) in [(1, 7, 3, 5), (2, 8, 4, 40), (1, 1, 2, 2)] {
            let builder =
                Builder::from_fn(&Device::Cpu, |name, shape| Ok(ramp(shape.clone(), name.len() as u32)));
            let conv = Conv1d::load(inputs, outputs, stride, builder).unwrap();
            let x = ramp((2, frames, inputs), 9);
            let expected = x.transpose(1, 2).unwrap().contiguous().unwrap();
            let expected = expected.conv1d(&ramp((outputs, inputs, 3), 6), 1, stride, 1, 1).unwrap();
            let expected =
                expected.broadcast_add(&ramp((1, outputs, 1), 4)).unwrap().transpose(1, 2).unwrap();
            assert_close(&conv.forward(&x).unwrap(), &expected, 1e-5);
        }
    }

    #[test]
    fn frames_that_the_stride_does_not_divide_are_an_error() {
        let conv = Conv1d::load(2, 2, 2, Builder::zeros(&Device::Cpu)).unwrap();
        assert!(conv.forward(&ramp((1, 3, 2), 1)).is_err());
    }
}
