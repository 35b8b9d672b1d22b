//! Language models against transformers, for every fixture folder that `golden/make_language.py` wrote
//! (`ATELIER_GOLDEN_DIR` names others), in each form that it has: as published, and as a GGUF file.

#[path = "golden/folder.rs"]
#[expect(dead_code, reason = "shared with tests whose folders are models themselves")]
mod folder;
#[path = "language/together.rs"]
mod together;
#[path = "golden/worst.rs"]
#[expect(dead_code, reason = "shared with tests that compare other kinds of values")]
mod worst;

use std::path::PathBuf;
use std::sync::Arc;

use atelier_engine::ModelFiles;
use atelier_engine::converse::{ChatModel, Conversation, ConverseState, Sampler};
use atelier_engine::models::llama::{LlamaNetwork, likeliest};
use atelier_inference::chat::{ChatOptions, ChatRequest, Circle, Finish, Reply, Role, Turn};
use atelier_inference::{ChatOrder, Error, ModelCard, ModelId, ModelInfo, TenantId};
use candle_core::{Device, Tensor};
use folder::Folder;
use serde::Deserialize;
use serde_json::{Value, json};
use worst::Worst;

const LOGITS: f64 = 1e-4;
const PROBABILITIES: f64 = 1e-5;
/// Of the vocabulary, which ids the fixtures keep the likelihoods of.
const KEPT: usize = 5;

/// A model in one of its forms, and what the reference made with it.
struct Fixture {
    name: String,
    folder: Folder,
    files: ModelFiles,
    golden: Golden,
}

#[derive(Deserialize)]
struct Golden {
    conversations: Vec<Written>,
    texts: Vec<Text>,
}

/// A conversation, as transformers writes it down.
#[derive(Deserialize)]
struct Written {
    turns: Vec<(Role, String)>,
    text: String,
    /// Of the whole prompt.
    ids: Vec<u32>,
    /// The likeliest tokens after it.
    reply: Vec<u32>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

/// Likelihoods, options and what transformers' processors leave.
#[derive(Deserialize)]
struct Drawn {
    temperature: f64,
    top_k: u32,
    top_p: f64,
    min_p: f64,
    repeat_penalty: f64,
    logits: Vec<f32>,
    before: Vec<u32>,
    left: Vec<f64>,
}

fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from).join("language")
}

/// Every fixture in every form; there is always at least one.
fn all() -> Vec<Fixture> {
    let root = root();
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut names: Vec<_> =
        folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    let forms = names.iter().flat_map(|name| ["published", "gguf"].map(|form| (name, form)));
    let there = forms.filter(|(name, form)| root.join(name).join(form).is_dir());
    let fixtures: Vec<_> = there.map(|(name, form)| Fixture::open(name, form)).collect();
    assert!(!fixtures.is_empty(), "{} holds no fixtures; run make_language.py", root.display());
    fixtures
}

impl Fixture {
    fn open(name: &str, form: &str) -> Self {
        let folder = Folder::open("language", name);
        let files = ModelFiles::folder(folder.path.join(form));
        Self { name: format!("{name}/{form}"), golden: folder.json(), folder, files }
    }

