//! Conversations with language models.

use crate::atelier::host::language::{self, Event, Request, Role, Turn};

pub async fn models() -> String {
    let told = |model: &language::LanguageModel| {
        format!("{} {} {} {}", model.id, model.family, model.context_length, model.loaded)
    };
    language::models().await.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// A model with options as `key=value`; then a line for each turn, which begins with `s`, `u` or `a`.
fn asked(text: &str) -> Request {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap().split_whitespace();
    let mut request = Request {
        model: words.next().unwrap().to_owned(),
        turns: lines.map(turn).collect(),
        max_tokens: None,
        temperature: None,
        top_k: None,
        top_p: None,
        min_p: None,
        repeat_penalty: None,
        seed: None,
        stop: Vec::new(),
        schema: None,
    };
    for option in words {
        match option.split_once('=').unwrap() {
            ("max-tokens", value) => request.max_tokens = Some(value.parse().unwrap()),
            ("temperature", value) => request.temperature = Some(value.parse().unwrap()),
            ("seed", value) => request.seed = Some(value.parse().unwrap()),
            ("stop", value) => request.stop.push(value.into()),
            ("schema", value) => request.schema = Some(value.into()),
            (key, _) => panic!("{key}"),
        }
    }
    request
}

fn turn(line: &str) -> Turn {
    let (role, text) = line.split_once(' ').unwrap();
    let role = match role {
        "s" => Role::System,
        "u" => Role::User,
        _ => Role::Assistant,
    };
    Turn { role, text: text.into() }
}

pub async fn chat(text: &str) -> String {
    let job = match language::chat(asked(text)).await {
        Ok(job) => job,
        Err(error) => return format!("{error:?}"),
    };
    let first = match job.outcome().await {
        Ok(reply) => {
            let usage = reply.usage;
            format!(
                "{}|{:?}|{} {} {}|{}|{}",
                reply.text,
                reply.finish,
                usage.prompt_tokens,
                usage.cached_tokens,
                usage.reply_tokens,
                reply.seed,
                reply.model
            )
        }
        Err(error) => format!("{error:?}"),
    };
    format!("{first}|{:?}", job.outcome().await.err())
}

/// The kinds of events in their order, and all text that was told. Nobody asks for the outcome.
pub async fn said(text: &str) -> String {
    let job = language::chat(asked(text)).await.unwrap();
    let (mut events, mut kinds, mut told) = (job.events(), Vec::new(), String::new());
    while let Some(event) = events.next().await {
        let kind = match event {
            Event::Queued(_) => "queued",
            Event::Started => "started",
            Event::Said(text) => {
                told.push_str(&text);
                "said"
            }
        };
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    format!("{}|{told}|{}", kinds.join(" "), job.events().next().await.is_none())
}

/// Asks several times, and says how each went.
pub async fn again(text: &str) -> String {
    let (count, rest) = text.split_once(' ').unwrap();
    let mut answers = Vec::new();
    for _ in 0..count.parse().unwrap() {
        answers.push(chat(rest).await);
    }
    answers.join("\n")
}

/// Starts a job and leaves it.
pub async fn leave(text: &str) -> String {
    let job = language::chat(asked(text)).await.unwrap();
    job.cancel();
    format!("{:?}", job.outcome().await.err())
}
