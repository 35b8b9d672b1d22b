//! A model that writes down speech: its catalog entry, and its network while it is loaded.

use std::sync::Arc;
use std::time::Instant;

use atelier_inference::{self as inference, Finished, Made, Run, SpeechModel, SpeechOrder, StepState};
use candle_core::Device;

use super::ModelSpec;
use crate::files::ModelFiles;
use crate::transcribe::{Footprint, TranscribeState, Transcription, Whisper};
use crate::{Error, Result};

/// As `config.json` calls it.
pub(super) const MODEL_TYPE: &str = "whisper";

/// A Whisper, with or without its weights.
pub(super) struct Listener {
    pub(super) info: Arc<SpeechModel>,
    files: ModelFiles,
    pub(super) footprint: Footprint,
    /// There while the model is loaded. A run holds it as well, until its end.
    whisper: Option<Arc<Whisper>>,
}

impl Listener {
    /// Everything but the weights.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the manifest lays beside it that is for pictures; otherwise the files' errors.
    pub(super) fn new(spec: ModelSpec, device: &Device) -> Result<Self> {
        spec.for_pictures_only("a speech model with")?;
        let (mut info, footprint) = Whisper::describe(&spec.files, spec.card(MODEL_TYPE, device))?;
        info.card.description = spec.description.unwrap_or_else(|| match info.languages.len() {
            0 => "Whisper, English".into(),
            count => format!("Whisper, {count} languages"),
        });
        Ok(Self { info: Arc::new(info), files: spec.files, footprint, whisper: None })
    }

    /// Reads the weights, if they are not there.
    pub(super) fn load(&mut self, device: &Device) -> Result<()> {
        if self.whisper.is_none() {
            let began = Instant::now();
            self.whisper = Some(Arc::new(Whisper::open(&self.files, device)?));
            let model = &self.info.card.id;
            tracing::info!(%model, seconds = began.elapsed().as_secs_f64(), "weights loaded");
        }
        Ok(())
    }

    /// The network, to be dropped.
    pub(super) fn unload(&mut self) -> Option<Arc<Whisper>> {
        self.whisper.take()
    }

    /// Reads the prompt; the first step is the caller's.
    pub(super) fn start(&self, order: &Arc<SpeechOrder>) -> Result<Transcription> {
        let id = || self.info.card.id.to_string();
        self.whisper.as_ref().ok_or_else(|| Error::NotLoaded { id: id() })?.transcribe(order.clone())
    }
}

impl Run for Transcription {
    fn next_step(&mut self) -> inference::Result<StepState> {
        Ok(match Transcription::next_step(self)? {
            TranscribeState::Step(delta) => StepState::Heard(delta),
            TranscribeState::Done(transcript) => {
                StepState::Done(Finished { made: Made::Transcript(transcript), notes: Vec::new() })
            }
        })
    }
}