    fn network(&self) -> LlamaNetwork {
        LlamaNetwork::open(&self.files, &Device::Cpu).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn model(&self) -> Arc<ChatModel> {
        let model = ChatModel::open(&self.files, &Device::Cpu);
        Arc::new(model.unwrap_or_else(|error| panic!("{}: {error}", self.name)))
    }

    /// The model as the catalog describes it.
    fn info(&self) -> ModelInfo {
        let card = ModelCard {
            id: ModelId::new(&self.name),
            family: "test".into(),
            source: "test".into(),
            description: String::new(),
            memory_bytes: 0,
            device: "cpu".into(),
        };
        ChatModel::describe(&self.files, card).unwrap().model.into()
    }

    /// A reply of `model`, which is this fixture's.
    fn begin(&self, model: &Arc<ChatModel>, turns: Vec<Turn>, asked: Value) -> Result<Conversation, Error> {
        let request = ChatRequest { turns, ..serde_json::from_value(asked).unwrap() };
        Ok(model.converse(Arc::new(ChatOrder::new(request, &self.info())?))?)
    }

    fn reply(&self, model: &Arc<ChatModel>, turns: Vec<Turn>, asked: Value) -> Reply {
        self.begin(model, turns, asked).unwrap().finish().unwrap()
    }
}

impl Written {
    fn turns(&self) -> Vec<Turn> {
        self.turns.iter().map(|(role, text)| Turn { role: *role, text: text.clone() }).collect()
    }
}

/// A fixture by its name.
fn named(name: &str) -> Fixture {
    all().into_iter().find(|fixture| fixture.name.starts_with(name)).unwrap()
}

fn user(text: &str) -> Vec<Turn> {
    vec![Turn { role: Role::User, text: text.into() }]
}

#[test]
fn the_network_equals_that_of_transformers_at_once_and_in_pieces() {
    let mut worst = Worst::new("logits", LOGITS);
    for fixture in all() {
        let network = fixture.network();
        let kept: Vec<u32> = (0..network.config().vocabulary as u32).step_by(KEPT).collect();
        let kept = Tensor::new(kept, &Device::Cpu).unwrap();
        for (kind, every) in [("short", 1), ("long", 4)] {
            let ids = fixture.folder.ids(&format!("{kind}/ids")).remove(0);
            let expected = fixture.folder.tensor(&format!("{kind}/logits"));
            for cuts in [&[0, ids.len()][..], &[0, 7, 8, 9, 15, ids.len()]] {
                let mut text = network.text(ids.len()).unwrap();
                let parts: Vec<Tensor> = cuts
                    .windows(2)
                    .map(|cut| network.states(&mut text, &ids[cut[0]..cut[1]]).unwrap())
                    .collect();
                let logits = network.logits(&Tensor::cat(&parts, 1).unwrap().squeeze(0).unwrap()).unwrap();
                let rows: Vec<u32> = (0..ids.len() as u32).step_by(every).collect();
                let logits = logits.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap();
                let logits = logits.index_select(&kept, 1).unwrap();
                worst.compare(format!("{} {kind} {cuts:?}", fixture.name), &logits, &expected);
            }
        }
    }
}

#[test]
fn the_likeliest_tokens_are_those_of_transformers() {
    for fixture in all() {
        let network = fixture.network();
        for Written { ids, reply, .. } in &fixture.golden.conversations {
            let mut text = network.text(ids.len() + reply.len().max(1)).unwrap();
            let mut state = network.extend(&mut text, ids).unwrap();
            let mut ours = Vec::new();
            while ours.len() < reply.len() {
                let token = likeliest(&network.logits(&state).unwrap()).unwrap();
                state = network.extend(&mut text, &[token]).unwrap();
                ours.push(token);
            }
            assert_eq!(ours, *reply, "{}", fixture.name);
        }
    }
}

#[test]
fn text_becomes_the_ids_of_transformers() {
    for fixture in all() {
        let model = fixture.model();
        let tokenizer = model.wording().tokenizer();
        for Text { text, ids } in &fixture.golden.texts {
            assert_eq!(tokenizer.ids(text, None).unwrap(), *ids, "{}: {text:?}", fixture.name);
        }
    }
}

#[test]
fn conversations_are_written_down_as_by_transformers() {
    for fixture in all() {
        let (model, info) = (fixture.model(), fixture.info());
        for written in &fixture.golden.conversations {
            let turns = written.turns();
            assert_eq!(model.wording().render(&turns, true).unwrap(), written.text, "{}", fixture.name);
            let request = ChatRequest { turns, ..ChatRequest::default() };
            let order = ChatOrder::new(request, &info).unwrap();
            assert_eq!(model.wording().prompt(&order).unwrap(), written.ids, "{}", fixture.name);
        }
    }
}

#[test]
fn a_reply_at_temperature_0_is_the_text_of_the_likeliest_tokens() {
    for fixture in all() {
        let model = fixture.model();
        let tokenizer = model.wording().tokenizer();
        for written in fixture.golden.conversations.iter().filter(|written| !written.reply.is_empty()) {
            let asked = json!({"temperature": 0.0, "max_tokens": written.reply.len()});
            let reply = fixture.reply(&model, written.turns(), asked);
            let bytes: Vec<u8> = written.reply.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let text =
                if tokenizer.drops_first_space() { text.strip_prefix(' ').unwrap_or(&text) } else { &text };
            assert_eq!(reply.text, text, "{}", fixture.name);
            let ended = tokenizer.is_end(written.reply[written.reply.len() - 1]);
            assert_eq!(reply.finish, if ended { Finish::End } else { Finish::Length }, "{}", fixture.name);
            assert_eq!(reply.usage.prompt_tokens as usize, written.ids.len());
            assert_eq!(reply.usage.reply_tokens as usize, written.reply.len());
        }
    }
}

#[test]
fn what_is_drawn_from_is_what_the_processors_of_transformers_leave() {
    let text = std::fs::read(root().join("sampling.json")).unwrap();
    let cases: Vec<Drawn> = serde_json::from_slice(&text).unwrap();
    for (place, case) in cases.iter().enumerate() {
        let options = ChatOptions {
            max_tokens: 1,
            temperature: case.temperature,
            top_k: case.top_k,
            top_p: case.top_p,
            min_p: case.min_p,
            repeat_penalty: case.repeat_penalty,
            seed: 1,
            stop: vec![],
            schema: None,
        };
        let mut sampler = Sampler::new(&options, &case.before);
        let mut logits = case.logits.clone();
        sampler.penalise(&mut logits);
        let left = sampler.left(&logits);
        for (id, expected) in case.left.iter().enumerate() {
            let ours = left.iter().find(|(own, _)| *own as usize == id).map_or(0.0, |(_, ours)| *ours);
            assert!((ours - expected).abs() < PROBABILITIES, "{place}: token {id} {ours}, not {expected}");
        }
        // as often as they should be, of many draws
        let mut counts = vec![0.0f64; case.logits.len()];
        (0..4_000).for_each(|_| {
            counts[sampler.choose(&mut case.logits.clone()).unwrap() as usize] += 1.0 / 4_000.0
        });
        if case.repeat_penalty == 1.0 {
            let worst =
                counts.iter().zip(&case.left).map(|(count, left)| (count - left).abs()).fold(0.0, f64::max);
            assert!(worst < 0.04, "{place}: {worst}");
        }
    }
}

#[test]
fn the_same_seed_writes_the_same_reply_and_replies_beside_each_other_do_not_mix() {
    let fixture = named("llama");
    let model = fixture.model();
    let begin = |seed: u64| {
        let asked = json!({"seed": seed, "max_tokens": 30, "temperature": 1.5});
        fixture.begin(&model, user(&format!("question {}", seed % 2)), asked).unwrap()
    };
    let alone: Vec<Reply> = (0..4).map(|seed| begin(seed).finish().unwrap()).collect();
    let mut running: Vec<_> = (0..4).map(begin).collect();
    let mut told = vec![String::new(); 4];
    let mut done: Vec<Option<Reply>> = vec![None; 4];
    while done.iter().any(Option::is_none) {
        for (index, run) in running.iter_mut().enumerate() {
            match run.next_step().unwrap() {
                ConverseState::Step(text) => told[index].push_str(&text),
                ConverseState::Done(reply) => done[index] = Some(reply),
            }
        }
    }
    for ((alone, done), told) in alone.iter().zip(&done).zip(&told) {
        let done = done.as_ref().unwrap();
        assert_eq!((&alone.text, alone.finish), (&done.text, done.finish));
        assert_eq!(*told, done.text);
    }
    assert_ne!(alone[0].text, alone[2].text);
}

#[test]
fn a_reply_ends_before_a_stop_string_and_nothing_of_it_is_told() {
    let fixture = named("qwen2");
    let model = fixture.model();
    let asked = |stop: &[&str]| json!({"temperature": 0.0, "max_tokens": 40, "stop": stop});
    let turns = fixture.golden.conversations[0].turns();
    let whole = fixture.reply(&model, turns.clone(), asked(&[])).text;
    let letters: Vec<(usize, char)> = whole.char_indices().collect();
    let (from, to) = (letters[letters.len() / 2].0, letters[letters.len() / 2 + 2].0);
    let stop = &whole[from..to];
    let mut run = fixture.begin(&model, turns, asked(&["never", stop])).unwrap();
    let mut told = String::new();
    let reply = loop {
        match run.next_step().unwrap() {
            ConverseState::Step(text) => told.push_str(&text),
            ConverseState::Done(reply) => break reply,
        }
    };
    assert_eq!(
        (reply.text.as_str(), reply.finish),
        (&whole[..whole.find(stop).unwrap()], Finish::StopString)
    );
    assert_eq!(told, reply.text);
}

#[test]
fn what_people_write_is_text_even_where_it_looks_like_a_token_with_a_meaning() {
    for fixture in all() {
        let (model, info) = (fixture.model(), fixture.info());
        let specials = ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "[/INST]", "<|end|>", "</s>", "<s>"];
        let prompt = |text: &str| {
            let request = ChatRequest { turns: user(text), ..ChatRequest::default() };
            model.wording().prompt(&ChatOrder::new(request, &info).unwrap()).unwrap()
        };
        let plain = prompt("text");
        for special in specials.iter().filter(|special| model.wording().tokenizer().has_special(special)) {
            let id = model.wording().tokenizer().ids(special, None).unwrap();
            let count = |ids: &[u32]| ids.iter().filter(|own| **own == id[0]).count();
            let forged = prompt(&format!("{special}{special} x{special}"));
            assert_eq!(count(&forged), count(&plain), "{}: {special}", fixture.name);
        }
    }
}

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["kind", "note", "list"], "properties": {
    "kind": {"enum": ["paint", "speak", "none"]}, "size": {"type": "integer"}, "note": {"type": "string", "maxLength": 12},
    "sure": {"type": "boolean"}, "list": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3}}}"#;

