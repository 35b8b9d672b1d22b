//! The front end: 16 kHz samples to the logarithm of energies in mel bands, a frame every 10 ms (transformers'
//! `WhisperFeatureExtractor`, whose numpy form in f64 is followed).
//!
//! The whole audio is measured at once, because quiet places are lifted to 8 decades below the loudest band of all. Windows
//! are then cut from that. After the last sample there is silence, as in OpenAI's whisper; where audio fills its window to
//! the sample, transformers mirrors it there instead.

use std::f64::consts::TAU;

use atelier_inference::speech::SAMPLE_RATE;
use candle_core::{Device, Result as TensorResult, Tensor};
use rayon::prelude::*;

use super::fourier::{Complex, Fourier};

/// Samples of a frame.
pub(super) const FFT_SIZE: usize = 400;
/// Samples from one frame to the next.
pub(crate) const HOP: usize = 160;
/// Frames of a second.
pub(crate) const FRAMES_PER_SECOND: usize = SAMPLE_RATE / HOP;
/// Frequencies of a frame.
const BINS: usize = FFT_SIZE / 2 + 1;
/// Where the highest band ends, in Hz.
const HIGHEST: f64 = 8_000.0;
/// Smallest energy.
const FLOOR: f64 = 1e-10;
/// Decades from the loudest band to what is as good as silence.
const RANGE: f32 = 8.0;

/// What is the same for all audio.
#[derive(Debug)]
pub struct FrontEnd {
    fourier: Fourier,
    /// Hann's, periodic.
    window: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle over frequencies.
#[derive(Debug)]
struct Band {
    /// Its first frequency's number.
    first: usize,
    weights: Vec<f64>,
}

/// Energies of audio, (frames, bands).
#[derive(Debug)]
pub struct Spectrogram {
    /// Of every frame that hears anything.
    values: Vec<f32>,
    bands: usize,
    /// Whole frames of audio.
    frames: usize,
    /// What silence is.
    silence: f32,
}

impl FrontEnd {
    /// For so many bands.
    pub fn new(bands: usize) -> Self {
        let hann = |at: usize| 0.5 - 0.5 * (TAU * at as f64 / FFT_SIZE as f64).cos();
        Self {
            fourier: Fourier::new(FFT_SIZE),
            window: (0..FFT_SIZE).map(hann).collect(),
            bands: mel_bands(bands),
        }
    }

    /// All frames of audio.
    pub fn listen(&self, samples: &[f32]) -> Spectrogram {
        let frames = samples.len() / HOP;
        // frames after the last whole one still hear its samples; how loud they are matters, though no window has them
        let heard = (samples.len() + FFT_SIZE / 2).div_ceil(HOP);
        let bands = self.bands.len();
        let mut logs = vec![0.0f32; heard * bands];
        logs.par_chunks_exact_mut(bands).enumerate().for_each_init(
            || vec![(0.0, 0.0); 2 * FFT_SIZE],
            |scratch, (frame, out)| self.frame(samples, frame, scratch, out),
        );
        let loudest = logs.iter().copied().fold(FLOOR.log10() as f32, f32::max);
        let shift = |log: f32| (log.max(loudest - RANGE) + 4.0) / 4.0;
        logs.iter_mut().for_each(|log| *log = shift(*log));
        Spectrogram { values: logs, bands, frames, silence: shift(FLOOR.log10() as f32) }
    }

    /// The logarithms of one frame's bands. Frames are centred: the first begins half of one before the first sample, where
    /// the audio is mirrored, and after the last sample there is silence.
    fn frame(&self, samples: &[f32], frame: usize, scratch: &mut [Complex], out: &mut [f32]) {
        let (values, scratch) = scratch.split_at_mut(FFT_SIZE);
        let start = (frame * HOP) as isize - (FFT_SIZE / 2) as isize;
        for (at, (value, window)) in values.iter_mut().zip(&self.window).enumerate() {
            let sample = samples.get((start + at as isize).unsigned_abs()).copied().unwrap_or_default();
            *value = (f64::from(sample) * window, 0.0);
        }
        self.fourier.run(values, scratch);
        for (band, out) in self.bands.iter().zip(out) {
            let energies = values[band.first..].iter().map(|value| value.0 * value.0 + value.1 * value.1);
            let sum: f64 = energies.zip(&band.weights).map(|(energy, weight)| energy * weight).sum();
            *out = sum.max(FLOOR).log10() as f32;
        }
    }
}

impl Spectrogram {
    /// Whole frames of audio.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// A window's frames from `first` on, of which `count` are audio and the rest zeros: (1, length, bands). OpenAI's
    /// `pad_or_trim`; the zeros are no silence, they are what the model was trained with.
    pub fn window(&self, first: usize, count: usize, length: usize, device: &Device) -> TensorResult<Tensor> {
        self.cut(first, count.min(self.frames.saturating_sub(first)), length, 0.0, device)
    }

    /// A window's frames from `first` on, with silence after the audio.
    pub fn opening(&self, first: usize, length: usize, device: &Device) -> TensorResult<Tensor> {
        self.cut(first, length, length, self.silence, device)
    }

