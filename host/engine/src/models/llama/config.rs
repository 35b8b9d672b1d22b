//! What a decoder of the Llama kind is made of, as plain data: the same network serves every family, and a family is no
//! more than a way to fill this in (`published` from a `config.json`, `ggml` from a GGUF file).

use crate::kernels::{Activation, Heads, Pairs, Turned};

/// Most layers; the largest models have about 130.
pub(super) const MAX_LAYERS: usize = 1_024;
/// Most positions, and values of any width.
pub(super) const MAX_COUNT: usize = 1 << 24;

/// A checked description of a network.
#[derive(Debug, Clone)]
pub struct LlamaConfig {
    /// As people call it: `llama`, `mistral`, `qwen2`, `qwen3`, `gemma2`, `gemma3` or `phi3`.
    pub family: &'static str,
    /// Token ids.
    pub vocabulary: usize,
    /// Width of the states.
    pub width: usize,
    /// Of the queries, in each layer.
    pub heads: usize,
    /// Of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Of a head; even.
    pub head_width: usize,
    /// Width inside of the feed-forward parts.
    pub inner: usize,
    /// Most positions of a text.
    pub context: usize,
    /// Added to the mean square by norms.
    pub eps: f64,
    /// Added to the weights of norms, which some files hold as the difference from one.
    pub norm_offset: f64,
    /// Between the linear layers, of the gate.
    pub activation: Activation,
    /// Whether queries, keys and values have a bias.
    pub has_qkv_bias: bool,
    /// Whether each head's queries and keys are normed before they are turned.
    pub has_head_norms: bool,
    /// Whether what a part adds to the states is normed as well, beside what it is given.
    pub has_outer_norms: bool,
    /// Whether the table of tokens is also the layer that gives their likelihood.
    pub is_tied: bool,
    /// What embeddings are multiplied by.
    pub embedding_scale: f64,
    /// What products of queries and keys are multiplied by.
    pub attention_scale: f64,
    /// Bounds scores.
    pub attention_softcap: Option<f64>,
    /// Bounds the likelihoods.
    pub logit_softcap: Option<f64>,
    /// How positions turn queries and keys; each layer names one of these.
    pub ropes: Vec<Rope>,
    /// One for each layer.
    pub layers: Vec<LayerConfig>,
}

/// How layers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// Positions that are seen, the own among them; all where there is none.
    pub window: Option<usize>,
    /// Which of the ropes.
    pub rope: usize,
}

/// Rotary embedding (arXiv 2104.09864) and how it is stretched for texts longer than those of the training.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Values of a head that are turned; even, and at most its width.
    pub width: usize,
    /// The slowest pair turns once in about `2 pi theta` positions.
    pub theta: f64,
    /// How frequencies change.
    pub scaling: Scaling,
    /// Which values are turned together.
    pub pairs: Pairs,
}

/// How a rope's frequencies change.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Divided (arXiv 2306.15595).
    Linear(f64),
    /// Divided where a pair turns slowly, kept where it is quick, and in between between; transformers'
    /// `_compute_llama3_parameters`.
    Llama3 {
        /// What slow ones are divided by.
        factor: f64,
        /// Turns within the original context up to which a pair is slow.
        low: f64,
        /// From which on it is quick.
        high: f64,
        /// Positions that the training had at first.
        original: usize,
    },
    /// Divided each by a number of its own (LongRoPE, arXiv 2402.13753), others for long texts than for short ones.
    Long {
        /// For texts up to `original`; in files of weights where it is empty.
        short: Vec<f64>,
        /// For longer ones.
        long: Vec<f64>,
        /// Positions that the training had at first.
        original: usize,
        /// What turned values are multiplied by.
        scale: f64,
    },
}

