//! A request for a model that is served elsewhere. What is asked is checked like any request, but nothing is decided that was
//! not asked: defaults are the server's own.

use std::sync::Arc;

use serde_json::Value;

use super::order::check_turns;
use super::{ChatRequest, LanguageModel, Schema, Turn};
use crate::{ModelInfo, Result};

/// A conversation that wants a reply from elsewhere.
#[derive(Debug, Clone)]
pub struct ProvidedOrder {
    /// The model, as the catalog describes it.
    pub model: Arc<LanguageModel>,
    /// The last one is the user's.
    pub turns: Vec<Turn>,
    /// What was asked.
    pub options: ProvidedOptions,
}

/// How a reply is to be written, as far as it was asked; see [`super::ChatOptions`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is that of `ChatOptions`, where it is described")]
pub struct ProvidedOptions {
    pub max_tokens: u32,
    pub temperature: Option<f64>,
    pub top_k: Option<u32>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repeat_penalty: Option<f64>,
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    pub schema: Option<Schema>,
}

impl ProvidedOrder {
    /// Checks what is asked against a model.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] names the option and the fix, or `turns`.
    pub fn new(request: ChatRequest, model: &ModelInfo) -> Result<Self> {
        let model = model.language()?;
        let (turns, options) = request.leave_open(model)?;
        check_turns(&turns)?;
        Ok(Self { model: model.clone(), turns, options })
    }

    /// Whether a whole reply is what its schema says; the text says where it is not. Servers promise it, and some of them
    /// do not keep it.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_fit(&self, reply: &str) -> std::result::Result<(), String> {
        let Some(schema) = &self.options.schema else { return Ok(()) };
        let value: Value = serde_json::from_str(reply).map_err(|_| "it is no JSON".to_owned())?;
        schema.shape().check(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;
    use crate::{Error, ModelCard, ModelId};

    fn model() -> ModelInfo {
        let card = ModelCard {
            id: ModelId::new("far"),
            family: "openai".into(),
            source: "provider:openai/gpt".into(),
            description: String::new(),
            memory_bytes: 0,
            device: "elsewhere".into(),
        };
        LanguageModel { card, context_length: 1_000, vocabulary: u32::MAX }.into()
    }

    fn request() -> ChatRequest {
        let turns = vec![Turn { role: Role::User, text: "hello".into() }];
        ChatRequest { turns, ..ChatRequest::default() }
    }

    #[test]
    fn what_was_not_asked_stays_open_and_what_was_is_checked() {
        let options = ProvidedOrder::new(request(), &model()).unwrap().options;
        assert_eq!((options.max_tokens, options.temperature, options.seed), (512, None, None));
        let field = |request: ChatRequest| match ProvidedOrder::new(request, &model()) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(ChatRequest { temperature: Some(2.5), ..request() }), "temperature");
        assert_eq!(field(ChatRequest { max_tokens: Some(1_001), ..request() }), "max-tokens");
        assert_eq!(field(ChatRequest { top_p: Some(0.0), ..request() }), "top-p");
        assert_eq!(field(ChatRequest { turns: Vec::new(), ..request() }), "turns");
        let both = ChatRequest { schema: Some("{}".into()), stop: vec!["a".into()], ..request() };
        assert_eq!(field(both), "stop");
    }

    #[test]
    fn a_reply_is_held_to_its_schema() {
        let schema = Some(r#"{"enum":["create","edit"]}"#.into());
        let order = ProvidedOrder::new(ChatRequest { schema, ..request() }, &model()).unwrap();
        assert_eq!(order.check_fit("\"edit\""), Ok(()));
        assert!(order.check_fit("edit").is_err() && order.check_fit("\"other\"").is_err());
        assert_eq!(ProvidedOrder::new(request(), &model()).unwrap().check_fit("edit"), Ok(()));
    }
}
