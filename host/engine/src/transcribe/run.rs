//! A transcription, stepped: front end, voices and language first, then window by window, token by token (OpenAI's
//! `transcribe.py`). Everything that belongs to a request is here; the model knows nothing of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::attempt::{Attempt, Decoded};
use super::rules::Rules;
use super::segments::{Cut, Piece, cut, trim};
use super::words::Window;
use super::{Whisper, voice};
use crate::Result;
use crate::models::whisper::{FRAMES_PER_SECOND, Heard, Spectrogram};
use crate::noise::TorchCpu;
use crate::tokenizer::TextStream;
use atelier_inference::speech::Timestamps;
use atelier_inference::speech::{Language, Segment, Word};
use atelier_inference::{SpeechDelta, SpeechOrder, Transcript};

/// Above this temperature a text is no context for the next.
const TRUSTED_TEMPERATURE: f64 = 0.5;

/// Where a transcription is after a step.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscribeState {
    /// There is more to do.
    Step(SpeechDelta),
    /// It is over.
    Done(Transcript),
}

/// One request. It can be left between any two steps; a step is a token, or the encoder once.
#[derive(Debug)]
pub struct Transcription {
    whisper: Arc<Whisper>,
    order: Arc<SpeechOrder>,
    rules: Rules,
    generator: TorchCpu,
    stage: Stage,
    heard: Spectrogram,
    /// What is left to be heard, from and to in frames.
    clips: VecDeque<(usize, usize)>,
    /// The next frame to be heard.
    seek: usize,
    /// Tokens of all that was said before, the prompt first.
    context: Vec<u32>,
    /// From where on these are shown to the next window.
    context_from: usize,
    /// When the last word was over.
    last_end: f64,
    stream: TextStream,
    transcript: Transcript,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was heard yet.
    Opening,
    /// A window is over.
    Between,
    Writing(Box<Writing>),
    Over,
}

/// A window whose text is being written.
#[derive(Debug)]
struct Writing {
    /// Frames of audio.
    frames: usize,
    heard: Heard,
    /// What comes before its text.
    before: Vec<u32>,
    attempt: Attempt,
    /// Temperatures that were tried before.
    tried: usize,
}

impl Transcription {
    /// `prompt` is what the order's option of that name says.
    pub(super) fn new(whisper: Arc<Whisper>, order: Arc<SpeechOrder>, prompt: Vec<u32>) -> Self {
        let language = order.language.map(|code| Language { code, probability: None });
        Self {
            rules: Rules::new(&whisper, &order.options),
            generator: TorchCpu::new(order.options.seed),
            heard: whisper.front_end.listen(&[]),
            whisper,
            order,
            stage: Stage::Opening,
            clips: VecDeque::new(),
            seek: 0,
            context: prompt,
            context_from: 0,
            last_end: 0.0,
            stream: TextStream::default(),
            transcript: Transcript { language, ..Transcript::default() },
        }
    }

