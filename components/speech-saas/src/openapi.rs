//! The OpenAPI document, which the original had not. Bodies come from the tables that parse them.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{json_answer, object, reference};
use atelier_kit::fields::schema;
use atelier_kit::multipart;
use serde_json::{Value, json};

use crate::api::{CLEANUP, GENERATE, HEALTH, IMAGES, STATUS, TRANSCRIBE};
use crate::cleanup::{CLEANING, HEADER};
use crate::transcribe::TRANSCRIPTION;
use crate::wish::GENERATION;

/// The name of the service.
pub(crate) const TITLE: &str = "Speech-to-Image SaaS";

const ABOUT: &str = "Writes down what is said, makes pictures in the style that a prompt asks for, and keeps them. Unknown fields are \
     refused by name; errors are `{\"success\": false, \"error\": \"…\"}`. So many requests a minute are taken of a client; one \
     more is a 429 with `retry-after`.";

/// The document of a service below a path.
pub(crate) fn document(base: &str) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": server}],
        "paths": {
            (TRANSCRIBE): {"post": transcribe()},
            (GENERATE): {"post": generate()},
            (IMAGES): {"get": list()},
            (format!("{IMAGES}/{{filename}}")): {"get": image()},
            (STATUS): {"get": read("status", "Get server status and system info", "Status")},
            (CLEANUP): {"post": cleanup()},
            (HEALTH): {"get": health()},
        },
        "components": {"schemas": schemas()},
    })
}

fn transcribe() -> Value {
    let body = json!({"multipart/form-data": {"schema": reference("AudioForm")}});
    let mut operation = operation("transcribe_audio", "Convert audio file to text", &body, "Transcription");
    operation["responses"]["504"] = late();
    operation
}

fn late() -> Value {
    error(
        "A model that is served elsewhere did not answer in time, or the job took longer than the route waits \
         (`limits.capability-wait-ms`); the latter is the host's own answer, `error` being an object there.",
    )
}

fn generate() -> Value {
    let example = json!({"prompt": "a photorealistic portrait of a sailor, cinematic light"});
    let body = json!({"application/json": {"schema": reference("Generation"), "example": example}});
    let mut operation = operation("generate_image", "Generate image from text prompt", &body, "Generated");
    operation["responses"]["507"] =
        error("There is no room for the picture or its entry; the text names the quota.");
    operation["responses"]["504"] = late();
    operation
}

fn cleanup() -> Value {
    let body = json!({"application/json": {"schema": reference("Cleaning")}});
    let mut operation = operation("cleanup", "Manual cleanup of old files", &body, "Cleaned");
    operation["requestBody"]["required"] = json!(false);
    operation["responses"]["401"] = error("The key is missing.");
    operation["responses"]["403"] = error("The key is another, or the operator has set none.");
    operation["parameters"] = json!([{
        "name": HEADER, "in": "header", "required": true, "schema": {"type": "string"},
        "description": "The operator's key.",
    }]);
    operation
}

fn list() -> Value {
    let mut operation = read("list_images", "Get image history", "History");
    let number = |name: &str, about: &str| json!({"name": name, "in": "query", "schema": {"type": "integer"}, "description": about});
    operation["parameters"] = json!([
        number("limit", "At most so many, 50 unless it is said."),
        number("offset", "After so many.")
    ]);
    operation["responses"]["400"] = error("A parameter is unknown, no number or out of its bounds.");
    operation["responses"]["502"] = error("The storage cannot be used.");
    operation
}

