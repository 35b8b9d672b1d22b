//! Which model listens: the one that a request names, by its own id or by a name that the route's configuration gives it, or
//! else the route's first.

use atelier_kit::host::AbsentModel;
use atelier_kit::settings::pairs;
use atelier_kit::{Host, Speech};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The configuration's key of further names, such as `whisper-1=atelier-nano-ear`, one after another with commas: programs
/// that were written for OpenAI's models name these.
const ALIASES: &str = "aliases";

/// The id of the model that listens.
pub(crate) async fn listener(host: &(impl Host + Speech), wanted: Option<&str>) -> Result<String, Failure> {
    let mut ids = ids(host).await.into_iter();
    let Some(wanted) = wanted else { return ids.next().ok_or_else(none_granted) };
    let meant = aliases(host)?.into_iter().find(|(name, _)| name == wanted).map(|(_, id)| id);
    let meant = meant.as_deref().unwrap_or(wanted);
    match ids.find(|id| id == meant) {
        Some(id) => Ok(id),
        None => Err(Failure::no_such_model(why_not(host, meant).await)),
    }
}

/// The models of speech, and their further names, as OpenAI lists models.
pub(crate) async fn list(host: &(impl Host + Speech)) -> Value {
    let mut names = ids(host).await;
    let aliases = aliases(host).unwrap_or_default().into_iter();
    let known: Vec<_> = aliases.filter(|(_, id)| names.contains(id)).map(|(name, _)| name).collect();
    names.extend(known);
    json!({"object": "list", "data": names.iter().map(|name| described(name)).collect::<Vec<_>>()})
}

/// One of them.
pub(crate) async fn one(host: &(impl Host + Speech), name: &str) -> Result<Value, Failure> {
    listener(host, Some(name)).await.map(|_| described(name))
}

/// OpenAI's shape. When a model was made is not known, and it has no owner.
fn described(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "atelier"})
}

async fn ids(host: &impl Speech) -> Vec<String> {
    host.speech_models().await.into_iter().map(|model| model.id).collect()
}

/// Further names and the ids that they stand for.
fn aliases(host: &impl Host) -> Result<Vec<(String, String)>, Failure> {
    pairs(&host.config(ALIASES).unwrap_or_default()).ok_or_else(|| {
        let text =
            format!("the route's `config.{ALIASES}` cannot be used; write \"whisper-1=the-models-id\"");
        Failure::backend(text)
    })
}

/// Why a model cannot be used.
async fn why_not(host: &(impl Host + Speech), name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    match host.absent_models().await.into_iter().find(|model| model.id == name) {
        Some(AbsentModel { id, fix, .. }) => format!("`model`: `{id}` is not here: {fix}"),
        None => {
            let ids = ids(host).await.join(", ");
            format!("`model`: `{shown}` is no model of speech of this route; give one of {ids}")
        }
    }
}

fn none_granted() -> Failure {
    Failure::backend("no model of speech is granted to this route: add its id to `grants.models`")
}
