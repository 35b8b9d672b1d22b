//! A reply, stepped: the conversation is read a part at a time, then the reply is written token by token. Everything that
//! belongs to a request is here; the model knows nothing of it.

use std::sync::Arc;

use super::ChatModel;
use super::constraint::Constraint;
use super::output::Output;
use super::prefixes::Reading;
use super::sampler::Sampler;
use crate::models::llama::Text;
use crate::{Error, Result};
use atelier_inference::ChatOrder;
use atelier_inference::chat::{Finish, Reply, Usage};

/// Tokens that are read in one step: a step is short enough for others to wait for.
pub(super) const CHUNK: usize = 256;

/// Where a reply is after a step.
#[derive(Debug, Clone, PartialEq)]
pub enum ConverseState {
    /// There is more to do. The text is what was written and will stay; often there is none.
    Step(String),
    /// It is over.
    Done(Reply),
}

/// One request. It can be left between any two steps.
#[derive(Debug)]
pub struct Conversation {
    model: Arc<ChatModel>,
    order: Arc<ChatOrder>,
    /// Tokens of the conversation, then of the reply.
    ids: Vec<u32>,
    prompt: usize,
    /// Most tokens of the reply.
    limit: usize,
    /// Of the prompt, what was computed before.
    cached: usize,
    /// There while the prompt is read, for those that begin alike.
    reading: Option<Arc<Reading>>,
    /// Steps in which nothing was read, since somebody else was reading the same.
    waited: usize,
    text: Text,
    sampler: Sampler,
    constraint: Option<Constraint>,
    output: Output,
    told: String,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Reading,
    /// How likely each token is to follow.
    Writing(Vec<f32>),
    /// The rest of the reply, which was not told yet.
    Over(Reply),
}

/// What a step comes to before the network is asked.
pub(super) enum Chosen {
    /// A token was written, with this text, and what follows is to be asked for.
    Next { token: u32, text: String },
    /// The step is done.
    Done(ConverseState),
}

impl Conversation {
    /// Writes the conversation down for the model.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a conversation that is too long, or that the model's template refuses, and for a schema that
    /// cannot be kept to.
    pub(super) fn new(model: Arc<ChatModel>, order: Arc<ChatOrder>) -> Result<Self> {
        let ids = model.wording().prompt(&order)?;
        let prompt = ids.len();
        let options = &order.options;
        let limit = (options.max_tokens as usize).min(model.wording().context() - prompt);
        let constraint = options.schema.as_ref().map(|schema| Constraint::new(&model, schema, limit));
        let constraint = constraint.transpose()?;
        let text = model.network().text(prompt + limit)?;
        let drops_space = model.wording().tokenizer().drops_first_space();
        Ok(Self {
            sampler: Sampler::new(options, &ids),
            output: Output::new(&options.stop, drops_space && constraint.is_none()),
            constraint,
            model,
            ids,
            prompt,
            limit,
            cached: 0,
            reading: None,
            waited: 0,
            text,
            told: String::new(),
            stage: Stage::Reading,
            order,
        })
    }

    /// Goes on by one step. After the last it gives the reply again.
    ///
    /// # Errors
    /// [`Error::Tensor`] and [`Error::NotFinite`] from the network; then there is nothing more to be had.
    pub fn next_step(&mut self) -> Result<ConverseState> {
        match self.choose()? {
            Chosen::Next { token, text } => self.ask(token).map(|()| ConverseState::Step(text)),
            Chosen::Done(state) => Ok(state),
        }
    }

    /// Whether the next step may be taken together with those of other replies of the model: all but those that read.
    pub fn can_join(&self) -> bool {
        !matches!(self.stage, Stage::Reading) && self.model.network().can_join()
    }

    /// The next step up to where the network is asked what follows a token; a part of the conversation is read as a whole.
    pub(super) fn choose(&mut self) -> Result<Chosen> {
        match std::mem::replace(&mut self.stage, Stage::Reading) {
            Stage::Reading => self.read().map(Chosen::Done),
            Stage::Writing(logits) => self.write(logits),
            Stage::Over(reply) => {
                self.stage = Stage::Over(reply.clone());
                Ok(Chosen::Done(ConverseState::Done(reply)))
            }
        }
    }

