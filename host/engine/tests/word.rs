//! atelier-nano-word, the embedded language model, against transformers with the same file: `golden/word/golden.json` was
//! written by `examples/train-nano/word/reference.py`. And what people understand by a command, in its very words.

use std::path::PathBuf;
use std::sync::Arc;

use atelier_engine::ModelFiles;
use atelier_engine::converse::ChatModel;
use atelier_engine::models::llama::{LlamaNetwork, likeliest};
use atelier_inference::chat::{ChatRequest, Finish, Reply, Role, Turn};
use atelier_inference::{ChatOrder, ModelCard, ModelId, ModelInfo};
use candle_core::Device;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    /// What the plugin `intent-language` holds replies to.
    schema: String,
    system: Tasks<String>,
    /// Commands, and the replies that people would give.
    examples: Vec<(String, String)>,
    /// Tokens of the system turns.
    openings: Tasks<Vec<u32>>,
    replies: Tasks<Vec<Answered>>,
}

#[derive(Deserialize)]
struct Tasks<T> {
    intent: T,
    enhance: T,
}

/// What transformers made of a question.
#[derive(Deserialize)]
struct Answered {
    text: String,
    /// Tokens after those of the system turn, up to where the reply begins.
    question: Vec<u32>,
    /// The likeliest tokens, without the one that ends them.
    reply: Vec<u32>,
    said: String,
}

/// The model, and how the catalog knows it.
struct Word {
    golden: Golden,
    files: ModelFiles,
    model: Arc<ChatModel>,
    info: ModelInfo,
}

impl Word {
    fn open() -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let golden = std::fs::read(here.join("tests/golden/word/golden.json")).unwrap();
        let files = ModelFiles::folder(here.join("../bundle/models/atelier-nano-word"));
        let card = ModelCard {
            id: ModelId::new("atelier-nano-word"),
            family: "test".into(),
            source: "test".into(),
            description: String::new(),
            memory_bytes: 0,
            device: "cpu".into(),
        };
        let info = ChatModel::describe(&files, card).unwrap().model.into();
        let model = Arc::new(ChatModel::open(&files, &Device::Cpu).unwrap());
        Self { golden: serde_json::from_slice(&golden).unwrap(), files, model, info }
    }

    fn order(&self, system: &str, text: &str, schema: Option<&str>) -> Arc<ChatOrder> {
        let turn = |role, text: &str| Turn { role, text: text.into() };
        let request = ChatRequest {
            turns: vec![turn(Role::System, system), turn(Role::User, text)],
            temperature: Some(0.0),
            max_tokens: Some(160),
            schema: schema.map(String::from),
            ..ChatRequest::default()
        };
        Arc::new(ChatOrder::new(request, &self.info).unwrap())
    }

    fn reply(&self, system: &str, text: &str, schema: Option<&str>) -> Reply {
        self.model.converse(self.order(system, text, schema)).unwrap().finish().unwrap()
    }

    /// The likeliest tokens, up to the one that ends them; no more than one beyond `most`.
    fn likeliest_after(&self, network: &LlamaNetwork, prompt: &[u32], most: usize) -> Vec<u32> {
        let mut text = network.text(prompt.len() + most + 1).unwrap();
        let mut state = network.extend(&mut text, prompt).unwrap();
        let mut tokens = Vec::new();
        while tokens.len() <= most {
            let token = likeliest(&network.logits(&state).unwrap()).unwrap();
            if self.model.wording().tokenizer().is_end(token) {
                break;
            }
            state = network.extend(&mut text, &[token]).unwrap();
            tokens.push(token);
        }
        tokens
    }
}

#[test]
fn commands_are_understood_as_people_mean_them() {
    let word = Word::open();
    for (command, meant) in &word.golden.examples {
        let reply = word.reply(&word.golden.system.intent, command, Some(&word.golden.schema));
        assert_eq!(reply.text, *meant, "{command}");
        assert_eq!(reply.finish, Finish::End, "{command}");
    }
}

#[test]
fn the_tokens_of_commands_and_prompts_are_those_of_transformers() {
    let word = Word::open();
    let network = LlamaNetwork::open(&word.files, &Device::Cpu).unwrap();
    let Golden { system, openings, replies, .. } = &word.golden;
    let tasks = [
        (&system.intent, &openings.intent, &replies.intent),
        (&system.enhance, &openings.enhance, &replies.enhance),
    ];
    for (system, opening, answered) in tasks {
        assert!(answered.len() >= 25, "{} questions", answered.len());
        for Answered { text, question, reply, said } in answered {
            let prompt = [opening.as_slice(), question].concat();
            let order = word.order(system, text, None);
            assert_eq!(word.model.wording().prompt(&order).unwrap(), prompt, "{text}");
            assert_eq!(word.likeliest_after(&network, &prompt, reply.len()), *reply, "{text}");
            assert_eq!(word.reply(system, text, None).text, *said, "{text}");
        }
    }
}

#[test]
fn a_schema_changes_no_reply_that_fits_it_already() {
    let word = Word::open();
    let Golden { system, schema, replies, .. } = &word.golden;
    for Answered { text, said, .. } in &replies.intent {
        assert_eq!(word.reply(&system.intent, text, Some(schema)).text, *said, "{text}");
    }
}
