//! What was computed for the beginnings of conversations, to begin the next ones with: a system prompt is read once. Only
//! conversations of one circle share it, so that nobody learns from the time of a reply what others wrote.
//!
//! Where several begin alike at the same time, one reads and the others wait for it (`steps_ahead`): beside each other, they
//! would all read the same.

use std::sync::{Arc, Weak};

use super::run::CHUNK;
use crate::models::llama::{Beginning, LlamaConfig, Text};
use atelier_inference::chat::Circle;

/// Most bytes of what is kept for a model.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of a value.
const VALUE: u64 = 4;

/// Beginnings of a model's conversations.
#[derive(Debug)]
pub(super) struct Prefixes {
    kept: Vec<Kept>,
    /// Prompts that somebody reads.
    reading: Vec<Weak<Reading>>,
    /// Most bytes of all.
    capacity: u64,
    /// Of one position.
    position: u64,
}

#[derive(Debug)]
struct Kept {
    circle: Circle,
    /// Of its tokens.
    ids: Vec<u32>,
    beginning: Beginning,
}

/// A prompt that is being read, for as long as its reader holds it.
#[derive(Debug)]
pub(super) struct Reading {
    circle: Circle,
    ids: Vec<u32>,
    is_long: bool,
}

/// Bytes of one position of a text.
pub(super) fn position_bytes(config: &LlamaConfig) -> u64 {
    2 * VALUE * (config.layers.len() * config.kv_width()) as u64
}

/// Bytes that are set aside for beginnings: as many as the longest conversation has, where these are not too many.
pub(super) fn capacity_bytes(config: &LlamaConfig) -> u64 {
    MAX_BYTES.min(position_bytes(config).saturating_mul(config.context as u64))
}

impl Prefixes {
    pub(super) fn new(config: &LlamaConfig) -> Self {
        let (kept, reading) = Default::default();
        Self { kept, reading, capacity: capacity_bytes(config), position: position_bytes(config) }
    }

    /// A prompt is read from now on, until what is given back is dropped.
    pub(super) fn announce(&mut self, circle: Circle, prompt: &[u32], text: &Text) -> Arc<Reading> {
        let reading = Arc::new(Reading { circle, ids: prompt.to_vec(), is_long: text.is_long() });
        self.reading.push(Arc::downgrade(&reading));
        reading
    }

    /// After how many of its reader's steps, at most, more of a prompt will be there than is now. None where nobody reads it, and
    /// where it is not even half of what somebody reads: waiting would then take longer than it spares.
    pub(super) fn steps_ahead(&mut self, circle: Circle, prompt: &[u32], text: &Text) -> usize {
        self.reading.retain(|reading| reading.strong_count() > 0);
        let here = self.best(circle, prompt, text).map_or(0, |(count, _)| count);
        let steps = |reading: Arc<Reading>| {
            let common = shared(&reading.ids, prompt);
            let is_same = reading.circle == circle && reading.is_long == text.is_long();
            let is_worth = is_same && common > here && 2 * common >= reading.ids.len();
            is_worth.then(|| reading.ids.len().div_ceil(CHUNK))
        };
        self.reading.iter().filter_map(Weak::upgrade).filter_map(steps).max().unwrap_or_default()
    }

    /// How much of a prompt is kept, and by whom, if anything is.
    fn best(&self, circle: Circle, prompt: &[u32], text: &Text) -> Option<(usize, usize)> {
        let most = prompt.len().saturating_sub(1);
        let shared = |kept: &Kept| shared(&kept.ids, prompt).min(most);
        let fits = |kept: &Kept| kept.circle == circle && kept.beginning.is_long() == text.is_long();
        let places = self.kept.iter().enumerate().filter(|(_, kept)| fits(kept));
        places.map(|(place, kept)| (shared(kept), place)).max().filter(|(count, _)| *count > 0)
    }

    /// Begins an empty text with as much of a prompt as was computed before; how many tokens that is. At least one token is
    /// left to be read, since the likelihoods of what follows are not kept.
    pub(super) fn begin(
        &mut self,
        circle: Circle,
        prompt: &[u32],
        text: &mut Text,
    ) -> candle_core::Result<usize> {
        let Some((count, place)) = self.best(circle, prompt, text) else { return Ok(0) };
        text.begin_with(&self.kept[place].beginning, count)?;
        // what was used last goes last
        self.kept[place..].rotate_left(1);
        Ok(count)
    }

    /// Keeps the beginning of a text, whose tokens these are.
    pub(super) fn keep(&mut self, circle: Circle, ids: &[u32], text: &Text) -> candle_core::Result<()> {
        let most = usize::try_from(self.capacity / self.position.max(1)).unwrap_or(usize::MAX);
        let count = most.min(ids.len()).min(text.length());
        let ids = &ids[..count];
        let is_same = |kept: &Kept| kept.circle == circle && kept.beginning.is_long() == text.is_long();
        if count == 0 || self.kept.iter().any(|kept| is_same(kept) && kept.ids.starts_with(ids)) {
            return Ok(());
        }
        // one that this goes on from is within it
        self.kept.retain(|kept| !(is_same(kept) && ids.starts_with(&kept.ids)));
        let mut bytes =
            self.position * (count + self.kept.iter().map(|kept| kept.ids.len()).sum::<usize>()) as u64;
        while bytes > self.capacity && !self.kept.is_empty() {
            bytes -= self.position * self.kept.remove(0).ids.len() as u64;
        }
        self.kept.push(Kept { circle, ids: ids.to_vec(), beginning: text.beginning(count)? });
        Ok(())
    }
}

/// How many tokens two texts begin with alike.
fn shared(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
