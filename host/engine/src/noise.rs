//! Gaussian noise that equals torch's CPU generator bit for bit, so that a seed means the same picture here and in
//! diffusers with `torch.Generator("cpu").manual_seed(seed)`; and that of a CUDA device, for those who come with seeds
//! of other programs.
//!
//! Owns the Mersenne twister, the two ways in which torch turns its bits into normals, and the device's counters. Knows nothing of schedules
//! or pipelines; they ask through [`NoiseSource`]. Everything is scalar `f32` arithmetic with explicit fused
//! multiply-adds, so the values are those of an x86 torch on every machine, ARM included (whose own torch differs in
//! the last bit). Noise is always drawn in f32 on the CPU and converted afterwards, whatever the model computes in.
//!
//! Reference: torch 2.15 `aten/src/ATen/core/MT19937RNGEngine.h`, `core/DistributionsHelper.h`,
//! `native/cpu/DistributionTemplates.h` (`normal_fill`) and `native/cpu/avx_mathfun.h`.

use atelier_inference::SeedProfile;
use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// Where a schedule or a pipeline gets its noise.
pub trait NoiseSource: Send {
    /// Standard normal noise with the shape, dtype and device of `like`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the source cannot serve this shape; [`Error::Tensor`] from the device.
    fn draw(&mut self, like: &Tensor) -> Result<Tensor>;
}

/// One generator per image of a batch: image `i` gets the noise that it would get alone, whatever is beside it.
///
/// The counterpart of diffusers' `randn_tensor` with a list of generators.
#[derive(Clone, Debug)]
pub struct PerImage(Vec<Generator>);

/// Where one image's noise comes from.
#[derive(Clone, Debug)]
enum Generator {
    TorchCpu(TorchCpu),
    TorchCuda(TorchCuda),
    /// The first draw from one, all later ones from the other.
    Both(Option<TorchCpu>, TorchCuda),
}

impl Generator {
    fn new(seed: u64, profile: SeedProfile) -> Self {
        match profile {
            SeedProfile::Diffusers => Self::TorchCpu(TorchCpu::new(seed)),
            SeedProfile::A1111 => Self::TorchCuda(TorchCuda::new(seed)),
            SeedProfile::Comfy => Self::Both(Some(TorchCpu::new(seed)), TorchCuda::new(seed)),
        }
    }

    fn randn(&mut self, shape: &[usize]) -> Vec<f32> {
        match self {
            Self::TorchCpu(generator) => generator.randn(shape),
            Self::TorchCuda(generator) => generator.randn(shape),
            Self::Both(first, later) => match first.take() {
                Some(mut first) => first.randn(shape),
                None => later.randn(shape),
            },
        }
    }
}

impl PerImage {
    /// One generator per seed, in the order of the images, as in diffusers.
    pub fn new(seeds: &[u64]) -> Self {
        Self::of(seeds, SeedProfile::Diffusers)
    }

    /// One generator per seed, in the order of the images.
    pub fn of(seeds: &[u64], profile: SeedProfile) -> Self {
        Self(seeds.iter().map(|&seed| Generator::new(seed, profile)).collect())
    }

    /// Noise of `shape` in f32: `shape[0]` is the number of images and each gets its slice from its own generator.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `shape[0]` is not the number of seeds.
    pub fn draw_shape(&mut self, shape: &[usize], device: &Device) -> Result<Tensor> {
        let Some((&images, each)) = shape.split_first().filter(|&(&images, _)| images == self.0.len()) else {
            let reason =
                format!("{} seeds cannot fill a batch of shape {shape:?}; give one per image", self.0.len());
            return Err(Error::Invalid { field: "seed", reason });
        };
        let mut values = Vec::with_capacity(images * each.iter().product::<usize>());
        for generator in &mut self.0 {
            values.extend(generator.randn(each));
        }
        Ok(Tensor::from_vec(values, shape, device)?)
    }
}

impl NoiseSource for PerImage {
    fn draw(&mut self, like: &Tensor) -> Result<Tensor> {
        let noise = self.draw_shape(like.dims(), like.device())?;
        Ok(if like.dtype() == DType::F32 { noise } else { noise.to_dtype(like.dtype())? })
    }
}

