//! The OpenAPI document. Bodies come from the tables that parse them; only files, batches and answers are described here.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{json_answer, object, reference};
use atelier_kit::fastapi;
use atelier_kit::fields::{Table, schema};
use serde_json::{Value, json};

use crate::api::BATCH;
use crate::batch::MAX_TASKS;
use crate::models::{DRAWERS, Drawer, Make};
use crate::submit::{KEY, MAX_KEY, MESSAGE};
use crate::wish::{BATCHED, CHANGING, CHANGING_VIEW, DRAWING, DRAWING_VIEW};

/// The name of the service.
pub(crate) const TITLE: &str = "Image/Video Generation Server";

const ABOUT: &str = "Makes pictures in the background. A task is submitted, which gives a session id at once; its status says how far it \
     is, and at the end where the picture is. Unknown fields are refused by name. What is marked as extension is not part of the \
     original service.";

const TASK_ABOUT: &str = "Keeps the task and answers at once. What was acknowledged ends completed or failed, whatever happens to the \
     server meanwhile. A picture of a size that the model does not draw is drawn in one that it does and scaled; the task's last \
     message says so.";

/// The document of a service below a path.
pub(crate) fn document(base: &str) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    let mut paths = json!({"/": {"get": health()}});
    for drawer in &DRAWERS {
        for make in [Make::FromText, Make::FromImage] {
            paths[format!("/api/{}/{}", drawer.name, make.word())] = json!({"post": task(drawer, make)});
        }
    }
    paths[BATCH] = json!({"post": batch()});
    paths["/api/{session_id}/status"] =
        json!({"get": session("get_status", "Check task status", status_answer())});
    paths["/api/{session_id}/image"] =
        json!({"get": session("get_image", "The picture itself (extension)", image_answer())});
    let cancel = "Call a task off (extension); one that has ended stays as it is";
    paths["/api/{session_id}"] = json!({"delete": session("cancel", cancel, status_answer())});
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn health() -> Value {
    json!({
        "tags": ["health"],
        "operationId": "health",
        "summary": "Server status and Redis connection status",
        "responses": {"200": json_answer("The work goes on with or without Redis and S3.", "Health")},
    })
}

fn task(drawer: &Drawer, make: Make) -> Value {
    let name = schema_name(drawer, make);
    let (kind, what) = match make {
        Make::FromText => ("application/json", "Text-to-image"),
        Make::FromImage => ("multipart/form-data", "Image-to-image"),
    };
    let mut operation = submission(&json!({kind: {"schema": reference(name)}}), "Submitted");
    operation["tags"] = json!([drawer.name]);
    operation["operationId"] = json!(format!("{}_{}", drawer.name.replace('-', "_"), make.word()));
    operation["summary"] = json!(format!("{what} by {}", drawer.name));
    if drawer.view {
        let text = "The host has no weights for it, and the operator has named no model that stands in.";
        operation["responses"]["501"] = error(text);
    }
    operation
}

fn batch() -> Value {
    let mut operation =
        submission(&json!({"application/json": {"schema": reference("Batch")}}), "BatchSubmitted");
    operation["tags"] = json!(["batch"]);
    operation["operationId"] = json!("batch");
    operation["summary"] = json!("Text-to-image tasks, all of them or none (extension)");
    operation["responses"]["501"] = error("A task is for a model that has no weights here.");
    operation
}

/// What every way to submit tasks has.
fn submission(content: &Value, schema: &str) -> Value {
    let key =
        "Extension. The same tasks under the same key are the same sessions, for as long as these are known.";
    let mut responses = json!({
        "200": json_answer("The tasks are kept.", schema),
        "400": error("`image` is empty or no picture that can be read, the key is too long, or the body broke off."),
        "405": error("The path takes POST only; `allow` says so."),
        "409": error("The key was used for another task."),
        "413": error("The body has too many bytes."),
        "422": json_answer("A value fails validation, is not for this model, or the body is none that can be read.", "HTTPValidationError"),
        "429": error("Too many tasks wait; `retry-after` and `x-should-retry` say when to come back."),
        "500": error("An unexpected error; its text stays in the server's log."),
        "502": error("A model, the storage or the configuration cannot be used; the text says what the operator can do."),
        "507": error("There is no room for the picture; the text names the quota."),
    });
    responses["429"]["headers"] = json!({
        "retry-after": {"description": "Seconds.", "schema": {"type": "integer"}},
        "x-should-retry": {"description": "`true`.", "schema": {"type": "string"}},
    });
    json!({
        "description": TASK_ABOUT,
        "parameters": [{
            "name": KEY, "in": "header", "required": false, "description": key,
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        }],
        "requestBody": {"required": true, "content": content},
        "responses": responses,
    })
}

