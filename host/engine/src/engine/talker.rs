//! A model that replies: its catalog entry, and its network while it is loaded.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use atelier_inference::{self as inference, ChatOrder, Finished, LanguageModel, Made, Run, StepState};
use candle_core::Device;

use super::ModelSpec;
use crate::converse::{self, ChatModel, Conversation, ConverseState, Description, Footprint};
use crate::files::ModelFiles;
use crate::{Error, Result};

/// A language model, with or without its weights.
pub(super) struct Talker {
    pub(super) info: Arc<LanguageModel>,
    files: ModelFiles,
    pub(super) footprint: Footprint,
    /// There while the model is loaded. A run holds it as well, until its end.
    network: Option<Arc<ChatModel>>,
}

impl Talker {
    /// Everything but the weights.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the manifest lays beside it that is for pictures; otherwise the files' errors.
    pub(super) fn new(spec: ModelSpec, device: &Device) -> Result<Self> {
        spec.for_pictures_only("a language model with")?;
        let described = ChatModel::describe(&spec.files, spec.card("", device))?;
        let Description { family, mut model, footprint } = described;
        model.card.family = family.into();
        let own = || format!("{family}, {} tokens of context", model.context_length);
        model.card.description = spec.description.unwrap_or_else(own);
        Ok(Self { info: Arc::new(model), files: spec.files, footprint, network: None })
    }

    /// Reads the weights, if they are not there.
    pub(super) fn load(&mut self, device: &Device) -> Result<()> {
        if self.network.is_none() {
            let began = Instant::now();
            self.network = Some(Arc::new(ChatModel::open(&self.files, device)?));
            let model = &self.info.card.id;
            tracing::info!(%model, seconds = began.elapsed().as_secs_f64(), "weights loaded");
        }
        Ok(())
    }

    /// The network, to be dropped.
    pub(super) fn unload(&mut self) -> Option<Arc<ChatModel>> {
        self.network.take()
    }

    /// Writes the conversation down; the first step is the caller's.
    pub(super) fn start(&self, order: &Arc<ChatOrder>) -> Result<Conversation> {
        let id = || self.info.card.id.to_string();
        self.network.as_ref().ok_or_else(|| Error::NotLoaded { id: id() })?.converse(order.clone())
    }
}

impl Run for Conversation {
    fn next_step(&mut self) -> inference::Result<StepState> {
        state(Conversation::next_step(self))
    }

    fn can_join(&self) -> bool {
        Conversation::can_join(self)
    }
}

/// One step of several runs: together where all are replies, otherwise one after another.
pub(super) fn step_together(runs: &mut [&mut dyn Run]) -> Vec<inference::Result<StepState>> {
    let is_reply = |run: &&mut dyn Run| (&**run as &dyn Any).is::<Conversation>();
    if !runs.iter().all(is_reply) {
        return runs.iter_mut().map(|run| run.next_step()).collect();
    }
    let mut replies: Vec<&mut Conversation> =
        runs.iter_mut().filter_map(|run| (&mut **run as &mut dyn Any).downcast_mut()).collect();
    converse::step_together(&mut replies).into_iter().map(state).collect()
}

/// What a step of a reply did, for the domain.
fn state(stepped: Result<ConverseState>) -> inference::Result<StepState> {
    Ok(match stepped? {
        ConverseState::Step(text) => StepState::Said(text),
        ConverseState::Done(reply) => {
            StepState::Done(Finished { made: Made::Reply(reply), notes: Vec::new() })
        }
    })
}
