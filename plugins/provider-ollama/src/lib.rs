//! Language models that Ollama serves, through its own interface (`/api/chat`), which takes more than its form of OpenAI's:
//! options of the sampler, schemas, how long the model stays. `events.rs` reads replies; requests and errors are here.

mod events;

#[cfg(target_arch = "wasm32")]
mod glue;

use provider_kit::{Answer, Ask, Error, Framing, Protocol, Request, Role, Settings, Turn, by_status, shown};
use serde_json::{Map, Value, json};

use events::Lines;

/// For messages.
const SERVER: &str = "Ollama";

/// The protocol, with what the manifest says.
pub struct Ollama {
    api_key: Option<String>,
    keep_alive: Option<String>,
    context: Option<u64>,
    think: Option<bool>,
}

impl Protocol for Ollama {
    type Events = Lines;

    const FRAMING: Framing = Framing::Lines;

    fn configure(settings: &Settings) -> Result<Self, Error> {
        settings.only(&["keep-alive", "context", "think"])?;
        let number = |text: &str| text.parse().ok().filter(|count| *count > 0);
        let context = settings.get("context").map(|text| {
            number(text).ok_or_else(|| {
                Error::Other("`config.context` of the provider wants a number of tokens".into())
            })
        });
        let think = settings.one_of("think", &[("", None), ("true", Some(true)), ("false", Some(false))])?;
        Ok(Self {
            api_key: settings.api_key().map(Into::into),
            keep_alive: settings.get("keep-alive").map(Into::into),
            context: context.transpose()?,
            think,
        })
    }

    fn ask(&self, request: &Request) -> Result<Ask, Error> {
        let mut body = Map::new();
        body.insert("model".into(), json!(request.model));
        body.insert("messages".into(), request.turns.iter().map(message).collect());
        body.insert("stream".into(), json!(true));
        body.insert("options".into(), self.options(request)?);
        body.extend(request.schema()?.map(|schema| ("format".to_owned(), schema)));
        body.extend(self.keep_alive.as_ref().map(|time| ("keep_alive".to_owned(), keep_alive(time))));
        body.extend(self.think.map(|think| ("think".to_owned(), json!(think))));
        let key = self.api_key.iter().map(|key| ("authorization", format!("Bearer {key}")));
        Ok(Ask::json("/api/chat", key.collect(), &Value::from(body)))
    }

    fn events(&self, _: &Request) -> Lines {
        Lines
    }

    fn refusal(&self, answer: &Answer) -> Error {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let said = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
        match answer.status {
            400 if said.is_some_and(|said| said.contains("does not support")) => Error::Other(format!(
                "the server does not take the request: {}",
                shown(said.unwrap_or_default())
            )),
            _ => by_status(answer, said),
        }
    }
}

impl Ollama {
    fn options(&self, request: &Request) -> Result<Value, Error> {
        let seed = request.seed_up_to(i32::MAX as u64, SERVER)?;
        let mut options = Map::new();
        let mut put =
            |key: &str, value: Option<Value>| options.extend(value.map(|value| (key.to_owned(), value)));
        put("num_predict", Some(json!(request.max_tokens)));
        put("num_ctx", self.context.map(Value::from));
        put("temperature", request.temperature.map(Value::from));
        put("top_k", request.top_k.map(Value::from));
        put("top_p", request.top_p.map(Value::from));
        put("min_p", request.min_p.map(Value::from));
        put("repeat_penalty", request.repeat_penalty.map(Value::from));
        put("seed", seed.map(Value::from));
        put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
        Ok(options.into())
    }
}

fn message(turn: &Turn) -> Value {
    let role = match turn.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({ "role": role, "content": turn.text })
}

/// A time such as `10m`, or a number of seconds: Ollama takes the one as text and the other as a number.
fn keep_alive(time: &str) -> Value {
    time.parse::<i64>().map_or_else(|_| json!(time), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(pairs: &[(&str, &str)]) -> Result<Ollama, Error> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Ollama::configure(&Settings::new(pairs))
    }

    fn body(ollama: &Ollama, request: &Request) -> Value {
        serde_json::from_slice(&ollama.ask(request).unwrap().body).unwrap()
    }

    #[test]
    fn a_request_is_what_ollama_documents() {
        let ollama = configured(&[("keep-alive", "10m"), ("context", "8192"), ("think", "false")]).unwrap();
        let mut request = Request::plain("llama3.2:1b", "hello");
        request.temperature = Some(0.0);
        (request.top_k, request.top_p, request.min_p) = (Some(40), Some(0.9), Some(0.05));
        (request.repeat_penalty, request.seed) = (Some(1.1), Some(7));
        request.stop = vec!["\n".into()];
        let expected = json!({
            "model": "llama3.2:1b",
            "messages": [{"role": "user", "content": "hello"}],
            "stream": true,
            "options": {
                "num_predict": 512, "num_ctx": 8192, "temperature": 0.0, "top_k": 40, "top_p": 0.9, "min_p": 0.05,
                "repeat_penalty": 1.1, "seed": 7, "stop": ["\n"],
            },
            "keep_alive": "10m",
            "think": false,
        });
        assert_eq!(body(&ollama, &request), expected);
        let plain = configured(&[("keep-alive", "-1")]).unwrap();
        let mut request = Request::plain("m", "hello");
        request.schema = Some(r#"{"type":"null"}"#.into());
        let found = body(&plain, &request);
        assert_eq!((&found["format"], &found["keep_alive"]), (&json!({"type": "null"}), &json!(-1)));
        assert!(found.get("think").is_none() && found["options"].get("num_ctx").is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for wrong in [("context", "many"), ("context", "0"), ("think", "maybe"), ("dialect", "x")] {
            assert!(
                matches!(configured(&[wrong]), Err(Error::Other(text)) if text.contains(wrong.0)),
                "{wrong:?}"
            );
        }
        let mut request = Request::plain("m", "hello");
        request.seed = Some(1 << 40);
        assert!(matches!(configured(&[]).unwrap().ask(&request), Err(Error::Invalid("seed", _))));
    }

    #[test]
    fn errors_are_told_apart() {
        let ollama = configured(&[]).unwrap();
        let refusal =
            |status, body: &str| ollama.refusal(&Answer { status, body: body.into(), ..Answer::default() });
        let missing = refusal(404, r#"{"error":"model 'x' not found"}"#);
        assert!(
            matches!(&missing, Error::Other(text) if text.contains("model 'x' not found")),
            "{missing:?}"
        );
        let think = refusal(400, r#"{"error":"\"m\" does not support thinking"}"#);
        assert!(matches!(&think, Error::Other(text) if text.contains("thinking")), "{think:?}");
        assert!(matches!(
            refusal(500, r#"{"error":"llama runner process has terminated"}"#),
            Error::Unavailable(..)
        ));
        assert!(matches!(refusal(503, "server busy"), Error::Unavailable(..)));
        assert!(matches!(refusal(200, "<html>"), Error::Malformed(_)));
    }
}
