//! What adapters add to a layer: two thin products beside the wide one, so that the weight stays as it was packed.

use candle_core::{Result, Tensor};

use super::conv::{Conv2d, Window};
use super::{Precision, linear};
use crate::weights::Slot;

/// `out` plus what is attached, for a layer over the last dimension of `x`.
pub(super) fn add_linear(out: Tensor, x: &Tensor, slot: &Slot) -> Result<Tensor> {
    slot.attached().iter().try_fold(out, |out, addition| {
        let inner = linear::plain(x, &addition.down, None)?;
        out + (linear::plain(&inner, &addition.up, None)? * addition.scale)?
    })
}

/// `out` plus what is attached, for a convolution of `x`: `down` moves as the layer's window does, `up` is 1x1.
pub(super) fn add_conv(out: Tensor, x: &Tensor, window: Window, slot: &Slot) -> Result<Tensor> {
    slot.attached().iter().try_fold(out, |out, addition| {
        let (rank, inputs, outputs) = (addition.down.dim(0)?, addition.down.dim(1)?, addition.up.dim(0)?);
        let down = addition.down.reshape((rank, inputs, window.kernel, window.kernel))?;
        let up = addition.up.reshape((outputs, rank, 1, 1))?;
        // packed anew for each call, which is little beside the product over the picture; in f32 whatever the layer's precision
        let thin = |weight, window| Conv2d::bare(weight, window, Precision::F32);
        let inner = thin(down, window)?.forward(x)?;
        out + (thin(up, Window::ONE)?.forward(&inner)? * addition.scale)?
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Shape};

    use super::*;
    use crate::kernels::testing::{assert_close, ramp};
    use crate::kernels::{Linear, Window};
    use crate::weights::{Builder, LowRank};

    const SCALES: [f64; 2] = [0.7, -1.3];
    const RANK: usize = 3;

    fn builder() -> Builder {
        Builder::from_fn(&Device::Cpu, |name: &str, shape: &Shape| Ok(ramp(shape.clone(), name.len() as u32)))
    }

    /// Two additions, and the change of the weight that they amount to.
    fn additions(outputs: usize, inputs: usize, kernel: usize) -> (Vec<LowRank>, Tensor) {
        let addition = |(seed, scale): (usize, f64)| LowRank {
            down: ramp((RANK, inputs, kernel, kernel), 10 + seed as u32),
            up: ramp((outputs, RANK), 20 + seed as u32),
            scale,
        };
        let additions: Vec<_> = SCALES.into_iter().enumerate().map(addition).collect();
        let change = |addition: &LowRank| {
            let down = addition.down.reshape((RANK, inputs * kernel * kernel)).unwrap();
            (addition.up.matmul(&down).unwrap() * addition.scale).unwrap()
        };
        let change = (change(&additions[0]) + change(&additions[1])).unwrap();
        (additions, change.reshape((outputs, inputs, kernel, kernel)).unwrap())
    }

    #[test]
    fn a_linear_layer_with_additions_is_the_layer_of_the_changed_weight() {
        let (inputs, outputs) = (20, 13);
        for load in [Linear::load, Linear::load_conv1x1] {
            let builder = builder();
            let layer = load(inputs, outputs, builder.clone()).unwrap();
            let x = ramp((2, 7, inputs), 4);
            let before = layer.forward(&x).unwrap();
            let (additions, change) = additions(outputs, inputs, 1);
            builder.slot().set(additions).unwrap();
            let change = change.reshape((outputs, inputs)).unwrap();
            let expected = (&before + linear::plain(&x, &change, None).unwrap()).unwrap();
            assert_close(&layer.forward(&x).unwrap(), &expected, 1e-4);
            builder.slot().clear();
            assert_close(&layer.forward(&x).unwrap(), &before, 0.0);
        }
    }

    #[test]
    fn a_convolution_with_additions_is_the_one_of_the_changed_weight() {
        let (inputs, outputs) = (6, 9);
        for window in [Window::ONE, Window::SAME, Window::HALF] {
            let builder = builder();
            let layer = Conv2d::load(inputs, outputs, window, builder.clone()).unwrap();
            let x = ramp((2, inputs, 12, 10), 5);
            let before = layer.forward(&x).unwrap();
            let (additions, change) = additions(outputs, inputs, window.kernel);
            builder.slot().set(additions).unwrap();
            let expected = (&before + super::super::conv::plain(&x, &change, None, window).unwrap()).unwrap();
            assert_close(&layer.forward(&x).unwrap(), &expected, 1e-4);
        }
    }
}
