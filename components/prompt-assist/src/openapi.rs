//! The OpenAPI document. Request bodies come from the tables that parse them; only answers are described here.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{object, reference};
use atelier_kit::fields::schema;
use serde_json::{Value, json};

use crate::api::{ENHANCE, GENERATE};
use crate::request::{ENHANCEMENT, GENERATION};

/// The name of the service.
pub(crate) const TITLE: &str = "Text-to-Image with Prompt Assist";

const ABOUT: &str = "Generates images from text prompts, with optional prompt enhancement.\n\n\
     Bodies are read as JSON whatever their content type says. Values are taken leniently, as pydantic takes them: a \
     whole number may be `2`, `2.0`, `\"2\"` or `true`; a boolean `true`, `1`, `\"yes\"`, `\"on\"` and so on. Unknown \
     fields are refused by name. Fields and headers marked as extension are not part of the original service.";

const GENERATE_ABOUT: &str = "The `Accept` header chooses the form of the answer.\n\n\
     - `application/json` (the default): all pictures in base64.\n\
     - `image/png` (extension): the picture itself, for `n` 1; the file carries its generation parameters, `x-seed` and \
     `x-notes` say the rest. The same request with a seed gives the same bytes.\n\
     - `text/event-stream` (extension): the events `queued` {position, eta_ms}, `started`, `step` {step, total, \
     elapsed_ms}, `preview` {index, step, base64_encoded_image, content_type}, and at the end `result` (the JSON \
     answer) or `error` (the error body). A comment is sent after every 10 quiet seconds.\n\n\
     Closing the connection cancels the job before its next step.";

/// The document of a service below a path.
pub(crate) fn document(base: &str) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": server}],
        "paths": {
            (ENHANCE): {"post": enhance()},
            (GENERATE): {"post": generate()},
        },
        "components": {"schemas": schemas()},
    })
}

fn enhance() -> Value {
    json!({
        "tags": ["prompts"],
        "operationId": "enhance_prompt",
        "summary": "Enhance a prompt",
        "description": "Rewrites a raw prompt with the language model server, or with the route's style plugins.",
        "requestBody": body("PromptEnhancementRequest", json!({"prompt": "A cat sitting on a windowsill"})),
        "responses": responses(json!({"application/json": {"schema": reference("PromptEnhancementResponse")}}), false),
    })
}

fn generate() -> Value {
    let example = json!({
        "prompt": "A sunset over a mountain range with vivid colours",
        "use_enhancer": false,
        "n": 1,
        "size": "512x512",
    });
    let answers = json!({
        "application/json": {"schema": reference("ImageGenerationResponse")},
        "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
        "text/event-stream": {"schema": {"type": "string"}},
    });
    json!({
        "tags": ["images"],
        "operationId": "generate_images",
        "summary": "Generate images",
        "description": GENERATE_ABOUT,
        "requestBody": body("ImageGenerationRequest", example),
        "responses": responses(answers, true),
    })
}

/// A request body by the name of its schema.
fn body(name: &str, example: Value) -> Value {
    json!({
        "required": true,
        "content": {"application/json": {"schema": reference(name), "example": example}},
    })
}

/// The answers of an operation: what it gives, and every error that it can end with.
fn responses(content: Value, queued: bool) -> Value {
    let mut responses = json!({
        "200": {"description": "Done.", "content": content},
        "400": error("The body is not valid JSON, or a value fails validation; the text names the field and the fix."),
        "405": error("Extension. The path takes POST only; `allow` says so."),
        "413": error("Extension. The body has too many bytes."),
        "500": error("An unexpected error; its text stays in the server's log."),
        "502": error("A backend cannot be used: the language model server, a model, or a plugin."),
    });
    if queued {
        responses["429"] =
            error("Extension. The queue is full; `retry-after` and `x-should-retry` say when to come back.");
        responses["504"] = error(
            "Extension. A model that is served elsewhere did not answer in time, or the job took longer than the route waits \
             (`limits.capability-wait-ms`); the latter is the host's own answer, `error` being an object there.",
        );
        responses["429"]["headers"] = json!({
            "retry-after": {"description": "Seconds.", "schema": {"type": "integer"}},
            "x-should-retry": {"description": "`true`.", "schema": {"type": "string"}},
        });
    }
    responses
}

/// An answer that is an error; all have one shape.
fn error(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": reference("ErrorResponse")}},
    })
}

fn schemas() -> Value {
    json!({
        "PromptEnhancementRequest": schema(ENHANCEMENT),
        "PromptEnhancementResponse": object(json!({
            "enhanced_prompt": {"type": "string", "description": "The better prompt."},
            "notes": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Extension. What a user should know; only there where there is something, such as that a prompt was cut.",
            },
        }), &["enhanced_prompt"]),
        "ImageGenerationRequest": schema(GENERATION),
        "GeneratedImage": generated_image(),
        "ImageGenerationResponse": generation_response(),
        "ErrorResponse": object(json!({
            "error": {"type": "string", "description": "A human-readable description of what went wrong."},
            "status_code": {"type": "integer", "description": "The HTTP status."},
        }), &["error", "status_code"]),
    })
}

fn generated_image() -> Value {
    object(
        json!({
            "base64_encoded_image": {"type": "string", "contentEncoding": "base64"},
            "content_type": {"type": "string", "description": "`image/png`."},
            "seed": {"type": "integer", "description": "Extension. The seed that makes this very picture alone."},
        }),
        &["base64_encoded_image", "content_type", "seed"],
    )
}

fn generation_response() -> Value {
    object(
        json!({
            "created_at_unix_timestamp": {"type": "integer"},
            "data": {"type": "array", "items": reference("GeneratedImage")},
            "notes": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Extension. What a user should know, such as that a picture was scaled.",
            },
            "enhanced_prompt": {
                "type": "string",
                "description": "Extension. The prompt that was drawn; only there when `use_enhancer` was true.",
            },
        }),
        &["created_at_unix_timestamp", "data", "notes"],
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
    fn the_document_has_the_fields_of_the_parser() {
        let request = &document("")["components"]["schemas"]["ImageGenerationRequest"];
        assert_eq!(request["required"], json!(["prompt"]));
        assert_eq!(request["properties"]["prompt"]["maxLength"], json!(4096));
        assert_eq!(request["properties"]["size"]["default"], json!("512x512"));
        assert_eq!(request["properties"].as_object().map(serde_json::Map::len), Some(GENERATION.len()));
    }
}
