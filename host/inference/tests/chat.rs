//! What may be asked of a language model: every bound has a value just within and just past it, and a refusal names the
//! field; what a schema says is read, and what it may not say is refused by name.

use std::sync::Arc;

use atelier_inference::chat::{
    Finish, MAX_SCHEMA_BYTES, MAX_TEXT_BYTES, MAX_TURNS, Property, Role, Schema, Shape,
};
use atelier_inference::fake::FakeEngine;
use atelier_inference::{
    ChatOrder, ChatRequest, Circle, Error, Event, Job, LanguageModel, ModelCard, ModelId, ModelInfo, Product,
    QueueConfig, Reply, Scheduler, TenantId, Turn,
};

fn model() -> ModelInfo {
    let card = ModelCard {
        id: ModelId::new("words"),
        family: "llama".into(),
        source: "a test".into(),
        description: String::new(),
        memory_bytes: 1,
        device: "cpu".into(),
    };
    LanguageModel { card, context_length: 1_000, vocabulary: 300 }.into()
}

fn turn(role: Role, text: &str) -> Turn {
    Turn { role, text: text.into() }
}

fn asked() -> ChatRequest {
    ChatRequest { turns: vec![turn(Role::User, "hello")], ..ChatRequest::default() }
}

/// The field that is named where a request is refused.
fn refused(request: ChatRequest) -> &'static str {
    match ChatOrder::new(request, &model()) {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("taken, or refused otherwise: {other:?}"),
    }
}

#[test]
fn what_is_left_out_is_decided_and_the_seed_is_known() {
    let options = ChatOrder::new(asked(), &model()).unwrap().options;
    assert_eq!((options.max_tokens, options.temperature, options.top_k), (512, 0.7, 40));
    assert_eq!((options.top_p, options.min_p, options.repeat_penalty), (0.95, 0.05, 1.0));
    assert!(options.seed <= u64::from(u32::MAX) && options.stop.is_empty() && options.schema.is_none());
    let ModelInfo::Language(mut small) = model() else { panic!("a language model") };
    let changed = Arc::make_mut(&mut small);
    (changed.context_length, changed.vocabulary) = (100, 16);
    let options = ChatOrder::new(asked(), &ModelInfo::Language(small)).unwrap().options;
    assert_eq!((options.max_tokens, options.top_k), (100, 16), "a small model has small defaults");
}

#[test]
fn every_option_has_its_bounds() {
    let stop = |length: usize, count| vec!["x".repeat(length); count];
    type Set = fn(&mut ChatRequest, f64);
    let numbers: [(&str, Set, &[f64], &[f64]); 6] = [
        ("max-tokens", |r, v| r.max_tokens = Some(v as u32), &[1.0, 1_000.0], &[0.0, 1_001.0]),
        ("temperature", |r, v| r.temperature = Some(v), &[0.0, 2.0], &[-0.1, 2.1, f64::NAN]),
        ("top-k", |r, v| r.top_k = Some(v as u32), &[0.0, 300.0], &[301.0]),
        ("top-p", |r, v| r.top_p = Some(v), &[1e-9, 1.0], &[0.0, 1.1, f64::NAN]),
        ("min-p", |r, v| r.min_p = Some(v), &[0.0, 1.0], &[-0.1, 1.1, f64::NAN]),
        ("repeat-penalty", |r, v| r.repeat_penalty = Some(v), &[0.5, 2.0], &[0.4, 2.1, f64::NAN]),
    ];
    for (field, set, good, bad) in numbers {
        let with = |value: &f64| {
            let mut request = asked();
            set(&mut request, *value);
            request
        };
        good.iter().for_each(|value| _ = ChatOrder::new(with(value), &model()).unwrap());
        bad.iter().for_each(|value| assert_eq!(refused(with(value)), field, "{value}"));
    }
    ChatOrder::new(ChatRequest { stop: stop(256, 16), ..asked() }, &model()).unwrap();
    let schema = Some(r#"{"type":"null"}"#.into());
    assert_eq!(refused(ChatRequest { stop: stop(1, 1), schema, ..asked() }), "stop");
    for wrong in [stop(257, 1), stop(0, 1), stop(1, 17)] {
        assert_eq!(refused(ChatRequest { stop: wrong, ..asked() }), "stop");
    }
}

#[test]
fn a_conversation_is_bounded_and_ends_with_the_user() {
    let with = |turns| ChatRequest { turns, ..ChatRequest::default() };
    let (system, user) = (|| turn(Role::System, "be brief"), || turn(Role::User, "hello"));
    let answer = || turn(Role::Assistant, "hi");
    ChatOrder::new(with(vec![system(), user(), answer(), user()]), &model()).unwrap();
    ChatOrder::new(with(vec![user(); MAX_TURNS]), &model()).unwrap();
    ChatOrder::new(with(vec![turn(Role::User, &"x".repeat(MAX_TEXT_BYTES))]), &model()).unwrap();
    for wrong in [
        vec![],
        vec![system()],
        vec![user(), answer()],
        vec![user(), system(), user()],
        vec![user(); MAX_TURNS + 1],
        vec![turn(Role::User, &"x".repeat(MAX_TEXT_BYTES)), user()],
    ] {
        assert_eq!(refused(with(wrong)), "turns");
    }
}

#[test]
fn a_schema_is_read_in_its_own_order() {
    let schema = Schema::parse(
        r##"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
            "required": ["intent"], "properties": {
              "intent": {"type": "string", "enum": ["create", "none"], "description": "what is wanted"},
              "again": {"const": null},
              "count": {"type": "integer"},
              "words": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 3}}}"##,
    );
    let property = |name: &str, required, shape| Property { name: name.into(), shape, required };
    let words = Shape::Array { items: Box::new(Shape::String { most: Some(20) }), least: 1, most: Some(3) };
    let schema = schema.unwrap();
    assert_eq!(
        *schema.shape(),
        Shape::Object(vec![
            property("intent", true, Shape::Choice(vec!["create".into(), "none".into()])),
            property("again", false, Shape::Choice(vec![serde_json::Value::Null])),
            property("count", false, Shape::Integer),
            property("words", false, words),
        ])
    );
    assert_eq!(schema.shape().least_bytes(), r#"{"intent":"none"}"#.len());
}

