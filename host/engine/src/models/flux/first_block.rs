//! First-block cache (ParaAttention; diffusers' `FirstBlockCacheConfig`): as long as the first block says nearly the same
//! of the image as before, what all further blocks added to it is taken over.

use candle_core::{Result, Tensor};

/// What a run's passes take over, and from which.
#[derive(Debug)]
pub struct FirstBlock {
    /// The share of change from which on a pass is whole.
    threshold: f64,
    kept: Option<Kept>,
    passes: usize,
    /// Those of them that were not whole.
    shortened: usize,
}

/// What was added to the image's tokens in the last whole pass: (b, tokens, width).
#[derive(Debug)]
struct Kept {
    first: Tensor,
    others: Tensor,
}

impl FirstBlock {
    /// A pass is whole where the first block's share changed by `threshold` or more of itself, on average.
    pub fn new(threshold: f64) -> Self {
        Self { threshold, kept: None, passes: 0, shortened: 0 }
    }

    /// Passes so far, and those of them that were not whole.
    pub fn passes(&self) -> (usize, usize) {
        (self.passes, self.shortened)
    }

    /// What the other blocks are taken to add where the first one adds this; none for a whole pass.
    pub(super) fn begin(&mut self, first: &Tensor) -> Result<Option<Tensor>> {
        self.passes += 1;
        let others = match &self.kept {
            // a NaN is not below the threshold: it is computed, and found
            Some(kept) if change(&kept.first, first)? < self.threshold => Some(kept.others.clone()),
            Some(_) | None => None,
        };
        match others {
            Some(_) => self.shortened += 1,
            // given back before the pass is at its widest
            None => self.kept = None,
        }
        Ok(others)
    }

    /// What the blocks of a whole pass added.
    pub(super) fn keep(&mut self, first: Tensor, others: Tensor) {
        self.kept = Some(Kept { first, others });
    }
}

/// The mean change, as a share of the mean of what was there before.
fn change(before: &Tensor, now: &Tensor) -> Result<f64> {
    let mean = |x: Tensor| x.abs()?.mean_all()?.to_scalar::<f32>();
    Ok(f64::from(mean((now - before)?)? / mean(before.clone())?))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_pass_is_whole_unless_the_first_block_changed_by_less_than_the_threshold() {
        let of = |values: [f32; 2]| Tensor::new(&[values], &Device::Cpu).unwrap();
        let mut cache = FirstBlock::new(0.25);
        let mut is_whole = |first: [f32; 2]| {
            let others = cache.begin(&of(first)).unwrap();
            if others.is_none() {
                cache.keep(of(first), of([7.0, 7.0]));
            }
            others.is_none()
        };
        assert!(is_whole([1.0, -1.0]));
        assert!(!is_whole([1.4, -1.0]));
        // held against the last whole pass, not against the last one
        assert!(is_whole([1.5, -1.0]));
        assert!(!is_whole([1.5, -1.2]));
        assert!(is_whole([f32::NAN, -1.0]));
        assert!(is_whole([1.5, -1.0]));
        assert_eq!(cache.passes(), (6, 2));
    }
}
