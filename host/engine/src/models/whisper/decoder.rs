//! The decoder: token ids, and what is heard, to the likelihood of the next token (transformers' `WhisperDecoder`).
//!
//! What belongs to a request is not here: keys and values of what is heard are computed once for a window ([`Heard`]),
//! those of a text as it grows ([`Texts`]), and both are the caller's.

use candle_core::{D, Result, Tensor};

use super::attention::{Attention, EPS, FeedForward};
use super::config::WhisperConfig;
use crate::kernels::{LayerNorm, Linear, Past};
use crate::weights::Builder;

#[derive(Debug)]
pub(super) struct Decoder {
    /// (vocabulary, width): the embedding of tokens, and the layer that gives their likelihood.
    embed_tokens: Linear,
    /// (positions, width)
    embed_positions: Tensor,
    layers: Vec<Layer>,
    layer_norm: LayerNorm,
}

/// Windows as the decoder hears them: keys and values (windows, positions, width) for each of its layers.
#[derive(Debug)]
pub struct Heard {
    layers: Vec<(Tensor, Tensor)>,
}

/// Texts that grow together, a row each.
#[derive(Debug)]
pub struct Texts {
    rows: usize,
    /// Tokens of each row so far.
    length: usize,
    layers: Vec<Past>,
}

/// Attention to the text, attention to what is heard, and a feed-forward part.
#[derive(Debug)]
struct Layer {
    self_attn_layer_norm: LayerNorm,
    self_attn: Attention,
    encoder_attn_layer_norm: LayerNorm,
    encoder_attn: Attention,
    feed_forward: FeedForward,
}

impl Decoder {
    pub(super) fn load(config: &WhisperConfig, vb: Builder) -> Result<Self> {
        let (width, layers) = (config.d_model, vb.pp("layers"));
        let positions = (config.max_target_positions, width);
        Ok(Self {
            embed_tokens: Linear::load_no_bias(width, config.vocab_size, vb.pp("embed_tokens"))?,
            embed_positions: vb.pp("embed_positions").get(positions, "weight")?,
            layers: (0..config.decoder_layers)
                .map(|index| Layer::load(config, layers.pp(index)))
                .collect::<Result<_>>()?,
            layer_norm: LayerNorm::load(width, EPS, vb.pp("layer_norm"))?,
        })
    }

    /// The encoder's states (windows, positions, width) as each layer will look at them.
    pub(super) fn hear(&self, states: &Tensor) -> Result<Heard> {
        let layers = self.layers.iter().map(|layer| layer.encoder_attn.keys(states));
        Ok(Heard { layers: layers.collect::<Result<_>>()? })
    }

    /// Room for `rows` texts of `capacity` tokens.
    pub(super) fn texts(&self, rows: usize, capacity: usize) -> Result<Texts> {
        let (positions, width) = self.embed_positions.dims2()?;
        let past = |_| Past::new(rows, capacity.min(positions), width, self.embed_positions.device());
        Ok(Texts { rows, length: 0, layers: (0..self.layers.len()).map(past).collect::<Result<_>>()? })
    }

    /// Adds tokens to the texts, as many to each, and gives their states (rows, n, width).
    pub(super) fn forward(&self, tokens: &[&[u32]], texts: &mut Texts, heard: &Heard) -> Result<Tensor> {
        self.run(tokens, texts, heard, |_, _, _| Ok(()))
    }

    /// `look` sees, for each layer, the states with which it is about to ask what is heard.
    fn run(
        &self,
        tokens: &[&[u32]],
        texts: &mut Texts,
        heard: &Heard,
        mut look: impl FnMut(usize, &Layer, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let count = tokens.first().map_or(0, |row| row.len());
        let ids = tokens.concat();
        if tokens.len() != texts.rows || ids.len() != texts.rows * count || count == 0 {
            candle_core::bail!("{} tokens for {} texts", ids.len(), texts.rows);
        }
        let (positions, width) = self.embed_positions.dims2()?;
        if texts.length + count > positions {
            candle_core::bail!("a text of {} tokens; {positions} are the most", texts.length + count);
        }
        let embedded = self.embed_tokens.rows(&ids, self.embed_positions.device())?;
        let at = self.embed_positions.narrow(0, texts.length, count)?;
        let mut hidden = embedded.reshape((texts.rows, count, width))?.broadcast_add(&at)?;
        for (index, (layer, past)) in self.layers.iter().zip(&mut texts.layers).enumerate() {
            hidden = layer.to_text(&hidden, past)?;
            let asking = layer.encoder_attn_layer_norm.forward(&hidden)?;
            look(index, layer, &asking)?;
            hidden = (hidden + layer.encoder_attn.to_heard(&asking, &heard.layers[index])?)?;
            hidden = layer.feed_forward.forward(&hidden)?;
        }
        texts.length += count;
        self.layer_norm.forward(&hidden)
    }

    /// Of states (..., width) the likelihoods of what follows, before they are made probabilities: (..., vocabulary).
    pub(super) fn logits(&self, states: &Tensor) -> Result<Tensor> {
        self.embed_tokens.forward(states)
    }

    /// For one whole text in one window: how much each token asks for each position of the window, by some heads (layer,
    /// head), as scores (heads, tokens, positions); and the states.
    pub(super) fn align(
        &self,
        tokens: &[u32],
        heard: &Heard,
        heads: &[(usize, usize)],
    ) -> Result<(Tensor, Tensor)> {
        let mut scores = vec![None; heads.len()];
        let mut texts = self.texts(1, tokens.len())?;
        let states = self.run(&[tokens], &mut texts, heard, |index, layer, asking| {
            for (place, (_, head)) in scores.iter_mut().zip(heads).filter(|(_, (layer, _))| *layer == index) {
                *place = Some(layer.encoder_attn.scores(asking, &heard.layers[index].0, *head)?);
            }
            Ok(())
        })?;
        let scores: Vec<Tensor> = scores.into_iter().flatten().collect();
        Ok((Tensor::stack(&scores, 0)?, states.squeeze(0)?))
    }
}

impl Layer {
    fn load(config: &WhisperConfig, vb: Builder) -> Result<Self> {
        let (width, heads) = (config.d_model, config.decoder_attention_heads);
        Ok(Self {
            self_attn_layer_norm: LayerNorm::load(width, EPS, vb.pp("self_attn_layer_norm"))?,
            self_attn: Attention::load(width, heads, vb.pp("self_attn"))?,
            encoder_attn_layer_norm: LayerNorm::load(width, EPS, vb.pp("encoder_attn_layer_norm"))?,
            encoder_attn: Attention::load(width, heads, vb.pp("encoder_attn"))?,
            feed_forward: FeedForward::load(config, config.decoder_ffn_dim, &vb)?,
        })
    }

    fn to_text(&self, x: &Tensor, past: &mut Past) -> Result<Tensor> {
        x + self.self_attn.to_past(&self.self_attn_layer_norm.forward(x)?, past)?
    }
}

impl Texts {
    /// Lets row `i` go on from what row `rows[i]` was.
    pub fn reorder(&mut self, rows: &[u32]) -> Result<()> {
        let is_same = rows.iter().zip(0..).all(|(row, index)| *row == index);
        if is_same { Ok(()) } else { self.layers.iter_mut().try_for_each(|past| past.reorder(rows)) }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// The states of one position of each row: (rows, n, width) to (rows, width).
pub(crate) fn at_position(states: &Tensor, position: usize) -> Result<Tensor> {
    states.narrow(D::Minus2, position, 1)?.squeeze(D::Minus2)?.contiguous()
}
