//! One whole answer (`generateContent`): its text, its files, and why it has none.

use provider_kit::{Error, decoded, shown};
use serde_json::Value;

/// What an answer holds, in order.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// Files, such as pictures.
    pub(crate) files: Vec<Vec<u8>>,
    /// All text that is no thought.
    pub(crate) text: String,
}

/// Reads an answer whose status says that it is one.
pub(crate) fn read(body: &[u8]) -> Result<Whole, Error> {
    let mut answer: Value =
        serde_json::from_slice(body).map_err(|_| Error::Malformed("its answer is no JSON".into()))?;
    if answer.pointer("/promptFeedback/blockReason").is_some() {
        return Err(Error::Refused("the server's rules forbid an answer to this".into()));
    }
    let Some(candidate) = answer.pointer_mut("/candidates/0") else {
        return Err(Error::Malformed("its answer has no candidate".into()));
    };
    if let Some(reason) = candidate.get("finishReason").and_then(Value::as_str) {
        ended(reason)?;
    }
    let mut whole = Whole::default();
    let parts = candidate.pointer_mut("/content/parts").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        // a thought may come with pictures of its own
        if part.get("thought").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            whole.text.push_str(text);
        }
        if let Some(data) = part.pointer("/inlineData/data").and_then(Value::as_str) {
            whole.files.push(decoded(data)?);
        }
        // large: gone before the next one is read
        part.take();
    }
    Ok(whole)
}

fn ended(reason: &str) -> Result<(), Error> {
    match reason {
        "STOP" => Ok(()),
        "MAX_TOKENS" => Err(Error::Malformed("its answer was cut off: it had too much to say".into())),
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER" => Err(Error::Refused("the server's rules stopped the answer".into())),
        other => Err(Error::Malformed(format!(
            "its answer ends for a reason that is unknown here, `{}`",
            shown(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_files_are_taken_and_thoughts_are_not() {
        let body = r#"{"candidates": [{"content": {"parts": [
            {"text": "let me think", "thought": true},
            {"inlineData": {"mimeType": "image/png", "data": "b25l"}, "thought": true},
            {"text": "Here "}, {"inlineData": {"mimeType": "image/png", "data": "dHdv"}}, {"text": "you are"}
        ]}, "finishReason": "STOP"}]}"#;
        let whole = read(body.as_bytes()).unwrap();
        assert_eq!((whole.text.as_str(), whole.files), ("Here you are", vec![b"two".to_vec()]));
    }

    #[test]
    fn an_answer_without_one_says_why() {
        for body in [
            r#"{"promptFeedback": {"blockReason": "SAFETY"}}"#,
            r#"{"candidates": [{"finishReason": "IMAGE_SAFETY"}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "PROHIBITED_CONTENT"}]}"#,
        ] {
            assert!(matches!(read(body.as_bytes()), Err(Error::Refused(_))), "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"candidates": []}"#,
            r#"{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}"#,
            r#"{"candidates": [{"finishReason": "MAX_TOKENS"}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"inlineData": {"data": "?"}}]}}]}"#,
        ] {
            assert!(matches!(read(body.as_bytes()), Err(Error::Malformed(_))), "{body}");
        }
    }
}
