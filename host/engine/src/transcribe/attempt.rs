//! One window's text at one temperature, a token at a time.

use zlib_rs::{DeflateConfig, compress_bound, compress_slice};

use super::Whisper;
use super::rules::{Rules, log_sum_exp};
use super::search::Search;
use super::segments::trim;
use crate::Result;
use crate::models::whisper::{Heard, Texts, at_position};
use crate::noise::TorchCpu;
use atelier_inference::SpeechOptions;

/// Texts that are being written.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What comes before every text: earlier text, the language, the task.
    before: Vec<u32>,
    /// Where in it the model says whether it hears speech.
    sot: usize,
    temperature: f64,
    search: Search,
    texts: Texts,
    no_speech_prob: f64,
    /// Tokens that were written.
    steps: usize,
}

/// A window's text and how good it is.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub(super) tokens: Vec<u32>,
    pub(super) temperature: f64,
    pub(super) avg_logprob: f64,
    pub(super) no_speech_prob: f64,
    pub(super) compression_ratio: f64,
}

impl Attempt {
    /// `before` ends with what `Tokens::beginning` gave.
    pub(super) fn new(
        whisper: &Whisper,
        options: &SpeechOptions,
        temperature: f64,
        before: Vec<u32>,
    ) -> Result<Self> {
        let eot = whisper.tokens.eot;
        let search = match options.beam_size {
            Some(beams) if temperature == 0.0 => Search::beams(beams, options.patience.unwrap_or(1.0), eot),
            _ if temperature > 0.0 => Search::draw(options.best_of.unwrap_or(1), temperature, eot),
            _ => Search::draw(1, temperature, eot),
        };
        Ok(Self {
            sot: before.iter().position(|id| *id == whisper.tokens.sot).unwrap_or_default(),
            before,
            temperature,
            texts: whisper.network.texts(search.rows().len())?,
            search,
            no_speech_prob: 0.0,
            steps: 0,
        })
    }

    /// Writes one more token; whether that was the last.
    pub(super) fn step(
        &mut self,
        whisper: &Whisper,
        heard: &Heard,
        rules: &Rules,
        generator: &mut TorchCpu,
    ) -> Result<bool> {
        let network = &whisper.network;
        let new: Vec<&[u32]> = self
            .search
            .rows()
            .iter()
            .map(|row| match row.tokens.last() {
                None => self.before.as_slice(),
                Some(last) => std::slice::from_ref(last),
            })
            .collect();
        let states = network.extend(&mut self.texts, &new, heard)?;
        if self.steps == 0 {
            let first = network
                .logits(&at_position(&states, self.sot)?.narrow(0, 0, 1)?)?
                .flatten_all()?
                .to_vec1()?;
            self.no_speech_prob = probability(&first, whisper.tokens.no_speech);
        }
        let mut logits: Vec<Vec<f32>> =
            network.logits(&at_position(&states, new[0].len() - 1)?)?.to_vec2()?;
        for (logits, row) in logits.iter_mut().zip(self.search.rows()) {
            rules.apply(logits, &row.tokens);
        }
        let chosen = self.search.update(&logits, generator)?;
        self.texts.reorder(&chosen.sources)?;
        self.steps += 1;
        let most = network.config().max_target_positions;
        Ok(chosen.is_over || self.before.len() + self.steps > most || self.steps == most / 2)
    }

    /// What the first of the texts is so far.
    pub(super) fn pending(&self) -> &[u32] {
        self.search.rows().first().map_or(&[], |row| &row.tokens)
    }

    /// The best of the texts.
    pub(super) fn finish(self, whisper: &Whisper, options: &SpeechOptions) -> Decoded {
        let best = self.search.best(options.length_penalty);
        let text = whisper.tokenizer.text(&best.tokens);
        Decoded {
            temperature: self.temperature,
            // the token that ends a text counts
            avg_logprob: best.sum / (best.tokens.len() + 1) as f64,
            tokens: best.tokens,
            no_speech_prob: self.no_speech_prob,
            compression_ratio: compression_ratio(trim(&text)),
        }
    }
}

impl Decoded {
    /// Whether another temperature should be tried.
    pub(super) fn is_bad(&self, options: &SpeechOptions) -> bool {
        let is_repetition =
            options.compression_ratio_threshold.is_some_and(|most| self.compression_ratio > most);
        let is_unlikely = options.logprob_threshold.is_some_and(|least| self.avg_logprob < least);
        let is_silence = options.no_speech_threshold.is_some_and(|most| self.no_speech_prob > most);
        (is_repetition || is_unlikely) && !(is_silence && is_unlikely)
    }

    /// Whether there was nothing to hear: the model says so, and its text is no likely one.
    pub(super) fn is_silence(&self, options: &SpeechOptions) -> bool {
        let is_likely = options.logprob_threshold.is_some_and(|least| self.avg_logprob > least);
        options.no_speech_threshold.is_some_and(|most| self.no_speech_prob > most) && !is_likely
    }
}

/// How likely an id is, from logits.
pub(super) fn probability(logits: &[f32], id: u32) -> f64 {
    logits.get(id as usize).map_or(0.0, |logit| (f64::from(*logit) - log_sum_exp(logits)).exp())
}

/// How many times zlib makes a text smaller.
fn compression_ratio(text: &str) -> f64 {
    // of this library, that of zlib-ng, only the highest level looks for repetitions as short as zlib's usual one does
    let config = DeflateConfig { level: 9, ..DeflateConfig::default() };
    let mut room = vec![0; compress_bound(text.len())];
    let (compressed, _) = compress_slice(&mut room, text.as_bytes(), config);
    text.len() as f64 / compressed.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_compress_well() {
        assert_eq!(compression_ratio(""), 0.0);
        // Python's len(zlib.compress(text.encode())), which may differ by a byte
        for (text, bytes) in [
            ("a red circle on a blue background".to_string(), 41),
            (r#"" " " " " " " "`leleleleleleleleleleleledddddddddd"#.into(), 20),
            ("the same again ".repeat(20), 28),
        ] {
            let ours = text.len() as f64 / compression_ratio(&text);
            assert!((ours - f64::from(bytes)).abs() < 1.5, "{text}: {ours} bytes, not {bytes}");
        }
    }

    #[test]
    fn a_text_is_tried_again_when_it_repeats_itself_or_is_unlikely_but_not_in_silence() {
        let options = SpeechOptions::default();
        let decoded = |compression_ratio, avg_logprob, no_speech_prob| Decoded {
            tokens: vec![],
            temperature: 0.0,
            avg_logprob,
            no_speech_prob,
            compression_ratio,
        };
        for (text, is_bad, is_silence) in [
            (decoded(1.5, -0.3, 0.1), false, false),
            (decoded(2.5, -0.3, 0.1), true, false),
            (decoded(1.5, -1.2, 0.1), true, false),
            (decoded(1.5, -1.2, 0.7), false, true),
            (decoded(2.5, -1.2, 0.7), false, true),
            (decoded(2.5, -0.3, 0.7), true, false),
        ] {
            assert_eq!((text.is_bad(&options), text.is_silence(&options)), (is_bad, is_silence), "{text:?}");
        }
        let none = SpeechOptions {
            compression_ratio_threshold: None,
            logprob_threshold: None,
            no_speech_threshold: None,
            ..SpeechOptions::default()
        };
        assert!(!decoded(9.0, -9.0, 1.0).is_bad(&none) && !decoded(9.0, -9.0, 1.0).is_silence(&none));
    }
}
