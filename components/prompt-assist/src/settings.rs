//! The service's environment variables, which the host passes on as configuration, and one key of the manifest's own.
//! Each is read when a request needs it; a value that cannot be used is said by name.

use atelier_kit::Host;
use atelier_kit::settings::given;

use crate::failure::Failure;

// the service's own names, letter for letter: its operators bring their environment along
const MODEL_ID: &str = "TEXT_TO_IMAGE_STABLE_DIFFUSION_MODEL_ID";
const DEVICE: &str = "TEXT_TO_IMAGE_STABLE_DIFFUSION_DEVICE";
const SERVER_BASE_URL: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_SERVER_BASE_URL";
const SERVER_MODEL: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_NAME";
const SERVER_TIMEOUT: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_TIMEOUT_SECONDS";
const SERVER_TEMPERATURE: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_TEMPERATURE";
pub(crate) const SERVER_MAX_TOKENS: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_MAX_TOKENS";
const SERVER_SYSTEM_PROMPT: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_SYSTEM_PROMPT";

const DEFAULT_SYSTEM_PROMPT: &str = "You rewrite short picture ideas as one vivid prompt for an image generator. Keep \
     every subject, colour, number and style that the user names. Add setting, light, composition and style where they \
     are missing. Answer with the prompt alone, in one paragraph, without quotes and without comments.";

/// A language model server with the OpenAI chat interface, such as llama.cpp's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Server {
    /// Its address without the path `/v1/chat/completions`.
    pub(crate) base_url: String,
    /// The model's name, which llama.cpp ignores.
    pub(crate) model: String,
    /// Milliseconds until a call is given up.
    pub(crate) timeout_ms: u64,
    /// Sampling temperature, 0 to 2.
    pub(crate) temperature: f64,
    /// The most tokens of an answer.
    pub(crate) max_tokens: u32,
    /// What the model is told to do.
    pub(crate) system_prompt: String,
}

/// The model that the operator named, if any.
pub(crate) fn model_id(host: &impl Host) -> Option<String> {
    given(host, MODEL_ID)
}

/// The device that the operator insists on: none for `auto`.
pub(crate) fn device(host: &impl Host) -> Result<Option<String>, Failure> {
    match given(host, DEVICE).map(|text| text.to_lowercase()).as_deref() {
        None | Some("auto") => Ok(None),
        Some(name @ ("cpu" | "cuda")) => Ok(Some(name.to_owned())),
        Some(_) => Err(unusable(DEVICE, "auto, cpu or cuda")),
    }
}

/// The language model server, when one is configured.
pub(crate) fn server(host: &impl Host) -> Result<Option<Server>, Failure> {
    let Some(url) = given(host, SERVER_BASE_URL) else { return Ok(None) };
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return Err(unusable(SERVER_BASE_URL, "an address such as http://127.0.0.1:8080"));
    }
    let seconds = number(host, SERVER_TIMEOUT, 60.0, 0.1, 3600.0)?;
    Ok(Some(Server {
        base_url: without_path(&url),
        model: given(host, SERVER_MODEL).unwrap_or_else(|| "default".into()),
        timeout_ms: (seconds * 1000.0) as u64,
        temperature: number(host, SERVER_TEMPERATURE, 0.7, 0.0, 2.0)?,
        max_tokens: whole(host, SERVER_MAX_TOKENS, 300, 4096)?,
        system_prompt: given(host, SERVER_SYSTEM_PROMPT).unwrap_or_else(|| DEFAULT_SYSTEM_PROMPT.into()),
    }))
}

/// Operators write the address with and without `/v1`.
fn without_path(url: &str) -> String {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/').to_owned()
}

/// A number within bounds; one that is not a number is in no bounds.
fn number(host: &impl Host, key: &str, default: f64, min: f64, max: f64) -> Result<f64, Failure> {
    let Some(text) = given(host, key) else { return Ok(default) };
    let found = text.parse().ok().filter(|number| (min..=max).contains(number));
    found.ok_or_else(|| unusable(key, &format!("a number from {min} to {max}")))
}

/// A whole number from 1; what is none is not rounded to one.
fn whole(host: &impl Host, key: &str, default: u32, max: u32) -> Result<u32, Failure> {
    let Some(text) = given(host, key) else { return Ok(default) };
    let found = text.parse().ok().filter(|number| (1..=max).contains(number));
    found.ok_or_else(|| unusable(key, &format!("a whole number from 1 to {max}")))
}

/// A backend's failure and not the request's: the client can do nothing about the operator's variables.
fn unusable(key: &str, wanted: &str) -> Failure {
    Failure::backend(format!("the server's variable {key} cannot be used; it must be {wanted}"))
}

/// The manifest's answer to a named model that the route does not have.
pub(crate) fn model_not_granted(name: &str) -> Failure {
    Failure::backend(format!(
        "{MODEL_ID} is \"{name}\", which no granted model is called: add a `[[model]]` with `source = \"hub:{name}\"` \
         and its id to `grants.models` of this route"
    ))
}

/// The manifest's answer to a named model that the route has and whose files are not here.
pub(crate) fn model_absent(name: &str, fix: &str) -> Failure {
    Failure::backend(format!("{MODEL_ID} is \"{name}\", which is not here: {fix}"))
}

/// The manifest's answer to a device that the model does not run on.
pub(crate) fn device_mismatch(wanted: &str, model: &str, found: &str) -> Failure {
    Failure::backend(format!(
        "{DEVICE} is {wanted}, but the model {model} runs on {found}: set `engine.device = \"{wanted}\"`"
    ))
}
