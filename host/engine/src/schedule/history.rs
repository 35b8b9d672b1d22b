//! The newest few tensors that a multistep solver looks back to.

use std::collections::VecDeque;

use candle_core::Tensor;

/// Model outputs or predictions, the newest first, no more than the highest order needs.
pub(super) struct History {
    newest_first: VecDeque<Tensor>,
    most: usize,
}

impl History {
    pub(super) fn new(most: usize) -> Self {
        Self { newest_first: VecDeque::with_capacity(most), most }
    }

    pub(super) fn push(&mut self, tensor: Tensor) {
        self.newest_first.truncate(self.most.saturating_sub(1));
        self.newest_first.push_front(tensor);
    }

    pub(super) fn len(&self) -> usize {
        self.newest_first.len()
    }

    /// From the newest to the oldest.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tensor> + Clone {
        self.newest_first.iter()
    }

    /// Each with its weight, from the newest on, as far as there are both.
    pub(super) fn weighted<'a>(&'a self, weights: &'a [f64]) -> impl Iterator<Item = (f64, &'a Tensor)> {
        weights.iter().copied().zip(self.iter())
    }
}
