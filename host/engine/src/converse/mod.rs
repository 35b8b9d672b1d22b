//! Replies of language models: a conversation becomes a reply, step by step. `wording` writes it down for the model
//! (`template`, and the tokenizer), `run` reads it and writes the reply, `sampler` draws its tokens, `constraint` keeps them
//! to a schema (`grammar`), `output` tells the text, and `prefixes` keep what was read for the next time.
//!
//! transformers is followed: its templates, its networks, its processors of likelihoods. What is done otherwise:
//! - What people write is only ever text, also where it looks like a special token.
//! - A conversation that is too long is refused, where others drop its beginning.
//! - Numbers of positions are kept in f32, as the reference computes.
//!
//! Texts are apart from the model and from each other: one thread steps replies one at a time, in any order, or those that
//! write together (`together`). Knows neither jobs nor the catalog.

mod constraint;
mod footprint;
mod grammar;
mod output;
mod prefixes;
mod run;
mod sampler;
mod template;
mod together;
mod wording;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use atelier_inference::chat::Schema;
use atelier_inference::{ChatOrder, LanguageModel, ModelCard};
use candle_core::Device;

use crate::Result;
use crate::files::ModelFiles;
use crate::models::llama::{self, LlamaConfig, LlamaNetwork, Opened};
use grammar::{Grammar, Lexicon, MAX_MASKS};
use prefixes::Prefixes;

pub use footprint::Footprint;
pub use run::{Conversation, ConverseState};
pub use sampler::Sampler;
pub use together::step_together;
pub use wording::Wording;

/// Most schemas whose masks are kept.
const MAX_GRAMMARS: usize = 4;
/// Bytes that the lexicon takes for a token, about: its letters, and where it stands.
const LEXICON_BYTES: u64 = 48;

/// A language model that replies. It is shared by all requests; of these it keeps what others of their circle may use.
#[derive(Debug)]
pub struct ChatModel {
    network: LlamaNetwork,
    wording: Arc<Wording>,
    /// Made when the first reply has to fit a schema.
    lexicon: OnceLock<Arc<Lexicon>>,
    /// Schemas that were asked for last, with their text. One thread steps all replies: the locks are never contended.
    grammars: Mutex<Vec<(String, Arc<Grammar>)>>,
    prefixes: Mutex<Prefixes>,
}

/// What a model's files say without its weights.
#[derive(Debug)]
pub struct Description {
    /// As people call it, such as `qwen3`.
    pub family: &'static str,
    /// For the catalog.
    pub model: LanguageModel,
    /// What its replies take.
    pub footprint: Footprint,
}

/// Whether files are those of a language model: one GGUF file, or a folder whose `config.json` says so.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file.
pub fn is_language(files: &ModelFiles) -> Result<bool> {
    llama::is_known(files)
}

impl ChatModel {
    /// Reads a folder as transformers writes it, or one GGUF file. Matrices stay in the precision of their file.
    ///
    /// # Errors
    /// [`crate::Error::Read`], [`crate::Error::Malformed`] and [`crate::Error::Unsupported`] name the file, and the key or the tensor.
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        let opened = Opened::new(files, device)?;
        // what is small is read first: its errors should not wait for gigabytes
        let wording = Arc::new(wording(files, &opened)?);
        let network = opened.network(device)?;
        let prefixes = Mutex::new(Prefixes::new(network.config()));
        Ok(Self { network, wording, lexicon: OnceLock::new(), grammars: Mutex::default(), prefixes })
    }

    /// What the files say of the model, without its weights; and what its replies take.
    ///
    /// # Errors
    /// As [`ChatModel::open`].
    pub fn describe(files: &ModelFiles, card: ModelCard) -> Result<Description> {
        let opened = Opened::new(files, &Device::Cpu)?;
        let wording = Arc::new(wording(files, &opened)?);
        let config = &opened.config;
        let memory_bytes = opened.weights.bytes() + kept_bytes(config);
        let model = LanguageModel {
            card: ModelCard { memory_bytes, ..card },
            context_length: config.context as u32,
            vocabulary: config.vocabulary as u32,
        };
        Ok(Description { family: config.family, model, footprint: Footprint::new(config, wording) })
    }

    /// Begins a reply.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] names the option that does not fit the model, or `turns`.
    pub fn converse(self: &Arc<Self>, order: Arc<ChatOrder>) -> Result<Conversation> {
        Conversation::new(self.clone(), order)
    }

    /// How conversations are written down.
    pub fn wording(&self) -> &Wording {
        &self.wording
    }

    fn network(&self) -> &LlamaNetwork {
        &self.network
    }

    fn prefixes(&self) -> MutexGuard<'_, Prefixes> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A schema at work.
    fn grammar(&self, schema: &Schema) -> Arc<Grammar> {
        let mut kept = self.grammars.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(|(text, _)| text == schema.text()) {
            kept[place..].rotate_left(1);
            return kept[kept.len() - 1].1.clone();
        }
        let tokenizer = self.wording.tokenizer();
        let made = || Arc::new(Lexicon::new(tokenizer.vocabulary(), |id| tokenizer.bytes(id)));
        let grammar = Arc::new(Grammar::new(schema, self.lexicon.get_or_init(made).clone()));
        if kept.len() >= MAX_GRAMMARS {
            kept.remove(0);
        }
        kept.push((schema.text().into(), grammar.clone()));
        grammar
    }
}

fn wording(files: &ModelFiles, opened: &Opened) -> Result<Wording> {
    let wording = Wording::open(files, opened.metadata.as_ref(), opened.config.context)?;
    let (ids, rows) = (wording.tokenizer().vocabulary(), opened.config.vocabulary);
    if ids > rows {
        let reason = format!("the tokenizer has {ids} ids and the network {rows}; they are of two models");
        return Err(opened.weights.malformed(&reason));
    }
    Ok(wording)
}

/// What a model keeps beside its weights: beginnings of conversations, the lexicon, and masks of schemas.
fn kept_bytes(config: &LlamaConfig) -> u64 {
    let vocabulary = config.vocabulary as u64;
    let masks = (MAX_GRAMMARS * MAX_MASKS) as u64 * vocabulary / 8;
    prefixes::capacity_bytes(config) + vocabulary * LEXICON_BYTES + masks
}
