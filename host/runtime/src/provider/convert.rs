//! Between the domain's types and those of `provider-language`, field by field.

use atelier_inference::ProvidedOrder;
use atelier_inference::chat::{self as host, ProvidedOptions, Schema};

use crate::bindings::provider::exports::atelier::host::provider_language as wit;

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

pub(super) fn finish(finish: wit::Finish) -> host::Finish {
    match finish {
        wit::Finish::End => host::Finish::End,
        wit::Finish::Length => host::Finish::Length,
        wit::Finish::StopString => host::Finish::StopString,
    }
}

pub(super) fn usage(usage: wit::Usage) -> host::Usage {
    let wit::Usage { prompt_tokens, cached_tokens, reply_tokens } = usage;
    host::Usage { prompt_tokens, cached_tokens, reply_tokens }
}
