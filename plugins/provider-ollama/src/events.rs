//! The lines of Ollama's streamed replies: one JSON object each, the last of which says `done`.

use provider_kit::{End, Error, Events, Finish, Part, Usage, shown};
use serde_json::Value;

/// Reads one reply.
pub struct Lines;

impl Events for Lines {
    fn event(&mut self, data: &str, parts: &mut Vec<Part>) -> Result<(), Error> {
        let malformed = |_| Error::Malformed("a line of its reply is no JSON".into());
        let line: Value = serde_json::from_str(data).map_err(malformed)?;
        if line.get("error").is_some() {
            // the head was sent already, so that an error has no status
            return Err(Error::Unavailable("the server failed while it answered".into(), None));
        }
        if let Some(text) = line.pointer("/message/content").and_then(Value::as_str) {
            parts.push(Part::Said(text.to_owned()));
        }
        if line.get("done").and_then(Value::as_bool) == Some(true) {
            let finish = finish(line.get("done_reason").and_then(Value::as_str))?;
            parts.push(Part::End(End { finish, usage: usage(&line), notes: Vec::new() }));
        }
        Ok(())
    }

    fn close(&mut self) -> Option<End> {
        None
    }
}

fn finish(reason: Option<&str>) -> Result<Finish, Error> {
    match reason {
        // older servers say nothing; neither tells a stop string from the model's own end
        None | Some("stop") => Ok(Finish::End),
        Some("length") => Ok(Finish::Length),
        Some(other) => Err(Error::Malformed(format!(
            "its reply ends for a reason that is unknown here, `{}`",
            shown(other)
        ))),
    }
}

/// A prompt that was read before may not be counted at all.
fn usage(line: &Value) -> Option<Usage> {
    let count = |key: &str| {
        let count = line.get(key).and_then(Value::as_u64);
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    let (prompt_tokens, reply_tokens) = (count("prompt_eval_count")?, count("eval_count")?);
    Some(Usage { prompt_tokens, cached_tokens: 0, reply_tokens })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Following, Framing};

    use super::*;

    /// As Ollama's documentation shows it.
    const REPLY: &str = "{\"model\":\"m\",\"created_at\":\"2026-08-04T08:52:19Z\",\"message\":{\"role\":\"assistant\",\"content\":\"Hyvää \"},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"yötä 🌙\"},\"done\":false}\n\
        {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"total_duration\":4883583458,\"prompt_eval_count\":26,\"eval_count\":282}\n";

    fn follow(pieces: &[&[u8]]) -> Vec<Part> {
        let mut following = Following::new(Framing::Lines, Lines);
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| following.take(piece)).collect();
        parts.extend(following.close());
        parts
    }

    #[test]
    fn a_reply_is_the_same_wherever_its_bytes_are_cut() {
        let usage = Usage { prompt_tokens: 26, cached_tokens: 0, reply_tokens: 282 };
        let end = Part::End(End { finish: Finish::End, usage: Some(usage), notes: Vec::new() });
        let whole = [Part::Said("Hyvää ".into()), Part::Said("yötä 🌙".into()), end];
        for at in 0..=REPLY.len() {
            let (head, tail) = REPLY.as_bytes().split_at(at);
            assert_eq!(follow(&[head, tail]), whole, "cut at {at}");
        }
    }

    #[test]
    fn an_error_in_the_middle_and_an_early_end_are_no_whole_reply() {
        let first = REPLY.lines().next().unwrap();
        let failed = follow(&[format!("{first}\n{{\"error\":\"an error was encountered\"}}\n").as_bytes()]);
        assert!(matches!(&failed[..], [Part::Said(_), Part::Failed(Error::Unavailable(..))]), "{failed:?}");
        let cut = follow(&[format!("{first}\n").as_bytes()]);
        assert!(matches!(&cut[..], [Part::Said(_), Part::Failed(Error::Unavailable(..))]), "{cut:?}");
        assert!(matches!(&follow(&[b"<html>\n"])[..], [Part::Failed(Error::Malformed(_))]));
    }

    #[test]
    fn reasons_and_counts_may_be_missing() {
        let ended = |line: &str| match &follow(&[line.as_bytes()])[..] {
            [Part::End(end)] => (end.finish, end.usage),
            other => panic!("{other:?}"),
        };
        assert_eq!(ended("{\"done\":true,\"eval_count\":3}"), (Finish::End, None));
        assert_eq!(ended("{\"done\":true,\"done_reason\":\"length\"}").0, Finish::Length);
        assert!(matches!(
            &follow(&[b"{\"done\":true,\"done_reason\":\"load\"}"])[..],
            [Part::Failed(Error::Malformed(_))]
        ));
    }
}
