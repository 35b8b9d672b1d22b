//! What replies of language models take, one by one and beside each other.

use std::sync::Arc;

use atelier_engine::ModelFiles;
use atelier_engine::converse::{ChatModel, ConverseState, Description, Footprint, step_together};
use atelier_inference::chat::{ChatRequest, Role, Turn};
use atelier_inference::{ChatOrder, ModelCard, ModelId, ModelInfo};
use candle_core::{Device, Tensor};

use super::{ALLOCATOR, listed, turn};

const QWEN: &str = "tests/golden/language/qwen2/published";

/// A language model with a context of some length and layers of some width, out of the small one's files.
fn qwen() -> ModelFiles {
    const CONFIG: [(&str, &str); 3] = [
        (r#""hidden_size": 16"#, r#""hidden_size": 256"#),
        (r#""intermediate_size": 24"#, r#""intermediate_size": 1024"#),
        (r#""max_position_embeddings": 512"#, r#""max_position_embeddings": 4096"#),
    ];
    let mut files = listed(QWEN);
    for (name, bytes) in &mut files {
        *bytes = match *name {
            "config.json" => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                CONFIG.iter().fold(text, |text, (from, to)| text.replace(from, to)).into_bytes().leak()
            }
            "model.safetensors" => widened_qwen(bytes),
            _ => *bytes,
        };
    }
    ModelFiles::embedded(files.leak())
}

fn widened_qwen(weights: &[u8]) -> &'static [u8] {
    let small = candle_core::safetensors::load_buffer(weights, &Device::Cpu).unwrap();
    let widen = |(name, tensor): (String, Tensor)| {
        // two heads of keys
        let side = |side: &usize| match *side {
            16 => 256,
            24 => 1024,
            8 => 128,
            other => other,
        };
        let shape: Vec<usize> = tensor.dims().iter().map(side).collect();
        (name, Tensor::randn(0.0f32, 0.1, shape, &Device::Cpu).unwrap())
    };
    let large: Vec<_> = small.into_iter().map(widen).collect();
    safetensors::serialize(large, None).unwrap().leak()
}

/// A language model, how it is listed, and what its replies take.
fn talker() -> (Arc<ChatModel>, ModelInfo, Footprint) {
    let files = qwen();
    let card = ModelCard {
        id: ModelId::new("talker"),
        family: "qwen2".into(),
        source: "test".into(),
        description: String::new(),
        memory_bytes: 0,
        device: "cpu".into(),
    };
    let Description { model: info, footprint, .. } = ChatModel::describe(&files, card).unwrap();
    (Arc::new(ChatModel::open(&files, &Device::Cpu).unwrap()), info.into(), footprint)
}

fn chat(info: &ModelInfo, words: usize, tokens: u32) -> Arc<ChatOrder> {
    let turns = vec![Turn { role: Role::User, text: "create a red circle ".repeat(words / 4 + 1) }];
    let request = ChatRequest { turns, max_tokens: Some(tokens), seed: Some(1), ..ChatRequest::default() };
    Arc::new(ChatOrder::new(request, info).unwrap())
}

#[test]
fn a_reply_takes_no_more_than_was_estimated() {
    let _turn = turn();
    let (model, info, footprint) = talker();
    for (name, words, tokens) in [("short", 3, 20), ("long question", 900, 5), ("long reply", 5, 400)] {
        let order = chat(&info, words, tokens);
        // what is kept for the next one belongs to the model: here nothing is new any more
        model.converse(order.clone()).unwrap().finish().unwrap();
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        model.converse(order.clone()).unwrap().finish().unwrap();
        let (took, estimate) = (ALLOCATOR.peak_usage() - before, footprint.bytes(&order) as usize);
        println!("{name}: took {took}, estimated {estimate}");
        assert!(took <= estimate, "{name}: took {took}, estimated {estimate}");
    }
}

#[test]
fn replies_that_are_written_together_take_no_more_than_was_estimated_for_each() {
    let _turn = turn();
    let (model, info, footprint) = talker();
    let orders = [(3, 60), (900, 5), (5, 100), (40, 30)].map(|(words, tokens)| chat(&info, words, tokens));
    let together = || {
        let mut replies: Vec<_> = orders.iter().map(|order| model.converse(order.clone()).unwrap()).collect();
        while !replies.is_empty() {
            if let Some(reading) = replies.iter_mut().find(|reply| !reply.can_join()) {
                reading.next_step().unwrap();
            }
            let mut writing: Vec<_> = replies.iter_mut().filter(|reply| reply.can_join()).collect();
            let states = step_together(&mut writing);
            let done = |state: Result<ConverseState, _>| matches!(state.unwrap(), ConverseState::Done(_));
            let mut done: Vec<bool> = states.into_iter().map(done).collect();
            replies.retain(|reply| !(reply.can_join() && done.remove(0)));
        }
    };
    together();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    together();
    let took = ALLOCATOR.peak_usage() - before;
    let estimate = orders.iter().map(|order| footprint.bytes(order) as usize).sum();
    println!("four together: took {took}, estimated {estimate}");
    assert!(took <= estimate, "took {took}, estimated {estimate}");
}
