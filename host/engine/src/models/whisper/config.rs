//! `config.json` of a Whisper, and what of `preprocessor_config.json` says how its audio becomes frames.
//!
//! Both are full of keys for training and for generation, so those that would change the network or the frames are looked
//! for by name, and the rest is left alone. What concerns generation comes from `generation_config.json`, see `transcribe`.

use atelier_inference::speech::SAMPLE_RATE;
use serde::Deserialize;
use serde_json::Value;

use super::front_end::{FFT_SIZE, FRAMES_PER_SECOND, HOP};
use crate::files::ModelFiles;
use crate::kernels::Activation;
use crate::models::config::{ensure, ensure_counts};
use crate::{Error, Result};

const WHAT: &str = "Whisper configuration";
const NAME: &str = "config.json";
const FRONT_END: &str = "preprocessor_config.json";
/// Frames of the spectrogram that become one state: the second convolution takes every other.
pub(crate) const FRAMES_PER_STATE: usize = 2;

/// A checked configuration; defaults are those of transformers' class.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct WhisperConfig {
    /// Width of the states, of audio and of text.
    pub d_model: usize,
    /// Frequency bands of the spectrogram.
    pub num_mel_bins: usize,
    /// Layers of the encoder, and heads of each.
    pub encoder_layers: usize,
    /// Heads of each.
    pub encoder_attention_heads: usize,
    /// Width inside of the encoder's feed-forward parts.
    pub encoder_ffn_dim: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Heads of each.
    pub decoder_attention_heads: usize,
    /// Width inside of the decoder's feed-forward parts.
    pub decoder_ffn_dim: usize,
    /// States of a window; 1500 for 30 s.
    pub max_source_positions: usize,
    /// Longest text, what comes before it included.
    pub max_target_positions: usize,
    /// Token ids.
    pub vocab_size: usize,
    /// Frames over which the weights that align words are smoothed; odd.
    pub median_filter_width: usize,
    activation_function: String,
    scale_embedding: bool,
    architectures: Option<Vec<String>>,
}

impl Default for WhisperConfig {
    fn default() -> Self {
        Self {
            d_model: 384,
            num_mel_bins: 80,
            encoder_layers: 4,
            encoder_attention_heads: 6,
            encoder_ffn_dim: 1536,
            decoder_layers: 4,
            decoder_attention_heads: 6,
            decoder_ffn_dim: 1536,
            max_source_positions: 1500,
            max_target_positions: 448,
            vocab_size: 51_865,
            median_filter_width: 7,
            activation_function: "gelu".into(),
            scale_embedding: false,
            architectures: None,
        }
    }
}

impl WhisperConfig {
    /// Reads and checks both files. The second may be missing, as in folders of quantized weights: what it could say that
    /// is of use, `config.json` says as well.
    pub(crate) fn read(files: &ModelFiles) -> Result<Self> {
        let config: Self = files.json(NAME)?;
        config.check_kind()?;
        config.check_sizes(files)?;
        if files.contains(FRONT_END) {
            let front: FrontEnd = files.json(FRONT_END)?;
            front.check(&config)?;
        }
        Ok(config)
    }

    /// Frames of a window.
    pub fn frames(&self) -> usize {
        FRAMES_PER_STATE * self.max_source_positions
    }

    /// Between the linear layers.
    pub(super) fn activation(&self) -> Activation {
        // the only one, see `check_kind`
        Activation::Gelu
    }

    fn check_kind(&self) -> Result<()> {
        const KINDS: [&str; 2] = ["WhisperForConditionalGeneration", "WhisperModel"];
        let other = self.architectures.iter().flatten().find(|name| !KINDS.contains(&name.as_str()));
        for (value, supported) in [
            (other.map(|name| format!("architectures = {name}")), KINDS[0]),
            (
                (self.activation_function != "gelu")
                    .then(|| format!("activation_function = {}", self.activation_function)),
                "gelu",
            ),
            (self.scale_embedding.then(|| "scale_embedding = true".into()), "scale_embedding = false"),
        ] {
            if let Some(value) = value {
                return Err(Error::Unsupported { what: WHAT, value, supported });
            }
        }
        Ok(())
    }

