//! Decoders of the Llama kind (arXiv 2302.13971): Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3, Phi 3 and 4, token ids to how likely
//! each token is to follow (transformers' `LlamaForCausalLM` and its relatives).
//!
//! What belongs to a text is the caller's ([`Text`]): texts of many requests may be extended in turn, or together by a token
//! each. Which token is chosen,
//! and what tokens mean, is `converse`'s.

mod config;
mod files;
mod ggml;
mod layer;
mod published;
mod together;

use candle_core::{D, DType, Device, Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Embedding, Linear, Past, RmsNorm, Rotation};
use crate::weights::Builder;
use layer::Layer;

pub use config::LlamaConfig;
pub(crate) use files::{Opened, is_known};

/// What frequencies are divided by, in GGUF files.
const DIVISORS: [&str; 3] = ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

/// A decoder with its weights. Nothing of a request is kept in it.
#[derive(Debug)]
pub struct LlamaNetwork {
    config: LlamaConfig,
    tokens: Tokens,
    layers: Vec<Layer>,
    norm: RmsNorm,
    ropes: Vec<Frequencies>,
    device: Device,
}

/// The table of tokens, and the layer that gives their likelihood.
#[derive(Debug)]
enum Tokens {
    /// One matrix for both.
    Tied(Linear),
    Apart(Embedding, Linear),
}

/// Of one rope.
#[derive(Debug)]
struct Frequencies {
    short: Vec<f64>,
    long: Vec<f64>,
}

/// A text that grows: keys and values of its positions so far.
#[derive(Debug)]
pub struct Text {
    layers: Vec<Past>,
    length: usize,
    capacity: usize,
    is_long: bool,
}

/// Keys and values of the beginning of a text, to begin others with.
#[derive(Debug)]
pub struct Beginning {
    /// Of each layer: (1, length, width of keys).
    layers: Vec<(Tensor, Tensor)>,
    length: usize,
    is_long: bool,
}

impl LlamaNetwork {
    /// Opens the files and reads the weights.
    ///
    /// # Errors
    /// As of [`Opened`].
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        Opened::new(files, device)?.network(device)
    }

    fn load(config: LlamaConfig, vb: Builder, device: &Device) -> TensorResult<Self> {
        let (ids, width) = (config.vocabulary, config.width);
        let tokens = match config.is_tied {
            true => Tokens::Tied(Linear::load_no_bias(width, ids, vb.pp("embed_tokens"))?),
            false => Tokens::Apart(
                Embedding::load(ids, width, vb.pp("embed_tokens"))?,
                Linear::load_no_bias(width, ids, vb.pp("lm_head"))?,
            ),
        };
        let layer = |(index, layer)| Layer::load(&config, layer, vb.pp("layers").pp(index));
        Ok(Self {
            tokens,
            layers: config.layers.iter().copied().enumerate().map(layer).collect::<TensorResult<_>>()?,
            norm: layer::norm(&config, width, vb.pp("norm"))?,
            ropes: frequencies(&config, &vb)?,
            config,
            device: device.clone(),
        })
    }

    /// What it is made of.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// An empty text that may grow to `capacity` positions.
    ///
    /// # Errors
    /// One that is longer than the network's context, and a device without memory for it.
    pub fn text(&self, capacity: usize) -> TensorResult<Text> {
        if !(1..=self.config.context).contains(&capacity) {
            candle_core::bail!("a text of {capacity} positions; 1 to {} make sense", self.config.context);
        }
        let past = |_: &Layer| Past::new(1, capacity, self.config.kv_width(), &self.device);
        let layers = self.layers.iter().map(past).collect::<TensorResult<_>>()?;
        Ok(Text { layers, length: 0, capacity, is_long: self.config.is_long(capacity) })
    }

    /// Adds tokens to a text and gives the state of the last of them: (1, 1, width).
    ///
    /// # Errors
    /// No token, an id beyond the vocabulary, or a text that grows over its capacity.
    pub fn extend(&self, text: &mut Text, tokens: &[u32]) -> TensorResult<Tensor> {
        let states = self.states(text, tokens)?;
        states.narrow(1, tokens.len() - 1, 1)?.contiguous()
    }

    /// Adds tokens to a text and gives their states: (1, n, width).
    ///
    /// # Errors
    /// As [`LlamaNetwork::extend`].
    pub fn states(&self, text: &mut Text, tokens: &[u32]) -> TensorResult<Tensor> {
        let count = tokens.len();
        if count == 0 || text.length + count > text.capacity {
            candle_core::bail!("{count} tokens after {} in a text of {}", text.length, text.capacity);
        }
        let rotations = self.rotations((0..count).map(|index| (text.length + index, text.is_long)))?;
        let mut hidden = self.embedded(tokens)?;
        for (layer, past) in self.layers.iter().zip(&mut text.layers) {
            hidden = layer.forward(&hidden, &rotations, |q, k, v, heads| past.attend(q, k, v, heads))?;
        }
        text.length += count;
        self.norm.forward(&hidden)
    }

    /// What the layers are given for tokens: (1, n, width).
    fn embedded(&self, tokens: &[u32]) -> TensorResult<Tensor> {
        let embedded = match &self.tokens {
            Tokens::Tied(table) => table.rows(tokens, &self.device)?,
            Tokens::Apart(table, _) => table.forward(tokens)?,
        };
        embedded.unsqueeze(0)?.to_dtype(DType::F32)? * self.config.embedding_scale
    }

    /// How likely each token is to follow states (..., width), before it is made a probability: (..., vocabulary).
    pub fn logits(&self, states: &Tensor) -> TensorResult<Tensor> {
        let logits = match &self.tokens {
            Tokens::Tied(head) | Tokens::Apart(_, head) => head.forward(states)?,
        };
        match self.config.logit_softcap {
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
            None => logits,
        }
        .contiguous()
    }

    /// Of each rope, for tokens at positions of texts that are long or not.
    fn rotations(&self, places: impl Iterator<Item = (usize, bool)> + Clone) -> TensorResult<Vec<Rotation>> {
        let of = |(rope, frequencies): (&config::Rope, &Frequencies)| {
            let own = |(at, is_long)| match is_long {
                true => (at, frequencies.long.as_slice()),
                false => (at, frequencies.short.as_slice()),
            };
            let places: Vec<_> = places.clone().map(own).collect();
            let turned = rope.turned(self.config.head_width);
            Rotation::of_places(&places, rope.scale(), turned, &self.device)
        };
        self.config.ropes.iter().zip(&self.ropes).map(of).collect()
    }
}

