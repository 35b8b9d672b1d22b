//! The discrete Fourier transform of any length with small factors (Cooley and Tukey 1965), in f64. A frame of Whisper's
//! has 400 samples, which is no power of two.

use std::f64::consts::TAU;

/// A complex number.
pub(super) type Complex = (f64, f64);

/// A transform of one length.
#[derive(Debug)]
pub(super) struct Fourier {
    /// `exp(-2 pi i k / n)` for every k below n.
    roots: Vec<Complex>,
}

impl Fourier {
    pub(super) fn new(length: usize) -> Self {
        let angle = |k: usize| -TAU * k as f64 / length as f64;
        Self { roots: (0..length).map(|k| (angle(k).cos(), angle(k).sin())).collect() }
    }

    /// Transforms `values`, which are as many as the length; `scratch` is another such slice.
    pub(super) fn run(&self, values: &mut [Complex], scratch: &mut [Complex]) {
        scratch.copy_from_slice(values);
        self.part(scratch, 1, values);
    }

    /// Every `stride`-th value of `from`, as many as `out` holds: first the transforms of interleaved parts, then these put
    /// together.
    fn part(&self, from: &[Complex], stride: usize, out: &mut [Complex]) {
        let length = out.len();
        if length <= 1 {
            out.iter_mut().zip(from).for_each(|(out, from)| *out = *from);
            return;
        }
        let parts = (2..=length).find(|factor| length.is_multiple_of(*factor)).unwrap_or(length);
        let each = length / parts;
        for (index, out) in out.chunks_exact_mut(each).enumerate() {
            self.part(&from[index * stride..], stride * parts, out);
        }
        let mut turned = [(0.0, 0.0); MAX_FACTOR];
        let turned = &mut turned[..parts];
        for k in 0..each {
            for (index, value) in turned.iter_mut().enumerate() {
                *value = product(out[index * each + k], self.roots[index * k * stride]);
            }
            for q in 0..parts {
                let term = |(index, value): (usize, &Complex)| {
                    product(*value, self.roots[index * q * each * stride % self.roots.len()])
                };
                let terms = turned.iter().enumerate().map(term);
                out[q * each + k] = terms.fold((0.0, 0.0), |sum, term| (sum.0 + term.0, sum.1 + term.1));
            }
        }
    }
}

/// Largest prime factor of a length; 400 is 2^4 5^2.
const MAX_FACTOR: usize = 7;

#[inline(always)]
fn product(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_the_sums_of_the_definition() {
        for length in [1, 2, 5, 12, 49, 400] {
            let values: Vec<Complex> =
                (0..length).map(|i| ((i as f64 * 1.7).sin(), (i as f64 * 0.3).cos())).collect();
            let mut ours = values.clone();
            Fourier::new(length).run(&mut ours, &mut vec![(0.0, 0.0); length]);
            for (k, ours) in ours.iter().enumerate() {
                let term = |(i, value): (usize, &Complex)| {
                    let angle = -TAU * (i * k % length) as f64 / length as f64;
                    product(*value, (angle.cos(), angle.sin()))
                };
                let sum = values.iter().enumerate().map(term).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                assert!((ours.0 - sum.0).abs() + (ours.1 - sum.1).abs() < 1e-9, "{length}: {k}");
            }
        }
    }
}
