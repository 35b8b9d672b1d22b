//! A fake language model: it says back what it was told, a word a token, or the shortest value of the schema. That many
//! words of a conversation count as cached that it saw before in the same circle.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{NOTE, card};
use crate::chat::{Finish, Shape, Usage};
use crate::{ChatOrder, Circle, Error, Finished, LanguageModel, Made, Reply, Result, Run, StepState, Turn};

pub(super) fn model(id: &str) -> LanguageModel {
    let card = card(id, "says what it was told, for tests; no model at all");
    LanguageModel { card, context_length: 4_096, vocabulary: 1_000 }
}

/// What was read before, of each circle: the last conversation.
pub type Read = HashMap<Circle, Vec<Turn>>;

/// A reply under way.
pub(super) struct Talking {
    order: Arc<ChatOrder>,
    words: Vec<String>,
    finish: Finish,
    cached: u32,
    said: usize,
    step: Duration,
}

impl Talking {
    pub(super) fn new(order: &Arc<ChatOrder>, read: &mut Read, step: Duration) -> Self {
        let before = read.insert(order.circle, order.turns.clone()).unwrap_or_default();
        let again = order.turns.iter().zip(&before).take_while(|(now, before)| now == before).count();
        let (whole, mut finish) = stopped(order);
        let mut words: Vec<String> = whole.split_inclusive(' ').map(Into::into).collect();
        if words.len() > order.options.max_tokens as usize {
            words.truncate(order.options.max_tokens as usize);
            finish = Finish::Length;
        }
        let cached = order.turns[..again].iter().map(count).sum();
        Self { order: order.clone(), words, finish, cached, said: 0, step }
    }
}

impl Run for Talking {
    fn next_step(&mut self) -> Result<StepState> {
        if self.order.turns.iter().any(|turn| turn.text.contains("please fail")) {
            return Err(Error::Failed("the fake engine was asked to fail".into()));
        }
        if let Some(word) = self.words.get(self.said) {
            std::thread::sleep(self.step);
            self.said += 1;
            return Ok(StepState::Said(word.clone()));
        }
        let usage = Usage {
            prompt_tokens: self.order.turns.iter().map(count).sum(),
            cached_tokens: self.cached,
            reply_tokens: self.said as u32,
        };
        let (text, seed) = (self.words.concat(), self.order.options.seed);
        let made = Made::Reply(Reply { text, finish: self.finish, usage, seed });
        Ok(StepState::Done(Finished { made, notes: vec![NOTE.into()] }))
    }
}

fn count(turn: &Turn) -> u32 {
    turn.text.split_whitespace().count() as u32
}

/// The reply up to the first of the stop strings.
fn stopped(order: &ChatOrder) -> (String, Finish) {
    let last = order.turns.last().map_or("", |turn| turn.text.as_str());
    let mut whole = match &order.options.schema {
        Some(schema) => least(schema.shape()).to_string(),
        None => format!("you said: {last}"),
    };
    match order.options.stop.iter().filter_map(|stop| whole.find(stop)).min() {
        Some(place) => {
            whole.truncate(place);
            (whole, Finish::StopString)
        }
        None => (whole, Finish::End),
    }
}

/// A short value that fits.
fn least(shape: &Shape) -> Value {
    match shape {
        Shape::Object(properties) => {
            let required = properties.iter().filter(|property| property.required);
            required.map(|property| (property.name.clone(), least(&property.shape))).collect()
        }
        Shape::Array { items, least: count, .. } => (0..*count).map(|_| least(items)).collect(),
        Shape::Choice(values) => values.first().cloned().unwrap_or_default(),
        Shape::String { .. } => "".into(),
        Shape::Integer | Shape::Number => 0.into(),
        Shape::Boolean => false.into(),
        Shape::Null => Value::Null,
    }
}
