//! How much memory a reply will take, told from the model's configuration and the conversation's length, before anything is
//! loaded. An upper bound: `tests/memory.rs` holds it against what is really allocated. Counted along the
//! forward passes of `models/llama`: whoever changes what these keep alive changes this as well.

use std::sync::Arc;

use super::Wording;
use super::prefixes::position_bytes;
use super::run::CHUNK;
use crate::models::llama::LlamaConfig;
use atelier_inference::ChatOrder;

/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Of a layer beside its feed-forward part, in widths of the states: shortcut, norms, queries, keys, values, what is attended.
const LAYER: f64 = 10.0;
/// The feed-forward part: gate, value, their product.
const FEED_FORWARD: f64 = 4.0;
/// Of the likelihoods of the next token: as the network gives them, as they are changed, sorted and drawn from.
const LIKELIHOODS: f64 = 12.0;
/// Rows of the input that are packed at a time where a weight is in few bits, likewise what a thread packs for itself.
const PACKED_ROWS: f64 = 384.0;
const THREAD_BYTES: f64 = 1e6;
/// Longest conversation whose tokens are counted beforehand: some ten milliseconds of work.
const COUNTED_BYTES: usize = 64 << 10;

/// What replies of one model take, in bytes.
#[derive(Debug, Clone)]
pub struct Footprint {
    wording: Arc<Wording>,
    /// For each token of the conversation and the reply.
    position: f64,
    /// For each token that is read at once.
    token: f64,
    /// Whatever is asked.
    fixed: f64,
}

impl Footprint {
    pub(super) fn new(config: &LlamaConfig, wording: Arc<Wording>) -> Self {
        let widest = config.inner.max(config.width).max(config.heads * config.head_width) as f64;
        let threads = rayon::current_num_threads() as f64;
        Self {
            wording,
            position: position_bytes(config) as f64,
            token: VALUE
                * (LAYER * config.width.max(config.heads * config.head_width) as f64
                    + FEED_FORWARD * config.inner as f64),
            fixed: VALUE * (PACKED_ROWS * widest + LIKELIHOODS * config.vocabulary as f64)
                + THREAD_BYTES * threads,
        }
    }

    /// The most that a run takes at any time. An order whose conversation cannot be written down takes nothing: it ends with
    /// its error. A long conversation is taken for the longest: whoever asks waits for nothing, and may serve others meanwhile.
    pub fn bytes(&self, order: &ChatOrder) -> u64 {
        let bytes: usize = order.turns.iter().map(|turn| turn.text.len()).sum();
        let prompt = match bytes <= COUNTED_BYTES {
            true => self.wording.prompt(order).map_or(0, |prompt| prompt.len()),
            false => self.wording.context(),
        };
        if prompt == 0 {
            return 0;
        }
        let positions = (prompt + order.options.max_tokens as usize).min(self.wording.context());
        let read = prompt.min(CHUNK) as f64;
        (self.position * positions as f64 + self.token * read + self.fixed) as u64
    }
}
