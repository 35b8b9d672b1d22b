//! Brings a channel from one rate to another by band-limited interpolation: a windowed sinc for every phase between two
//! samples (J. O. Smith, "Digital Audio Resampling"). Output frame n is the sound at n/rate: there is no delay, and a
//! recording has `ceil(frames * to / from)` of them.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side. With the window below, what lies above half the lower rate is 80 dB down.
const ZERO_CROSSINGS: f64 = 32.0;

/// Where the filter begins to fall, as a share of half the lower rate: half its slope is left above it.
const CUTOFF: f64 = 0.94;

/// Shape of the Kaiser window, for 90 dB: 0.1102 * (90 - 8.7).
const KAISER_BETA: f64 = 8.96;

/// Phases that are computed. Rates that need more, such as 44,101 Hz, are interpolated between two of these, which
/// adds less than 1e-5.
const MAX_PHASES: u64 = 512;

/// Samples that are summed at a time; the kernel's length is a multiple.
const LANES: usize = 8;

/// Output that doubles its room as it grows. Beyond it a recording is long and gets all the room that it may need:
/// doubling would take three times its memory.
const LONG: usize = 4 << 20;

/// Used-up samples that are kept before they are removed at once.
const SLACK: usize = 1 << 14;

pub(crate) struct Resampler {
    /// Output frames and input frames of the same duration.
    up: u64,
    down: u64,
    /// Absent if the rates are the same.
    kernel: Option<Kernel>,
    /// Input that is still needed; before it began there was silence.
    input: Vec<f32>,
    /// The input frame, counted from the kernel's half before the first, that `input` begins with.
    first: u64,
    /// Input frames pushed.
    pushed: u64,
    output: Vec<f32>,
    /// Output frames that a recording has at most.
    most: usize,
}

impl Resampler {
    /// From one rate to the other, for at most so many output frames: a few more are taken all the same.
    pub(crate) fn new(from: u32, to: u32, most: usize) -> Self {
        let shared = gcd(from, to);
        let (up, down) = (u64::from(to / shared), u64::from(from / shared));
        let kernel = (from != to).then(|| Kernel::new(up, down));
        let input = vec![0.0; kernel.as_ref().map_or(0, |kernel| kernel.half)];
        Self { up, down, kernel, input, first: 0, pushed: 0, output: Vec::new(), most }
    }

    /// Takes input frames.
    pub(crate) fn push(&mut self, frames: &[f32]) {
        self.make_room(frames.len());
        if self.kernel.is_none() {
            return self.output.extend_from_slice(frames);
        }
        self.pushed += frames.len() as u64;
        self.input.extend_from_slice(frames);
        self.produce();
    }

    /// Makes room for what so many input frames become.
    fn make_room(&mut self, frames: usize) {
        let more = (frames as u64 * self.up).div_ceil(self.down) as usize;
        let length = self.output.len() + more;
        if length > LONG && length > self.output.capacity() {
            // where there is not so much, it goes on doubling
            let _ = self.output.try_reserve_exact(self.most.saturating_sub(self.output.len()));
        }
    }

    /// All output frames.
    pub(crate) fn finish(mut self) -> Vec<f32> {
        if let Some(kernel) = &self.kernel {
            self.input.resize(self.input.len() + kernel.half, 0.0);
            self.produce();
        }
        self.output
    }

    /// Computes what the input reaches for.
    fn produce(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        loop {
            // counted from the kernel's half before the first frame, this is where the kernel begins
            let n = self.output.len() as u64 * self.down;
            let (frame, phase) = (n / self.up, n % self.up);
            let start = (frame - self.first) as usize;
            let Some(reached) = self.input.get(start + 1..start + 1 + 2 * kernel.half) else { break };
            if frame >= self.pushed {
                break;
            }
            self.output.push(kernel.apply(reached, phase));
        }
        let next = self.output.len() as u64 * self.down / self.up;
        let used = ((next - self.first) as usize).min(self.input.len());
        if used > SLACK {
            self.input.drain(..used);
            self.first += used as u64;
        }
    }
}

/// The filter's coefficients for each phase.
struct Kernel {
    /// Input frames on each side.
    half: usize,
    /// Steps between one input frame and the next that a phase is counted in.
    steps: u64,
    /// Phases that are computed between one input frame and the next.
    phases: u64,
    /// One row of `2 * half` for each phase, and one for the next frame's first.
    rows: Vec<f32>,
}