    /// Goes on by one step. After the last it gives the transcript again.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] and [`crate::Error::NotFinite`] from the network; then there is nothing more to be had.
    pub fn next_step(&mut self) -> Result<TranscribeState> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Opening => self.open(),
            Stage::Between if self.needs_language() => self.recognise_language()?,
            Stage::Between => return self.next_window(),
            Stage::Writing(writing) => return self.write(writing),
            Stage::Over => return Ok(TranscribeState::Done(self.transcript.clone())),
        }
        Ok(TranscribeState::Step(self.delta()))
    }

    /// Goes on to the end.
    ///
    /// # Errors
    /// As [`Transcription::next_step`].
    pub fn finish(mut self) -> Result<Transcript> {
        loop {
            if let TranscribeState::Done(transcript) = self.next_step()? {
                return Ok(transcript);
            }
        }
    }

    fn delta(&self) -> SpeechDelta {
        let seconds = |frames: usize| frames as f64 / FRAMES_PER_SECOND as f64;
        let total = self.heard.frames();
        SpeechDelta {
            heard_seconds: seconds(self.seek.min(total)),
            total_seconds: seconds(total),
            ..SpeechDelta::default()
        }
    }

    /// Front end and voices.
    fn open(&mut self) {
        let samples = &self.order.audio;
        self.heard = self.whisper.front_end.listen(samples);
        let frames =
            |seconds: f64| ((seconds * FRAMES_PER_SECOND as f64).round() as usize).min(self.heard.frames());
        let named = self.order.options.clips.iter().map(|(from, to)| (frames(*from), frames(*to)));
        let named: Vec<_> = if self.order.options.clips.is_empty() {
            vec![(0, self.heard.frames())]
        } else {
            named.collect()
        };
        let voices = match self.order.options.voice_only {
            true => voice::voices(samples, &self.heard),
            false => vec![(0, self.heard.frames())],
        };
        let both = |clip: &(usize, usize)| {
            let clip = *clip;
            voices.iter().map(move |voice| (clip.0.max(voice.0), clip.1.min(voice.1)))
        };
        self.clips = named.iter().flat_map(both).filter(|(from, to)| from < to).collect();
        self.stage = Stage::Between;
    }

    fn needs_language(&self) -> bool {
        self.transcript.language.is_none() && !self.clips.is_empty()
    }

    /// From the first window: of the first voice, or, as OpenAI does it, of the audio where voices are not looked for.
    fn recognise_language(&mut self) -> Result<()> {
        let first = self.clips.front().filter(|_| self.order.options.voice_only).map_or(0, |clip| clip.0);
        let found = self.whisper.recognise_language(&self.heard, first)?;
        self.transcript.language = found
            .into_iter()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(code, probability)| Language { code, probability: Some(probability) });
        self.stage = Stage::Between;
        Ok(())
    }

    fn language(&self) -> &'static str {
        self.transcript.language.as_ref().map_or("en", |language| language.code)
    }

    fn next_window(&mut self) -> Result<TranscribeState> {
        while self.clips.front().is_some_and(|(_, to)| self.seek >= *to) {
            self.clips.pop_front();
        }
        let Some((from, to)) = self.clips.front().copied() else { return Ok(self.end()) };
        self.seek = self.seek.max(from);
        let network = &self.whisper.network;
        let length = network.config().frames();
        let frames = length.min(to - self.seek);
        let window = self.heard.window(self.seek, frames, length, network.device())?;
        let heard = network.hear(&network.encode(&window)?)?;
        let before = self.before();
        let attempt = Attempt::new(
            &self.whisper,
            &self.order.options,
            self.order.options.temperatures[0],
            before.clone(),
        )?;
        self.stage = Stage::Writing(Box::new(Writing { frames, heard, before, attempt, tried: 0 }));
        Ok(TranscribeState::Step(self.delta()))
    }

    /// A character that was never finished comes out before the end.
    fn end(&mut self) -> TranscribeState {
        let rest = self.stream.finish();
        if rest.is_empty() {
            return TranscribeState::Done(self.transcript.clone());
        }
        self.transcript.text.push_str(&rest);
        TranscribeState::Step(SpeechDelta { text: rest, ..self.delta() })
    }

    /// What comes before a window's text: as much of earlier text as there is room for, language and task.
    fn before(&self) -> Vec<u32> {
        let tokens = &self.whisper.tokens;
        let mut before = Vec::new();
        let context = &self.context[self.context_from..];
        if !context.is_empty() {
            before.push(tokens.sot_prev);
            before.extend(&context[context.len().saturating_sub(self.whisper.longest_prompt())..]);
        }
        before.extend(tokens.beginning(self.language(), self.order.options.task));
        if self.order.options.timestamps == Timestamps::None {
            before.push(tokens.no_timestamps);
        }
        before
    }

    /// One token more; at the end of a text another temperature, or the next window.
    fn write(&mut self, mut writing: Box<Writing>) -> Result<TranscribeState> {
        let is_over =
            writing.attempt.step(&self.whisper, &writing.heard, &self.rules, &mut self.generator)?;
        if !is_over {
            let pending = self.whisper.tokenizer.text(writing.attempt.pending());
            self.stage = Stage::Writing(writing);
            return Ok(TranscribeState::Step(SpeechDelta { pending, ..self.delta() }));
        }
        let Writing { frames, heard, before, attempt, tried } = *writing;
        let decoded = attempt.finish(&self.whisper, &self.order.options);
        let next =
            self.order.options.temperatures.get(tried + 1).filter(|_| decoded.is_bad(&self.order.options));
        if let Some(temperature) = next {
            let attempt = Attempt::new(&self.whisper, &self.order.options, *temperature, before.clone())?;
            let tried = tried + 1;
            self.stage = Stage::Writing(Box::new(Writing { frames, heard, before, attempt, tried }));
            return Ok(TranscribeState::Step(self.delta()));
        }
        self.stage = Stage::Between;
        if decoded.is_silence(&self.order.options) {
            self.seek += frames;
            return Ok(TranscribeState::Step(self.delta()));
        }
        self.accept(decoded, &heard, frames)
    }

    /// A window's text becomes segments, and is told.
    fn accept(&mut self, decoded: Decoded, heard: &Heard, frames: usize) -> Result<TranscribeState> {
        let cut = cut(&decoded.tokens, self.whisper.tokens.timestamps.start, self.seek, frames);
        let mut next = self.seek + cut.advance;
        let Cut { mut pieces, is_closed, .. } = cut;
        let mut words = vec![Vec::new(); pieces.len()];
        if self.order.options.timestamps == Timestamps::Words {
            words = self.time_words(&mut pieces, heard, frames)?;
            let last = words.iter().flatten().next_back().map(|word| word.end);
            if let Some(end) = last.or(pieces.last().map(|piece| piece.end)) {
                self.last_end = end;
                if !is_closed && end > self.seek as f64 / FRAMES_PER_SECOND as f64 {
                    next = (end * FRAMES_PER_SECOND as f64).round() as usize;
                }
            }
        }
        // whatever a model writes, its audio comes to an end; and the next piece of it begins where it was said to
        let next = if next > self.seek { next } else { self.seek + frames };
        self.seek = self.clips.front().map_or(next, |(_, to)| next.min(*to));
        let segments: Vec<Segment> = pieces
            .into_iter()
            .zip(words)
            .filter_map(|(piece, words)| self.segment(piece, words, &decoded))
            .collect();
        let mut delta = self.delta();
        for id in segments.iter().flat_map(|segment| &segment.tokens) {
            delta.text.push_str(&self.stream.push(self.whisper.tokenizer.bytes(*id)));
            self.context.push(*id);
        }
        if !self.order.options.condition_on_previous_text || decoded.temperature > TRUSTED_TEMPERATURE {
            self.context_from = self.context.len();
        }
        self.transcript.text.push_str(&delta.text);
        self.transcript.segments.extend(segments.iter().cloned());
        delta.segments = segments;
        Ok(TranscribeState::Step(delta))
    }

    fn time_words(&self, pieces: &mut [Piece], heard: &Heard, frames: usize) -> Result<Vec<Vec<Word>>> {
        let window = Window {
            whisper: &self.whisper,
            heard,
            language: self.language(),
            beginning: &self.whisper.tokens.beginning(self.language(), self.order.options.task),
            seek: self.seek,
            frames,
        };
        window.time_words(pieces, self.last_end)
    }

    /// None for a piece that takes no time or has no text.
    fn segment(&self, piece: Piece, words: Vec<Word>, decoded: &Decoded) -> Option<Segment> {
        let text = self.whisper.tokenizer.text(&piece.tokens);
        if piece.start == piece.end || trim(&text).is_empty() {
            return None;
        }
        Some(Segment {
            start: piece.start,
            end: piece.end,
            text,
            tokens: piece.tokens,
            avg_logprob: decoded.avg_logprob,
            compression_ratio: decoded.compression_ratio,
            no_speech_prob: decoded.no_speech_prob,
            temperature: decoded.temperature,
            words,
        })
    }
}