#[test]
fn what_a_schema_may_not_say_is_refused_by_name() {
    let nested = |depth: usize| {
        let open = r#"{"type":"array","items":"#.repeat(depth);
        format!(r#"{open}{{"type":"null"}}{}"#, "}".repeat(depth))
    };
    let many = |count: usize| {
        let properties: Vec<String> = (0..count).map(|i| format!(r#""p{i}":{{"type":"null"}}"#)).collect();
        format!(r#"{{"type":"object","properties":{{{}}}}}"#, properties.join(","))
    };
    Schema::parse(&nested(8)).unwrap();
    Schema::parse(&many(255)).unwrap();
    let long = format!(r#"{{"type":"null","title":"{}"}}"#, "x".repeat(MAX_SCHEMA_BYTES));
    for (text, named) in [
        ("{", "is no JSON"),
        ("true", "a schema is an object"),
        ("{}", "says nothing"),
        (r#"{"type":"text"}"#, "`text`"),
        (r#"{"type":["string","null"]}"#, "#/type"),
        (r#"{"type":"string","pattern":"a*"}"#, "`pattern`"),
        (r#"{"type":"integer","minimum":0}"#, "`minimum`"),
        (r#"{"anyOf":[{"type":"null"}],"type":"null"}"#, "`anyOf`"),
        (r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##, "#/properties/a"),
        (r#"{"type":"object","additionalProperties":true}"#, "additionalProperties"),
        (r#"{"type":"object","properties":{},"required":["a"]}"#, "\"a\" is none"),
        (r#"{"type":"array"}"#, "`items`"),
        (r#"{"type":"array","items":{"type":"null"},"minItems":2,"maxItems":1}"#, "maxItems"),
        (r#"{"type":"string","maxLength":4097}"#, "maxLength"),
        (r#"{"type":"string","maxLength":-1}"#, "maxLength"),
        (r#"{"enum":[]}"#, "enum"),
        (r#"{"enum":[[1]]}"#, "[1]"),
        (r#"{"type":"integer","enum":["a"]}"#, "\"a\""),
        (r#"{"enum":[1],"const":1}"#, "both"),
        (&nested(9), "deep"),
        (&many(256), "more than 256"),
        (&long, "bytes"),
        (
            r#"{"type":"array","minItems":4096,"items":{"type":"array","minItems":4096,"items":{"type":"null"}}}"#,
            "shortest",
        ),
    ] {
        match Schema::parse(text) {
            Err(Error::Invalid { field: "schema", reason }) => {
                assert!(reason.contains(named), "{reason}: {named}")
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(refused(ChatRequest { schema: Some("{".into()), ..asked() }), "schema");
}

#[test]
fn a_model_of_another_kind_is_refused() {
    let engine = FakeEngine { listeners: &["ear"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    for (id, makes) in [("fake", "makes pictures"), ("ear", "makes text from speech")] {
        let info = scheduler.catalog().get(&ModelId::new(id)).unwrap();
        match ChatOrder::new(asked(), info) {
            Err(Error::Invalid { field: "model", reason }) => assert!(reason.contains(makes), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reply_comes_word_by_word_and_whole_at_its_end() {
    let engine = FakeEngine { talkers: &["echo"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    let info = scheduler.catalog().get(&ModelId::new("echo")).unwrap().clone();
    let talk = async |request: ChatRequest, circle: &str| {
        let circle = Circle::new(&TenantId::default(), circle);
        let order = ChatOrder::new(request, &info).unwrap().within(circle);
        let mut ticket = scheduler.submit(Job::new(order)).unwrap();
        let mut told = String::new();
        while let Some(event) = ticket.events.next().await {
            if let Event::Said { text } = event {
                told.push_str(&text);
            }
        }
        let Product::Reply(reply) = ticket.finish().await.unwrap().product else { panic!("a reply") };
        assert_eq!(told, reply.text, "what was told is the reply");
        reply
    };
    let Reply { text, finish, usage, seed } = talk(ChatRequest { seed: Some(7), ..asked() }, "a").await;
    assert_eq!((text.as_str(), finish, seed), ("you said: hello", Finish::End, 7));
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.reply_tokens), (1, 0, 3));
    assert_eq!(talk(asked(), "a").await.usage.cached_tokens, 1);
    assert_eq!(talk(asked(), "b").await.usage.cached_tokens, 0, "circles share nothing");
    let short = talk(ChatRequest { max_tokens: Some(2), ..asked() }, "a").await;
    assert_eq!((short.text.as_str(), short.finish), ("you said: ", Finish::Length));
    let stopped = talk(ChatRequest { stop: vec!["hell".into()], ..asked() }, "a").await;
    assert_eq!((stopped.text.as_str(), stopped.finish), ("you said: ", Finish::StopString));
}
