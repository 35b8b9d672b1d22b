//! The backend's part of the OpenAPI document. Requests come from the tables that parse them.

use atelier_kit::docs::{object, reference};
use atelier_kit::fields::{Table, schema};
use serde_json::{Map, Value, json};

use super::requests::{COMMAND, EDIT, LOOK, PICTURE, RECORDING};

const TASK_ABOUT: &str = "`queued` → `processing` → `completed`, or `failed` or `cancelled`. While it waits, `position` says how many \
     tasks go before it; while it is drawn, `step` of `steps` and a `preview`; at its end `result`, or `error`. Pictures are `data:` \
     addresses.";

/// The backend's paths.
pub(crate) fn paths() -> Map<String, Value> {
    let paths = json!({
        "/health": {"get": operation("health", "What there is to work with", None, "Health")},
        "/transcribe": {"post": operation("transcribe", "Write a recording down", Some(&[("multipart/form-data", with_file(RECORDING, "audio"))]), "Transcription")},
        "/llm": {"post": operation("llm", "Say what a command asks for", Some(&both(COMMAND, schema(COMMAND))), "Intention")},
        "/generate_image": {"post": task("generate_image", "Queue a new picture", &both(PICTURE, schema(PICTURE)))},
        "/edit_image": {"post": task("edit_image", "Queue a change of a picture", &both(EDIT, with_file(PICTURE, "image")))},
        "/task_status/{task_id}": {"get": standing(), "delete": cancelling()},
    });
    paths.as_object().cloned().unwrap_or_default()
}

/// The schemas that these name.
pub(crate) fn schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let available =
        object(json!({"available": {"type": "boolean"}, "reason": text(), "model": text()}), &["available"]);
    let error = object(json!({"code": text(), "message": text()}), &["code", "message"]);
    let result = object(
        json!({
            "image": text(), "prompt": text(), "seed": {"type": "integer"}, "model": text(), "mode": text(),
            "width": {"type": "integer"}, "height": {"type": "integer"}, "notes": {"type": "array", "items": text()},
        }),
        &["image", "prompt", "seed", "model", "mode", "width", "height", "notes"],
    );
    let schemas = json!({
        "Health": object(json!({
            "status": {"enum": ["healthy", "degraded"]}, "transcription": available,
            "modes": {"type": "object", "additionalProperties": available},
        }), &["status", "modes", "transcription"]),
        "Transcription": object(json!({"text": text(), "language": maybe("string"), "duration": {"type": "number"}, "model": text()}), &["text", "language", "duration", "model"]),
        "Intention": object(json!({"action": {"enum": ["create", "edit", "undo", "none"]}, "target": text(), "prompt": text()}), &["action", "target", "prompt"]),
        "Task": object(json!({
            "task_id": text(), "status": {"enum": ["queued", "processing", "completed", "failed", "cancelled"]},
            "position": maybe("integer"), "eta_seconds": maybe("integer"), "progress": {"type": "integer"}, "message": text(),
            "step": maybe("integer"), "steps": maybe("integer"), "preview": maybe("string"), "preview_step": maybe("integer"),
            "result": {"anyOf": [result, {"type": "null"}]}, "error": {"anyOf": [error, {"type": "null"}]},
        }), &["task_id", "status", "position", "progress", "preview", "result", "error"]),
        "Detail": object(json!({"detail": text(), "code": text(), "field": text()}), &["detail", "code"]),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

type Bodies<'a> = &'a [(&'a str, Value)];

fn operation(id: &str, summary: &str, bodies: Option<Bodies<'_>>, answer: &str) -> Value {
    let content = |name: &str| json!({"application/json": {"schema": reference(name)}});
    let fault = json!({"description": "What went wrong.", "content": content("Detail")});
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content(answer)}, "4XX": fault, "5XX": fault},
    });
    if let Some(bodies) = bodies {
        let content: Map<_, _> =
            bodies.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema}))).collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

fn task(id: &str, summary: &str, bodies: Bodies<'_>) -> Value {
    let mut operation = operation(id, summary, Some(bodies), "Task");
    operation["description"] = TASK_ABOUT.into();
    operation["parameters"] = json!([{
        "name": "idempotency-key", "in": "header", "schema": {"type": "string"},
        "description": "The same request under the same key is the same task.",
    }]);
    operation
}

fn standing() -> Value {
    let mut operation = operation("task_status", "How a task stands", None, "Task");
    operation["description"] = TASK_ABOUT.into();
    let query =
        LOOK.iter().map(|field| json!({"name": field.key(), "in": "query", "schema": field.schema()}));
    operation["parameters"] = [id()].into_iter().chain(query).collect();
    operation
}

fn cancelling() -> Value {
    let mut operation = operation("cancel_task", "Call a task off", None, "Task");
    operation["parameters"] = json!([id()]);
    operation
}

fn id() -> Value {
    json!({"name": "task_id", "in": "path", "required": true, "schema": {"type": "string"}})
}

/// A body in JSON, or as a form.
fn both(json: Table, form: Value) -> [(&'static str, Value); 2] {
    [("application/json", schema(json)), ("multipart/form-data", form)]
}

fn with_file(table: Table, name: &str) -> Value {
    let mut schema = schema(table);
    schema["properties"][name] = json!({"type": "string", "contentMediaType": "application/octet-stream"});
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(name.into());
    }
    schema
}
