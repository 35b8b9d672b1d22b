//! The events of a streamed reply: whole responses, each with what was written since the last one. No mark stands at the
//! end: the reason does, and then the connection ends.

use provider_kit::{End, Error, Events, Finish, Part, Usage, shown};
use serde_json::Value;

use crate::refusal;

/// Reads one reply.
#[derive(Default)]
pub struct Candidates {
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Events for Candidates {
    fn event(&mut self, data: &str, parts: &mut Vec<Part>) -> Result<(), Error> {
        let malformed = |_| Error::Malformed("an event of its reply is no JSON".into());
        let event: Value = serde_json::from_str(data).map_err(malformed)?;
        if let Some(error) = event.get("error") {
            return Err(refusal::of_error(error, None));
        }
        if event.pointer("/promptFeedback/blockReason").is_some() {
            return Err(Error::Refused("the server's rules forbid an answer to this conversation".into()));
        }
        self.usage = usage(&event).or(self.usage);
        let Some(candidate) = event.pointer("/candidates/0") else { return Ok(()) };
        let pieces = candidate.pointer("/content/parts").and_then(Value::as_array);
        for piece in pieces.into_iter().flatten() {
            // thoughts are summaries of what was not said
            let is_thought = piece.get("thought").and_then(Value::as_bool) == Some(true);
            if let Some(text) = piece.get("text").and_then(Value::as_str).filter(|_| !is_thought) {
                parts.push(Part::Said(text.to_owned()));
            }
        }
        if let Some(reason) = candidate.get("finishReason").and_then(Value::as_str) {
            self.finish = Some(finish(reason)?);
        }
        Ok(())
    }

    fn close(&mut self) -> Option<End> {
        let (finish, usage) = (self.finish?, self.usage);
        Some(End { finish, usage, notes: Vec::new() })
    }
}

fn finish(reason: &str) -> Result<Finish, Error> {
    match reason {
        // a stop string is not told from the model's own end
        "STOP" => Ok(Finish::End),
        "MAX_TOKENS" => Ok(Finish::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" => {
            Err(Error::Refused("the server's rules stopped the reply".into()))
        }
        other => Err(Error::Malformed(format!(
            "its reply ends for a reason that is unknown here, `{}`",
            shown(other)
        ))),
    }
}

fn usage(event: &Value) -> Option<Usage> {
    let counts = event.get("usageMetadata")?;
    let count = |key: &str| {
        let count = counts.get(key).and_then(Value::as_u64);
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    // nothing was written yet where nothing is said of it
    let written = count("candidatesTokenCount").unwrap_or(0);
    Some(Usage {
        prompt_tokens: count("promptTokenCount")?,
        cached_tokens: count("cachedContentTokenCount").unwrap_or(0),
        reply_tokens: written.saturating_add(count("thoughtsTokenCount").unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Following, Framing};

    use super::*;

    /// As Google's reference shows it: carriage returns, no last mark.
    const REPLY: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"I think\",\"thought\": true},{\"text\": \"Hyvää \"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 7},\"modelVersion\": \"gemini-2.5-flash\"}\r\n\r\n\
        data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"yötä 🌙\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 7,\"candidatesTokenCount\": 4,\"thoughtsTokenCount\": 20,\"cachedContentTokenCount\": 2,\"totalTokenCount\": 31}}\r\n\r\n";

    fn follow(pieces: &[&[u8]]) -> Vec<Part> {
        let mut following = Following::new(Framing::Events, Candidates::default());
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| following.take(piece)).collect();
        parts.extend(following.close());
        parts
    }

    #[test]
    fn a_reply_is_the_same_wherever_its_bytes_are_cut() {
        let usage = Usage { prompt_tokens: 7, cached_tokens: 2, reply_tokens: 24 };
        let end = Part::End(End { finish: Finish::End, usage: Some(usage), notes: Vec::new() });
        let whole = [Part::Said("Hyvää ".into()), Part::Said("yötä 🌙".into()), end];
        for at in 0..=REPLY.len() {
            let (head, tail) = REPLY.as_bytes().split_at(at);
            assert_eq!(follow(&[head, tail]), whole, "cut at {at}");
        }
    }

    #[test]
    fn blocks_errors_and_early_ends_are_no_whole_reply() {
        let one = |event: &str| follow(&[format!("data: {event}\n\n").as_bytes()]);
        let blocked =
            one(r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}"#);
        assert!(matches!(&blocked[..], [Part::Failed(Error::Refused(_))]), "{blocked:?}");
        let stopped = one(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"SAFETY"}]}"#);
        assert!(matches!(&stopped[..], [Part::Said(_), Part::Failed(Error::Refused(_))]), "{stopped:?}");
        let failed = one(r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#);
        assert!(matches!(&failed[..], [Part::Failed(Error::Unavailable(..))]), "{failed:?}");
        let cut = one(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#);
        assert!(matches!(&cut[..], [Part::Said(_), Part::Failed(Error::Unavailable(..))]), "{cut:?}");
        let long = one(r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#);
        assert!(
            matches!(&long[..], [Part::End(End { finish: Finish::Length, usage: None, .. })]),
            "{long:?}"
        );
        assert!(matches!(&one("[]x")[..], [Part::Failed(Error::Malformed(_))]));
    }
}
