//! The stage: which prompts are worth a question, and which replies are worth being a prompt.

use atelier_kit_plugin::line::one_line;
use atelier_kit_plugin::talk::{self, Question, Silence, Talker};

/// A prompt of so many words says enough; more would push its own words out of the text encoder's window.
const ENOUGH_WORDS: usize = 60;

/// Most characters of a prompt that a model is asked about: words without spaces between them are counted by this.
const ENOUGH_CHARS: usize = 1_000;

/// Most tokens of a reply.
const MAX_TOKENS: u32 = 160;

/// A reply is so many times as long as the prompt, and so many characters, and no longer: beyond that it is a story.
const MOST: (usize, usize) = (4, 200);

/// What the model is told to do. Small models are trained on this very text: it is part of the interface with them.
const SYSTEM: &str = include_str!("system.txt");

/// Why a prompt was not enriched. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The route has no model to ask.
    NotConfigured(String),
    /// The model gave no reply.
    Failed(String),
}

/// The prompt in more words, for a model that is known by this name where it is chosen already.
pub async fn enhance(talker: &impl Talker, prompt: &str, model: Option<&str>) -> Result<String, Trouble> {
    let text = one_line(prompt);
    if says_enough(&text) || model.is_some_and(takes_instructions) {
        return Ok(prompt.to_owned());
    }
    let question = Question { system: SYSTEM.trim_end(), text: &text, max_tokens: MAX_TOKENS, schema: None };
    match talk::ask(talker, question).await {
        // half of what the model meant to say is not what it meant
        Ok(reply) if reply.is_whole => Ok(worth(&reply.text, &text).unwrap_or_else(|| prompt.to_owned())),
        // a prompt that a language model cannot read is still one that can be drawn
        Ok(_) | Err(Silence::TooLong(_)) => Ok(prompt.to_owned()),
        Err(Silence::NoModel(text)) => Err(Trouble::NotConfigured(text)),
        Err(Silence::Failed(text)) => {
            Err(Trouble::Failed(format!("the language model did not answer: {text}")))
        }
    }
}

/// Whether there is nothing to add: to an empty prompt, which may be meant, and to a long one.
fn says_enough(text: &str) -> bool {
    let words = text.split(' ').filter(|word| !word.is_empty()).count();
    words == 0 || words > ENOUGH_WORDS || text.chars().count() > ENOUGH_CHARS
}

/// Whether a model changes pictures as it is told, by its name, because a styler is told no more of it. An instruction says all
/// that is to change, and every further word would change more.
fn takes_instructions(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    ["edit", "pix2pix", "kontext"].iter().any(|word| model.contains(word))
}

/// The prompt in a reply, if it is one.
fn worth(reply: &str, prompt: &str) -> Option<String> {
    let reply = unquoted(reply.trim());
    let most = prompt.chars().count() * MOST.0 + MOST.1;
    let is_absurd =
        reply.contains(['\n', '\r']) || reply.starts_with(['{', '[']) || reply.chars().count() > most;
    let line = one_line(reply);
    (!is_absurd && !line.is_empty()).then_some(line)
}

/// The text without one pair of quotes around it, which small models add whatever they are told.
fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use atelier_kit_plugin::{Model, Reply};
    use futures::executor::block_on;

    use super::*;

    /// A model that always says the same, and remembers what it was asked.
    struct Script {
        models: usize,
        says: Result<Reply, Silence>,
        asked: RefCell<Vec<String>>,
    }

    impl Talker for Script {
        async fn models(&self) -> Vec<Model> {
            vec![Model { id: "word".into(), context_length: 512 }; self.models]
        }

        async fn ask(&self, _: &Model, question: Question<'_>) -> Result<Reply, Silence> {
            assert!(question.system.starts_with("You enrich") && question.system.ends_with("in one line."));
            assert_eq!((question.max_tokens, question.schema), (160, None));
            self.asked.borrow_mut().push(question.text.into());
            self.says.clone()
        }
    }

    fn script(text: &str) -> Script {
        let says = Ok(Reply { text: text.into(), is_whole: true });
        Script { models: 1, says, asked: RefCell::default() }
    }

    fn enhanced(prompt: &str, reply: &str) -> String {
        block_on(enhance(&script(reply), prompt, Some("atelier-nano"))).unwrap()
    }

    #[test]
    fn a_line_of_the_models_is_the_prompt() {
        let rich = "a black cat in a meadow at night, in watercolor";
        assert_eq!(enhanced("a black cat", rich), rich);
        assert_eq!(enhanced("a black cat", &format!("  \"{rich}\" ")), rich);
        assert_eq!(enhanced("a black cat", "a \"big\" cat"), "a \"big\" cat");
        assert_eq!(enhanced("a cat", "a\tcat\u{0}\u{202e} at night"), "a cat at night");
    }

    #[test]
    fn what_could_be_no_prompt_leaves_the_prompt_as_it_was() {
        let story = "word ".repeat(45);
        for reply in [
            "",
            "  \n ",
            "\"\"",
            "\u{0}",
            "a cat\nand a dog",
            "Sure! Here it is:\n\na cat at night",
            r#"{"prompt": "a cat"}"#,
            r#"["a cat"]"#,
            &story,
        ] {
            assert_eq!(enhanced(" a cat ", reply), " a cat ", "{reply:?}");
        }
        assert_eq!(enhanced("a cat", &"x".repeat(220)), "x".repeat(220));
        assert_eq!(enhanced("a cat", &"x".repeat(221)), "a cat");
        let cut = Script { says: Ok(Reply { text: "a cat at".into(), is_whole: false }), ..script("") };
        assert_eq!(block_on(enhance(&cut, "a cat", None)), Ok("a cat".into()));
        let long = Script { says: Err(Silence::TooLong("512".into())), ..script("") };
        assert_eq!(block_on(enhance(&long, "a cat", None)), Ok("a cat".into()));
    }

    #[test]
    fn nobody_is_asked_about_what_needs_no_words() {
        let (long, endless) = ("word ".repeat(61), "猫".repeat(1_001));
        for (prompt, model) in [
            ("", None),
            (" \n ", None),
            (long.as_str(), None),
            (endless.as_str(), None),
            ("make it night", Some("atelier-nano-edit")),
            ("make it night", Some("timbrooks-InstructPix2Pix")),
        ] {
            let script = script("a dog");
            assert_eq!(block_on(enhance(&script, prompt, model)), Ok(prompt.into()));
            assert!(script.asked.into_inner().is_empty());
        }
        let script = script("a dog");
        block_on(enhance(&script, " a\n cat ", Some("sdxl"))).unwrap();
        assert_eq!(script.asked.into_inner(), ["a cat"]);
    }

    #[test]
    fn a_model_that_does_not_reply_is_an_error_and_no_silent_change() {
        let none = Script { models: 0, ..script("") };
        let told = block_on(enhance(&none, "a cat", None));
        assert!(matches!(told, Err(Trouble::NotConfigured(why)) if why.contains("grants.models")));
        let full = Script { says: Err(Silence::Failed("the queue is full".into())), ..script("") };
        let told = block_on(enhance(&full, "a cat", None));
        assert!(matches!(told, Err(Trouble::Failed(why)) if why.contains("the queue is full")));
    }
}
