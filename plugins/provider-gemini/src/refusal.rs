//! Google's errors: `{"error": {"code", "message", "status", "details"}}`, as an answer or as an event of one.

use provider_kit::{Answer, Error, by_status, shown};
use serde_json::Value;

/// What an answer means that is no reply.
pub(crate) fn of_answer(answer: &Answer) -> Error {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    // without a stream the interface answers with a list
    let first = body.as_ref().map(|body| body.get(0).unwrap_or(body));
    match first.and_then(|body| body.get("error")).filter(|error| error.is_object()) {
        Some(error) => of_error(error, Some(answer)),
        None => by_status(answer, None),
    }
}

/// What an error object means.
pub(crate) fn of_error(error: &Value, answer: Option<&Answer>) -> Error {
    let text = |field: &str| error.get(field).and_then(Value::as_str);
    let said = text("message");
    let own = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = answer.map(|answer| answer.status).filter(|status| *status >= 300).or(own).unwrap_or(500);
    let retry_after_ms = answer.and_then(|answer| answer.retry_after_ms).or_else(|| retry_delay(error));
    let answer = Answer { status, retry_after_ms, ..Answer::default() };
    match text("status") {
        // a wrong key is a bad request here
        _ if has_reason(error, "API_KEY_INVALID") => by_status(&Answer { status: 401, ..answer }, None),
        Some("RESOURCE_EXHAUSTED") if retry_after_ms.is_none() => {
            Error::OverQuota("the account's quota is used up".into(), None)
        }
        Some("INVALID_ARGUMENT" | "FAILED_PRECONDITION") => {
            Error::Other(format!("the server does not take the request: {}", shown(said.unwrap_or_default())))
        }
        Some("DEADLINE_EXCEEDED") => by_status(&Answer { status: 504, ..answer }, None),
        _ => by_status(&answer, said),
    }
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn has_reason(error: &Value, reason: &str) -> bool {
    details(error).any(|detail| detail.get("reason").and_then(Value::as_str) == Some(reason))
}

/// `"retryDelay": "30.5s"`, in milliseconds.
fn retry_delay(error: &Value) -> Option<u64> {
    let delay = details(error).find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    (0.0..1e6).contains(&seconds).then_some((seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Error {
        of_answer(&Answer { status, body: body.into(), ..Answer::default() })
    }

    #[test]
    fn googles_errors_are_told_apart() {
        let key = r#"{"error":{"code":400,"message":"API key not valid: AIza123","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
        let told = refusal(400, key);
        assert!(matches!(&told, Error::Unauthorised(text) if !text.contains("AIza")), "{told:?}");
        let busy = r#"[{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}]"#;
        assert!(matches!(refusal(429, busy), Error::Unavailable(_, Some(1_500))));
        let used = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}"#;
        assert!(matches!(refusal(429, used), Error::OverQuota(_, None)));
        let wrong = r#"{"error":{"code":400,"message":"Invalid JSON payload","status":"INVALID_ARGUMENT"}}"#;
        assert!(matches!(refusal(400, wrong), Error::Other(text) if text.contains("Invalid JSON")));
        let model = r#"{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}"#;
        assert!(matches!(refusal(404, model), Error::Other(text) if text.contains("models/x")));
        let late = r#"{"error":{"code":504,"message":"late","status":"DEADLINE_EXCEEDED"}}"#;
        assert!(matches!(refusal(504, late), Error::TimedOut(_)));
        assert!(matches!(refusal(503, "{}"), Error::Unavailable(..)));
        assert!(matches!(refusal(403, "<html>"), Error::Unauthorised(_)));
    }
}
