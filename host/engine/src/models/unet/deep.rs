//! DeepCache (arXiv 2312.00858): what comes up from the depths of a U-Net hardly changes from one pass to the next. Every
//! so many-th pass is whole, and those between compute only the largest sizes anew, around what the last whole one left.

use candle_core::Tensor;

use super::ALL_SKIPS;

/// What a run's passes take over, and from which.
#[derive(Debug)]
pub struct Deep {
    /// A pass of so many is whole, the first of them.
    interval: usize,
    /// The deepest skip that the others compute.
    skip: usize,
    /// What came up to that skip in the last whole pass, before the two are joined.
    state: Option<Tensor>,
    passes: usize,
    /// Those of them that were not whole.
    shortened: usize,
}

impl Deep {
    /// Skips are counted from 0, that of the first convolution. An interval of 0 is one of 1.
    pub fn new(interval: usize, skip: usize) -> Self {
        Self { interval: interval.max(1), skip, state: None, passes: 0, shortened: 0 }
    }

    /// Passes so far, and those of them that were not whole.
    pub fn passes(&self) -> (usize, usize) {
        (self.passes, self.shortened)
    }

    /// Skips that the next pass computes.
    pub fn needed(&self) -> usize {
        if self.is_whole() { ALL_SKIPS } else { self.skip + 1 }
    }

    fn is_whole(&self) -> bool {
        self.state.is_none() || self.passes.is_multiple_of(self.interval)
    }

    /// What the pass that begins goes on from; none for a whole one.
    pub(super) fn begin(&mut self) -> Option<Tensor> {
        if self.is_whole() {
            // given back before the pass is at its widest
            self.state = None;
        }
        self.passes += 1;
        self.shortened += usize::from(self.state.is_some());
        self.state.clone()
    }

    /// Looks at what comes up to the last of so many skips.
    pub(super) fn pass(&mut self, hidden: &Tensor, skips: usize) {
        if skips == self.skip + 1 {
            self.state = Some(hidden.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn every_so_many_th_pass_is_whole_from_the_first_on() {
        let hidden = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let whole = |interval| {
            let mut deep = Deep::new(interval, 2);
            let begin = |_: &usize| {
                let is_whole = deep.needed() == ALL_SKIPS;
                assert_eq!(deep.begin().is_none(), is_whole);
                deep.pass(&hidden, 3);
                is_whole
            };
            let whole = (0..7).filter(begin).collect::<Vec<_>>();
            assert_eq!(deep.passes(), (7, 7 - whole.len()));
            whole
        };
        assert_eq!(whole(1), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(whole(0), whole(1));
        assert_eq!(whole(3), [0, 3, 6]);
        assert_eq!(whole(10), [0]);
    }
}
