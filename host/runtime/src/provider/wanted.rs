//! What is wanted of a model that is served elsewhere, by what the model makes: how it is checked, what is ordered of a model of
//! this host in its place, and what a plugin is told. Adding a kind of models begins here.

use std::sync::Arc;

use atelier_inference::speech::SpeechOptions;
use atelier_inference::{
    ChatOrder, ChatRequest, Circle, ImageOrder, ImageRequest, ModelInfo, Order as OwnOrder, Product,
    ProvidedImageOrder, ProvidedOrder, ProvidedSpeechOrder, Result, SpeechDelta, SpeechOrder,
};

use super::attempt::Answer;
use super::trouble::Trouble;
use super::{Asking, Provided, pictures, replies, transcripts};
use crate::Work;
use crate::bindings::picture_provider::exports::atelier::host::provider_images;
use crate::bindings::provider::exports::atelier::host::provider_language;
use crate::bindings::speech_provider::exports::atelier::host::provider_speech;

/// What is wanted, as it was asked: a model that takes another's place is asked the same.
pub(crate) enum Wanted {
    /// A reply to a conversation.
    Reply(ChatRequest),
    /// Pictures.
    Pictures(Box<ImageRequest>),
    /// What is said in a recording, of samples at 16 kHz.
    Transcript(Arc<[f32]>, Box<SpeechOptions>),
}

/// What one model is asked: checked, and as its plugin is told.
pub(super) enum Order {
    Reply(Box<ProvidedOrder>, provider_language::Request),
    Pictures(Box<ProvidedImageOrder>, provider_images::Request),
    Transcript(Box<ProvidedSpeechOrder>, provider_speech::Request),
}

impl Wanted {
    /// Whether a model that is served elsewhere can be asked for it.
    ///
    /// # Errors
    /// What of the request is wrong.
    pub(crate) fn check(&self, model: &ModelInfo) -> Result<()> {
        match self {
            Self::Reply(request) => ProvidedOrder::new(request.clone(), model).map(drop),
            Self::Pictures(request) => ProvidedImageOrder::new((**request).clone(), model).map(drop),
            Self::Transcript(audio, options) => {
                ProvidedSpeechOrder::new(audio.clone(), (**options).clone(), model).map(drop)
            }
        }
    }

    /// What such a model is asked.
    pub(super) async fn order(
        &self,
        asking: &Asking,
        model: &Provided,
    ) -> std::result::Result<Order, Trouble> {
        match self {
            Self::Reply(request) => {
                let order = ProvidedOrder::new(request.clone(), &model.info).map_err(Trouble::refused)?;
                let request = replies::request(&order, &model.name);
                Ok(Order::Reply(Box::new(order), request))
            }
            Self::Pictures(request) => {
                let order = ProvidedImageOrder::new((**request).clone(), &model.info);
                let order = order.map_err(Trouble::refused)?;
                let request = pictures::request(asking, model, &order).await?;
                Ok(Order::Pictures(Box::new(order), request))
            }
            Self::Transcript(audio, options) => {
                let order = ProvidedSpeechOrder::new(audio.clone(), (**options).clone(), &model.info);
                let order = order.map_err(Trouble::refused)?;
                let request = transcripts::request(&order, &model.name);
                Ok(Order::Transcript(Box::new(order), request))
            }
        }
    }

    /// What a model of this host is asked in its place, and what that takes besides of what the tenant may use up.
    pub(super) fn own(&self, model: &ModelInfo, circle: Circle) -> Result<(OwnOrder, Work)> {
        Ok(match self {
            Self::Reply(request) => {
                (ChatOrder::new(request.clone(), model)?.within(circle).into(), Work::default())
            }
            Self::Pictures(request) => {
                let order = ImageOrder::new((**request).clone(), model)?;
                let work = Work { pixel_steps: order.work(), ..Work::default() };
                (order.into(), work)
            }
            Self::Transcript(audio, options) => {
                (SpeechOrder::new(audio.clone(), (**options).clone(), model)?.into(), Work::default())
            }
        })
    }

    /// What a model did that took another's place.
    pub(super) fn done(&self) -> &'static str {
        match self {
            Self::Reply(_) => "replied",
            Self::Pictures(_) => "drew",
            Self::Transcript(..) => "listened",
        }
    }
}

impl Order {
    /// What is told of a whole answer, if it is what was asked for, with what a user should know.
    pub(super) async fn settle(
        &self,
        asking: &Asking,
        model: &Provided,
        answer: Answer,
        told: &str,
    ) -> std::result::Result<(Product, Vec<String>), Trouble> {
        match (self, answer) {
            (Self::Reply(order, _), Answer::Reply(end)) => replies::settle(model, order, end, told),
            (Self::Pictures(order, _), Answer::Pictures(files, end)) => {
                pictures::settle(asking, model, order, files, end).await
            }
            (Self::Transcript(order, _), Answer::Transcript(transcript)) => {
                transcripts::settle(model, order, transcript)
            }
            _ => Err(Trouble::malformed(model, "its answer is of another kind")),
        }
    }

    /// What is told on the way of a transcript that came in one piece: all of it.
    pub(super) fn heard(&self, product: &Product) -> Option<SpeechDelta> {
        let (Self::Transcript(made, _), Product::Transcript(transcript)) = (self, product) else {
            return None;
        };
        Some(SpeechDelta {
            text: transcript.text.clone(),
            pending: String::new(),
            segments: transcript.segments.clone(),
            heard_seconds: made.order.seconds(),
            total_seconds: made.order.seconds(),
        })
    }
}
