//! Speech to text with Whisper: samples become a transcript, step by step. `run` goes from window to
//! window, `attempt` writes one text (`rules` say what may follow, `search` chooses), `segments` and `words`
//! (with `alignment`) say when it was said, and `voice` where nobody speaks.
//!
//! OpenAI's `transcribe.py`, `decoding.py` and `timing.py` (v20250625) are followed, also where transformers differs, which
//! cuts long audio by rules of its own. What is done otherwise:
//! - Only what may be a voice is transcribed, unless the request says otherwise; silence has no text.
//! - A token that is no text is never shown as one, and a segment without text is none.
//! - Without timestamps none can be written; OpenAI leaves that to the model.
//! - A window is encoded once, however many temperatures are tried.
//! - A prompt that is too long is refused, where OpenAI drops its beginning.
//!
//! Knows neither audio files nor jobs.

mod alignment;
mod attempt;
mod footprint;
mod generation;
mod rules;
mod run;
mod search;
mod segments;
mod voice;
mod words;

use std::sync::Arc;

use atelier_inference::{ModelCard, SpeechModel, SpeechOrder};
use candle_core::Device;

use crate::files::ModelFiles;
use crate::models::whisper::{
    FRAMES_PER_SECOND, FrontEnd, Spectrogram, WhisperConfig, WhisperNetwork, at_position,
};
use crate::tokenizer::WhisperTokenizer;
use crate::{Error, Result};
use generation::Tokens;
use rules::log_sum_exp;

pub(crate) use footprint::Footprint;
pub use run::{TranscribeState, Transcription};

/// A Whisper that transcribes. It is shared by all requests and keeps nothing of them.
#[derive(Debug)]
pub struct Whisper {
    network: WhisperNetwork,
    front_end: FrontEnd,
    tokenizer: WhisperTokenizer,
    tokens: Tokens,
}

impl Whisper {
    /// Reads a folder as `openai/whisper-*` are published: `config.json`, `generation_config.json`,
    /// `preprocessor_config.json`, `tokenizer.json`, and weights as safetensors or GGUF.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`] and [`Error::Unsupported`] name the file, and the key or the tensor.
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        // what is small is read first: its errors should not wait for gigabytes
        let tokenizer = WhisperTokenizer::open(files)?;
        let config = WhisperConfig::read(files)?;
        let tokens = Tokens::read(files, &config, &tokenizer)?;
        let network = WhisperNetwork::open(files, device)?;
        Ok(Self { front_end: FrontEnd::new(config.num_mel_bins), network, tokenizer, tokens })
    }

    /// What a folder's files say of the model, without its weights; and what its runs take.
    ///
    /// # Errors
    /// As [`Whisper::open`].
    pub(crate) fn describe(files: &ModelFiles, card: ModelCard) -> Result<(SpeechModel, Footprint)> {
        let config = WhisperConfig::read(files)?;
        let tokens = Tokens::read(files, &config, &WhisperTokenizer::open(files)?)?;
        let card = ModelCard { memory_bytes: WhisperNetwork::bytes(files)?, ..card };
        let model = SpeechModel {
            card,
            languages: tokens.languages.iter().map(|(code, _)| *code).collect(),
            window_seconds: config.frames() as f64 / FRAMES_PER_SECOND as f64,
            vocabulary: config.vocab_size as u32,
        };
        Ok((model, Footprint::new(&config, tokens.alignment_heads.len())))
    }

    /// Begins a transcription.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a prompt that is too long for the model.
    pub fn transcribe(self: &Arc<Self>, order: Arc<SpeechOrder>) -> Result<Transcription> {
        let prompt = self.prompt(&order)?;
        Ok(Transcription::new(self.clone(), order, prompt))
    }

    /// Ids of the text that might come before. A longer one would lose its beginning in silence.
    fn prompt(&self, order: &SpeechOrder) -> Result<Vec<u32>> {
        const FIELD: &str = "initial-prompt";
        let Some(prompt) = &order.options.initial_prompt else { return Ok(Vec::new()) };
        let (ids, most) = (self.tokenizer.ids(&format!(" {}", prompt.trim()), FIELD)?, self.longest_prompt());
        if ids.len() > most {
            let reason = format!("{} tokens; this model reads {most}; shorten it", ids.len());
            return Err(Error::Invalid { field: FIELD, reason });
        }
        Ok(ids)
    }

    /// Most tokens of earlier text that are shown to a window.
    fn longest_prompt(&self) -> usize {
        self.network.config().max_target_positions / 2 - 1
    }

    /// How likely each language is, by the window from frame `first` on.
    #[doc(hidden)]
    pub fn recognise_language(&self, heard: &Spectrogram, first: usize) -> Result<Vec<(&'static str, f64)>> {
        let frames = heard.opening(first, self.network.config().frames(), self.network.device())?;
        let heard = self.network.hear(&self.network.encode(&frames)?)?;
        let states = self.network.extend(&mut self.network.texts(1)?, &[&[self.tokens.sot]], &heard)?;
        let logits = self.network.logits(&at_position(&states, 0)?)?.flatten_all()?.to_vec1::<f32>()?;
        let logit = |(code, id): &(&'static str, u32)| {
            (*code, logits.get(*id as usize).copied().unwrap_or(f32::NEG_INFINITY))
        };
        let logits: Vec<(&str, f32)> = self.tokens.languages.iter().map(logit).collect();
        let total = log_sum_exp(&logits.iter().map(|(_, logit)| *logit).collect::<Vec<_>>());
        Ok(logits.into_iter().map(|(code, logit)| (code, (f64::from(logit) - total).exp())).collect())
    }

    /// The front end.
    #[doc(hidden)]
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// The tokenizer.
    #[doc(hidden)]
    pub fn tokenizer(&self) -> &WhisperTokenizer {
        &self.tokenizer
    }
}
