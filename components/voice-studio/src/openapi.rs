//! The OpenAPI document. Requests come from the tables that parse them; only files and answers are described here.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{object, reference};
use atelier_kit::fields::{Table, schema};
use serde_json::{Map, Value, json};

use crate::accounts::ACCOUNT;
use crate::api::{CURRENT, ROOT};
use crate::backend;
use crate::command::COMMAND;
use crate::settings::Serve;

/// The name of the service.
pub(crate) const TITLE: &str = "Voice Studio";

const ABOUT: &str = "A studio in the browser: pictures are made, changed and taken back by voice or in writing, and kept in a \
     gallery. A cookie says whose gallery it is; without an account a visitor makes a limited number of pictures. What changes something and is sent by a page of another site is refused \
     (`other_site`, 403).";

const BACKEND_ABOUT: &str = "The backend of such studios: it writes recordings down, says what commands ask for, and draws pictures one \
     after another, as tasks that one asks about. Errors are `{\"detail\", \"code\", \"field\"}`.";

const COMMAND_ABOUT: &str = "Does what a command in `audio`, or in writing in `text`, asks for: `create` makes a picture, `edit` \
     changes one, `undo` goes back to the one before, `none` does nothing.\n\n\
     With `Accept: text/event-stream` it answers the events `transcript` {text, language}, `understood` {action, prompt, target}, \
     `queued` {position, eta_ms}, `loading` {model}, `progress` {step, steps, percent}, `preview` {step, image}, and at the end \
     `done` (the JSON answer) or `error` {code, message}. A comment is sent after every 10 quiet seconds. Closing the connection \
     cancels the job before its next step.\n\n\
     Errors: `image_limit` and `other_site` (403), `nothing_heard`, `nothing_to_edit`, `nothing_to_undo`, `not_understood` and `invalid` (422), \
     `busy` (429), `failed`, `no_backend` and `cancelled` (502), `gallery_full` and `storage_full` (507).";

/// The document of a service below a path, of what the route serves.
pub(crate) fn document(base: &str, serve: Serve) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    let (mut paths, mut schemas, mut about) = (Map::new(), Map::new(), Vec::new());
    if serve.has_studio() {
        about.push(ABOUT);
        paths.extend(studio_paths());
        schemas.extend(studio_schemas());
    }
    if serve.has_backend() {
        about.push(BACKEND_ABOUT);
        paths.extend(backend::openapi::paths());
        schemas.extend(backend::openapi::schemas());
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": about.join("\n\n")},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn studio_paths() -> Map<String, Value> {
    let choosing = post(
        "choose",
        "Make a picture the present one",
        CURRENT,
        &object(json!({"current": {"type": "string"}}), &["current"]),
    );
    let paths = [
        ("/", json!({"get": page()})),
        (
            "/api/check_backend",
            json!({"get": get("check_backend", "Which modes can be worked in", "Backend")}),
        ),
        ("/api/session_info", json!({"get": get("session_info", "What is known of the visitor", "Session")})),
        ("/process_command", json!({"post": process_command()})),
        ("/gallery", json!({"get": get("gallery", "The visitor's pictures, the newest first", "Gallery")})),
        ("/images/{image}", json!({"get": file("image", "A picture; with `?download` to be saved")})),
        ("/images/thumbnails/{image}", json!({"get": file("thumbnail", "A small copy of a picture")})),
        ("/api/images/{image}", json!({"delete": delete()})),
        ("/api/current", json!({"post": choosing})),
        (
            "/api/register",
            json!({"post": post("register", "Make an account, to which the pictures so far belong", ACCOUNT, &reference("Session"))}),
        ),
        (
            "/api/login",
            json!({"post": post("log_in", "Log in; the pictures so far are taken along", ACCOUNT, &reference("Session"))}),
        ),
        ("/api/logout", json!({"post": get("log_out", "Log out", "Session")})),
    ];
    paths.into_iter().map(|(below, path)| (format!("{ROOT}{below}"), path)).collect()
}

