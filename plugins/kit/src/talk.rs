//! Questions to language models and their replies, as plain types.

/// A language model that the route may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its id in requests.
    pub id: String,
    /// Tokens that it holds, question and reply together.
    pub context_length: u32,
}

/// What a model is asked: instructions, and a text that is nothing but a text, whatever it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Question<'a> {
    /// The system's turn.
    pub system: &'a str,
    /// The user's turn.
    pub text: &'a str,
    /// Most tokens of the reply; fewer where the model holds fewer.
    pub max_tokens: u32,
    /// A JSON schema that the reply is to fit.
    pub schema: Option<&'a str>,
}

/// What a model said, always the likeliest words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Whether the model said that it had ended, and not its limit.
    pub is_whole: bool,
}

/// Why there is no reply. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The route has no model to ask.
    NoModel(String),
    /// The question does not fit the model.
    TooLong(String),
    /// Anything else: the queue is full, a quota is used up, the model failed.
    Failed(String),
}

/// Where replies come from.
pub trait Talker {
    /// Language models of the route, in the manifest's order.
    fn models(&self) -> impl Future<Output = Vec<Model>>;
    /// Asks one of them.
    fn ask(&self, model: &Model, question: Question<'_>) -> impl Future<Output = Result<Reply, Silence>>;
}

/// Asks the first model of the route.
pub async fn ask(talker: &impl Talker, question: Question<'_>) -> Result<Reply, Silence> {
    let models = talker.models().await;
    let none = "the route has no language model to ask; add one to its `grants.models`";
    let model = models.first().ok_or_else(|| Silence::NoModel(none.into()))?;
    let max_tokens = question.max_tokens.min(model.context_length);
    talker.ask(model, Question { max_tokens, ..question }).await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::executor::block_on;

    use super::*;

    /// Says which model was asked for how much.
    struct Script(Vec<Model>, RefCell<Vec<(String, u32)>>);

    impl Talker for Script {
        async fn models(&self) -> Vec<Model> {
            self.0.clone()
        }

        async fn ask(&self, model: &Model, question: Question<'_>) -> Result<Reply, Silence> {
            self.1.borrow_mut().push((model.id.clone(), question.max_tokens));
            Ok(Reply { text: question.text.into(), is_whole: true })
        }
    }

    fn asked(models: &[(&str, u32)]) -> (Result<Reply, Silence>, Vec<(String, u32)>) {
        let model =
            |(id, context_length): &(&str, u32)| Model { id: (*id).into(), context_length: *context_length };
        let script = Script(models.iter().map(model).collect(), RefCell::default());
        let question = Question { system: "", text: "hi", max_tokens: 160, schema: None };
        (block_on(ask(&script, question)), script.1.into_inner())
    }

    #[test]
    fn the_first_model_is_asked_for_no_more_than_it_holds() {
        assert_eq!(asked(&[("a", 512), ("b", 512)]).1, [("a".to_string(), 160)]);
        assert_eq!(asked(&[("a", 100)]).1, [("a".to_string(), 100)]);
    }

    #[test]
    fn without_a_model_the_key_is_named() {
        let (silence, asked) = asked(&[]);
        assert!(matches!(silence, Err(Silence::NoModel(text)) if text.contains("grants.models")));
        assert!(asked.is_empty());
    }
}
