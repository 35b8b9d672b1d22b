//! The admin address as an OpenAPI 3.1 document, made from the table of operations. Schemas say what an answer holds; an
//! answer may hold more.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::operations::{Access, Call, OPERATIONS, Operation};
use crate::signing::SIGNATURE_HEADER;

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for operation in &OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.verb.method().as_str().to_lowercase()] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Atelier, the operators' address",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "With `server.admin-key-hash` or `admin-keys`, all but the probes want a key that `atelier \
                            admin key new` makes. Without any, nothing can be changed.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "operator": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let segments = operation
        .segments()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let query = operation.query.iter().map(|parameter| {
        let mut schema = json!({ "type": "string" });
        if !parameter.default.is_empty() {
            schema["default"] = parameter.default.into();
        }
        json!({ "name": parameter.name, "in": "query", "description": parameter.summary, "schema": schema })
    });
    let signature = (operation.call == Call::Upload).then(|| {
        json!({
            "name": SIGNATURE_HEADER,
            "in": "header",
            "description": "the component's Ed25519 signature in base64; needed where [signing] is required",
            "schema": { "type": "string" },
        })
    });
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": segments.chain(query).chain(signature).collect::<Vec<Value>>(),
        "responses": responses(operation),
        "security": if operation.access == Access::Open { json!([]) } else { json!([{ "operator": [] }]) },
    });
    if operation.call == Call::Upload {
        let component = json!({ "schema": { "type": "string", "format": "binary" } });
        described["requestBody"] = json!({ "required": true, "content": { "application/wasm": component } });
    }
    described
}

fn responses(operation: &Operation) -> Value {
    let (status, schema) = operation.answer;
    let (kind, schema) = match schema {
        Some(name) => ("application/json", reference(name)),
        None => ("text/plain", json!({ "type": "string" })),
    };
    let mut answers = Map::new();
    let mut add = |status: StatusCode, description: &str, kind: &str, schema: Value| {
        let answer = json!({ "description": description, "content": { kind: { "schema": schema } } });
        answers.insert(status.as_u16().to_string(), answer);
    };
    add(status, "done", kind, schema);
    if operation.call == Call::Ready {
        add(StatusCode::SERVICE_UNAVAILABLE, "not ready, and why", kind, reference("Object"));
    }
    for (status, description) in errors(operation) {
        add(status, description, "application/json", reference("Error"));
    }
    Value::Object(answers)
}

/// What can go wrong, as far as a client may want to tell it apart by the status.
fn errors(operation: &Operation) -> Vec<(StatusCode, &'static str)> {
    let mut errors = Vec::new();
    if operation.access != Access::Open {
        errors.push((StatusCode::UNAUTHORIZED, "the key is missing, or opens nothing"));
    }
    if operation.segments().next().is_some() {
        errors.push((StatusCode::NOT_FOUND, "there is nothing of that name"));
    }
    if operation.access == Access::Change {
        errors.extend([
            (StatusCode::BAD_REQUEST, "a parameter is unknown or wrong"),
            (StatusCode::FORBIDDEN, "this host has no operators' key"),
            (StatusCode::CONFLICT, "something else stands in the way; the message says what"),
            (StatusCode::INSUFFICIENT_STORAGE, "it cannot be kept (store.upload-bytes, or the disk)"),
        ]);
    }
    if matches!(operation.call, Call::Upload | Call::Promote | Call::Rollback) {
        errors.push((StatusCode::UNPROCESSABLE_ENTITY, "the component does not serve; what served goes on"));
    }
    if matches!(operation.call, Call::LoadModel | Call::UnloadModel) {
        errors.extend([
            (StatusCode::UNPROCESSABLE_ENTITY, "the engine cannot load the model; the message says why"),
            (StatusCode::TOO_MANY_REQUESTS, "too many loads and unloads wait; come back in a moment"),
            (StatusCode::SERVICE_UNAVAILABLE, "memory ran out, or the inference worker has stopped"),
        ]);
    }
    if operation.call == Call::Upload {
        errors.extend([
            (StatusCode::REQUEST_TIMEOUT, "the component stopped arriving"),
            (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the component is larger than the route's limits.component-bytes",
            ),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "it is not sent as application/wasm"),
            (StatusCode::TOO_MANY_REQUESTS, "others upload; come back in a moment"),
        ]);
    }
    errors
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let any = || json!({ "type": "object" });
    let maybe = |kind: &str| json!({ "type": [kind, "null"] });
    let list = |of: Value| json!({ "type": "array", "items": of });
    json!({
        "Object": any(),
        "Error": object(&[("error", object(&[("code", text()), ("message", text())], 2))], 1),
        "Routes": object(&[("routes", list(reference("Route")))], 1),
        "Route": object(&[
            ("name", text()), ("path", text()), ("access", text()), ("reuse", text()), ("component", text()), ("closed", flag()),
            ("answers", number()), ("methods", list(text())), ("host", maybe("string")),
            ("tenant", maybe("string")), ("error", maybe("string")), ("deployment", maybe("object")),
        ], 12),
        "Versions": object(&[("versions", list(reference("Version")))], 1),
        "Version": object(&[
            ("id", number()),
            ("state", json!({ "enum": ["staged", "serving", "draining", "retired", "rolled-back", "refused"] })),
            ("source", json!({ "enum": ["manifest", "upload"] })),
            ("digest", text()), ("by", text()), ("at_ms", number()),
            ("place", text()), ("served_ms", number()), ("reason", text()), ("uploads", any()),
        ], 6),
        "Tenants": object(&[("tenants", list(any()))], 1),
        "Tenant": object(&[
            ("id", text()), ("share", number()), ("priority", text()), ("quotas", any()), ("usage", any()),
            ("keys", list(object(&[
                ("name", text()), ("source", json!({ "enum": ["manifest", "minted"] })),
                ("by", text()), ("at_ms", number()),
            ], 2))),
        ], 6),
        "Key": object(&[("tenant", text()), ("name", text()), ("key", text())], 3),
        "Models": object(&[("models", list(reference("Model"))), ("memory", object(&[
            ("budget", number()), ("models", number()), ("runs", number()),
        ], 3))], 2),
        "Model": object(&[
            ("id", text()), ("state", json!({ "enum": ["missing", "unloaded", "loading", "loaded"] })),
            ("fix", text()), ("memory_bytes", number()), ("pinned", flag()), ("idle_s", maybe("integer")),
            ("idle_unload_s", maybe("integer")), ("problem", maybe("string")),
        ], 2),
        "Queue": object(&[
            ("waiting", number()), ("running", flag()), ("running_jobs", number()), ("depth", number()),
            ("jobs", list(any())),
        ], 5),
        "Audit": object(&[("entries", list(object(&[
            ("at_ms", number()), ("by", text()), ("peer", text()), ("operation", text()), ("target", text()),
            ("status", number()), ("error", text()),
        ], 6)))], 1),
    })
}

/// An object of which the first `required` properties are always there.
fn object(properties: &[(&str, Value)], required: usize) -> Value {
    let names: Vec<&str> = properties.iter().take(required).map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}