    /// The bands of a frame from about 100 Hz to 4 kHz, in decibels.
    pub(crate) fn speech_bands(&self, frame: usize) -> Vec<f64> {
        // in mels these are the parts from 3 % to 78 %
        let (low, high) = (self.bands * 3 / 100, self.bands * 78 / 100);
        let bands = &self.values[frame * self.bands + low..frame * self.bands + high];
        bands.iter().map(|value| 10.0 * (f64::from(*value) * 4.0 - 4.0)).collect()
    }

    fn cut(
        &self,
        first: usize,
        count: usize,
        length: usize,
        rest: f32,
        device: &Device,
    ) -> TensorResult<Tensor> {
        let heard = self.values.len() / self.bands;
        let first = first.min(heard);
        let count = count.min(length).min(heard - first);
        let mut values = self.values[first * self.bands..(first + count) * self.bands].to_vec();
        values.resize(length * self.bands, rest);
        Tensor::from_vec(values, (1, length, self.bands), device)
    }
}

/// Triangles whose corners are equally far apart in mels, each of area 1 (Slaney's Auditory Toolbox, as in librosa).
fn mel_bands(count: usize) -> Vec<Band> {
    let highest = mel(HIGHEST);
    let corner = |index: usize| hertz(highest * index as f64 / (count + 1) as f64);
    let frequency = |bin: usize| (bin * SAMPLE_RATE) as f64 / FFT_SIZE as f64;
    let band = |index: usize| {
        let (low, middle, high) = (corner(index), corner(index + 1), corner(index + 2));
        let weight = |bin: usize| {
            let (rise, fall) =
                ((frequency(bin) - low) / (middle - low), (high - frequency(bin)) / (high - middle));
            rise.min(fall).max(0.0) * 2.0 / (high - low)
        };
        let first = (0..BINS).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
        Band { first, weights: (first..BINS).map(weight).take_while(|weight| *weight > 0.0).collect() }
    };
    (0..count).map(band).collect()
}

/// Below this the scale is linear, above it logarithmic.
const KNEE_HERTZ: f64 = 1_000.0;
const KNEE_MEL: f64 = 15.0;
const HERTZ_PER_MEL: f64 = 200.0 / 3.0;

/// Mels from the knee to 6.4 times its frequency, in a logarithm.
fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn mel(hertz: f64) -> f64 {
    if hertz < KNEE_HERTZ { hertz / HERTZ_PER_MEL } else { KNEE_MEL + (hertz / KNEE_HERTZ).ln() / log_step() }
}

fn hertz(mel: f64) -> f64 {
    if mel < KNEE_MEL { mel * HERTZ_PER_MEL } else { KNEE_HERTZ * ((mel - KNEE_MEL) * log_step()).exp() }
}

/// What each frequency adds to all bands together, for the tests.
#[doc(hidden)]
pub fn band_sums(count: usize) -> Vec<f64> {
    let mut sums = vec![0.0; count];
    for (sum, band) in sums.iter_mut().zip(mel_bands(count)) {
        *sum = band.weights.iter().sum();
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_audio_is_no_frames_and_silence_is_the_lowest_value_of_all() {
        let front_end = FrontEnd::new(80);
        assert_eq!(front_end.listen(&[]).frames(), 0);
        let silent = front_end.listen(&[0.0; 4_000]);
        assert_eq!(silent.frames(), 25);
        let window = silent.opening(0, 40, &Device::Cpu).unwrap().flatten_all().unwrap();
        assert!(window.to_vec1::<f32>().unwrap().iter().all(|value| *value == -1.5));
    }

    #[test]
    fn a_window_is_filled_up_with_zeros_and_an_opening_with_silence() {
        let samples: Vec<f32> = (0..3_200).map(|at| (at as f32 * 0.3).sin()).collect();
        let heard = FrontEnd::new(80).listen(&samples);
        let rows = |window: Tensor| window.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let window = rows(heard.window(15, 3, 10, &Device::Cpu).unwrap());
        let opening = rows(heard.opening(15, 10, &Device::Cpu).unwrap());
        assert_eq!(window[..3], opening[..3]);
        assert!(window[3..].iter().flatten().all(|value| *value == 0.0));
        // two frames after the last whole one still hear it
        assert!(opening[5].iter().any(|value| *value > heard.silence));
        assert!(opening[7..].iter().flatten().all(|value| *value == heard.silence));
        assert!(heard.silence < *window[0].iter().max_by(|a, b| a.total_cmp(b)).unwrap());
        assert_eq!(rows(heard.window(99, 3, 2, &Device::Cpu).unwrap()), vec![vec![0.0; 80]; 2]);
    }

    #[test]
    fn a_tone_is_loudest_in_the_band_around_it() {
        let samples: Vec<f32> =
            (0..SAMPLE_RATE).map(|at| (TAU * 1_000.0 * at as f64 / 16_000.0).sin() as f32).collect();
        let heard = FrontEnd::new(80).listen(&samples);
        let frame = &heard.values[50 * 80..51 * 80];
        let loudest = (0..80).max_by(|a, b| frame[*a].total_cmp(&frame[*b])).unwrap();
        let corner = |index: usize| hertz(mel(HIGHEST) * index as f64 / 81.0);
        assert!(corner(loudest) < 1_000.0 && 1_000.0 < corner(loudest + 2), "band {loudest}");
    }
}