fn process_command() -> Value {
    let mut form = schema(COMMAND);
    form["properties"]["audio"] = json!({
        "type": "string", "contentMediaType": "application/octet-stream",
        "description": "The command as a recording: webm, mp4, ogg, wav, mp3 or flac.",
    });
    let answers = json!({
        "application/json": {"schema": reference("Done")},
        "text/event-stream": {"schema": {"type": "string"}},
    });
    let mut operation = plain("process_command", "Do what a command asks for", &answers);
    operation["description"] = COMMAND_ABOUT.into();
    operation["requestBody"] = json!({"required": true, "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": schema(COMMAND)}}});
    operation
}

fn get(id: &str, summary: &str, answer: &str) -> Value {
    plain(id, summary, &json!({"application/json": {"schema": reference(answer)}}))
}

fn post(id: &str, summary: &str, table: Table, answer: &Value) -> Value {
    let mut operation = plain(id, summary, &json!({"application/json": {"schema": answer}}));
    operation["requestBody"] =
        json!({"required": true, "content": {"application/json": {"schema": schema(table)}}});
    operation
}

fn file(id: &str, summary: &str) -> Value {
    let content = json!({"image/webp": {"schema": {"type": "string", "contentMediaType": "image/webp"}}});
    let mut operation = plain(id, summary, &content);
    operation["parameters"] = by_name();
    operation
}

fn delete() -> Value {
    json!({
        "operationId": "delete_image",
        "summary": "Delete a picture",
        "parameters": by_name(),
        "responses": {"204": {"description": "It is gone."}, "4XX": error()},
    })
}

fn page() -> Value {
    let mut page = plain("page", "The page", &json!({"text/html": {"schema": {"type": "string"}}}));
    page["responses"]["304"] =
        json!({"description": "It is still the one of the `etag` in `if-none-match`."});
    page
}

fn plain(id: &str, summary: &str, content: &Value) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, "4XX": error(), "5XX": error()},
    })
}

fn by_name() -> Value {
    json!([{"name": "image", "in": "path", "required": true, "schema": {"type": "string"}}])
}

fn error() -> Value {
    json!({"description": "What went wrong.", "content": {"application/json": {"schema": reference("Error")}}})
}

fn studio_schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let mode = object(json!({"available": {"type": "boolean"}, "reason": text()}), &["available"]);
    let picture = json!({
        "name": text(), "url": text(), "thumbnail": text(), "prompt": text(), "command": text(),
        "action": {"enum": ["create", "edit"]}, "parent": maybe("string"), "width": number(), "height": number(),
        "created": {"type": "string", "format": "date-time"}, "seed": number(), "mode": text(), "model": text(),
    });
    let session = json!({
        "user_id": text(), "image_count": number(), "image_limit": maybe("integer"), "images_left": maybe("integer"),
        "logged_in": {"type": "boolean"}, "name": maybe("string"), "current": maybe("string"),
    });
    let fault = object(json!({"code": text(), "message": text(), "field": text()}), &["code", "message"]);
    let schemas = json!({
        "Backend": object(json!({
            "available": {"type": "boolean"}, "default_mode": maybe("string"), "notes": {"type": "array", "items": text()},
            "modes": {"type": "object", "additionalProperties": mode}, "backend": mode,
        }), &["available", "modes", "default_mode"]),
        "Session": object(session, &["user_id", "image_count", "image_limit", "images_left", "logged_in", "name", "current"]),
        "Image": object(picture, &["name", "url", "thumbnail", "prompt", "command", "action", "parent", "width", "height", "created", "seed", "mode", "model"]),
        "Gallery": object(json!({"images": {"type": "array", "items": reference("Image")}, "current": maybe("string")}), &["images", "current"]),
        "Done": object(json!({
            "action": {"enum": ["create", "edit", "undo", "none"]}, "image": {"anyOf": [reference("Image"), {"type": "null"}]},
            "current": maybe("string"), "session": reference("Session"), "notes": {"type": "array", "items": text()},
            "note_codes": {"type": "array", "items": maybe("string")},
        }), &["action", "image", "current", "session", "notes", "note_codes"]),
        "Error": object(json!({"error": fault}), &["error"]),
    });
    schemas.as_object().cloned().unwrap_or_default()
}
