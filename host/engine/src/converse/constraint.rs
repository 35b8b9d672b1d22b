//! A reply that is to fit a schema: tokens that do not fit are never drawn, and when the tokens run out, what is left of the
//! value is written in the shortest way, so that the reply is whole.

use std::sync::Arc;

use super::ChatModel;
use super::grammar::{Grammar, State};
use super::run::NO_TOKEN;
use super::sampler::Sampler;
use crate::{Error, Result};
use atelier_inference::chat::{Finish, Schema};

/// Where a reply's value is.
#[derive(Debug)]
pub(super) struct Constraint {
    grammar: Arc<Grammar>,
    state: State,
    /// The tokens that would end it soonest from there.
    rest: Vec<u32>,
    /// Tokens that end a reply.
    ends: Vec<u32>,
    /// What ends the value, once that has begun; the next one last.
    closing: Option<Vec<u32>>,
}

impl Constraint {
    /// For a reply of at most `limit` tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that needs more tokens, or bytes that the model has none for.
    pub(super) fn new(model: &ChatModel, schema: &Schema, limit: usize) -> Result<Self> {
        let invalid = |field, reason| Err(Error::Invalid { field, reason });
        let grammar = model.grammar(schema);
        let state = grammar.start();
        match grammar.closing(&state) {
            None => invalid("schema", "asks for letters that this model's vocabulary cannot write".into()),
            Some(shortest) if shortest.len() > limit => {
                let reason = format!(
                    "the shortest reply that fits the schema has {} tokens; {limit} are left",
                    shortest.len()
                );
                invalid("max-tokens", reason)
            }
            Some(rest) => {
                let ends = model.wording().tokenizer().ends().collect();
                Ok(Self { grammar, state, rest, ends, closing: None })
            }
        }
    }

    /// Whether nothing may follow.
    pub(super) fn is_over(&self) -> bool {
        let ends_unsaid = self.ends.is_empty() && self.grammar.is_whole(&self.state);
        self.grammar.is_over(&self.state) || ends_unsaid || self.closing.as_ref().is_some_and(Vec::is_empty)
    }

    /// Why it ended where it did.
    pub(super) fn finish(&self) -> Finish {
        if self.closing.is_some() { Finish::Length } else { Finish::End }
    }

    /// The next token, of which `left` may come, this one among them. They are always enough for what is left of the value.
    pub(super) fn choose(&mut self, logits: &mut [f32], sampler: &mut Sampler, left: usize) -> Result<u32> {
        if let Some(token) = self.draw(logits, sampler, left) {
            return Ok(token);
        }
        // the way here was open after every token before
        let next = self.closing.as_mut().and_then(Vec::pop).ok_or(NO_TOKEN)?;
        Ok(next)
    }

    /// A token that fits, and after which the value can still be ended in time. Where there is none, the closing begins.
    fn draw(&mut self, logits: &mut [f32], sampler: &mut Sampler, left: usize) -> Option<u32> {
        if self.closing.is_some() {
            return None;
        }
        let is_whole = self.grammar.is_whole(&self.state);
        if self.rest.len() < left || is_whole {
            self.mask(logits, is_whole);
            if let Some(token) = sampler.choose(logits)
                && self.take(token, left)
            {
                return Some(token);
            }
        }
        if is_whole {
            // a number that what was drawn would have begun anew
            return self.ends.first().copied();
        }
        self.closing = Some(self.rest.iter().rev().copied().collect());
        None
    }

    /// Leaves tokens that fit.
    fn mask(&self, logits: &mut [f32], is_whole: bool) {
        let mask = self.grammar.mask(&self.state);
        for (id, logit) in logits.iter_mut().enumerate() {
            let is_end = is_whole && self.ends.contains(&(id as u32));
            if !mask.allows(id) && !is_end {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// Goes on by a token, if the value can be ended afterwards.
    fn take(&mut self, token: u32, left: usize) -> bool {
        if self.ends.contains(&token) {
            return true;
        }
        let Some(next) = self.grammar.after(&self.state, token) else { return false };
        let Some(rest) = self.grammar.closing(&next).filter(|rest| rest.len() < left) else { return false };
        (self.state, self.rest) = (next, rest);
        true
    }
}
