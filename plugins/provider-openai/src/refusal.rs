//! Errors of OpenAI's interface: `{"error": {"message", "type", "param", "code"}}`, as an answer or as a chunk of one. The
//! others write the same with fewer fields; vLLM writes it without the outer object.

use provider_kit::{Answer, Error, by_status, shown};
use serde_json::Value;

/// What an answer means that is no reply.
pub(crate) fn of_answer(answer: &Answer) -> Error {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = body.as_ref().map(|body| body.get("error").unwrap_or(body));
    match error.filter(|error| error.is_object()) {
        Some(error) if message(error).is_some() => of_error(error, Some(answer)),
        _ => by_status(answer, None),
    }
}

/// What an error object means. One within a stream has no status of its own, unless it says so.
pub(crate) fn of_error(error: &Value, answer: Option<&Answer>) -> Error {
    let text = |field: &str| error.get(field).and_then(Value::as_str);
    let said = message(error);
    let after = answer.and_then(|answer| answer.retry_after_ms);
    match text("code").or_else(|| text("type")) {
        Some("insufficient_quota" | "billing_hard_limit_reached") => {
            return Error::OverQuota("the account's quota is used up".into(), after);
        }
        Some("invalid_api_key") => {
            return Error::Unauthorised("the server does not accept the key; see `api-key-env`".into());
        }
        Some("context_length_exceeded" | "exceed_context_size_error") => {
            return Error::invalid("turns", "the conversation is longer than the model holds");
        }
        Some("content_policy_violation" | "content_filter" | "moderation_blocked") => {
            return Error::Refused("the server's rules forbid an answer".into());
        }
        _ => {}
    }
    let own = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = answer.map(|answer| answer.status).filter(|status| *status >= 300);
    match (status.or(own), text("type")) {
        (Some(400 | 422), _) if text("param").and_then(field).is_some() => {
            let field = text("param").and_then(field).unwrap_or("turns");
            Error::invalid(field, shown(said.unwrap_or("the server does not take it")))
        }
        (Some(status), _) => {
            let answer = Answer { status, retry_after_ms: after, ..Answer::default() };
            by_status(&answer, said)
        }
        (None, Some("invalid_request_error" | "BadRequestError")) => {
            Error::Other(format!("the server does not take the request: {}", shown(said.unwrap_or_default())))
        }
        (None, _) => Error::Unavailable("the server failed while it answered".into(), None),
    }
}

fn message(error: &Value) -> Option<&str> {
    error.get("message").and_then(Value::as_str)
}

/// The request's field behind a parameter of the interface.
fn field(param: &str) -> Option<&'static str> {
    Some(match param.split(['.', '[']).next().unwrap_or_default() {
        "model" => "model",
        "messages" => "turns",
        "max_tokens" | "max_completion_tokens" => "max-tokens",
        "temperature" => "temperature",
        "top_k" => "top-k",
        "top_p" => "top-p",
        "min_p" => "min-p",
        "repeat_penalty" | "repetition_penalty" => "repeat-penalty",
        "seed" => "seed",
        "stop" => "stop",
        "response_format" => "schema",
        // of pictures and of speech
        "prompt" => "prompt",
        "size" => "size",
        "n" => "count",
        "image" => "source",
        "mask" => "mask",
        "file" => "audio",
        "language" => "language",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Error {
        of_answer(&Answer {
            status,
            body: body.into(),
            content_type: "application/json".into(),
            retry_after_ms: None,
        })
    }

    #[test]
    fn openais_errors_are_told_apart() {
        let key = r#"{"error":{"message":"Incorrect API key provided: sk-abc*def.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
        let told = refusal(401, key);
        assert!(matches!(&told, Error::Unauthorised(text) if !text.contains("sk-")), "{told:?}");
        let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
        assert!(matches!(refusal(429, quota), Error::OverQuota(..)));
        let busy = r#"{"error":{"message":"Rate limit reached for org-1","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        assert!(matches!(refusal(429, busy), Error::Unavailable(..)));
        let value = r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.2","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}"#;
        assert!(matches!(refusal(400, value), Error::Invalid("temperature", text) if text.contains("0.2")));
        let schema = r#"{"error":{"message":"Invalid schema","type":"invalid_request_error","param":"response_format.json_schema","code":null}}"#;
        assert!(matches!(refusal(400, schema), Error::Invalid("schema", _)));
        let long = r#"{"error":{"message":"maximum context length is 8192","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        assert!(matches!(refusal(400, long), Error::Invalid("turns", _)));
        let size = r#"{"error":{"message":"Invalid value: '128x128'","type":"invalid_request_error","param":"size","code":"invalid_value"}}"#;
        assert!(matches!(refusal(400, size), Error::Invalid("size", text) if text.contains("128x128")));
        let rules = r#"{"error":{"message":"Your request was rejected","type":"image_generation_user_error","param":null,"code":"moderation_blocked"}}"#;
        assert!(matches!(refusal(400, rules), Error::Refused(_)));
        let model = r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
        assert!(matches!(refusal(404, model), Error::Other(text) if text.contains("`x`")));
        let server = r#"{"error":{"message":"internal: node-17","type":"server_error"}}"#;
        assert!(matches!(refusal(500, server), Error::Unavailable(text, _) if !text.contains("node-17")));
    }

    #[test]
    fn llama_cpp_and_vllm_are_understood_as_well() {
        let loading = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
        assert!(matches!(refusal(503, loading), Error::Unavailable(..)));
        let long = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#;
        assert!(matches!(refusal(400, long), Error::Invalid("turns", _)));
        let vllm = r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#;
        assert!(matches!(refusal(404, vllm), Error::Other(text) if text.contains("does not exist")));
    }

    #[test]
    fn what_is_no_error_object_is_judged_by_its_status() {
        assert!(matches!(refusal(502, "<html>bad gateway</html>"), Error::Unavailable(..)));
        assert!(matches!(refusal(200, "{}"), Error::Malformed(_)));
        assert!(matches!(refusal(200, "<html>"), Error::Malformed(_)));
        assert!(matches!(refusal(302, ""), Error::Malformed(_)));
        assert!(matches!(refusal(429, "[]"), Error::Unavailable(..)));
    }
}