impl Kernel {
    fn new(up: u64, down: u64) -> Self {
        // the lower rate as a share of the input's
        let band = (up as f64 / down as f64).min(1.0);
        let reach = ZERO_CROSSINGS / band;
        let half = (reach.ceil() as usize).next_multiple_of(LANES / 2);
        let phases = up.min(MAX_PHASES);
        let row = |phase: u64| row(half, phase as f64 / phases as f64, band * CUTOFF, reach);
        Self { half, steps: up, phases, rows: (0..=phases).flat_map(row).collect() }
    }

    /// The sound at a phase after the middle of `input`, whose first half reaches up to the frame before.
    fn apply(&self, input: &[f32], phase: u64) -> f32 {
        let scaled = phase * self.phases;
        let (row, rest) = ((scaled / self.steps) as usize, scaled % self.steps);
        let here = self.dot(row, input);
        if rest == 0 {
            return here;
        }
        let share = rest as f32 / self.steps as f32;
        here + (self.dot(row + 1, input) - here) * share
    }

    fn dot(&self, row: usize, input: &[f32]) -> f32 {
        let taps = 2 * self.half;
        let row = &self.rows[row * taps..(row + 1) * taps];
        let mut sums = [0.0; LANES];
        for (coefficients, samples) in row.chunks_exact(LANES).zip(input.chunks_exact(LANES)) {
            for lane in 0..LANES {
                sums[lane] += coefficients[lane] * samples[lane];
            }
        }
        sums.iter().sum()
    }
}

/// Coefficients for the sound `fraction` of a frame after frame `half - 1` of `2 * half`, which add up to 1.
fn row(half: usize, fraction: f64, cutoff: f64, reach: f64) -> Vec<f32> {
    let coefficient = |index: usize| {
        let time = index as f64 - (half as f64 - 1.0) - fraction;
        sinc(cutoff * time) * kaiser(time / reach)
    };
    let coefficients: Vec<f64> = (0..2 * half).map(coefficient).collect();
    let sum: f64 = coefficients.iter().sum();
    coefficients.iter().map(|coefficient| (coefficient / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window from -1 to 1.
fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA) }
}

/// The modified Bessel function of the first kind of order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..64 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates of microphones, files and telephones, and one that has no small ratio.
    const RATES: [u32; 8] = [8_000, 11_025, 22_050, 24_000, 44_100, 44_101, 48_000, 192_000];

    fn tone(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    fn resampled(from: u32, frames: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, 16_000, 0);
        frames.chunks(1_000).for_each(|chunk| resampler.push(chunk));
        resampler.finish()
    }

    fn worst(found: &[f32], expected: &[f32]) -> f32 {
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn tones_below_the_slope_are_the_same_tones() {
        for rate in RATES {
            let band = f64::from(rate.min(16_000));
            for hertz in [band * 0.01, band * 0.2, band * 0.42] {
                let found = resampled(rate, &tone(rate, hertz, rate as usize / 2));
                assert_eq!(found.len(), 8_000, "{rate} Hz");
                // the first and last frames hear the silence around the tone
                let whole = tone(16_000, hertz, 8_000);
                let worst = worst(&found[200..7_800], &whole[200..7_800]);
                assert!(worst < 1e-4, "{hertz} Hz at {rate} Hz: {worst}");
            }
        }
    }

    #[test]
    fn tones_above_half_the_lower_rate_are_gone() {
        for (rate, hertz) in [(44_100, 8_300.0), (48_000, 8_300.0), (48_000, 15_900.0), (192_000, 50_000.0)] {
            let found = resampled(rate, &tone(rate, hertz, rate as usize / 2));
            let worst = worst(&found[200..7_800], &[0.0; 7_600]);
            assert!(worst < 1e-4, "{hertz} Hz at {rate} Hz: {worst}");
        }
    }

    #[test]
    fn every_length_has_its_frames_and_silence_is_level() {
        for rate in RATES {
            for frames in [0_usize, 1, 2, 3, 441, 10_000] {
                let expected = (frames as u64 * 16_000).div_ceil(u64::from(rate));
                let found = resampled(rate, &vec![0.5; frames]);
                assert_eq!(found.len() as u64, expected, "{frames} frames at {rate} Hz");
                if frames == 10_000 && rate < 100_000 {
                    let middle = &found[found.len() / 2 - 50..found.len() / 2 + 50];
                    assert!(middle.iter().all(|sample| (sample - 0.5).abs() < 1e-5), "{rate} Hz");
                }
            }
        }
    }

    #[test]
    fn the_same_rate_changes_nothing() {
        let frames = tone(16_000, 440.0, 999);
        assert_eq!(resampled(16_000, &frames), frames);
    }
}
