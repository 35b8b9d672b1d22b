//! Finished pictures in the service's shape, or as the one PNG file itself.

use atelier_kit::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::draw::Drawn;

/// The JSON answer.
pub(crate) fn json(drawn: &Drawn) -> Value {
    let data: Vec<_> = drawn.pictures.iter().map(|(png, seed)| picture(png, *seed)).collect();
    let mut answer = json!({
        "created_at_unix_timestamp": drawn.created,
        "data": data,
        "notes": drawn.notes,
    });
    if let Some(prompt) = &drawn.enhanced_prompt {
        answer["enhanced_prompt"] = json!(prompt);
    }
    answer
}

fn picture(png: &[u8], seed: u64) -> Value {
    json!({"base64_encoded_image": STANDARD.encode(png), "content_type": "image/png", "seed": seed})
}

/// The first picture as a file. What the JSON would have said beside it is in headers, which are ASCII.
pub(crate) fn png(drawn: Drawn) -> Option<Response> {
    let notes = ascii(&drawn.notes.join("; "));
    let (png, seed) = drawn.pictures.into_iter().next()?;
    let response = Response::new(200, "image/png", png).with("x-seed", &seed.to_string());
    Some(if notes.is_empty() { response } else { response.with("x-notes", &notes) })
}

/// Headers carry ASCII; a note with other letters stays readable in part.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
