//! `audio`: recordings behind handles. Samples stay here until a guest asks for them; every recording is charged to the
//! guest that made it, for as long as anybody holds it.

use std::sync::Arc;

use atelier_inference::speech::SAMPLE_RATE;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::{Access, Capabilities, caller};
use crate::bindings::audio::{Error, Host, HostRecording, HostRecordingWithStore, Source};
use crate::recording::{AudioError, Recording, decode_audio};
use crate::sandbox::{Held, Meter, Sandbox};

/// What is behind a guest's handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Sound {
    /// One channel at 16 kHz, all finite.
    pub(super) samples: Arc<[f32]>,
    source: Option<Source>,
    _held: Held,
}

impl Host for Sandbox {}

impl HostRecording for Sandbox {
    fn from_samples(&mut self, samples: Vec<f32>) -> Result<std::result::Result<Resource<Sound>, Error>> {
        if !samples.iter().all(|sample| sample.is_finite()) {
            return Ok(Err(Error::Invalid("samples: some are no numbers".into())));
        }
        let meter = self.meter().clone();
        self.keep_sound(samples.into(), None, &meter)
    }

    fn seconds(&mut self, recording: Resource<Sound>) -> Result<f64> {
        Ok(self.table.get(&recording)?.samples.len() as f64 / SAMPLE_RATE as f64)
    }

    fn samples(&mut self, recording: Resource<Sound>) -> Result<Vec<f32>> {
        Ok(self.table.get(&recording)?.samples.to_vec())
    }

    fn source(&mut self, recording: Resource<Sound>) -> Result<Option<Source>> {
        Ok(self.table.get(&recording)?.source.clone())
    }

    fn drop(&mut self, recording: Resource<Sound>) -> Result<()> {
        self.table.delete(recording)?;
        Ok(())
    }
}

impl HostRecordingWithStore<Sandbox> for Capabilities {
    async fn decode(access: &Access, bytes: Vec<u8>) -> Result<std::result::Result<Resource<Sound>, Error>> {
        let caller = caller(access).await;
        let (wait, span) = (caller.meter.wait(), caller.meter.scope().open("audio.decode"));
        let (scope, tenant) = (span.scope(), caller.meter.tenant());
        let limit = u32::try_from(caller.meter.limits().audio_seconds).unwrap_or(u32::MAX);
        let decoding = decode_audio(&caller.host, tenant, &scope, bytes, limit);
        let decoded = caller.meter.while_wanted(decoding).await;
        drop((wait, span));
        match decoded {
            Ok(Recording { samples, container, codec, source_rate: rate, channels, damage, .. }) => {
                let source = Source { container, codec, rate, channels, damage };
                access.with(|mut store| store.get().keep_sound(samples, Some(source), &caller.meter))
            }
            // what the operator can change
            Err(AudioError::TooLong { seconds }) if seconds >= limit => Ok(Err(Error::TooLarge(format!(
                "the recording is longer than the {limit} seconds that this guest may hold (limits.audio-seconds)"
            )))),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl Sandbox {
    /// Puts samples behind a handle of this guest.
    fn keep_sound(
        &mut self,
        samples: Arc<[f32]>,
        source: Option<Source>,
        meter: &Meter,
    ) -> Result<std::result::Result<Resource<Sound>, Error>> {
        match meter.hold_sound(samples.len() as u64) {
            Ok(_held) => Ok(Ok(self.table.push(Sound { samples, source, _held })?)),
            Err(limit) => Ok(Err(Error::TooLarge(format!(
                "this guest holds too much sound: at most {limit} seconds (limits.audio-seconds)"
            )))),
        }
    }
}

impl From<AudioError> for Error {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Unsupported(text) => Self::Unsupported(text),
            AudioError::Malformed(text) => Self::Malformed(text),
            AudioError::TooLarge(text) => Self::TooLarge(text),
            error @ AudioError::TooLong { .. } => Self::TooLarge(error.to_string()),
            AudioError::Other(text) => Self::Other(text),
        }
    }
}
