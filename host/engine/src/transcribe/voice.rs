//! Where in audio there may be a voice: loudness above what is always there, and a spectrum that is neither as flat as noise
//! nor as narrow as a tone. It asks for no model, hears 10 ms at a time, and errs towards hearing a voice.
//!
//! A frame counts when it is well above the quiet frames around it and its spectral flatness (the mean of its bands in
//! decibels, below the decibels of their mean) lies between the limits. Hum, hiss and tones that last are no louder than
//! themselves; clicks, claps and bursts of noise are flat; beeps are narrow. What this cannot tell from speech: music, animals,
//! and knocks on wood. A whisper over hiss may be missed.

use crate::models::whisper::{FRAMES_PER_SECOND, HOP, Spectrogram};

/// Frames over which quiet is looked for: half a minute.
const BLOCK: usize = 30 * FRAMES_PER_SECOND;
/// The share of frames that are as quiet as a place gets.
const QUIET_SHARE: f64 = 0.1;
/// Decibels above quiet.
const ABOVE_QUIET: f64 = 6.0;
/// Decibels of full scale below which nobody can be heard.
const AUDIBLE: f64 = -60.0;
/// Flatness of noise is above this, in decibels.
const NOISE_FLATNESS: f64 = -3.0;
/// That of a tone is below this.
const TONE_FLATNESS: f64 = -28.0;
/// Decibels below its loudest that a band is taken to have at least: leaking of the transform, and rounding.
const BAND_RANGE: f64 = 50.0;
/// Shortest sum of such frames in a stretch of speech: a syllable.
const SHORTEST: usize = FRAMES_PER_SECOND / 10;
/// Longest pause within a stretch.
const PAUSE: usize = 2 * FRAMES_PER_SECOND;
/// What is heard before and after a stretch, for soft beginnings and ends.
const AROUND: usize = 2 * FRAMES_PER_SECOND / 5;

/// Stretches of frames, from and to, in which there may be a voice; none where there is certainly none.
pub(super) fn voices(samples: &[f32], heard: &Spectrogram) -> Vec<(usize, usize)> {
    let levels: Vec<f64> = samples.chunks_exact(HOP).map(decibels).collect();
    let quiet: Vec<f64> = (0..levels.len().div_ceil(BLOCK)).map(|block| quiet(&levels, block)).collect();
    let is_loud = |frame: &usize| levels[*frame] > AUDIBLE.max(quiet[*frame / BLOCK] + ABOVE_QUIET);
    let is_voiced = |frame: &usize| {
        let flatness = flatness(&heard.speech_bands(*frame));
        TONE_FLATNESS < flatness && flatness < NOISE_FLATNESS
    };
    let mut stretches: Vec<Stretch> = Vec::new();
    for frame in (0..levels.len().min(heard.frames())).filter(is_loud).filter(is_voiced) {
        match stretches.last_mut() {
            Some(last) if frame - last.to <= PAUSE => {
                last.to = frame + 1;
                last.voiced += 1;
            }
            _ => stretches.push(Stretch { from: frame, to: frame + 1, voiced: 1 }),
        }
    }
    let around =
        |stretch: &Stretch| (stretch.from.saturating_sub(AROUND), (stretch.to + AROUND).min(heard.frames()));
    stretches.iter().filter(|stretch| stretch.voiced >= SHORTEST).map(around).collect()
}

/// Frames that sound like a voice, with no long pause between them.
struct Stretch {
    from: usize,
    to: usize,
    voiced: usize,
}

/// Loudness, where 0 is a square wave of full scale.
fn decibels(samples: &[f32]) -> f64 {
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    10.0 * (squares / samples.len().max(1) as f64).max(1e-12).log10()
}