fn image() -> Value {
    let png = json!({"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}});
    json!({
        "operationId": "get_image",
        "summary": "Serve generated images",
        "parameters": [{"name": "filename", "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {
            "200": {"description": "The picture.", "content": png},
            "404": error("There is no such picture, or no longer."),
        },
    })
}

fn health() -> Value {
    let mut operation = read("health", "Health check endpoint", "Health");
    operation["responses"]["503"] = json_answer("Something is missing; `checks` says what.", "Health");
    operation
}

fn read(id: &str, summary: &str, schema: &str) -> Value {
    json!({"operationId": id, "summary": summary, "responses": {
        "200": json_answer("The answer.", schema),
        "405": error("The path takes GET and HEAD only; `allow` says so."),
    }})
}

/// What is posted, and every error that it can end with.
fn operation(id: &str, summary: &str, content: &Value, schema: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "requestBody": {"required": true, "content": content},
        "responses": {
            "200": json_answer("Done.", schema),
            "400": error("A value fails validation, or a file cannot be read; the text names the field and the fix."),
            "405": error("The path takes POST only; `allow` says so."),
            "413": error("The body has too many bytes, or the recording too many seconds."),
            "429": error("Too many requests, or a full queue; `retry-after` says when to come back."),
            "500": error("An unexpected error; its text stays in the server's log."),
            "502": error("A model, a plugin, the storage or the configuration cannot be used."),
            "507": error("There is no room for the count of requests; the text names the quota."),
        },
    })
}

fn error(description: &str) -> Value {
    json_answer(description, "Error")
}

fn schemas() -> Value {
    let (text, number, yes) = (json!({"type": "string"}), json!({"type": "integer"}), json!({"const": true}));
    let notes = json!({"type": "array", "items": text, "description": "What a user should know."});
    json!({
        "AudioForm": recording(),
        "Generation": schema(GENERATION),
        "Cleaning": schema(CLEANING),
        "Transcription": object(json!({
            "success": yes, "text": text, "language": {"type": ["string", "null"]},
            "duration": {"type": "number", "description": "Seconds."}, "notes": notes,
        }), &["success", "text", "language", "duration", "notes"]),
        "Picture": picture(),
        "Generated": generated(&notes),
        "History": object(json!({
            "images": {"type": "array", "items": reference("Picture")}, "total": number, "limit": number, "offset": number,
        }), &["images", "total", "limit", "offset"]),
        "Cleaned": object(json!({
            "success": yes, "removed": number, "freed_bytes": number, "remaining": number,
        }), &["success", "removed", "freed_bytes", "remaining"]),
        "Status": object(json!({
            "status": {"enum": ["running", "degraded"]}, "timestamp": number, "system": {"type": "object"},
            "generation": {"type": "object"}, "models": {"type": "object"}, "images": {"type": "object"},
        }), &["status", "timestamp", "system", "generation", "models", "images"]),
        "Health": object(json!({
            "status": {"enum": ["healthy", "unhealthy"]}, "timestamp": number, "checks": {"type": "object"},
        }), &["status", "timestamp", "checks"]),
        "Error": object(json!({"success": {"const": false}, "error": text}), &["success", "error"]),
    })
}

/// A recording under either name.
fn recording() -> Value {
    let about = "The recording: wav, flac, mp3, mp4, ogg or webm.";
    let too = "The same under another name; one of the two is there.";
    let mut form = multipart::schema(TRANSCRIPTION, &[("audio", about), ("file", too)]);
    form["oneOf"] = json!([{"required": ["audio"]}, {"required": ["file"]}]);
    form
}

/// What a picture's maker is told: all that is kept, with the whole prompt, and what gives it again.
fn generated(notes: &Value) -> Value {
    let text = json!({"type": "string"});
    let mut generated = picture();
    for (name, schema) in [
        ("success", &json!({"const": true})),
        ("image_url", &text),
        ("reason", &text),
        ("negative_prompt", &json!({"type": ["string", "null"]})),
        ("steps", &json!({"type": "integer"})),
        ("guidance_scale", &json!({"type": "number"})),
        ("notes", notes),
    ] {
        generated["properties"][name] = schema.clone();
        generated["required"].as_array_mut().into_iter().for_each(|required| required.push(name.into()));
    }
    generated["properties"]["prompt"]["description"] = json!("The prompt that was drawn, whole.");
    generated
}

fn picture() -> Value {
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    object(
        json!({
            "filename": text, "url": text, "model": text,
            "prompt": {"type": "string", "description": "A long one in part; then it ends with `…`."},
             "seed": number, "width": number,
            "height": number, "bytes": number,
            "created_at": {"type": "integer", "description": "Seconds since 1970."},
        }),
        &["filename", "url", "prompt", "model", "seed", "width", "height", "bytes", "created_at"],
    )
}

#[cfg(test)]
mod tests {
    use atelier_kit::docs::dangling;

    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        assert_eq!(dangling(&document("")), [""; 0]);
    }
}
