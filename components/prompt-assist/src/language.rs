//! The language model server: what is asked of it, and what is taken from its answer. Its text is data: trimmed,
//! bounded, and never followed.

use atelier_kit::Host;
use atelier_kit::host::Call;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::settings::{SERVER_MAX_TOKENS, Server};

/// The most bytes of an answer: far more than the longest prompt with everything around it.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The most characters of a prompt, as for a user's own.
const MAX_PROMPT_CHARS: usize = 4096;

/// Asks the server for a better prompt. With it comes what the user should know of it, if anything.
pub(crate) async fn enhance(
    host: &impl Host,
    server: &Server,
    prompt: &str,
) -> Result<(String, Option<String>), Failure> {
    let url = format!("{}/v1/chat/completions", server.base_url);
    let body = question(server, prompt).to_string().into_bytes();
    let call = Call {
        max_answer_bytes: MAX_ANSWER_BYTES,
        timeout_ms: server.timeout_ms,
        ..Call::post(url, "application/json", body)
    };
    let (status, body) = host.call(call).await?;
    // its body is not shown: it may hold the operator's keys or addresses
    if status != 200 {
        return Err(Failure::backend(format!("the language model server answered with status {status}")));
    }
    let text = content(&body).ok_or_else(|| {
        Failure::backend("the language model server's answer has no text at choices[0].message.content")
    })?;
    match cleaned(&text) {
        text if text.is_empty() => Err(no_text(server.max_tokens)),
        text => Ok(bounded(text)),
    }
}

/// The body of a chat completion. The user's prompt is a message of its own, never part of the instructions.
fn question(server: &Server, prompt: &str) -> Value {
    json!({
        "model": server.model,
        "messages": [
            {"role": "system", "content": server.system_prompt},
            {"role": "user", "content": prompt},
        ],
        "temperature": server.temperature,
        "max_tokens": server.max_tokens,
        "stream": false,
    })
}

/// The text of the first choice, where OpenAI's interface has it.
fn content(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer.pointer("/choices/0/message/content")?.as_str().map(str::to_owned)
}

/// Thoughts that take every token leave none for the prompt.
fn no_text(max_tokens: u32) -> Failure {
    Failure::backend(format!(
        "the language model server answered with no text; a model that thinks first may need more than {max_tokens} tokens \
         ({SERVER_MAX_TOKENS})"
    ))
}

/// The text, or as much of it as a prompt may have and a note that says so.
fn bounded(text: String) -> (String, Option<String>) {
    let count = text.chars().count();
    if count <= MAX_PROMPT_CHARS {
        return (text, None);
    }
    let note = format!(
        "the language model server's prompt has {count} characters, of which the first {MAX_PROMPT_CHARS} were taken"
    );
    (text.chars().take(MAX_PROMPT_CHARS).collect(), Some(note))
}

/// The prompt in an answer: without the model's thoughts, quotes around everything, or control characters.
fn cleaned(text: &str) -> String {
    // reasoning models that llama.cpp serves write their thoughts into the same text
    let text = match text.rsplit_once("</think>") {
        Some((_, after)) => after,
        // the tokens ended before the thoughts did
        None if text.trim_start().starts_with("<think>") => "",
        None => text,
    };
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<_> = unquoted(plain.trim()).split_whitespace().collect();
    words.join(" ")
}

/// The text without one pair of quotes around it, which small models add whatever they are told.
fn unquoted(text: &str) -> &str {
    const PAIRS: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('«', '»')];
    let inner = PAIRS.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        // quotes around two parts are not a pair around everything
        (!inner.contains([*open, *close])).then_some(inner)
    });
    inner.map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_thoughts_and_line_breaks_are_taken_off() {
        assert_eq!(cleaned(" \"a cat\n on a  sill\" "), "a cat on a sill");
        assert_eq!(cleaned("<think>hm</think>\n“a cat”"), "a cat");
        assert_eq!(cleaned("it's a cat"), "it's a cat");
        assert_eq!(cleaned("\"a\" and \"b\""), "\"a\" and \"b\"");
        assert_eq!(cleaned("\"\""), "");
        assert_eq!(cleaned("\""), "\"");
    }

    #[test]
    fn thoughts_that_do_not_end_are_no_prompt() {
        assert_eq!(cleaned("<think>The user wants a cat"), "");
        assert_eq!(cleaned("\n <think>The user wants a cat"), "");
        assert_eq!(cleaned("a cat that says <think>"), "a cat that says <think>");
    }

    #[test]
    fn an_endless_answer_is_cut_to_the_length_of_a_prompt_and_that_is_said() {
        let (text, note) = bounded("ä".repeat(9000));
        assert_eq!(text.chars().count(), MAX_PROMPT_CHARS);
        assert!(note.is_some_and(|note| note.contains("9000 characters")));
        assert_eq!(bounded("ä".repeat(MAX_PROMPT_CHARS)).1, None);
    }

    #[test]
    fn only_an_answer_of_the_right_shape_has_content() {
        assert_eq!(content(br#"{"choices":[{"message":{"content":"a"}}]}"#).as_deref(), Some("a"));
        for body in
            [&b"{}"[..], b"no json", br#"{"choices":[]}"#, br#"{"choices":[{"message":{"content":7}}]}"#]
        {
            assert_eq!(content(body), None);
        }
    }
}
