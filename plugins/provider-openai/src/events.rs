//! The chunks of a streamed chat completion.

use provider_kit::{End, Error, Events, Finish, Part, Usage};
use serde_json::Value;

use crate::refusal;

/// Reads one reply.
#[derive(Default)]
pub struct Chunks {
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Events for Chunks {
    fn event(&mut self, data: &str, parts: &mut Vec<Part>) -> Result<(), Error> {
        if data.trim() == "[DONE]" {
            // servers that say why leave the reason out of no whole reply; the others mean the model's end
            let finish = self.finish.unwrap_or(Finish::End);
            parts.push(Part::End(End { finish, usage: self.usage, notes: Vec::new() }));
            return Ok(());
        }
        let malformed = |_| Error::Malformed("a chunk of its reply is no JSON".into());
        let chunk: Value = serde_json::from_str(data).map_err(malformed)?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(refusal::of_error(error, None));
        }
        // the usage comes in a chunk of its own, after the reason
        self.usage = usage(&chunk).or(self.usage);
        let Some(choice) = chunk.pointer("/choices/0") else { return Ok(()) };
        if let Some(text) = choice.pointer("/delta/content").and_then(Value::as_str) {
            parts.push(Part::Said(text.to_owned()));
        }
        if choice.pointer("/delta/refusal").is_some_and(Value::is_string) {
            return Err(Error::Refused("the model refuses to answer".into()));
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish(reason, choice)?);
        }
        Ok(())
    }

    /// Some proxies leave the last mark out; the reason says that the reply was whole.
    fn close(&mut self) -> Option<End> {
        let (finish, usage) = (self.finish?, self.usage);
        Some(End { finish, usage, notes: Vec::new() })
    }
}

fn finish(reason: &str, choice: &Value) -> Result<Finish, Error> {
    match reason {
        // vLLM tells which of the stop strings it was
        "stop" if choice.get("stop_reason").is_some_and(Value::is_string) => Ok(Finish::StopString),
        "stop" => Ok(Finish::End),
        "length" => Ok(Finish::Length),
        "content_filter" => Err(Error::Refused("the server's filter stopped the reply".into())),
        other => Err(Error::Malformed(format!(
            "its reply ends for a reason that is unknown here, `{}`",
            provider_kit::shown(other)
        ))),
    }
}

/// OpenAI's counts; llama.cpp's older servers have them among their timings only.
fn usage(chunk: &Value) -> Option<Usage> {
    let count = |pointer: &str| {
        let count = chunk.pointer(pointer).and_then(Value::as_u64);
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    if let (Some(prompt_tokens), Some(reply_tokens)) =
        (count("/usage/prompt_tokens"), count("/usage/completion_tokens"))
    {
        let cached_tokens = count("/usage/prompt_tokens_details/cached_tokens").unwrap_or(0);
        return Some(Usage { prompt_tokens, cached_tokens, reply_tokens });
    }
    let (read, reply_tokens) = (count("/timings/prompt_n")?, count("/timings/predicted_n")?);
    let cached_tokens = count("/timings/cache_n").unwrap_or(0);
    Some(Usage { prompt_tokens: read.saturating_add(cached_tokens), cached_tokens, reply_tokens })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Following, Framing};

    use super::*;

    fn follow(bytes: &[u8]) -> Vec<Part> {
        let mut following = Following::new(Framing::Events, Chunks::default());
        let mut parts = following.take(bytes);
        parts.extend(following.close());
        parts
    }

    fn said(parts: &[Part]) -> String {
        let text = |part: &Part| match part {
            Part::Said(text) => Some(text.clone()),
            _ => None,
        };
        parts.iter().filter_map(text).collect()
    }

    /// As OpenAI's reference shows it, keep-alives and carriage returns included.
    const REPLY: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\r\n\r\n: keep-alive\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hyvää \"},\"finish_reason\":null}]}\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yötä 🌙\"},\"finish_reason\":null}]}\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\r\n\r\n\
        data: [DONE]\r\n\r\n";

    #[test]
    fn a_reply_is_the_same_wherever_its_bytes_are_cut() {
        let usage = Usage { prompt_tokens: 9, cached_tokens: 3, reply_tokens: 4 };
        let end = Part::End(End { finish: Finish::End, usage: Some(usage), notes: Vec::new() });
        for at in 0..=REPLY.len() {
            let mut following = Following::new(Framing::Events, Chunks::default());
            let mut parts = following.take(&REPLY.as_bytes()[..at]);
            parts.extend(following.take(&REPLY.as_bytes()[at..]));
            assert!(following.has_ended(), "cut at {at}");
            assert_eq!((said(&parts).as_str(), parts.last()), ("Hyvää yötä 🌙", Some(&end)), "cut at {at}");
        }
    }

    #[test]
    fn a_reply_that_breaks_off_is_no_whole_one() {
        let cut = REPLY.find("data: {\"choices\":[{\"index\":0,\"delta\":{},").unwrap();
        let parts = follow(&REPLY.as_bytes()[..cut]);
        assert_eq!(said(&parts), "Hyvää yötä 🌙");
        assert!(matches!(parts.last(), Some(Part::Failed(Error::Unavailable(..)))), "{parts:?}");
        let whole = follow(REPLY.replace("data: [DONE]\r\n\r\n", "").as_bytes());
        assert!(matches!(whole.last(), Some(Part::End(_))), "the last mark may be missing: {whole:?}");
    }

    #[test]
    fn reasons_are_told_apart() {
        let ended =
            |choice: &str| follow(format!("data: {{\"choices\":[{choice}]}}\n\ndata: [DONE]\n\n").as_bytes());
        let finish = |parts: &[Part]| match parts {
            [Part::End(end)] => end.finish,
            other => panic!("{other:?}"),
        };
        assert_eq!(finish(&ended(r#"{"finish_reason":"length"}"#)), Finish::Length);
        assert_eq!(finish(&ended(r#"{"finish_reason":"stop","stop_reason":"END"}"#)), Finish::StopString);
        assert_eq!(finish(&ended(r#"{"finish_reason":"stop","stop_reason":null}"#)), Finish::End);
        for refused in [r#"{"finish_reason":"content_filter"}"#, r#"{"delta":{"refusal":"I can't"}}"#] {
            assert!(matches!(&ended(refused)[..], [Part::Failed(Error::Refused(_))]), "{refused}");
        }
        assert!(matches!(
            &ended(r#"{"finish_reason":"tool_calls"}"#)[..],
            [Part::Failed(Error::Malformed(_))]
        ));
    }

    #[test]
    fn an_error_in_the_middle_ends_the_reply() {
        let error = r#"{"error":{"message":"The server had an error","type":"server_error","code":null}}"#;
        let chunk = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
        let parts = follow(format!("data: {chunk}\n\ndata: {error}\n\ndata: {chunk}\n\n").as_bytes());
        assert!(matches!(&parts[..], [Part::Said(_), Part::Failed(Error::Unavailable(..))]), "{parts:?}");
        let broken = follow(b"data: {\"choices\":[\n\n");
        assert!(matches!(&broken[..], [Part::Failed(Error::Malformed(_))]), "{broken:?}");
    }

    #[test]
    fn llama_cpp_counts_among_its_timings() {
        let chunk =
            r#"{"choices":[{"finish_reason":"stop"}],"timings":{"cache_n":5,"prompt_n":3,"predicted_n":7}}"#;
        let parts = follow(format!("data: {chunk}\n\ndata: [DONE]\n\n").as_bytes());
        let [Part::End(end)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(end.usage, Some(Usage { prompt_tokens: 8, cached_tokens: 5, reply_tokens: 7 }));
    }
}
