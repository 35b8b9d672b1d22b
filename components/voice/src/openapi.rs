//! The OpenAPI document. Forms come from the tables that parse them; only files and answers are described here.
//!
//! A plain value, made anew for each request: it is asked for by people, and the path in it depends on the route.

use atelier_kit::docs::{json_answer, object, reference};
use atelier_kit::fields::{Table, schema};
use serde_json::{Value, json};

use crate::api::{LISTEN, MODELS, TRANSCRIBE, TRANSLATE};
use crate::listen::{LISTENING, MAX_PICTURES};
use crate::transcription::{TRANSCRIPTION, TRANSLATION};

/// The name of the service.
pub(crate) const TITLE: &str = "Voice";

const ABOUT: &str = "Writes down what is said in recordings, as OpenAI's interface does: its clients work here when their base \
     address is this service's with `/v1`. And takes commands, spoken or written, that make, change and take back pictures.\n\n\
     Recordings are wav, flac, mp3, mp4, ogg or webm, told by their content. Unknown fields are refused by name.";

const TRANSCRIBE_ABOUT: &str = "Writes speech down in its own language. `response_format` chooses the form of the answer; with \
     `stream`, text is sent as it comes, as the events `transcript.text.delta` {type, delta} and at the end \
     `transcript.text.done` {type, text} or `error` (the error body). A comment is sent after every 10 quiet seconds.\n\n\
     In a `verbose_json`, `language` is empty where nothing was said and none was named, and `seek` is where a segment begins, \
     in hundredths of a second.\n\n\
     Closing the connection cancels the job before its next step.";

const LISTEN_ABOUT: &str = "Does what a command in `audio`, or in writing in `command`, asks for: `create` makes a picture, \
     `edit` changes the present one, `undo` goes back to the one before, `none` does nothing. The service keeps nothing: send \
     the pictures so far as `picture`, the oldest first. Of these the first `pictures_left` still stand afterwards, and after \
     `create` and `edit` the new one comes after them.\n\n\
     The `Accept` header chooses the form of the answer.\n\n\
     - `application/json` (the default): everything, with the picture in base64.\n\
     - `image/png`: the picture itself; headers `x-atelier-…` (transcript, language, action, target, prompt, pictures-left, \
     model, seed, enhanced-prompt, notes) say the rest, percent-encoded where it is not ASCII.\n\
     - `text/event-stream`: the events `heard` {transcript, language}, `intent` {action, target, prompt}, `progress` {stage, \
     done, total} or, in the queue, {stage, position, eta_ms}, where the stage is `speech` (in seconds) or `picture` (in \
     steps), and at the end `picture` (the JSON answer) or `error` (the error body).\n\n\
     Errors that come after a command was heard have its `transcript`, and its `intent` once it is known, beside `error`. \
     Closing the connection cancels the job before its next step.";

/// The document of a service below a path.
pub(crate) fn document(base: &str) -> Value {
    let server = if base.is_empty() { "/" } else { base };
    json!({
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": server}],
        "paths": {
            (TRANSCRIBE): {"post": transcribe()},
            (TRANSLATE): {"post": translate()},
            (LISTEN): {"post": listen()},
            (MODELS): {"get": models()},
            (format!("{MODELS}/{{model}}")): {"get": model()},
        },
        "components": {"schemas": schemas()},
    })
}

fn transcribe() -> Value {
    let mut answers = written();
    answers["text/event-stream"] = json!({"schema": {"type": "string"}});
    json!({
        "tags": ["audio"],
        "operationId": "transcribe",
        "summary": "Write down speech",
        "description": TRANSCRIBE_ABOUT,
        "requestBody": form("TranscriptionRequest"),
        "responses": responses(&answers),
    })
}

fn translate() -> Value {
    json!({
        "tags": ["audio"],
        "operationId": "translate",
        "summary": "Write down speech in English",
        "description": "Writes speech of any language that the model knows down in English.",
        "requestBody": form("TranslationRequest"),
        "responses": responses(&written()),
    })
}