    /// Asks what follows a token.
    pub(super) fn ask(&mut self, token: u32) -> Result<()> {
        let state = self.model.network().extend(&mut self.text, &[token])?;
        let logits = self.model.network().logits(&state)?.flatten_all()?.to_vec1()?;
        self.follow(logits);
        Ok(())
    }

    /// The network said what follows the last token.
    pub(super) fn follow(&mut self, logits: Vec<f32>) {
        self.stage = Stage::Writing(logits);
    }

    /// Its model.
    pub(super) fn model(&self) -> &Arc<ChatModel> {
        &self.model
    }

    /// Keys and values so far.
    pub(super) fn text(&mut self) -> &mut Text {
        &mut self.text
    }

    /// Goes on to the end.
    ///
    /// # Errors
    /// As [`Conversation::next_step`].
    pub fn finish(mut self) -> Result<Reply> {
        loop {
            if let ConverseState::Done(reply) = self.next_step()? {
                return Ok(reply);
            }
        }
    }

    /// Begins to read with what was computed before for the same circle, unless somebody is about to compute more of it: then
    /// this is for the next step to do, or at the latest for the one after which that should have come.
    fn begin_reading(&mut self) -> Result<()> {
        let (mut prefixes, circle) = (self.model.prefixes(), self.order.circle);
        if self.waited < prefixes.steps_ahead(circle, &self.ids, &self.text) {
            self.waited += 1;
            return Ok(());
        }
        self.cached = prefixes.begin(circle, &self.ids, &mut self.text)?;
        self.reading = Some(prefixes.announce(circle, &self.ids, &self.text));
        Ok(())
    }

    /// The next part of the conversation.
    fn read(&mut self) -> Result<ConverseState> {
        if self.reading.is_none() {
            self.begin_reading()?;
        }
        if self.reading.is_none() {
            return Ok(ConverseState::Step(String::new()));
        }
        let from = self.text.length();
        let to = self.prompt.min(from + CHUNK);
        // nothing is left to be read only after an error, which ends a run
        let part = self.ids.get(from..to).filter(|part| !part.is_empty()).ok_or(NO_TOKEN)?;
        let network = self.model.network();
        let state = network.extend(&mut self.text, part)?;
        if to == self.prompt {
            let logits = network.logits(&state)?.flatten_all()?.to_vec1()?;
            self.follow(logits);
            self.model.prefixes().keep(self.order.circle, &self.ids, &self.text)?;
            self.reading = None;
        }
        Ok(ConverseState::Step(String::new()))
    }

    /// The next token.
    fn write(&mut self, mut logits: Vec<f32>) -> Result<Chosen> {
        let left = self.limit - (self.ids.len() - self.prompt);
        let token = match &mut self.constraint {
            Some(constraint) => constraint.choose(&mut logits, &mut self.sampler, left)?,
            None => self.sampler.choose(&mut logits).ok_or(NO_TOKEN)?,
        };
        self.ids.push(token);
        let tokenizer = self.model.wording().tokenizer();
        if tokenizer.is_end(token) {
            return self.end(Finish::End, String::new());
        }
        let text = self.output.push(tokenizer.bytes(token));
        self.told.push_str(&text);
        let finish = match &self.constraint {
            _ if self.output.is_stopped() => Some(Finish::StopString),
            Some(constraint) if constraint.is_over() => Some(constraint.finish()),
            _ if left == 1 => Some(Finish::Length),
            _ => None,
        };
        match finish {
            Some(finish) => self.end(finish, text),
            None => Ok(Chosen::Next { token, text }),
        }
    }

    /// What was held back comes out with the last text.
    fn end(&mut self, finish: Finish, mut text: String) -> Result<Chosen> {
        let rest = self.output.finish();
        text.push_str(&rest);
        self.told.push_str(&rest);
        // a stop string that only the last bytes ended
        let finish = if self.output.is_stopped() { Finish::StopString } else { finish };
        self.model.prefixes().keep(self.order.circle, &self.ids, &self.text)?;
        self.stage = Stage::Over(Reply {
            text: self.told.clone(),
            finish,
            usage: Usage {
                prompt_tokens: self.prompt as u32,
                cached_tokens: self.cached as u32,
                reply_tokens: (self.ids.len() - self.prompt) as u32,
            },
            seed: self.order.options.seed,
        });
        Ok(Chosen::Done(ConverseState::Step(text)))
    }
}

/// Where no likelihood is a number.
pub(super) const NO_TOKEN: Error = Error::NotFinite { op: "the language model" };
