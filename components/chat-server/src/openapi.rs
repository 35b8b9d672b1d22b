//! The OpenAPI document. Forms come from the tables that parse them; only files and answers are described here.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{json_answer, object, reference};
use atelier_kit::{fastapi, multipart};
use serde_json::{Value, json};

use crate::api::{DECODE, DECODE_TOO, GENERATE, MODELS};
use crate::decode::DECODING;
use crate::models::NAMES;
use crate::request::GENERATION;

/// The name of the service.
pub(crate) const TITLE: &str = "ChatServer";

const ABOUT: &str = "Writes down what is said in recordings, and makes pictures whose progress is told as it happens.\n\n\
     Forms are read as FastAPI reads them: a boolean may be true, 1, yes, on and so on, and an empty text counts as a field that \
     was left out. Unknown fields are refused by name. Fields marked as extension are not part of the original service.";

const DECODE_ABOUT: &str = "Writes down what is said in a recording: wav, flac, mp3, mp4 (m4a), ogg or webm, told by its content. \
     Silence has no text.";

const GENERATE_ABOUT: &str = "Makes a picture of a prompt, or changes `image`. Whatever is wrong with the request is answered with \
     its own status; once a job was taken, the answer is a stream of server-sent events. The data of each is an object whose \
     `type` is the event's name:\n\n\
     - `queued` {position, eta_ms}: jobs ahead of this one; sent again when that changes.\n\
     - `started` {model_name, loading}: `loading` is true where the model must be read into memory first.\n\
     - `progress` {step, total, percent, elapsed_ms}, after each step.\n\
     - `preview` {step, image, content_type}: the unfinished picture, small.\n\
     - `result` {image, content_type, seed, size, model, notes, request}: the picture, a PNG file in base64 that carries its \
     parameters; `request` has the fields that give it again, with `image` where one was sent.\n\
     - `error` {status, detail}: what would have been answered, had it been known before.\n\n\
     `result` or `error` is the last, unless the stream breaks off: the host ends one that waited longer than \
     `limits.capability-wait-ms`. A comment is sent after every 10 quiet seconds. Closing the connection cancels the job \
     before its next step.";

/// The document of a service below a path.
pub(crate) fn document(base: &str) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": server}],
        "paths": {
            (DECODE): {"post": decode("decode_audio")},
            (DECODE_TOO): {"post": decode("decode_transcript")},
            (GENERATE): {"post": generate()},
            (MODELS): {"get": models()},
        },
        "components": {"schemas": schemas()},
    })
}

fn decode(id: &str) -> Value {
    let mut responses =
        responses("The text.", json!({"application/json": {"schema": reference("Transcription")}}));
    responses["400"] = error("`file` is empty or no recording that can be read, or the body broke off.");
    responses["413"] = error("The body has too many bytes, or the recording too many seconds.");
    json!({
        "tags": ["audio"],
        "operationId": id,
        "summary": "Transcribe an audio file into text",
        "description": DECODE_ABOUT,
        "requestBody": form("AudioForm"),
        "responses": responses,
    })
}

fn generate() -> Value {
    let events = json!({"text/event-stream": {"schema": {"type": "string"}}});
    json!({
        "tags": ["image"],
        "operationId": "generate_image",
        "summary": "Generate or modify an image",
        "description": GENERATE_ABOUT,
        "requestBody": form("ImageForm"),
        "responses": responses("The events.", events),
    })
}

fn models() -> Value {
    let list = json!({"type": "array", "items": reference("ImageModel")});
    json!({
        "tags": ["image"],
        "operationId": "list_models",
        "summary": "List the image generation models and their loaded status",
        "responses": {
            "200": {"description": "The models.", "content": {"application/json": {"schema": list}}},
            "502": error("The route's `config.models` cannot be used."),
        },
    })
}

/// A form by the name of its schema.
fn form(name: &str) -> Value {
    json!({"required": true, "content": {"multipart/form-data": {"schema": reference(name)}}})
}

/// The answers of an operation: what it gives, and every error that it can end with.
fn responses(description: &str, content: Value) -> Value {
    let mut responses = json!({
        "200": {"description": description, "content": content},
        "400": error("`image` is empty or no picture that can be read, or the body broke off."),
        "405": error("The path takes POST only; `allow` says so."),
        "413": error("The body has too many bytes."),
        "422": refusal("A value fails validation, is not for this model, or the body is no form."),
        "429": error("The queue is full; `retry-after` and `x-should-retry` say when to come back."),
        "500": error("An unexpected error; its text stays in the server's log."),
        "502": error("A model cannot be used; the text says what the operator can do."),
        "504": error(
            "A model that is served elsewhere did not answer in time, or the job took longer than the route waits \
             (`limits.capability-wait-ms`); the latter is the host's own answer, in its own shape.",
        ),
    });
    responses["429"]["headers"] = json!({
        "retry-after": {"description": "Seconds.", "schema": {"type": "integer"}},
        "x-should-retry": {"description": "`true`.", "schema": {"type": "string"}},
    });
    responses
}

fn error(description: &str) -> Value {
    json_answer(description, "HTTPError")
}

fn refusal(description: &str) -> Value {
    json_answer(description, "HTTPValidationError")
}

fn schemas() -> Value {
    let mut schemas = fastapi::schemas();
    let recording = "The audio file to transcribe: wav, flac, mp3, mp4 (m4a), ogg or webm.";
    schemas["AudioForm"] = multipart::schema(DECODING, &[("file", recording)]);
    schemas["AudioForm"]["required"] = json!(["file"]);
    let picture = "An input image for image-to-image generation: png, jpeg, webp or gif.";
    schemas["ImageForm"] = multipart::schema(GENERATION, &[("image", picture)]);
    schemas["ImageForm"]["properties"]["prompt"]["examples"] = json!(["A futuristic cityscape at sunset"]);
    schemas["Transcription"] = transcription();
    schemas["ImageModel"] = model();
    schemas
}

fn transcription() -> Value {
    object(
        json!({
            "text": {"type": "string"},
            "language": {
                "type": ["string", "null"],
                "description": "The code of the language that was named or recognised; null for silence.",
            },
            "duration": {"type": "number", "description": "Seconds."},
            "model": {"type": "string"},
            "notes": {"type": "array", "items": {"type": "string"}, "description": "What a user should know."},
        }),
        &["text", "language", "duration", "model", "notes"],
    )
}

fn model() -> Value {
    let or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    object(
        json!({
            "name": {"enum": NAMES},
            "loaded": {"type": "boolean", "description": "Whether it is in memory; one that is not loads on first use."},
            "available": {"type": "boolean", "description": "Whether it can be used on this route."},
            "model": {"type": "string", "description": "The id of the model that the name stands for."},
            "description": or_null("What the model is good at."),
            "fix": or_null("What the operator can do where it is not available."),
        }),
        &["name", "loaded", "available", "model", "description", "fix"],
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

    #[test]
    fn the_forms_have_the_fields_of_their_parsers_and_the_file() {
        let schemas = &document("")["components"]["schemas"];
        for (name, table, file) in [("AudioForm", DECODING, "file"), ("ImageForm", GENERATION, "image")] {
            let properties = schemas[name]["properties"].as_object().expect("properties");
            assert!(properties.len() == table.len() + 1 && properties.contains_key(file), "{name}");
        }
        assert_eq!(schemas["AudioForm"]["required"], json!(["file"]));
        assert_eq!(schemas["ImageForm"]["required"], json!(["prompt"]));
        assert_eq!(schemas["ImageForm"]["properties"]["steps"]["default"], json!(25));
    }
}
