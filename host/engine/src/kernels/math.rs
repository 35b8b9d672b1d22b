//! Exponentials and the error function for whole slices, in a form that compilers turn into vector instructions: no
//! branches, no tables. Accurate to a few units in the last place, which the tests measure against the standard library.

/// Values that one vector register holds.
pub(super) const LANES: usize = 16;

/// `exp` by splitting off the power of two and a polynomial for the rest (Cephes `expf`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that the product of the first with a whole number is exact
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // adding and subtracting this rounds to a whole number
    const ROUND: f32 = 12_582_912.0;
    // within these the result is a normal number, so the exponent below cannot overflow into the sign; NaN stays NaN
    let x = x.clamp(-87.3, 88.3);
    let shifted = x.mul_add(LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = power.mul_add(-LN2_LOW, power.mul_add(-LN2_HIGH, x));
    let mut polynomial = 1.987_569_1e-4f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        polynomial = polynomial.mul_add(rest, coefficient);
    }
    let polynomial = polynomial.mul_add(rest * rest, rest) + 1.0;
    // the low bits of the shifted number hold the power; as a float's exponent it multiplies by 2 to that power
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    polynomial * scale
}

/// `x * sigmoid(x)`.
/// Below -88, where `exp` is clamped, the quotient is too small to matter.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x * Phi(x)`, with the error function of Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let magnitude = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / magnitude.mul_add(0.327_591_1, 1.0);
    let mut polynomial = 1.061_405_4f32;
    for coefficient in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        polynomial = polynomial.mul_add(t, coefficient);
    }
    let tail = 0.5 * polynomial * t * exp(-magnitude * magnitude);
    // tail is Phi(-|x|)
    if x < 0.0 { x * tail } else { x - x * tail }
}

/// `x * Phi(x)` by the tanh approximation (arXiv 1606.08415, 2), which is `x * sigmoid(2 u)`.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    let inner = (x * x * x).mul_add(0.044_715, x) * (2.0 * 0.797_884_6); // 2 sqrt(2 / pi)
    x / (1.0 + exp(-inner))
}

/// How many values a vector of this machine's widest instructions holds: 16 (AVX-512), 8 (AVX2 with fused
/// multiply-add) or 0 where there are neither.
#[cfg(target_arch = "x86_64")]
pub(super) fn width() -> usize {
    use std::arch::is_x86_feature_detected as has;
    let fused = has!("fma");
    if fused && has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw") {
        16
    } else if fused && has!("avx2") {
        8
    } else {
        0
    }
}

/// Runs `body` with the widest vector instructions of this machine.
/// The same safe code is compiled three times; where sums are kept per lane their order is the same in all three.
macro_rules! vectorized {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
                fn in_16_lanes($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn in_8_lanes($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                match $crate::kernels::math::width() {
                    #[expect(unsafe_code, reason = "calls the same safe code, compiled for wider vectors")]
                    // SAFETY: the machine has every feature that the function was compiled for.
                    16 => return unsafe { in_16_lanes($($argument),*) },
                    #[expect(unsafe_code, reason = "calls the same safe code, compiled for wider vectors")]
                    // SAFETY: as above.
                    8 => return unsafe { in_8_lanes($($argument),*) },
                    _ => {}
                }
            }
            body($($argument),*)
        }
    };
}
pub(super) use vectorized;

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| from + (to - from) * i as f32 / 200_000.0)
    }

    #[test]
    fn exp_is_accurate_to_a_few_units_in_the_last_place() {
        for x in range(-87.0, 88.0) {
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 3e-7, "exp({x}) = {ours}, not {exact}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn a_nan_stays_one() {
        for function in [exp, silu, gelu, gelu_tanh] {
            assert!(function(f32::NAN).is_nan());
        }
    }

    #[test]
    fn silu_and_both_gelus_are_those_of_the_tensor_library() {
        let values: Vec<f32> = range(-12.0, 12.0).collect();
        let x = candle_core::Tensor::new(values.as_slice(), &candle_core::Device::Cpu).unwrap();
        let compare = |theirs: candle_core::Tensor, ours: fn(f32) -> f32| {
            for (x, theirs) in values.iter().zip(theirs.to_vec1::<f32>().unwrap()) {
                assert!((ours(*x) - theirs).abs() < 1e-6, "{x}: {} and {theirs}", ours(*x));
            }
        };
        compare(x.silu().unwrap(), silu);
        compare(x.gelu_erf().unwrap(), gelu);
        compare(x.gelu().unwrap(), gelu_tanh);
    }
}