    fn check_sizes(&self, files: &ModelFiles) -> Result<()> {
        let counts = [
            ("d_model", self.d_model),
            ("num_mel_bins", self.num_mel_bins),
            ("encoder_layers", self.encoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_layers", self.decoder_layers),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("max_source_positions", self.max_source_positions),
            ("max_target_positions", self.max_target_positions),
            ("vocab_size", self.vocab_size),
        ];
        ensure_counts(files, NAME, &counts)?;
        for (key, heads) in [counts[3], counts[6]] {
            ensure(self.d_model.is_multiple_of(heads), files, NAME, || {
                format!("{key} {heads} does not divide d_model {}", self.d_model)
            })?;
        }
        // a text is at most half of it, what came before the other half; beside these stand the ids that say the task
        ensure(self.max_target_positions >= 16, files, NAME, || {
            format!("max_target_positions {} leaves no room for text; 16 does", self.max_target_positions)
        })?;
        ensure(self.median_filter_width % 2 == 1 && self.median_filter_width < 100, files, NAME, || {
            format!("median_filter_width is {}; odd widths below 100 make sense", self.median_filter_width)
        })
    }
}

/// transformers' `WhisperFeatureExtractor`.
#[derive(Deserialize)]
#[serde(default)]
struct FrontEnd {
    feature_size: usize,
    sampling_rate: usize,
    hop_length: usize,
    n_fft: usize,
    /// Seconds of a window.
    chunk_length: f64,
    padding_value: f64,
    dither: f64,
    do_normalize: bool,
}

impl Default for FrontEnd {
    fn default() -> Self {
        Self {
            feature_size: 80,
            sampling_rate: SAMPLE_RATE,
            hop_length: HOP,
            n_fft: FFT_SIZE,
            chunk_length: 30.0,
            padding_value: 0.0,
            dither: 0.0,
            do_normalize: false,
        }
    }
}

impl FrontEnd {
    /// All that may differ between models is said by `config.json` as well.
    fn check(&self, config: &WhisperConfig) -> Result<()> {
        const WHAT: &str = "Whisper preprocessor";
        let seconds = config.frames() as f64 / FRAMES_PER_SECOND as f64;
        let is = |key: &str, value: f64, wanted: f64| (key.to_string(), value, (value - wanted).abs() < 1e-9);
        let found = [
            is("feature_size", self.feature_size as f64, config.num_mel_bins as f64),
            is("sampling_rate", self.sampling_rate as f64, SAMPLE_RATE as f64),
            is("hop_length", self.hop_length as f64, HOP as f64),
            is("n_fft", self.n_fft as f64, FFT_SIZE as f64),
            is("chunk_length", self.chunk_length, seconds),
            is("padding_value", self.padding_value, 0.0),
            is("dither", self.dither, 0.0),
            is("do_normalize", f64::from(u8::from(self.do_normalize)), 0.0),
        ];
        match found.iter().find(|(_, _, fits)| !fits) {
            None => Ok(()),
            Some((key, value, _)) => Err(Error::Unsupported {
                what: WHAT,
                value: format!("{key} = {}", Value::from(*value)),
                supported: "16 kHz, frames of 400 samples every 160, the bands and the window of config.json",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &'static str, front: &'static str) -> Result<WhisperConfig> {
        let files: &'static [(&'static str, &'static [u8])] =
            vec![(NAME, config.as_bytes()), (FRONT_END, front.as_bytes())].leak();
        WhisperConfig::read(&ModelFiles::embedded(files))
    }

    #[test]
    fn what_would_change_the_network_or_the_frames_is_refused_by_its_key() {
        let config = read("{}", "{}").unwrap();
        assert_eq!((config.frames(), config.num_mel_bins), (3_000, 80));
        for (config, front, wrong) in [
            (r#"{"architectures": ["BartModel"]}"#, "{}", "architectures = BartModel"),
            (r#"{"activation_function": "relu"}"#, "{}", "activation_function = relu"),
            (r#"{"scale_embedding": true}"#, "{}", "scale_embedding = true"),
            (r#"{"decoder_layers": 0}"#, "{}", "decoder_layers is 0"),
            (r#"{"encoder_attention_heads": 7}"#, "{}", "encoder_attention_heads 7 does not divide"),
            (r#"{"max_target_positions": 8}"#, "{}", "leaves no room for text"),
            (r#"{"median_filter_width": 4}"#, "{}", "median_filter_width is 4"),
            ("{}", r#"{"feature_size": 128}"#, "feature_size = 128"),
            ("{}", r#"{"hop_length": 80}"#, "hop_length = 80"),
            ("{}", r#"{"chunk_length": 20}"#, "chunk_length = 20"),
            ("{}", r#"{"do_normalize": true}"#, "do_normalize = 1"),
        ] {
            let error = read(config, front).unwrap_err().to_string();
            assert!(error.contains(wrong), "wanted `{wrong}`: {error}");
        }
    }
}
