//! Replies to conversations: what a plugin of `provider-language` is told, field by field, and what is held against its answer.

use atelier_inference::chat::{self as host, ProvidedOptions, Schema};
use atelier_inference::{Product, ProvidedOrder, Reply};

use super::Provided;
use super::trouble::{Trouble, notes};
use crate::bindings::provider::exports::atelier::host::provider_language as wit;

/// Bytes that a token stands for, about, where a server does not count.
const BYTES_A_TOKEN: usize = 4;

/// What a plugin is asked, with the model's name at its server.
pub(super) fn request(order: &ProvidedOrder, name: &str) -> wit::Request {
    let ProvidedOptions { max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed, stop, schema } =
        &order.options;
    wit::Request {
        model: name.into(),
        turns: order.turns.iter().map(turn).collect(),
        max_tokens: *max_tokens,
        temperature: *temperature,
        top_k: *top_k,
        top_p: *top_p,
        min_p: *min_p,
        repeat_penalty: *repeat_penalty,
        seed: *seed,
        stop: stop.clone(),
        schema: schema.as_ref().map(Schema::text).map(Into::into),
    }
}

fn turn(turn: &host::Turn) -> wit::Turn {
    let role = match turn.role {
        host::Role::System => wit::Role::System,
        host::Role::User => wit::Role::User,
        host::Role::Assistant => wit::Role::Assistant,
    };
    wit::Turn { role, text: turn.text.clone() }
}

/// What is told of a whole reply, if it is what was asked for.
pub(super) fn settle(
    model: &Provided,
    order: &ProvidedOrder,
    end: wit::End,
    text: &str,
) -> Result<(Product, Vec<String>), Trouble> {
    let finish = finish(end.finish);
    if finish != host::Finish::Length {
        let misfit =
            |what: String| Trouble::malformed(model, &format!("its reply does not fit the schema: {what}"));
        order.check_fit(text).map_err(misfit)?;
    }
    let mut notes = notes(model, &end.notes);
    let usage = end.usage.map(usage).unwrap_or_else(|| {
        notes.push("the server did not count tokens; they are guessed from the length of the texts".into());
        guessed(order, text)
    });
    model.provider.metrics.read.add(u64::from(usage.prompt_tokens));
    model.provider.metrics.written.add(u64::from(usage.reply_tokens));
    let seed = order.options.seed.unwrap_or_else(|| {
        notes.push("the seed is the server's own, and not told: 0 stands for it".into());
        0
    });
    Ok((Product::Reply(Reply { text: text.to_owned(), finish, usage, seed }), notes))
}

fn finish(finish: wit::Finish) -> host::Finish {
    match finish {
        wit::Finish::End => host::Finish::End,
        wit::Finish::Length => host::Finish::Length,
        wit::Finish::StopString => host::Finish::StopString,
    }
}

fn usage(usage: wit::Usage) -> host::Usage {
    let wit::Usage { prompt_tokens, cached_tokens, reply_tokens } = usage;
    host::Usage { prompt_tokens, cached_tokens, reply_tokens }
}

fn guessed(order: &ProvidedOrder, text: &str) -> host::Usage {
    let tokens = |bytes: usize| u32::try_from(bytes.div_ceil(BYTES_A_TOKEN)).unwrap_or(u32::MAX);
    let read = order.turns.iter().map(|turn| turn.text.len()).sum();
    host::Usage { prompt_tokens: tokens(read), cached_tokens: 0, reply_tokens: tokens(text.len()) }
}
