//! Language models for the scripted engine. A conversation reads so many pieces, each a step of its own, and then writes so
//! many tokens, together with others where its name does not say otherwise. A step takes one permit, however many take part;
//! a run takes a thousand bytes for each token.

use std::any::Any;
use std::sync::Arc;

use super::{MEMORY_BYTES, Remote, ScriptedEngine, card, model};
use atelier_inference::chat::{Finish, Reply, Role, Usage};
use atelier_inference::{
    ChatOrder, ChatRequest, Engine, Error, Estimate, Finished, Job, LanguageModel, Made, ModelId, ModelInfo,
    Order, Result, Run, StepState, Turn,
};

/// Bytes of a run for each token that it may write.
pub(crate) const TOKEN_BYTES: u64 = 1_000;

pub(crate) fn talker(id: &str) -> ModelInfo {
    let card = atelier_inference::ModelCard { id: ModelId::new(id), ..card() };
    LanguageModel { card, context_length: 200, vocabulary: 10 }.into()
}

/// A conversation with model `talks`.
pub(crate) fn chat(name: &str, reads: u32, writes: u32) -> Job {
    chat_with("talks", name, reads, writes)
}

pub(crate) fn chat_with(id: &str, name: &str, reads: u32, writes: u32) -> Job {
    let turn = Turn { role: Role::User, text: format!("{reads} {name}") };
    let request = ChatRequest { turns: vec![turn], max_tokens: Some(writes), ..ChatRequest::default() };
    Job::new(ChatOrder::new(request, &talker(id)).unwrap())
}

/// An engine with the models `scripted`, `talks` and `mutters` that obeys a remote.
pub(crate) fn engine(remote: &Remote) -> Box<dyn Engine> {
    Box::new(TalkingEngine(ScriptedEngine(remote.clone())))
}

impl Remote {
    /// Who took part in each step of conversations, in order: `a+b`; `a reads` where a piece was read.
    pub(crate) fn said(&self) -> Vec<String> {
        self.0.0.lock().unwrap().said.clone()
    }

    fn say(&self, step: String) {
        self.take_permit();
        self.0.0.lock().unwrap().said.push(step);
    }
}

struct TalkingEngine(ScriptedEngine);

impl Engine for TalkingEngine {
    fn models(&self) -> Vec<ModelInfo> {
        vec![model().into(), talker("talks"), talker("mutters")]
    }

    fn memory_bytes(&self) -> u64 {
        MEMORY_BYTES
    }

    fn estimate(&self) -> Estimate {
        let painted = self.0.estimate();
        Arc::new(move |order| match order {
            Order::Chat(order) => u64::from(order.options.max_tokens) * TOKEN_BYTES,
            order => painted(order),
        })
    }

    fn load(&mut self, id: &ModelId) -> Result<()> {
        self.0.load(id)
    }

    fn unload(&mut self, id: &ModelId) {
        self.0.unload(id);
    }

    fn begin(&mut self, order: &Order) -> Result<Box<dyn Run>> {
        let Order::Chat(order) = order else { return self.0.begin(order) };
        let remote = self.0.0.clone();
        let (reads, name) = order.turns[0].text.split_once(' ').unwrap();
        if name == "fail at the beginning" {
            return Err(Error::invalid("turns", "as the test wished"));
        }
        remote.0.0.lock().unwrap().begun.push(name.to_owned());
        let (reads, writes) = (reads.parse().unwrap(), order.options.max_tokens);
        Ok(Box::new(Talk { remote, name: name.into(), reads, writes, said: 0 }))
    }

    fn step_together(&mut self, runs: &mut [&mut dyn Run]) -> Vec<Result<StepState>> {
        let mut talks: Vec<&mut Talk> =
            runs.iter_mut().map(|run| (&mut **run as &mut dyn Any).downcast_mut().unwrap()).collect();
        let names: Vec<&str> = talks.iter().map(|talk| talk.name.as_str()).collect();
        self.0.0.say(names.join("+"));
        talks.iter_mut().map(|talk| talk.go_on()).collect()
    }
}

struct Talk {
    remote: Remote,
    name: String,
    /// Pieces that are still to be read.
    reads: u32,
    writes: u32,
    said: u32,
}

impl Talk {
    fn go_on(&mut self) -> Result<StepState> {
        assert_ne!(self.name, "panic");
        if self.name == "fail" && self.said == 1 {
            return Err(Error::Failed("as the test wished".into()));
        }
        if self.name == "run out" && self.said == 1 {
            return Err(Error::OutOfMemory("as the test wished".into()));
        }
        if self.said < self.writes {
            self.said += 1;
            return Ok(StepState::Said(format!("{}{} ", self.name, self.said)));
        }
        let text = (1..=self.said).map(|token| format!("{}{token} ", self.name)).collect();
        let usage = Usage { reply_tokens: self.said, ..Usage::default() };
        let made = Made::Reply(Reply { text, finish: Finish::End, usage, seed: 0 });
        Ok(StepState::Done(Finished { made, notes: Vec::new() }))
    }
}

impl Run for Talk {
    fn next_step(&mut self) -> Result<StepState> {
        if self.reads > 0 {
            self.remote.say(format!("{} reads", self.name));
            self.reads -= 1;
            return Ok(StepState::Said(String::new()));
        }
        self.remote.say(self.name.clone());
        self.go_on()
    }

    fn can_join(&self) -> bool {
        self.reads == 0 && !self.name.starts_with("alone")
    }
}
