//! Recordings out of untrusted bytes, for capabilities that listen. What the decoder answers is checked: it has read what
//! a stranger sent.

use std::sync::Arc;

use thiserror::Error;

use crate::Tenant;
use crate::bindings::decoder::exports::atelier::host::media;
use crate::context::Scope;
use crate::decoder::{self, AUDIO_MAX_SECONDS, AUDIO_RATE, Stopped};
use crate::runtime::Host;

/// A decoded recording. Cloning it copies no samples.
#[derive(Clone, Debug)]
pub struct Recording {
    /// One channel at [`Recording::RATE`], all finite; full scale is 1. Never empty.
    pub samples: Arc<[f32]>,
    /// The length of the sound in seconds.
    pub seconds: f64,
    /// The container that was found, such as `webm`.
    pub container: String,
    /// The codec that was found, such as `opus`.
    pub codec: String,
    /// The source's rate in Hz.
    pub source_rate: u32,
    /// How many channels of the source were mixed, by mean.
    pub channels: u32,
    /// What of the file is silent or missing because it is damaged, where and why; absent if it is whole.
    pub damage: Option<String>,
}

/// Why a recording was not decoded. The texts are safe to show.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AudioError {
    /// The bytes are of no format that is read, or their codec is not; the text names what it looks like.
    #[error("{0}")]
    Unsupported(String),
    /// There is no sound in the file, or too little of it can be decoded.
    #[error("{0}")]
    Malformed(String),
    /// It has too many bytes, or takes too much time or memory; the text says which.
    #[error("{0}")]
    TooLarge(String),
    /// There is more sound than was asked for, or than is ever decoded.
    #[error("the recording is longer than {seconds} seconds; cut it into parts")]
    TooLong {
        /// What would have been decoded.
        seconds: u32,
    },
    /// The decoder gave an answer that cannot be.
    #[error("{0}")]
    Other(String),
}

impl Recording {
    /// The rate of the samples, in Hz.
    pub const RATE: u32 = AUDIO_RATE;

    /// What the decoder found, if it is a recording of at most so many seconds.
    fn checked(found: media::Recording, max_seconds: u32) -> Result<Self, AudioError> {
        let impossible = |what: &str| Err(AudioError::Other(format!("the decoder returned {what}")));
        let media::Recording { samples, seconds, source_rate, channels, .. } = &found;
        if samples.is_empty() || *source_rate == 0 || *channels == 0 {
            return impossible("no recording");
        }
        if samples.len() as u64 > u64::from(max_seconds) * u64::from(Self::RATE) {
            return impossible("more seconds than it was asked for");
        }
        let is_length = (seconds * f64::from(Self::RATE) - samples.len() as f64).abs() <= 1.0;
        if !is_length || !samples.iter().all(|sample| sample.is_finite()) {
            return impossible("samples or a length that are no numbers of a recording");
        }
        Ok(Self {
            samples: found.samples.into(),
            seconds: found.seconds,
            container: found.container,
            codec: found.codec,
            source_rate: found.source_rate,
            channels: found.channels,
            damage: found.damage,
        })
    }
}

/// Decodes untrusted bytes in the sandbox. A decoder that traps, hangs or runs out of memory is an error value.
pub(crate) async fn decode_audio(
    host: &Arc<Host>,
    tenant: &Arc<Tenant>,
    scope: &Scope,
    bytes: Vec<u8>,
    max_seconds: u32,
) -> Result<Recording, AudioError> {
    let max_seconds = max_seconds.min(AUDIO_MAX_SECONDS);
    let read = move |answer: Result<media::Recording, media::AudioError>| {
        answer
            .map_err(|error| told(error, max_seconds))
            .and_then(|found| Recording::checked(found, max_seconds))
    };
    match host.decoder.decode_audio(host, tenant, scope, (bytes, max_seconds), read).await {
        Ok(answer) => answer,
        Err(failure) => Err(match decoder::stopped(&failure, scope) {
            Stopped::AtLimit(text) => AudioError::TooLarge(text),
            Stopped::Broken(text) => AudioError::Malformed(text),
        }),
    }
}

fn told(error: media::AudioError, seconds: u32) -> AudioError {
    match error {
        media::AudioError::UnknownFormat(text) | media::AudioError::Unsupported(text) => {
            AudioError::Unsupported(text)
        }
        media::AudioError::NoAudio(text) | media::AudioError::Damaged(text) => AudioError::Malformed(text),
        media::AudioError::TooLarge(text) => AudioError::TooLarge(text),
        media::AudioError::TooLong => AudioError::TooLong { seconds },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(samples: Vec<f32>) -> media::Recording {
        let seconds = samples.len() as f64 / f64::from(Recording::RATE);
        media::Recording {
            samples,
            container: "webm".into(),
            codec: "opus".into(),
            source_rate: 48_000,
            channels: 2,
            seconds,
            damage: None,
        }
    }

    #[test]
    fn an_answer_that_cannot_be_is_no_recording() {
        let broken = |change: fn(&mut media::Recording)| {
            let mut found = found(vec![0.5; 16_000]);
            change(&mut found);
            matches!(Recording::checked(found, 1), Err(AudioError::Other(_)))
        };
        assert!(!broken(|_| {}));
        assert!(broken(|found| found.samples.clear()));
        assert!(broken(|found| found.samples[7] = f32::NAN));
        assert!(broken(|found| found.samples.push(0.0)));
        assert!(broken(|found| found.samples.truncate(100)));
        assert!(broken(|found| found.seconds = f64::NAN));
        assert!(broken(|found| (found.source_rate, found.channels) = (0, 2)));
        assert!(broken(|found| found.channels = 0));
    }
}
