//! The quantile function of the beta distribution that `use_beta_sigmas` spaces noise levels with
//! (<https://arxiv.org/abs/2407.12173>; diffusers calls `scipy.stats.beta.ppf(p, 0.6, 0.6)`).
//!
//! Ours because one pair of parameters, equal to each other, needs no general incomplete beta function: the distribution
//! is symmetric, and on its lower half the power series gains a binary digit with each term.

/// Both parameters of the distribution.
const SHAPE: f64 = 0.6;
/// Terms of the series: at x = 1/2 each is less than half of the one before.
const TERMS: usize = 64;
/// Newton's method doubles the right digits each time, from one side; six are enough.
const ITERATIONS: usize = 12;

/// The `x` in 0..=1 below which the share `p` of the distribution lies.
pub(super) fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return 1.0 - quantile(1.0 - p);
    }
    // in u = x^SHAPE, where the series is u · (1/SHAPE + …): near the line, increasing and convex, so that Newton's method
    // comes down to the root from the right end without passing it
    let whole = 2.0 * series(half()).0;
    let target = p.max(0.0) * whole;
    let mut u = half();
    for _ in 0..ITERATIONS {
        let (value, slope) = series(u);
        u = (u - (value - target) / slope).max(0.0);
    }
    u.powf(1.0 / SHAPE)
}

/// Where x is 1/2.
fn half() -> f64 {
    0.5f64.powf(SHAPE)
}

/// The incomplete beta integral up to x = u^(1/SHAPE), and its derivative by u:
/// B(x; a, b) = x^a · Σ (1 - b)ₙ / n! · xⁿ / (a + n).
fn series(u: f64) -> (f64, f64) {
    let x = u.powf(1.0 / SHAPE);
    let (mut value, mut slope, mut coefficient) = (0.0, 0.0, 1.0);
    for n in 0..TERMS {
        let n = n as f64;
        value += coefficient / (SHAPE + n);
        // d/du of u^(1 + n / a) / (a + n) is u^(n / a) / a
        slope += coefficient / SHAPE;
        coefficient *= (1.0 - SHAPE + n) / (n + 1.0) * x;
    }
    (value * u, slope)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    /// From scipy 1.17 `scipy.stats.beta.ppf(p, 0.6, 0.6)`.
    const SCIPY: [(f64, f64); 6] = [
        (0.0, 0.0),
        (1e-9, 1.85588246249141e-15),
        (0.01, 0.0008612388215429059),
        (0.3, 0.23401700387523572),
        (0.98, 0.9972670179754229),
        (1.0, 1.0),
    ];

    #[test]
    fn quantiles_are_those_of_scipy() {
        for (p, expected) in SCIPY {
            let got = quantile(p);
            assert!((got - expected).abs() <= 1e-13 + 1e-12 * expected, "{p}: {got} is not {expected}");
        }
    }
}