fn listen() -> Value {
    let answers = json!({
        "application/json": {"schema": reference("ListenAnswer")},
        "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
        "text/event-stream": {"schema": {"type": "string"}},
    });
    let mut responses = responses(&answers);
    responses["422"] = error(
        "There is nothing that the command could be done with; `code` is no_speech, nothing_to_edit, nothing_to_undo or, \
         where the client takes only a picture, no_picture.",
    );
    json!({
        "tags": ["pictures"],
        "operationId": "listen",
        "summary": "Do what a command asks for",
        "description": LISTEN_ABOUT,
        "requestBody": form("ListenRequest"),
        "responses": responses,
    })
}

fn models() -> Value {
    json!({
        "tags": ["models"],
        "operationId": "list_models",
        "summary": "List the models of speech",
        "responses": {"200": json_answer("The models.", "ModelList")},
    })
}

fn model() -> Value {
    json!({
        "tags": ["models"],
        "operationId": "retrieve_model",
        "summary": "One of them",
        "parameters": [{"name": "model", "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {"200": json_answer("The model.", "Model"), "404": error("The route has no such model.")},
    })
}

/// What a transcription may be written as.
fn written() -> Value {
    json!({
        "application/json": {"schema": {"anyOf": [reference("Transcription"), reference("VerboseTranscription")]}},
        "text/plain": {"schema": {"type": "string"}},
        "text/vtt": {"schema": {"type": "string"}},
    })
}

/// A form by the name of its schema.
fn form(name: &str) -> Value {
    json!({"required": true, "content": {"multipart/form-data": {"schema": reference(name)}}})
}

/// The answers of an operation: what it gives, and every error that it can end with.
fn responses(content: &Value) -> Value {
    let mut responses = json!({
        "200": {"description": "Done.", "content": content},
        "400": error("The form cannot be read, or a value fails validation; the text names the field and the fix."),
        "404": error("The route has no such model."),
        "405": error("The path takes POST only; `allow` says so."),
        "413": error("The body has too many bytes, or the recording too many seconds."),
        "429": error("The queue is full; `retry-after` and `x-should-retry` say when to come back."),
        "500": error("An unexpected error; its text stays in the server's log."),
        "502": error("A model or a plugin cannot be used."),
    });
    responses["429"]["headers"] = json!({
        "retry-after": {"description": "Seconds.", "schema": {"type": "integer"}},
        "x-should-retry": {"description": "`true`.", "schema": {"type": "string"}},
    });
    responses
}

/// An answer that is an error; all have one shape.
fn error(description: &str) -> Value {
    json_answer(description, "ErrorResponse")
}

fn schemas() -> Value {
    json!({
        "TranscriptionRequest": with_file(TRANSCRIPTION),
        "TranslationRequest": with_file(TRANSLATION),
        "Transcription": object(json!({"text": {"type": "string"}, "usage": usage()}), &["text", "usage"]),
        "VerboseTranscription": verbose(),
        "Segment": segment(),
        "Word": object(json!({"word": {"type": "string"}, "start": seconds(), "end": seconds()}), &["word", "start", "end"]),
        "ListenRequest": command(),
        "ListenAnswer": answered(),
        "Model": object(json!({
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {"type": "integer", "description": "0: it is not known."},
            "owned_by": {"type": "string"},
        }), &["id", "object", "created", "owned_by"]),
        "ModelList": object(json!({
            "object": {"const": "list"},
            "data": {"type": "array", "items": reference("Model")},
        }), &["object", "data"]),
        "ErrorResponse": object(json!({"error": object(json!({
            "message": {"type": "string", "description": "What went wrong, and what would be right."},
            "type": {"type": "string"},
            "param": {"type": ["string", "null"], "description": "The field that is at fault."},
            "code": {"type": ["string", "null"], "description": "For programs."},
        }), &["message", "type", "param", "code"])}), &["error"]),
    })
}

/// A table's schema with the recording, which is no text.
fn with_file(table: Table) -> Value {
    let mut schema = schema(table);
    let about = "The recording: wav, flac, mp3, mp4, ogg or webm.";
    schema["properties"]["file"] =
        json!({"type": "string", "contentMediaType": "application/octet-stream", "description": about});
    schema["required"] = json!(["file"]);
    schema
}

/// The form of a command, with its files.
fn command() -> Value {
    let mut schema = schema(LISTENING);
    let file = |about: &str| json!({"type": "string", "contentMediaType": "application/octet-stream", "description": about});
    schema["properties"]["audio"] = file("The command as a recording: wav, flac, mp3, mp4, ogg or webm.");
    schema["properties"]["picture"] = json!({
        "type": "array",
        "items": file("png, jpeg, webp or gif"),
        "maxItems": MAX_PICTURES,
        "description": "The pictures so far, the oldest first; the last is the present one.",
    });
    schema
}

fn answered() -> Value {
    let text = || json!({"type": "string"});
    let or_null = |kind: &str| json!({"type": [kind, "null"]});
    let intent =
        json!({"action": {"enum": ["create", "edit", "undo", "none"]}, "target": text(), "prompt": text()});
    let timings = json!({
        "speech_ms": {"type": "integer"}, "intent_ms": {"type": "integer"}, "picture_ms": {"type": "integer"},
    });
    object(
        json!({
            "transcript": text(),
            "language": or_null("string"),
            "intent": object(intent, &["action", "target", "prompt"]),
            "picture": {"type": ["string", "null"], "contentEncoding": "base64", "description": "A PNG file."},
            "pictures_left": {"type": "integer", "description": "How many of the pictures that were sent still stand."},
            "model": or_null("string"),
            "seed": or_null("integer"),
            "enhanced_prompt": {"type": "string", "description": "What was drawn; only there with `enhance`."},
            "notes": {"type": "array", "items": text()},
            "timings": object(timings, &["speech_ms", "intent_ms", "picture_ms"]),
        }),
        &[
            "transcript",
            "language",
            "intent",
            "picture",
            "pictures_left",
            "model",
            "seed",
            "notes",
            "timings",
        ],
    )
}

fn verbose() -> Value {
    let list = |name| json!({"type": "array", "items": reference(name)});
    object(
        json!({
            "task": {"enum": ["transcribe", "translate"]},
            "language": {"type": "string", "description": "Its English name, such as `finnish`."},
            "duration": seconds(),
            "text": {"type": "string"},
            "usage": usage(),
            "segments": list("Segment"),
            "words": list("Word"),
        }),
        &["task", "language", "duration", "text", "usage"],
    )
}

fn segment() -> Value {
    let number = || json!({"type": "number"});
    let properties = json!({
        "id": {"type": "integer"},
        "seek": {"type": "integer"},
        "start": seconds(),
        "end": seconds(),
        "text": {"type": "string"},
        "tokens": {"type": "array", "items": {"type": "integer"}},
        "temperature": number(),
        "avg_logprob": number(),
        "compression_ratio": number(),
        "no_speech_prob": number(),
    });
    let required: Vec<_> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn usage() -> Value {
    object(json!({"type": {"const": "duration"}, "seconds": {"type": "integer"}}), &["type", "seconds"])
}

fn seconds() -> Value {
    json!({"type": "number", "description": "Seconds."})
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
    fn the_document_has_the_fields_of_the_parser_and_the_file() {
        let request = &document("")["components"]["schemas"]["TranscriptionRequest"];
        assert_eq!(request["required"], json!(["file"]));
        assert_eq!(request["properties"]["response_format"]["default"], json!("json"));
        assert_eq!(request["properties"]["timestamp_granularities[]"]["default"], json!(["segment"]));
        let count = request["properties"].as_object().map(serde_json::Map::len);
        assert_eq!(count, Some(TRANSCRIPTION.len() + 1));
    }
}
