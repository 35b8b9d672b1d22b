//! Prompts to the states that the denoiser looks at. A prompt longer than the encoder's context is cut into chunks that
//! are encoded one by one and joined; nothing of it is dropped.

use std::path::PathBuf;

use atelier_inference::{Emphasis, ImageOrder};
use candle_core::{D, Device, Tensor};

use super::Pipeline;
use super::emphasis::{self, Piece};
use super::family::TextLayout;
use super::flux::FluxText;
use crate::adapters::{Component, Places};
use crate::files::ModelFiles;
use crate::models::clip::{self, ClipTextEncoder, States};
use crate::textual_inversion::{Inversion, teach};
use crate::tokenizer::ClipTokenizer;
use crate::{Error, Result};

/// Most chunks: the cost of cross attention grows with them. Enough for 4,096 characters of two tokens each.
pub(super) const MAX_CHUNKS: usize = 128;

/// A model's text encoders.
#[derive(Debug)]
pub(super) enum TextEncoders {
    /// CLIP's, of Stable Diffusion and its relatives.
    Clip(ClipEncoders),
    /// T5 beside CLIP.
    Flux(Box<FluxText>),
}

/// One or two of CLIP's encoders, each with its tokenizer.
#[derive(Debug)]
pub(super) struct ClipEncoders {
    layout: TextLayout,
    /// In the order in which their states stand side by side.
    encoders: Vec<(ClipTokenizer, ClipTextEncoder)>,
}

/// A text as the denoiser sees it.
#[derive(Debug, Clone)]
pub struct Text {
    /// (1, chunks * tokens, width of all encoders)
    pub states: Tensor,
    /// Of the whole text, for XL: (1, width).
    pub pooled: Option<Tensor>,
}

/// An order's texts.
#[derive(Debug)]
pub struct Conditioning {
    /// The prompt.
    pub prompt: Text,
    /// The negative prompt, shaped alike; `None` when guidance is off.
    pub negative: Option<Text>,
    /// Says where a text took more than one chunk.
    pub notes: Vec<String>,
}

/// One full sequence: `bos`, a chunk, `eos`, padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As many as the tokenizer's sequences have.
    pub ids: Vec<u32>,
    /// How much each of them weighs.
    pub weights: Vec<f32>,
}

/// A text as rows: full chunks, and a new one where a piece says so.
#[doc(hidden)]
pub fn rows(tokenizer: &ClipTokenizer, text: &str, emphasis: Emphasis) -> Result<Vec<Row>> {
    let (window, mut rows, mut chunk) = (tokenizer.max_length - 2, Vec::new(), Vec::new());
    for piece in emphasis::pieces(text, emphasis) {
        let Piece::Text(text, weight) = piece else {
            rows.push(Row::new(tokenizer, &std::mem::take(&mut chunk)));
            continue;
        };
        for id in tokenizer.ids(&text)? {
            if chunk.len() == window {
                rows.push(Row::new(tokenizer, &std::mem::take(&mut chunk)));
            }
            chunk.push((id, weight));
        }
    }
    if !chunk.is_empty() || rows.is_empty() {
        rows.push(Row::new(tokenizer, &chunk));
    }
    Ok(rows)
}

impl Row {
    /// `chunk` leaves room for `bos` and `eos`, which weigh 1 like the padding.
    fn new(tokenizer: &ClipTokenizer, chunk: &[(u32, f32)]) -> Self {
        let plain = |id| [(id, 1.0)];
        let sequence = [&plain(tokenizer.bos), chunk, &plain(tokenizer.eos)].concat();
        let (mut ids, mut weights): (Vec<u32>, Vec<f32>) = sequence.into_iter().unzip();
        ids.resize(tokenizer.max_length, tokenizer.pad);
        weights.resize(tokenizer.max_length, 1.0);
        Self { ids, weights }
    }
}

impl Pipeline {
    /// Encodes an order's texts.
    pub(super) fn condition(&self, order: &ImageOrder, is_guided: bool) -> Result<Conditioning> {
        match &self.text_encoders {
            TextEncoders::Clip(encoders) => {
                let has_zeros = self.family.zeros_for_no_negative && order.negative_prompt.is_empty();
                encoders.condition(order, is_guided, has_zeros)
            }
            TextEncoders::Flux(encoders) => encoders.condition(&order.prompt),
        }
    }
}

/// Chunks of the encoder that needs most.
fn longest(rows: &[Vec<Row>]) -> usize {
    rows.iter().map(Vec::len).max().unwrap_or_default()
}

impl TextEncoders {
    /// Opens them and teaches them the words of `embeddings`.
    pub(super) fn open(
        files: &ModelFiles,
        layout: TextLayout,
        embeddings: &[PathBuf],
        device: &Device,
    ) -> Result<Self> {
        Ok(match layout {
            TextLayout::Flux => Self::Flux(Box::new(FluxText::open(files, device)?)),
            _ => Self::Clip(ClipEncoders::open(files, layout, embeddings, device)?),
        })
    }

    /// Where adapters find the encoders' layers. Nobody trains them for T5.
    pub(super) fn places(&self) -> Places {
        match self {
            Self::Clip(encoders) => encoders.places(),
            Self::Flux(encoders) => Places::default().with(Component::TextEncoder, encoders.slots()),
        }
    }
}