/// What is always there in half a minute: the level that a tenth of its frames does not reach.
fn quiet(levels: &[f64], block: usize) -> f64 {
    // the last half minute is a whole one where there is that much
    let to = levels.len().min((block + 1) * BLOCK);
    let mut around = levels[to.saturating_sub(BLOCK)..to].to_vec();
    let rank = (around.len() as f64 * QUIET_SHARE) as usize;
    *around.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// Spectral flatness in decibels, from bands in decibels: 0 where all are alike.
fn flatness(bands: &[f64]) -> f64 {
    let loudest = bands.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let floored = bands.iter().map(|band| band.max(loudest - BAND_RANGE));
    let count = bands.len().max(1) as f64;
    let energies: f64 = floored.clone().map(|band| 10f64.powf((band - loudest) / 10.0)).sum();
    floored.sum::<f64>() / count - loudest - 10.0 * (energies / count).log10()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use atelier_inference::speech::SAMPLE_RATE;

    use crate::models::whisper::FrontEnd;

    const SECOND: usize = SAMPLE_RATE;

    fn noise(samples: usize, loudness: f64) -> Vec<f64> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(state >> 8) / f64::from(1 << 23) - 1.0) * loudness
        };
        (0..samples).map(|_| next()).collect()
    }

    fn tone(samples: usize, hertz: f64, loudness: f64) -> Vec<f64> {
        (0..samples).map(|at| (TAU * hertz * at as f64 / SECOND as f64).sin() * loudness).collect()
    }

    /// Syllables four times a second: a buzz of 120 Hz through three resonances that move, with pauses between.
    fn speech(samples: usize, loudness: f64) -> Vec<f64> {
        let sample = |at: usize| {
            let time = at as f64 / SECOND as f64;
            let syllable = (TAU * 4.0 * time).sin().max(0.0);
            let open = 1.0 + 0.3 * (TAU * 1.3 * time).sin();
            let harmonic = |number: f64| {
                let hertz = 120.0 * number;
                let resonance = |centre: f64| 1.0 / (1.0 + ((hertz - centre) / 90.0).powi(2));
                let gain =
                    resonance(600.0 * open) + 0.5 * resonance(1_400.0 / open) + 0.25 * resonance(2_600.0);
                gain * (TAU * hertz * time).sin()
            };
            syllable * loudness * (1..=30).map(|number| harmonic(f64::from(number))).sum::<f64>() / 4.0
        };
        (0..samples).map(sample).collect()
    }

    fn silence(samples: usize) -> Vec<f64> {
        vec![0.0; samples]
    }

    fn mixed(a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
        a.iter().zip(&b).map(|(a, b)| a + b).collect()
    }

    fn heard(parts: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let samples: Vec<f32> = parts.concat().into_iter().map(|sample| sample as f32).collect();
        let seconds = |frames: usize| frames as f64 / FRAMES_PER_SECOND as f64;
        let found = voices(&samples, &FrontEnd::new(80).listen(&samples));
        found.into_iter().map(|(from, to)| (seconds(from), seconds(to))).collect()
    }

    #[test]
    fn what_is_no_voice_is_not_heard() {
        let clicks = (0..5 * SECOND).map(|at| if at % 7_919 < 3 { 0.9 } else { 0.0 }).collect();
        for (what, parts) in [
            ("nothing", vec![]),
            ("less than a frame", vec![tone(100, 440.0, 0.5)]),
            ("silence", vec![silence(10 * SECOND)]),
            ("hiss", vec![noise(10 * SECOND, 0.1)]),
            ("loud hiss", vec![noise(2 * SECOND, 1.0)]),
            ("a burst of noise", vec![silence(2 * SECOND), noise(SECOND, 0.3), silence(2 * SECOND)]),
            ("hum", vec![tone(5 * SECOND, 50.0, 0.3)]),
            ("a tone over hiss", vec![mixed(tone(5 * SECOND, 800.0, 0.3), noise(5 * SECOND, 0.02))]),
            ("a beep", vec![silence(2 * SECOND), tone(SECOND, 1_000.0, 0.5), silence(2 * SECOND)]),
            ("clicks", vec![clicks]),
            ("somebody far too quiet", vec![speech(5 * SECOND, 0.0005)]),
        ] {
            assert_eq!(heard(&parts), [], "{what}");
        }
    }

    #[test]
    fn a_voice_is_heard_where_it_is_with_a_little_around_it() {
        for (what, loudness, hiss) in [("clear", 0.5, 0.0), ("quiet", 0.02, 0.0), ("over hiss", 0.5, 0.02)] {
            let whole = [silence(4 * SECOND), speech(3 * SECOND, loudness), silence(5 * SECOND)].concat();
            let found = heard(&[mixed(whole, noise(12 * SECOND, hiss))]);
            let [(from, to)] = found[..] else { panic!("{what}: {found:?}") };
            assert!((3.5..=4.1).contains(&from) && (6.7..=7.5).contains(&to), "{what}: {found:?}");
        }
    }

    #[test]
    fn a_long_pause_divides_and_a_short_one_does_not() {
        let with_pause = |seconds: usize| {
            heard(&[speech(2 * SECOND, 0.5), silence(seconds * SECOND), speech(2 * SECOND, 0.5)]).len()
        };
        assert_eq!((with_pause(1), with_pause(5)), (1, 2));
        assert_eq!(heard(&[speech(40 * SECOND, 0.5)]).len(), 1, "over the edge of a block");
    }
}
