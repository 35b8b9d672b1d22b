//! Replies that fit a JSON schema: which bytes may come next ([`program`], [`state`]), which tokens these are ([`lexicon`]), and
//! how a value ends soonest ([`closing`]). Every byte that is let through leaves a value that can be ended, so that
//! whatever is drawn, the reply becomes JSON that fits.
//!
//! Values are written as most models like them: one space may stand after a colon or a comma, nowhere else, and an object's
//! properties come in the schema's order. Numbers have at most 15 digits before and after the point and exponents of two,
//! so that all of them are numbers to every reader. Characters of `maxLength` are counted; escapes of half a pair of
//! surrogates, which are no character, do not occur.

mod closing;
mod lexicon;
mod program;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atelier_inference::chat::Schema;

pub(super) use lexicon::{Lexicon, Mask};
use program::Program;
pub(super) use state::State;

/// Most masks that are kept of a schema; each has a bit for every token.
pub(super) const MAX_MASKS: usize = 128;

/// A schema at work. It is shared by all replies that are to fit it.
#[derive(Debug)]
pub(super) struct Grammar {
    program: Program,
    lexicon: Arc<Lexicon>,
    /// Which tokens may come next, by where the value is.
    masks: Mutex<HashMap<State, Arc<Mask>>>,
}

impl Grammar {
    pub(super) fn new(schema: &Schema, lexicon: Arc<Lexicon>) -> Self {
        Self { program: Program::new(schema.shape()), lexicon, masks: Mutex::default() }
    }

    /// Before the first byte.
    pub(super) fn start(&self) -> State {
        self.program.start()
    }

    /// After a token; none where it does not fit.
    pub(super) fn after(&self, state: &State, token: u32) -> Option<State> {
        let bytes = self.lexicon.bytes(token)?;
        bytes.iter().try_fold(state.clone(), |state, byte| self.program.step(&state, *byte))
    }

    /// Whether the value might end here.
    pub(super) fn is_whole(&self, state: &State) -> bool {
        self.program.is_whole(state)
    }

    /// Whether nothing may come any more.
    pub(super) fn is_over(&self, state: &State) -> bool {
        state.is_over()
    }

    /// The tokens that end the value soonest; none where the vocabulary has no token for a byte of it.
    pub(super) fn closing(&self, state: &State) -> Option<Vec<u32>> {
        self.lexicon.cover(&self.program.closing(state))
    }

    /// The tokens that may come next, those that end a reply apart.
    pub(super) fn mask(&self, state: &State) -> Arc<Mask> {
        // counts that no token reaches do not tell states apart
        let key = state.clamped(self.lexicon.longest() as u32);
        let masks = || self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mask) = masks().get(&key) {
            return mask.clone();
        }
        let mask = Arc::new(self.lexicon.mask(&key, |state, byte| self.program.step(state, byte)));
        let mut masks = masks();
        // the states of one reply come again in the next; which of too many goes is no matter
        if masks.len() >= MAX_MASKS {
            masks.clear();
        }
        masks.insert(key, mask.clone());
        mask
    }
}