/// Of each rope; a file of weights may have what they are divided by.
fn frequencies(config: &LlamaConfig, vb: &Builder) -> TensorResult<Vec<Frequencies>> {
    let divisors = |name: &str| {
        let pairs = config.ropes.first().map_or(0, |rope| rope.width / 2);
        let found = vb.contains(name).then(|| vb.get(pairs, name)?.to_vec1::<f32>()).transpose()?;
        let Some(found) = found else { return Ok(None) };
        if let Some(wrong) = found.iter().find(|divisor| !(divisor.is_finite() && **divisor > 0.0)) {
            candle_core::bail!("`{name}` holds {wrong}; positive numbers make sense");
        }
        Ok(Some(found.into_iter().map(f64::from).collect::<Vec<_>>()))
    };
    let [both, short, long] = DIVISORS.map(divisors);
    let both = both?;
    let (short, long) = (short?.or(both.clone()), long?.or(both));
    if config.ropes.iter().any(|rope| rope.needs_divisors()) && (short.is_none() || long.is_none()) {
        candle_core::bail!("there are no `{}` and `{}`", DIVISORS[1], DIVISORS[2]);
    }
    let of = |(index, rope): (usize, &config::Rope)| {
        // those of a file are for the rope that sees everything
        let own = |divisors: &Option<Vec<f64>>, is_long| {
            rope.frequencies(divisors.as_deref().filter(|_| index == 0), is_long)
        };
        Frequencies { short: own(&short, false), long: own(&long, true) }
    };
    Ok(config.ropes.iter().enumerate().map(of).collect())
}

impl Text {
    /// Positions so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Begins an empty text with `count` positions of another's beginning.
    ///
    /// # Errors
    /// A text that is not empty, has no room for it, or turns positions otherwise.
    pub fn begin_with(&mut self, beginning: &Beginning, count: usize) -> TensorResult<()> {
        let fits = self.length == 0 && beginning.is_long == self.is_long && count <= beginning.length;
        if !fits || count > self.capacity || beginning.layers.len() != self.layers.len() {
            candle_core::bail!("a text of {} cannot begin with {count} positions", self.capacity);
        }
        for (past, (keys, values)) in self.layers.iter_mut().zip(&beginning.layers) {
            past.add(&keys.narrow(1, 0, count)?, &values.narrow(1, 0, count)?)?;
        }
        self.length = count;
        Ok(())
    }

    /// A copy of the first `count` positions.
    pub fn beginning(&self, count: usize) -> TensorResult<Beginning> {
        let layers = self.layers.iter().map(|past| past.copy(count)).collect::<TensorResult<_>>()?;
        Ok(Beginning { layers, length: count, is_long: self.is_long })
    }

    /// Whether it turns positions as long texts do.
    pub fn is_long(&self) -> bool {
        self.is_long
    }
}

impl Beginning {
    /// Whether it is of texts that turn positions as long ones do.
    pub fn is_long(&self) -> bool {
        self.is_long
    }
}

/// The likeliest id of logits (..., vocabulary) that are of one position; the first of those that are equally likely.
pub fn likeliest(logits: &Tensor) -> TensorResult<u32> {
    let values = logits.flatten_all()?.to_vec1::<f32>()?;
    let best = values.iter().zip(0u32..).fold((f32::NEG_INFINITY, None), |best, (value, id)| {
        if *value > best.0 { (*value, Some(id)) } else { best }
    });
    best.1.ok_or_else(|| {
        candle_core::Error::Msg(format!("no number among {} logits", logits.dim(D::Minus1).unwrap_or(0)))
    })
}
