//! Between the guest's types of `language` and the domain's, field by field.

use atelier_inference::chat as host;

use crate::bindings::language::{Finish, LanguageModel, Request, Role, Turn, Usage};

impl From<Request> for host::ChatRequest {
    fn from(request: Request) -> Self {
        Self {
            turns: request.turns.into_iter().map(Into::into).collect(),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_k: request.top_k,
            top_p: request.top_p,
            min_p: request.min_p,
            repeat_penalty: request.repeat_penalty,
            seed: request.seed,
            stop: request.stop,
            schema: request.schema,
        }
    }
}

impl From<Turn> for host::Turn {
    fn from(Turn { role, text }: Turn) -> Self {
        let role = match role {
            Role::System => host::Role::System,
            Role::User => host::Role::User,
            Role::Assistant => host::Role::Assistant,
        };
        Self { role, text }
    }
}

pub(super) fn describe(model: &host::LanguageModel, loaded: bool) -> LanguageModel {
    let host::LanguageModel { card, context_length, .. } = model;
    LanguageModel {
        id: card.id.to_string(),
        family: card.family.clone(),
        source: card.source.clone(),
        description: card.description.clone(),
        context_length: *context_length,
        loaded,
        memory_bytes: card.memory_bytes,
        device: card.device.clone(),
    }
}

impl From<host::Finish> for Finish {
    fn from(finish: host::Finish) -> Self {
        match finish {
            host::Finish::End => Self::End,
            host::Finish::Length => Self::Length,
            host::Finish::StopString => Self::StopString,
        }
    }
}

impl From<host::Usage> for Usage {
    fn from(usage: host::Usage) -> Self {
        let host::Usage { prompt_tokens, cached_tokens, reply_tokens } = usage;
        Self { prompt_tokens, cached_tokens, reply_tokens }
    }
}
