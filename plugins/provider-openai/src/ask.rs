//! The body of a chat completion.

use provider_kit::{Error, Request, Role, Turn};
use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

pub(crate) fn body(request: &Request, dialect: Dialect, cache_prompt: bool) -> Result<Value, Error> {
    let server = dialect.words();
    request.without(dialect.lacks(), server)?;
    let seed = request.seed_up_to(i64::MAX as u64, server)?;
    let stop = request.stop_up_to(dialect.most_stops(), server)?;
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| body.extend(value.map(|value| (key.to_owned(), value)));
    put("model", Some(json!(request.model)));
    put("messages", Some(request.turns.iter().map(message).collect()));
    put("stream", Some(json!(true)));
    put("stream_options", Some(json!({ "include_usage": true })));
    put(dialect.max_tokens(), Some(json!(request.max_tokens)));
    put("temperature", request.temperature.map(Value::from));
    put("top_k", request.top_k.map(|count| top_k(count, dialect)));
    put("top_p", request.top_p.map(Value::from));
    put("min_p", request.min_p.map(Value::from));
    put(dialect.repeat_penalty(), request.repeat_penalty.map(Value::from));
    put("seed", seed.map(Value::from));
    put("stop", (!stop.is_empty()).then(|| json!(stop)));
    let format = |schema: Value| {
        let named = json!({ "name": "reply", "strict": true, "schema": schema });
        json!({ "type": "json_schema", "json_schema": named })
    };
    put("response_format", request.schema()?.map(format));
    // else it would use again what it read for other tenants, who could tell by the time that it takes
    put("cache_prompt", (dialect == Dialect::LlamaCpp).then(|| json!(cache_prompt)));
    Ok(body.into())
}

fn message(turn: &Turn) -> Value {
    let role = match turn.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({ "role": role, "content": turn.text })
}

/// None of the likeliest tokens left out is 0 here and at llama.cpp, -1 at vLLM.
fn top_k(count: u32, dialect: Dialect) -> Value {
    if count == 0 && dialect == Dialect::Vllm { json!(-1) } else { json!(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Request {
        let mut request = Request::plain("gpt", "hello");
        request.turns.insert(0, Turn { role: Role::System, text: "be brief".into() });
        request.temperature = Some(0.5);
        request.top_p = Some(0.9);
        request.seed = Some(7);
        request.stop = vec!["\n".into()];
        request
    }

    #[test]
    fn a_request_is_what_openai_documents() {
        let mut request = full();
        request.stop.clear();
        request.schema = Some(r#"{"type":"object"}"#.into());
        let expected = json!({
            "model": "gpt",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_completion_tokens": 512,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": true, "schema": {"type": "object"}},
            },
        });
        assert_eq!(body(&request, Dialect::OpenAi, false).unwrap(), expected);
    }

    #[test]
    fn what_an_interface_has_no_place_for_is_refused_by_name() {
        let refused = |change: fn(&mut Request), named: &str| {
            let mut request = full();
            change(&mut request);
            match body(&request, Dialect::OpenAi, false) {
                Err(Error::Invalid(field, _)) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        };
        refused(|request| request.top_k = Some(40), "top-k");
        refused(|request| request.min_p = Some(0.1), "min-p");
        refused(|request| request.repeat_penalty = Some(1.1), "repeat-penalty");
        refused(|request| request.seed = Some(u64::MAX), "seed");
        refused(|request| request.stop = vec!["a".into(); 5], "stop");
        refused(|request| request.schema = Some("{".into()), "schema");
    }

    #[test]
    fn servers_of_ones_own_take_more() {
        let mut request = full();
        (request.top_k, request.min_p, request.repeat_penalty) = (Some(0), Some(0.1), Some(1.1));
        let llama = body(&request, Dialect::LlamaCpp, false).unwrap();
        assert_eq!(
            (&llama["top_k"], &llama["min_p"], &llama["repeat_penalty"]),
            (&json!(0), &json!(0.1), &json!(1.1))
        );
        assert_eq!((&llama["max_tokens"], &llama["cache_prompt"]), (&json!(512), &json!(false)));
        assert_eq!(body(&request, Dialect::LlamaCpp, true).unwrap()["cache_prompt"], true);
        let vllm = body(&request, Dialect::Vllm, false).unwrap();
        assert_eq!((&vllm["top_k"], &vllm["repetition_penalty"]), (&json!(-1), &json!(1.1)));
        assert!(vllm.get("cache_prompt").is_none());
    }
}
