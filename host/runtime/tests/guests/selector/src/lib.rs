//! A select plugin that takes the first candidate, or what it was told to: a model, or `reason` and how many bytes of it.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/selector" });

use exports::atelier::host::select::{Choice, Error, Guest, Hints, ModelInfo};

struct Selector;

impl Guest for Selector {
    async fn select(hints: Hints, candidates: Vec<ModelInfo>) -> Result<Choice, Error> {
        let first = candidates.first().ok_or_else(|| Error::NoMatch("no candidate".into()))?;
        let length = hints.wanted.as_deref().and_then(|wanted| wanted.strip_prefix("reason ")?.parse().ok());
        if let Some(length) = length {
            return Ok(Choice { model: first.id.clone(), reason: "x".repeat(length) });
        }
        let model = hints.wanted.unwrap_or_else(|| first.id.clone());
        Ok(Choice { model, reason: "it was first".into() })
    }
}

export!(Selector);
