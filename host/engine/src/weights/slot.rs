//! Where adapters (LoRA) are attached to a layer for the time of one run, without touching its weight. Made with the
//! network, kept by the pipeline under the layer's name, read by the layer's kernel at each pass.
//!
//! One thread owns the engine and one job runs at a time: the lock is never contended. It is here because a model is
//! handed from thread to thread, which no cell may be.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use candle_core::{Result, Tensor};

/// Slots of all layers of a network, by the layer's full name as diffusers has it.
pub type Slots = BTreeMap<String, Slot>;

/// An addition to a layer: `scale * up(down(x))`, of the layer's window (arXiv 2106.09685).
#[derive(Debug, Clone)]
pub struct LowRank {
    /// (rank, inputs), or (rank, inputs, kernel, kernel) for a convolution.
    pub down: Tensor,
    /// (outputs, rank), or (outputs, rank, 1, 1).
    pub up: Tensor,
    /// The adapter's own `alpha / rank` times the weight that the request gives it.
    pub scale: f64,
}

/// The additions of one layer; empty for nearly all layers and runs. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// Of the layer's weight; empty where there is none, and then nothing fits.
    shape: Arc<[usize]>,
    additions: Arc<RwLock<Vec<LowRank>>>,
}

impl Slot {
    pub(super) fn new(shape: &[usize]) -> Self {
        Self { shape: shape.into(), ..Self::default() }
    }

    /// The shape of the layer's weight: (outputs, inputs), or (outputs, inputs, kernel, kernel).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Replaces what is attached.
    ///
    /// # Errors
    /// An addition that does not fit the layer, with both shapes; then nothing is changed.
    pub fn set(&self, additions: Vec<LowRank>) -> Result<()> {
        let fitted = additions.iter().map(|addition| self.fit(addition)).collect::<Result<_>>()?;
        *self.additions.write().unwrap_or_else(PoisonError::into_inner) = fitted;
        Ok(())
    }

    /// Detaches everything.
    pub fn clear(&self) {
        self.additions.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is attached: `up` is (outputs, rank) and `down` (rank, inputs), with the kernel's sides where they are
    /// more than one pixel.
    pub(crate) fn attached(&self) -> RwLockReadGuard<'_, Vec<LowRank>> {
        self.additions.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the form that kernels expect. Files write 1x1 sides or leave them out, whatever the layer.
    ///
    /// # Errors
    /// As [`Slot::set`], which asks this of every addition.
    pub(crate) fn fit(&self, addition: &LowRank) -> Result<LowRank> {
        let (down, up) = (flat(&addition.down)?, flat(&addition.up)?);
        let [outputs, inputs, window @ ..] = &*self.shape else {
            candle_core::bail!("a layer without a weight takes no adapter")
        };
        let window = if window == [1, 1] { &[][..] } else { window };
        let rank = down.dims()[0];
        let wanted = [&[rank, *inputs], window].concat();
        if down.dims() != wanted || up.dims() != [*outputs, rank] {
            let (down, up, shape) = (down.dims(), up.dims(), &self.shape);
            candle_core::bail!("down {down:?} and up {up:?} do not fit a weight of {shape:?}");
        }
        Ok(LowRank { down, up, scale: addition.scale })
    }
}

/// Without sides of one pixel.
fn flat(weight: &Tensor) -> Result<Tensor> {
    match *weight.dims() {
        [_, _] => Ok(weight.clone()),
        [rows, columns, 1, 1] => weight.reshape((rows, columns)),
        [_, _, _, _] => Ok(weight.clone()),
        _ => candle_core::bail!("an adapter's weight has 2 or 4 dimensions, not {:?}", weight.dims()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn addition(down: &[usize], up: &[usize]) -> LowRank {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        LowRank { down: zeros(down), up: zeros(up), scale: 1.0 }
    }

    #[test]
    fn sides_of_one_pixel_may_be_written_or_left_out() {
        for shape in [&[6, 4][..], &[6, 4, 1, 1]] {
            for ones in [&[][..], &[1, 1]] {
                let slot = Slot::new(shape);
                slot.set(vec![addition(&[&[2, 4], ones].concat(), &[&[6, 2], ones].concat())]).unwrap();
                assert_eq!(slot.attached()[0].down.dims(), [2, 4]);
                assert_eq!(slot.attached()[0].up.dims(), [6, 2]);
            }
        }
        let slot = Slot::new(&[6, 4, 3, 3]);
        slot.set(vec![addition(&[2, 4, 3, 3], &[6, 2, 1, 1])]).unwrap();
        assert_eq!(slot.attached()[0].down.dims(), [2, 4, 3, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_shapes_and_changes_nothing() {
        let slot = Slot::new(&[6, 4, 3, 3]);
        slot.set(vec![addition(&[2, 4, 3, 3], &[6, 2])]).unwrap();
        for (down, up) in [
            (&[2, 4][..], &[6, 2][..]),
            (&[2, 5, 3, 3], &[6, 2]),
            (&[2, 4, 3, 3], &[5, 2]),
            (&[2, 4, 3, 3], &[6, 3]),
            (&[2, 4, 3], &[6, 2]),
        ] {
            let error = slot.set(vec![addition(down, up)]).unwrap_err().to_string();
            assert!(
                error.contains("do not fit a weight of [6, 4, 3, 3]") || error.contains("[2, 4, 3]"),
                "{error}"
            );
            assert_eq!(slot.attached().len(), 1);
        }
        assert!(Slot::default().set(vec![addition(&[1, 1], &[1, 1])]).is_err());
    }
}