/// `torch.Generator("cpu")`: MT19937 and the normal that a small draw leaves behind.
#[derive(Clone, Debug)]
pub struct TorchCpu {
    bits: MersenneTwister,
    /// The sine half of the last Box-Muller pair of a draw below [`BLOCK`] values; the next such draw begins with it.
    left_over: Option<f64>,
}

/// Draws of at least this many values take torch's vector path, which works in blocks of as many.
const BLOCK: usize = 16;

impl TorchCpu {
    /// As `manual_seed(seed)`. Torch's engine has a 32-bit seed: the high half is ignored, as there.
    pub fn new(seed: u64) -> Self {
        Self { bits: MersenneTwister::new(seed as u32), left_over: None }
    }

    /// `torch.randn(shape, generator=self)` in f32, contiguous, row-major. Successive calls continue the stream.
    ///
    /// A draw is not the beginning of a longer one: below 16 values, and in the tail of a length that is not a
    /// multiple of 16, torch uses its bits differently.
    pub fn randn(&mut self, shape: &[usize]) -> Vec<f32> {
        let numel = shape.iter().product();
        if numel < BLOCK {
            return (0..numel).map(|_| self.one_normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..numel).map(|_| self.uniform_f32()).collect();
        values.chunks_exact_mut(BLOCK).for_each(box_muller_block);
        if !numel.is_multiple_of(BLOCK) {
            let tail = &mut values[numel - BLOCK..];
            tail.fill_with(|| self.uniform_f32());
            box_muller_block(tail);
        }
        values
    }

    /// `at::normal_distribution<double>`.
    fn one_normal(&mut self) -> f64 {
        if let Some(normal) = self.left_over.take() {
            return normal;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.left_over = Some(radius * theta.sin());
        radius * theta.cos()
    }

    /// In [0, 1), 24 bits.
    /// Takes one word of the stream: the low bits of it, as torch does.
    fn uniform_f32(&mut self) -> f32 {
        (self.bits.next() & ((1 << 24) - 1)) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// `torch.rand((), dtype=torch.float64, generator=self)`: in [0, 1), 53 bits; the first word is the high one.
    pub(crate) fn uniform_f64(&mut self) -> f64 {
        let word = u64::from(self.bits.next()) << 32 | u64::from(self.bits.next());
        (word & ((1 << 53) - 1)) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// What `torch.randn` draws on a CUDA device: Philox 4x32-10 (Salmon et al. 2011, <https://doi.org/10.1145/2063384.2063405>),
/// one counter per value, and the sine half of a Box-Muller pair. Equal to the device's to the last bits of `ln` and `sin`.
///
/// Reference: the emulation by which Stable Diffusion web UI draws on other devices, `rng_philox.py`.
#[derive(Clone, Debug)]
pub struct TorchCuda {
    key: [u32; 2],
    /// Draws so far.
    offset: u32,
}

impl TorchCuda {
    /// As `manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], offset: 0 }
    }

    /// `torch.randn(shape, device="cuda", generator=self)` in f32, contiguous, row-major.
    pub fn randn(&mut self, shape: &[usize]) -> Vec<f32> {
        let offset = self.offset;
        self.offset = offset.wrapping_add(1);
        let value = |index: usize| {
            let [first, second, ..] = philox([offset, 0, index as u32, 0], self.key);
            device_normal(first, second)
        };
        (0..shape.iter().product()).map(value).collect()
    }
}

/// Ten rounds over a counter.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let [a, b] = [u64::from(counter[0]) * MULTIPLIERS[0], u64::from(counter[2]) * MULTIPLIERS[1]];
        let high = |product: u64| (product >> 32) as u32;
        counter = [high(b) ^ counter[1] ^ key[0], b as u32, high(a) ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

/// Two words to one normal value.
fn device_normal(first: u32, second: u32) -> f32 {
    // 2⁻³² and 2π · 2⁻³² as the device has them in f32
    const UNIT: f32 = 2.328_306_4e-10;
    const TURN: f32 = (2.328_306_4e-10_f64 * 6.283_185_5) as f32;
    let (unit, turn) = (f64::from(UNIT), f64::from(TURN));
    let u = f64::from(first) * unit + unit / 2.0;
    let v = f64::from(second) * turn + turn / 2.0;
    ((-2.0 * u.ln()).sqrt() * v.sin()) as f32
}

/// Turns 16 uniforms into normals in place. A pair is `(j, j + 8)`, not two neighbours (`NormalFill16`).
fn box_muller_block(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * cephes_ln(1.0 - *a)).sqrt();
        let (sin, cos) = cephes_sin_cos(2.0 * std::f32::consts::PI * *b);
        // torch's `fma(n, std = 1, mean = 0)`, which turns -0 into 0
        *a = radius * cos + 0.0;
        *b = radius * sin + 0.0;
    }
}

/// `log256_ps` for one lane, `0 < x <= 1` and normal.
///
/// This and [`cephes_sin_cos`] are altered from avx_mathfun.h (Julien Pommier, Giovanni Garberoglio; zlib licence):
/// one lane instead of eight, and the fused multiply-adds that the compiler makes of the original are written out.
#[expect(clippy::excessive_precision, reason = "the constants stand as they were published")]
fn cephes_ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461_03e-1,
        1.167_699_87e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333_1e-1,
    ];
    let exponent = (x.to_bits() >> 23) as i32 - 126;
    let mantissa = f32::from_bits(x.to_bits() & 0x807f_ffff | 0x3f00_0000);
    let small = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let e = if small { exponent - 1 } else { exponent } as f32;
    let x = if small { (mantissa - 1.0) + mantissa } else { mantissa - 1.0 };
    let z = x * x;
    let y = horner(&P, x) * x;
    let y = y.mul_add(z, e * -2.121_944_4e-4);
    let y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_375, x + y)
}