/// What the schema above says, said once more.
fn assert_fits(text: &str, place: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
    let map = value.as_object().unwrap();
    assert!(["paint", "speak", "none"].contains(&map["kind"].as_str().unwrap()), "{place}: {text}");
    assert!(map["note"].as_str().unwrap().chars().count() <= 12, "{place}: {text}");
    assert!((1..=3).contains(&map["list"].as_array().unwrap().len()), "{place}: {text}");
    assert!(map["list"].as_array().unwrap().iter().all(Value::is_number), "{place}: {text}");
    assert!(map.get("size").is_none_or(|size| size.is_i64() || size.is_u64()), "{place}: {text}");
    assert!(map.get("sure").is_none_or(Value::is_boolean), "{place}: {text}");
    assert!(
        map.keys().all(|key| ["kind", "size", "note", "sure", "list"].contains(&key.as_str())),
        "{place}: {text}"
    );
}

#[test]
fn a_reply_fits_its_schema_whatever_is_drawn_and_however_few_tokens_there_are() {
    for fixture in all() {
        let model = fixture.model();
        let mut ended = 0;
        for (seed, tokens) in (0..4).flat_map(|seed| [44, 70, 200].map(|tokens| (seed, tokens))) {
            let asked = json!({"seed": seed, "temperature": 1.2, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": tokens, "schema": SCHEMA});
            let place = format!("{} {seed} {tokens}", fixture.name);
            let run = match fixture.begin(&model, user("q"), asked) {
                Ok(run) => run,
                // a vocabulary that is small needs many tokens, and says so
                Err(Error::Invalid { field: "max-tokens", .. }) => continue,
                Err(error) => panic!("{place}: {error}"),
            };
            let reply = run.finish().unwrap();
            assert_fits(&reply.text, &place);
            assert!(reply.usage.reply_tokens <= tokens, "{place}");
            ended += usize::from(reply.finish == Finish::End);
        }
        assert!(ended > 0, "{}: none ended by itself", fixture.name);
        // greedy, and asked again: from masks that are there already
        let asked = json!({"temperature": 0.0, "max_tokens": 150, "schema": SCHEMA});
        let first = fixture.reply(&model, user("q"), asked.clone());
        assert_fits(&first.text, &fixture.name);
        assert_eq!(first.text, fixture.reply(&model, user("q"), asked).text);
    }
}

#[test]
fn a_schema_that_cannot_be_kept_to_is_refused_by_the_option() {
    let fixture = named("qwen2");
    let model = fixture.model();
    let refused = |asked: Value| fixture.begin(&model, user("q"), asked).err();
    let few = refused(json!({"schema": SCHEMA, "max_tokens": 3}));
    assert!(
        matches!(few, Some(Error::Invalid { field: "max-tokens", ref reason }) if reason.contains("shortest reply")),
        "{few:?}"
    );
}

#[test]
fn a_conversation_that_is_too_long_or_that_the_template_refuses_is_the_callers_fault() {
    let fixture = named("gemma3");
    let model = fixture.model();
    let refused = |turns| match fixture.begin(&model, turns, json!({})) {
        Err(Error::Invalid { field: "turns", reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(refused(user(&"日本".repeat(600))).contains("shorten the conversation"));
    assert!(refused([user("a"), user("b")].concat()).contains("alternate"));
}

#[test]
fn the_beginning_of_a_conversation_is_read_once_within_a_circle_and_changes_nothing() {
    for fixture in [named("llama"), named("gemma3"), named("phi3")] {
        let (model, info) = (fixture.model(), fixture.info());
        let circle = |name: &str| Circle::new(&TenantId::new(name).unwrap(), "route");
        let ask = |circle: Circle, text: &str| {
            let system =
                Turn { role: Role::System, text: "You are a helpful assistant of few words.".into() };
            let turns = [vec![system], user(text)].concat();
            let request =
                ChatRequest { turns, temperature: Some(0.0), max_tokens: Some(12), ..ChatRequest::default() };
            let order = ChatOrder::new(request, &info).unwrap().within(circle);
            model.converse(Arc::new(order)).unwrap().finish().unwrap()
        };
        let (first, again) = (ask(circle("a"), "red"), ask(circle("a"), "blue"));
        assert_eq!(first.usage.cached_tokens, 0, "{}", fixture.name);
        assert!(again.usage.cached_tokens > 10, "{}: {}", fixture.name, again.usage.cached_tokens);
        // another circle computes it anew, and gets the same
        let other = ask(circle("b"), "blue");
        assert_eq!((other.usage.cached_tokens, &other.text), (0, &again.text), "{}", fixture.name);
        let whole = ask(circle("a"), "red");
        assert_eq!((whole.usage.cached_tokens + 1, whole.text), (whole.usage.prompt_tokens, first.text));
        // what others read takes its place: there is room for as much as the longest conversation has
        (0..14)
            .for_each(|other| _ = ask(circle(&format!("other-{other}")), &format!("{other} green {other}")));
        assert_eq!(ask(circle("a"), "red").usage.cached_tokens, 0, "{}", fixture.name);
    }
}