impl LlamaConfig {
    /// Values of the keys of a position, and of its values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_width
    }

    /// How a layer's heads look at each other.
    pub(super) fn heads(&self, layer: LayerConfig) -> Heads {
        Heads {
            queries: self.heads,
            keys: self.kv_heads,
            scale: Some(self.attention_scale),
            window: layer.window,
            softcap: self.attention_softcap,
        }
    }

    /// Whether a text that may grow to `capacity` positions is a long one, which changes its ropes.
    pub fn is_long(&self, capacity: usize) -> bool {
        self.ropes.iter().any(|rope| match rope.scaling {
            Scaling::Long { original, .. } => capacity > original,
            _ => false,
        })
    }

    /// What holds for all families.
    ///
    /// # Errors
    /// Names the value that makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("vocabulary", self.vocabulary),
            ("width", self.width),
            ("heads", self.heads),
            ("heads of keys", self.kv_heads),
            ("width of a head", self.head_width),
            ("width of the feed-forward part", self.inner),
            ("context", self.context),
        ];
        if let Some((what, count)) = counts.iter().find(|(_, count)| !(1..=MAX_COUNT).contains(count)) {
            return Err(format!("the {what} is {count}; 1 to {MAX_COUNT} make sense"));
        }
        if !(1..=MAX_LAYERS).contains(&self.layers.len()) {
            return Err(format!("{} layers; 1 to {MAX_LAYERS} are read", self.layers.len()));
        }
        let (heads, kv_heads, d) = (self.heads, self.kv_heads, self.head_width);
        if !heads.is_multiple_of(kv_heads) || !d.is_multiple_of(2) {
            return Err(format!(
                "{heads} heads share {kv_heads} of keys, each {d} wide; neither may be broken"
            ));
        }
        // widths are multiplied by each other, and by positions
        if heads.max(kv_heads).saturating_mul(d) > MAX_COUNT {
            return Err(format!("{heads} heads of {d} are wider than {MAX_COUNT}"));
        }
        let caps = [self.attention_softcap, self.logit_softcap].into_iter().flatten();
        let scales = [self.eps, self.embedding_scale, self.attention_scale].into_iter().chain(caps);
        if let Some(scale) = scales.into_iter().find(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err(format!("a scale, cap or eps is {scale}; positive numbers make sense"));
        }
        if self.layers.iter().any(|layer| layer.window == Some(0) || layer.rope >= self.ropes.len()) {
            return Err("a sliding window of 0 positions sees nothing".into());
        }
        self.ropes.iter().try_for_each(|rope| rope.check(d))
    }
}

impl Rope {
    /// Radians a position that each pair turns.
    ///
    /// `divisors` are those of a file of weights, which take the place of the scaling's own.
    pub(super) fn frequencies(&self, divisors: Option<&[f64]>, is_long: bool) -> Vec<f64> {
        let plain = |pair: usize| self.theta.powf(-((2 * pair) as f64) / self.width as f64);
        let scaled = |pair: usize| {
            let frequency = plain(pair);
            match (&self.scaling, divisors) {
                (_, Some(divisors)) => frequency / divisors[pair],
                (Scaling::None, None) => frequency,
                (Scaling::Linear(factor), None) => frequency / factor,
                (Scaling::Llama3 { factor, low, high, original }, None) => {
                    let turns = *original as f64 * frequency / std::f64::consts::TAU;
                    let quick = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - quick) * frequency / factor + quick * frequency
                }
                (Scaling::Long { short, long, .. }, None) => {
                    frequency / if is_long { long[pair] } else { short[pair] }
                }
            }
        };
        (0..self.width / 2).map(scaled).collect()
    }

    /// What turned values are multiplied by.
    pub(super) fn scale(&self) -> f64 {
        match self.scaling {
            Scaling::Long { scale, .. } => scale,
            _ => 1.0,
        }
    }

    /// Whether the file of weights has to say what frequencies are divided by.
    pub(super) fn needs_divisors(&self) -> bool {
        matches!(&self.scaling, Scaling::Long { short, long, .. } if short.is_empty() || long.is_empty())
    }

    pub(super) fn turned(&self, head: usize) -> Turned {
        Turned { pairs: self.pairs, head }
    }

    fn check(&self, head: usize) -> Result<(), String> {
        let Self { width, theta, .. } = self;
        if !width.is_multiple_of(2) || !(2..=head).contains(width) {
            return Err(format!("rotary embedding turns {width} values of a head of {head}"));
        }
        let positive = |number: &f64| number.is_finite() && *number > 0.0;
        let numbers: Vec<f64> = match &self.scaling {
            Scaling::None => vec![],
            Scaling::Linear(factor) => vec![*factor],
            Scaling::Llama3 { factor, low, high, .. } => vec![*factor, *low, high - low],
            Scaling::Long { short, long, scale, .. } => {
                for list in [short, long] {
                    // empty where the file of weights has them
                    if !list.is_empty() && list.len() != width / 2 {
                        return Err(format!("{} factors for {} turning pairs", list.len(), width / 2));
                    }
                }
                [short.as_slice(), long, &[*scale]].concat()
            }
        };
        match [*theta].iter().chain(&numbers).find(|number| !positive(number)) {
            Some(number) => Err(format!("rotary embedding with the base or factor {number}")),
            None => Ok(()),
        }
    }
}