impl ClipEncoders {
    fn open(files: &ModelFiles, layout: TextLayout, embeddings: &[PathBuf], device: &Device) -> Result<Self> {
        let words = embeddings.iter().map(|path| Inversion::open(path, None, device));
        let words: Vec<_> = words.collect::<Result<_>>()?;
        let open = |(tokenizer, encoder): &(&str, &str)| {
            let mut pair =
                (ClipTokenizer::open(files, tokenizer)?, ClipTextEncoder::open(files, encoder, device)?);
            if let Some(component) = Component::of_folder(encoder) {
                teach(&words, component, &mut pair.0, &mut pair.1)?;
            }
            Ok(pair)
        };
        Ok(Self { layout, encoders: layout.folders().iter().map(open).collect::<Result<_>>()? })
    }

    /// As in diffusers, `clip_skip` concerns the prompt alone.
    fn condition(&self, order: &ImageOrder, is_guided: bool, has_zeros: bool) -> Result<Conditioning> {
        let skip = self.checked_skip(order)?;
        let prompt = self.rows("prompt", &order.prompt, order.emphasis)?;
        let negative = match is_guided && !has_zeros {
            true => Some(self.rows("negative-prompt", &order.negative_prompt, order.emphasis)?),
            false => None,
        };
        let named = [("prompt", Some(&prompt)), ("negative prompt", negative.as_ref())];
        let notes = named.into_iter().filter_map(|(name, rows)| self.note(name, longest(rows?)));
        let notes = notes.collect();
        // all predictions are made in one pass, so all texts need the same number of tokens: empty chunks fill up
        let count = longest(&prompt).max(negative.as_deref().map_or(0, longest));
        let prompt = self.encode(prompt, count, skip, order.emphasis)?;
        let negative = match negative {
            Some(rows) => Some(self.encode(rows, count, 0, order.emphasis)?),
            None if is_guided => Some(prompt.zeros()?),
            None => None,
        };
        Ok(Conditioning { prompt, negative, notes })
    }

    fn places(&self) -> Places {
        let folders = self.layout.folders().iter().filter_map(|(_, encoder)| Component::of_folder(encoder));
        let named = folders.zip(&self.encoders);
        named.fold(Places::default(), |places, (component, (_, encoder))| {
            places.with(component, encoder.slots())
        })
    }

    /// The chunks of a request's field, for each encoder, if they are not too many.
    fn rows(&self, field: &'static str, text: &str, emphasis: Emphasis) -> Result<Vec<Vec<Row>>> {
        let rows = |(tokenizer, _): &(ClipTokenizer, ClipTextEncoder)| {
            let rows = rows(tokenizer, text, emphasis)?;
            if rows.len() <= MAX_CHUNKS {
                return Ok(rows);
            }
            let most = MAX_CHUNKS * (tokenizer.max_length - 2);
            Err(Error::Invalid { field, reason: format!("is longer than {most} tokens; shorten it") })
        };
        self.encoders.iter().map(rows).collect()
    }

    fn note(&self, name: &str, chunks: usize) -> Option<String> {
        let tokens = self.encoders.first()?.0.max_length - 2;
        (chunks > 1).then(|| format!("{name} took {chunks} chunks of {tokens} tokens"))
    }

    /// The layers to leave out at the encoders' end, held against the model: only it knows how many it has.
    fn checked_skip(&self, order: &ImageOrder) -> Result<usize> {
        let layers = |(_, encoder): &(ClipTokenizer, ClipTextEncoder)| encoder.layers();
        let most = self.encoders.iter().map(layers).min().unwrap_or_default() - self.always_skipped();
        let skip = order.clip_skip as usize;
        if skip <= most {
            return Ok(skip);
        }
        let reason = format!("{skip} is more than the text encoder's {most} layers");
        Err(Error::Invalid { field: "clip-skip", reason })
    }

    /// XL counts from the last layer but one.
    fn always_skipped(&self) -> usize {
        usize::from(self.layout != TextLayout::One)
    }

    /// Rows of each encoder, filled up to `count` with empty ones, to the text's states.
    fn encode(&self, rows: Vec<Vec<Row>>, count: usize, skip: usize, emphasis: Emphasis) -> Result<Text> {
        let states = match self.layout {
            TextLayout::One | TextLayout::Flux => States::Normed(skip),
            TextLayout::Both | TextLayout::Second => States::Raw(skip + self.always_skipped()),
        };
        let (mut all, mut pooled) = (Vec::with_capacity(rows.len()), None);
        for ((tokenizer, encoder), mut rows) in self.encoders.iter().zip(rows) {
            let empty = Row::new(tokenizer, &[]);
            rows.resize(count, empty.clone());
            let (ids, weights): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.ids, row.weights)).unzip();
            let encoded = encoder.forward(&ids, states)?; // (chunks, tokens, width)
            let without_text = || Ok(encoder.forward(&[empty.ids], states)?.hidden);
            let hidden = emphasis::apply(emphasis, &encoded.hidden, &weights.concat(), without_text)?;
            all.push(clip::join_chunks(&hidden)?);
            // of the last encoder; a long text is pooled where it begins
            pooled = Some(encoded.pooled.narrow(0, 0, 1)?);
        }
        let pooled = pooled.filter(|_| self.layout != TextLayout::One);
        Ok(Text { states: Tensor::cat(&all, D::Minus1)?, pooled })
    }
}

impl Text {
    fn zeros(&self) -> Result<Self> {
        let pooled = self.pooled.as_ref().map(Tensor::zeros_like).transpose()?;
        Ok(Self { states: self.states.zeros_like()?, pooled })
    }
}
