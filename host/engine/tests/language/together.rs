//! Several texts and replies at once: each is what it is alone, to the bit.

use std::sync::Arc;

use atelier_engine::converse::{Conversation, ConverseState};
use atelier_engine::models::llama::Text;
use atelier_engine::{CandleEngine, EngineConfig, Extras, ModelSpec};
use atelier_inference::chat::{ChatRequest, Reply, Role, Turn};
use atelier_inference::{
    ChatOrder, Engine, Finished, Job, Made, ModelId, ModelInfo, Order, Product, QueueConfig, Run, Scheduler,
    StepState,
};
use candle_core::Tensor;
use serde_json::json;

use super::{Fixture, SCHEMA, all, named, user};

/// Logits by their bits.
fn bits(logits: &Tensor) -> Vec<u32> {
    let values = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn texts_that_grow_together_are_what_they_are_alone_to_the_bit() {
    for fixture in all() {
        let network = fixture.network();
        assert!(network.can_join(), "this processor has no kernels (AVX2 and FMA); texts take turns on it");
        let ids = fixture.folder.ids("long/ids").remove(0);
        for count in [2, 4, 13] {
            // of every length; some so long that a network turns their positions otherwise
            let begin = |index: usize| {
                let capacity = if index % 3 == 1 { network.config().context } else { 64 };
                let mut text = network.text(capacity).unwrap();
                network.extend(&mut text, &ids[..1 + 7 * index % 40]).unwrap();
                text
            };
            let mut alone: Vec<Text> = (0..count).map(begin).collect();
            let mut together: Vec<Text> = (0..count).map(begin).collect();
            for step in 0..4 {
                let tokens: Vec<u32> = (0..count).map(|index| ids[(3 * index + step) % ids.len()]).collect();
                let mut texts: Vec<&mut Text> = together.iter_mut().collect();
                let logits = network.extend_each(&mut texts, &tokens).unwrap();
                for (index, (text, token)) in alone.iter_mut().zip(&tokens).enumerate() {
                    let own = network.logits(&network.extend(text, &[*token]).unwrap()).unwrap();
                    let place = format!("{} {count}: text {index}, step {step}", fixture.name);
                    assert_eq!(bits(&logits.narrow(0, index, 1).unwrap()), bits(&own), "{place}");
                }
            }
        }
    }
}

#[test]
fn texts_are_as_they_were_where_one_of_them_cannot_grow() {
    let network = named("llama").network();
    let begin = |capacity| {
        let mut text = network.text(capacity).unwrap();
        network.extend(&mut text, &[1, 2, 3]).unwrap();
        text
    };
    let (mut one, mut full, mut same) = (begin(9), begin(3), begin(9));
    assert!(network.extend_each(&mut [&mut one, &mut full], &[4, 4]).is_err());
    let beyond = network.config().vocabulary as u32;
    assert!(network.extend_each(&mut [&mut one, &mut same], &[4, beyond]).is_err());
    assert!(network.extend_each(&mut [&mut one], &[4, 4]).is_err());
    assert_eq!((one.length(), full.length(), same.length()), (3, 3, 3));
    let logits = network.extend_each(&mut [&mut one], &[4]).unwrap();
    let state = network.extend(&mut same, &[4]).unwrap();
    assert_eq!(bits(&logits), bits(&network.logits(&state).unwrap()));
}

fn engine(fixture: &Fixture) -> CandleEngine {
    let spec = ModelSpec {
        id: "words".into(),
        source: "test".into(),
        files: fixture.files.clone(),
        description: None,
        extras: Extras::default(),
    };
    CandleEngine::new(EngineConfig { models: vec![spec], ..EngineConfig::default() }).unwrap()
}

/// Replies that differ in everything that a reply may.
fn varied(info: &ModelInfo) -> Vec<Order> {
    let long = "who said what to whom, and when? ".repeat(9);
    [
        ("question", json!({"seed": 1, "max_tokens": 30, "temperature": 1.5})),
        (&long, json!({"seed": 2, "max_tokens": 25, "temperature": 0.8, "repeat_penalty": 1.3})),
        ("q", json!({"seed": 3, "max_tokens": 200, "temperature": 1.2, "schema": SCHEMA})),
        ("another", json!({"max_tokens": 40, "temperature": 0.0, "stop": ["e", "a"]})),
        ("question", json!({"seed": 5, "max_tokens": 1, "temperature": 1.5})),
    ]
    .map(|(text, asked)| {
        let request = ChatRequest { turns: user(text), ..serde_json::from_value(asked).unwrap() };
        ChatOrder::new(request, info).unwrap().into()
    })
    .into()
}

/// What a step told, and the reply if it was the last.
fn told(state: StepState) -> (String, Option<Reply>) {
    match state {
        StepState::Said(text) => (text, None),
        StepState::Done(Finished { made: Made::Reply(reply), .. }) => (String::new(), Some(reply)),
        _ => panic!("a step of something else"),
    }
}

fn alone(mut run: Box<dyn Run>) -> (String, Reply) {
    let mut all = String::new();
    loop {
        match told(run.next_step().unwrap()) {
            (text, None) => all.push_str(&text),
            (_, Some(reply)) => return (all, reply),
        }
    }
}

/// As the worker does it: those that read go on one by one, between the tokens of the others; a new one comes at each round.
fn together(engine: &mut CandleEngine, orders: &[Order]) -> Vec<(String, Reply)> {
    let mut replies: Vec<(String, Option<Reply>)> = vec![Default::default(); orders.len()];
    let (mut runs, mut widest) = (Vec::<(usize, Box<dyn Run>)>::new(), 0);
    let mut orders = orders.iter().enumerate();
    loop {
        runs.extend(orders.next().map(|(place, order)| (place, engine.begin(order).unwrap())));
        runs.retain(|(place, _)| replies[*place].1.is_none());
        if runs.is_empty() {
            break;
        }
        if let Some((_, reading)) = runs.iter_mut().find(|(_, run)| !run.can_join()) {
            assert!(matches!(told(reading.next_step().unwrap()), (text, None) if text.is_empty()));
        }
        let writing = runs.iter_mut().filter(|(_, run)| run.can_join());
        let (places, mut writing): (Vec<_>, Vec<_>) =
            writing.map(|(place, run)| (*place, run.as_mut())).unzip();
        widest = widest.max(writing.len());
        for (place, state) in places.into_iter().zip(engine.step_together(&mut writing)) {
            let (text, reply) = told(state.unwrap());
            replies[place].0.push_str(&text);
            replies[place].1 = reply;
        }
    }
    assert!(widest >= 3, "only {widest} wrote together");
    replies.into_iter().map(|(text, reply)| (text, reply.unwrap())).collect()
}

#[test]
fn replies_that_are_written_together_are_those_alone() {
    for fixture in all() {
        let (mut first, mut second) = (engine(&fixture), engine(&fixture));
        for engine in [&mut first, &mut second] {
            engine.load(&ModelId::new("words")).unwrap();
        }
        let orders = varied(&first.models()[0]);
        let alone: Vec<(String, Reply)> =
            orders.iter().map(|order| alone(first.begin(order).unwrap())).collect();
        for (place, (one, other)) in alone.iter().zip(together(&mut second, &orders)).enumerate() {
            let (Reply { text, finish, .. }, reply) = (&one.1, &other.1);
            assert_eq!((&reply.text, reply.finish), (text, *finish), "{} {place}", fixture.name);
            assert_eq!((&other.0, reply.usage.reply_tokens), (&one.0, one.1.usage.reply_tokens));
        }
    }
}

#[test]
fn replies_of_a_scheduler_are_the_same_one_by_one_and_side_by_side() {
    let fixture = named("qwen2");
    let replies = |conversations: usize| {
        let queue = QueueConfig { conversations, ..QueueConfig::default() };
        let scheduler = Scheduler::start(Box::new(engine(&fixture)), queue).unwrap();
        let orders = varied(scheduler.catalog().get(&ModelId::new("words")).unwrap());
        let tickets: Vec<_> =
            orders.into_iter().map(|order| scheduler.submit(Job::new(order)).unwrap()).collect();
        let outcomes = tickets.into_iter().map(|ticket| ticket.outcome.blocking_recv().unwrap().unwrap());
        let reply = |product| match product {
            Product::Reply(Reply { text, finish, .. }) => (text, finish),
            _ => panic!("no reply"),
        };
        let replies: Vec<_> = outcomes.map(|outcome| reply(outcome.product)).collect();
        assert_eq!(scheduler.memory().runs, 0);
        replies
    };
    let one_by_one = replies(1);
    assert_eq!(one_by_one, replies(4));
    assert_eq!(one_by_one, replies(2));
}

/// Two replies of one circle whose conversations begin alike for far more than a step reads.
fn alike(fixture: &Fixture) -> [Conversation; 2] {
    let (model, info) = (fixture.model(), fixture.info());
    let system = "You are a helpful assistant of few words, and of many rules. ".repeat(9);
    let begin = |text: &str| {
        let turns = [vec![Turn { role: Role::System, text: system.clone() }], user(text)].concat();
        let request =
            ChatRequest { turns, temperature: Some(0.0), max_tokens: Some(4), ..ChatRequest::default() };
        model.converse(Arc::new(ChatOrder::new(request, &info).unwrap())).unwrap()
    };
    ["red", "blue"].map(begin)
}

#[test]
fn a_beginning_that_another_reply_reads_is_waited_for_and_read_once() {
    let fixture = named("llama");
    let [first, second] = alike(&fixture);
    let apart = [alike(&fixture).into_iter().next(), alike(&fixture).into_iter().nth(1)];
    let apart = apart.map(|reply| reply.unwrap().finish().unwrap());
    assert!(apart[0].usage.prompt_tokens > 300, "more than one step reads");
    let mut replies = [(first, None), (second, None)];
    while replies.iter().any(|(_, reply)| reply.is_none()) {
        for (run, reply) in &mut replies {
            if let ConverseState::Done(done) = run.next_step().unwrap() {
                *reply = Some(done);
            }
        }
    }
    let [first, second] = replies.map(|(_, reply)| reply.unwrap());
    assert_eq!([&first.text, &second.text], [&apart[0].text, &apart[1].text]);
    assert_eq!(first.usage.cached_tokens, 0);
    assert!(second.usage.cached_tokens > 250, "{}", second.usage.cached_tokens);
}

#[test]
fn who_waits_for_another_reader_waits_no_longer_than_that_one_takes_and_no_longer_than_it_is_there() {
    let fixture = named("llama");
    // the other one is never stepped again
    let [mut first, second] = alike(&fixture);
    first.next_step().unwrap();
    assert_eq!(second.finish().unwrap().usage.cached_tokens, 0);
    let [mut first, mut second] = alike(&fixture);
    first.next_step().unwrap();
    second.next_step().unwrap();
    drop(first);
    assert_eq!(second.finish().unwrap().usage.cached_tokens, 0, "and keeps nothing of it");
}