fn session(id: &str, summary: &str, found: Value) -> Value {
    json!({
        "tags": ["sessions"],
        "operationId": id,
        "summary": summary,
        "parameters": [{
            "name": "session_id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"},
        }],
        "responses": {
            "200": found,
            "404": error("There is no such session, or not any more, or it has no picture."),
            "502": error("The storage cannot be used."),
        },
    })
}

fn status_answer() -> Value {
    json_answer("How the task stands.", "Status")
}

fn image_answer() -> Value {
    let png = json!({"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}});
    json!({"description": "The picture, which carries its parameters.", "content": png})
}

fn error(description: &str) -> Value {
    json_answer(description, "HTTPError")
}

fn schema_name(drawer: &Drawer, make: Make) -> &'static str {
    match (make, drawer.view) {
        (Make::FromText, false) => "TextToImage",
        (Make::FromText, true) => "MultiAngleTextToImage",
        (Make::FromImage, false) => "ImageToImage",
        (Make::FromImage, true) => "MultiAngleImageToImage",
    }
}

fn schemas() -> Value {
    let mut schemas = fastapi::schemas();
    schemas["TextToImage"] = schema(DRAWING);
    schemas["MultiAngleTextToImage"] = schema(DRAWING_VIEW);
    schemas["ImageToImage"] = with_file(CHANGING);
    schemas["MultiAngleImageToImage"] = with_file(CHANGING_VIEW);
    schemas["BatchedTask"] = schema(BATCHED);
    let tasks =
        json!({"type": "array", "minItems": 1, "maxItems": MAX_TASKS, "items": reference("BatchedTask")});
    schemas["Batch"] = object(json!({ "tasks": tasks }), &["tasks"]);
    schemas["Batch"]["additionalProperties"] = json!(false);
    let submitted = json!({"type": "array", "items": reference("Submitted"), "description": "In the order of the tasks."});
    schemas["BatchSubmitted"] = object(json!({ "tasks": submitted }), &["tasks"]);
    schemas["Submitted"] = submitted_schema();
    schemas["Status"] = status_schema();
    schemas["Health"] = health_schema();
    schemas
}

/// A table's schema with the file, which is no text.
fn with_file(table: Table) -> Value {
    let mut schema = schema(table);
    schema["properties"]["image"] = json!({
        "type": "string", "contentMediaType": "application/octet-stream",
        "description": "The image to change: png, jpeg, webp or gif.",
    });
    schema["required"] = json!(["image"]);
    schema
}

fn states() -> Value {
    json!({"enum": ["pending", "processing", "completed", "failed"]})
}

fn submitted_schema() -> Value {
    let session_id = json!({"type": "string", "format": "uuid"});
    let properties = json!({
        "session_id": session_id,
        "status": states(),
        "message": {"type": "string", "const": MESSAGE},
    });
    object(properties, &["session_id", "status", "message"])
}

fn status_schema() -> Value {
    let or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    let properties = json!({
        "session_id": {"type": "string", "format": "uuid"},
        "status": states(),
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "message": {"type": "string"},
        "result_url": or_null("Where the picture is, once there is one: in S3, or here where no copy is there yet."),
        "error": or_null("Why there is none; `cancelled` for a task that was called off."),
    });
    object(properties, &["session_id", "status", "progress", "message", "result_url", "error"])
}

fn health_schema() -> Value {
    let connection = || json!({"enum": ["connected", "disconnected", "not configured"]});
    let properties = json!({
        "status": {"enum": ["healthy", "degraded"]},
        "service": {"type": "string"},
        "redis": connection(),
        "s3": connection(),
        "waiting": {"type": "integer", "description": "What is yet to be copied there, of all routes."},
    });
    object(properties, &["status", "service", "redis", "s3", "waiting"])
}

#[cfg(test)]
mod tests {
    use atelier_kit::docs::dangling;

    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        assert_eq!(dangling(&document("")), [""; 0]);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = document("");
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.values().flat_map(|path| path.as_object().expect("methods").values());
        let ids: Vec<_> = operations.map(|operation| operation["operationId"].to_string()).collect();
        let once: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), once.len()), (9, 9), "{ids:?}");
    }
}