/// `sincos256_ps` for one lane, `0 <= x < 8192`: `(sin x, cos x)`.
fn cephes_sin_cos(x: f32) -> (f32, f32) {
    const COS: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    const SIN: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    let octant = ((x * (4.0 / std::f64::consts::PI) as f32) as i32 + 1) & !1;
    let y = octant as f32;
    // extended precision modular arithmetic: π/4 in three parts
    let x = y.mul_add(-0.785_156_25, x);
    let x = y.mul_add(-2.418_756_5e-4, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let cos = (horner(&COS, z) * z).mul_add(z, z * -0.5) + 1.0;
    let sin = (horner(&SIN, z) * z).mul_add(x, x);
    let (sin, cos) = if octant & 2 == 0 { (sin, cos) } else { (cos, sin) };
    let negate = |value: f32, when: bool| if when { -value } else { value };
    (negate(sin, octant & 4 != 0), negate(cos, (octant - 2) & 4 == 0))
}

/// The polynomial with the highest coefficient first, one fused multiply-add per degree.
fn horner(coefficients: &[f32], x: f32) -> f32 {
    coefficients[1..].iter().fold(coefficients[0], |sum, &c| sum.mul_add(x, c))
}

/// MT19937 as in `at::mt19937`.
#[derive(Clone, Debug)]
struct MersenneTwister {
    state: [u32; Self::N],
    /// The next word to hand out; `N` when the state must be advanced first.
    next: usize,
}

impl MersenneTwister {
    const N: usize = 624;
    const M: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::N];
        for j in 1..Self::N {
            let previous = state[j - 1];
            state[j] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(j as u32);
        }
        Self { state, next: Self::N }
    }

    fn next(&mut self) -> u32 {
        if self.next == Self::N {
            self.advance();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Makes the next `N` words of state at once, as the reference does; what is handed out is tempered from them.
    fn advance(&mut self) {
        for j in 0..Self::N {
            let mixed = self.state[j] & 0x8000_0000 | self.state[(j + 1) % Self::N] & 0x7fff_ffff;
            let twist = if mixed & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[j] = self.state[(j + Self::M) % Self::N] ^ (mixed >> 1) ^ twist;
        }
        self.next = 0;
    }
}
