//! What came of a command, as JSON or as the picture's file with the rest in its headers.

use std::fmt::Write;

use atelier_kit::Response;
use atelier_kit::intent::Intention;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::converse::{Answered, Said};
use crate::failure::Failure;

/// The JSON answer.
pub(crate) fn json(answered: &Answered) -> Value {
    let picture = answered.picture.as_ref();
    let mut value = said(&answered.said);
    value["intent"] = intent(&answered.intention);
    value["picture"] = json!(picture.map(|picture| STANDARD.encode(&picture.png)));
    value["pictures_left"] = answered.pictures_left.into();
    value["model"] = json!(picture.and_then(|picture| picture.model.as_ref()));
    value["seed"] = json!(picture.and_then(|picture| picture.seed));
    if let Some(prompt) = picture.and_then(|picture| picture.enhanced_prompt.as_ref()) {
        value["enhanced_prompt"] = json!(prompt);
    }
    value["notes"] = json!(answered.notes);
    let timings = answered.timings;
    value["timings"] = json!({
        "speech_ms": timings.speech_ms,
        "intent_ms": timings.intent_ms,
        "picture_ms": timings.picture_ms,
    });
    value
}

/// What was said.
pub(crate) fn said(said: &Said) -> Value {
    json!({"transcript": said.text, "language": said.language.as_ref().map(|language| &language.code)})
}

/// What is asked for.
pub(crate) fn intent(intention: &Intention) -> Value {
    let Intention { action, target, prompt } = intention;
    json!({"action": action.name(), "target": target, "prompt": prompt})
}

/// The picture as a file. What the JSON would have said beside it is in headers.
pub(crate) fn png(answered: Answered) -> Result<Response, Failure> {
    let Answered { said, intention, picture, pictures_left, .. } = answered;
    let Some(picture) = picture else {
        let failure = Failure::impossible("no_picture", "the command asks for no picture");
        return Err(failure.after(&said.text, &intention));
    };
    let values = [
        ("transcript", Some(said.text)),
        ("language", said.language.map(|language| language.code)),
        ("action", Some(intention.action.name().to_owned())),
        ("target", Some(intention.target).filter(|text| !text.is_empty())),
        ("prompt", Some(intention.prompt).filter(|text| !text.is_empty())),
        ("pictures-left", Some(pictures_left.to_string())),
        ("model", picture.model),
        ("seed", picture.seed.map(|seed| seed.to_string())),
        ("enhanced-prompt", picture.enhanced_prompt),
        ("notes", Some(picture.notes.join("; ")).filter(|text| !text.is_empty())),
    ];
    let given = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(given.fold(Response::new(200, "image/png", picture.png), |response, (name, value)| {
        response.with(&format!("x-atelier-{name}"), &encoded(&value))
    }))
}

/// A header's value: text with everything that is not visible ASCII, and the percent sign itself, percent-encoded
/// (RFC 3986, section 2.1); a space stays as it is.
fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(value, "%{byte:02X}");
            }
            byte => value.push(char::from(byte)),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_carries_any_text() {
        assert_eq!(encoded("tee siitä 100 % yö\r\n"), "tee siit%C3%A4 100 %25 y%C3%B6%0D%0A");
    }
}
