//! The address and the body of a request.

use provider_kit::{Error, Request, Role};
use serde_json::{Map, Value, json};

/// For messages.
const SERVER: &str = "Gemini's interface";
/// Most stop strings.
const MAX_STOPS: usize = 5;

/// The model's place, such as `/models/gemini-2.5-flash`. A name becomes part of the address, so that it is held to what names
/// are made of.
pub(crate) fn path(model: &str) -> Result<String, Error> {
    let (kind, name) = model.split_once('/').unwrap_or(("models", model));
    let is_plain = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !text.is_empty() && text != ".." && text != "." && text.bytes().all(allowed)
    };
    if !["models", "tunedModels"].contains(&kind) || !is_plain(name) {
        return Err(Error::Other("the model's `name` is none of Gemini's, such as gemini-2.5-flash".into()));
    }
    Ok(format!("/{kind}/{name}"))
}

pub(crate) fn body(request: &Request) -> Result<Value, Error> {
    request.without(&["min-p", "repeat-penalty"], SERVER)?;
    let mut body = Map::new();
    let system: Vec<&str> = said_by(request, Role::System).collect();
    if !system.is_empty() {
        body.insert("systemInstruction".into(), json!({ "parts": parts(&system) }));
    }
    let turns = request.turns.iter().filter(|turn| turn.role != Role::System);
    let content = turns.map(|turn| {
        let role = if turn.role == Role::User { "user" } else { "model" };
        json!({ "role": role, "parts": [{ "text": turn.text }] })
    });
    body.insert("contents".into(), content.collect());
    body.insert("generationConfig".into(), config(request)?);
    Ok(body.into())
}

fn said_by(request: &Request, role: Role) -> impl Iterator<Item = &str> {
    request.turns.iter().filter(move |turn| turn.role == role).map(|turn| turn.text.as_str())
}

fn parts(texts: &[&str]) -> Value {
    texts.iter().map(|text| json!({ "text": text })).collect()
}

fn config(request: &Request) -> Result<Value, Error> {
    let seed = request.seed_up_to(i32::MAX as u64, SERVER)?;
    let stop = request.stop_up_to(MAX_STOPS, SERVER)?;
    if request.top_k == Some(0) {
        return Err(Error::invalid("top-k", format!("{SERVER} knows no 0 for all; leave it out")));
    }
    let schema = request.schema()?;
    let mut config = Map::new();
    let mut put = |key: &str, value: Option<Value>| config.extend(value.map(|value| (key.to_owned(), value)));
    put("maxOutputTokens", Some(json!(request.max_tokens)));
    put("temperature", request.temperature.map(Value::from));
    put("topK", request.top_k.map(Value::from));
    put("topP", request.top_p.map(Value::from));
    put("seed", seed.map(Value::from));
    put("stopSequences", (!stop.is_empty()).then(|| json!(stop)));
    put("responseMimeType", schema.is_some().then(|| json!("application/json")));
    put("responseJsonSchema", schema);
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use provider_kit::Turn;

    use super::*;

    #[test]
    fn a_request_is_what_google_documents() {
        let mut request = Request::plain("gemini-2.5-flash", "hello");
        request.turns.insert(0, Turn { role: Role::Assistant, text: "hi".into() });
        request.turns.insert(0, Turn { role: Role::System, text: "be brief".into() });
        (request.temperature, request.top_k, request.top_p, request.seed) =
            (Some(0.5), Some(40), Some(0.9), Some(7));
        request.schema = Some(r#"{"type":"boolean"}"#.into());
        let expected = json!({
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [
                {"role": "model", "parts": [{"text": "hi"}]},
                {"role": "user", "parts": [{"text": "hello"}]},
            ],
            "generationConfig": {
                "maxOutputTokens": 512, "temperature": 0.5, "topK": 40, "topP": 0.9, "seed": 7,
                "responseMimeType": "application/json", "responseJsonSchema": {"type": "boolean"},
            },
        });
        assert_eq!(body(&request).unwrap(), expected);
    }

    #[test]
    fn what_the_interface_has_no_place_for_is_refused_by_name() {
        let refused = |change: fn(&mut Request), named: &str| {
            let mut request = Request::plain("m", "hello");
            change(&mut request);
            match body(&request) {
                Err(Error::Invalid(field, _)) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        };
        refused(|request| request.min_p = Some(0.1), "min-p");
        refused(|request| request.repeat_penalty = Some(1.1), "repeat-penalty");
        refused(|request| request.seed = Some(1 << 31), "seed");
        refused(|request| request.stop = vec!["a".into(); 6], "stop");
        refused(|request| request.top_k = Some(0), "top-k");
    }

    #[test]
    fn a_name_stays_within_its_place() {
        assert_eq!(path("gemini-2.5-flash"), Ok("/models/gemini-2.5-flash".into()));
        assert_eq!(path("tunedModels/mine"), Ok("/tunedModels/mine".into()));
        for bad in ["", "..", "models/../x", "a b", "a?key=1", "files/x", "models/", "a:b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
