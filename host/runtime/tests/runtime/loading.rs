//! What keeps a route from loading, and how it is told.

use atelier_inference::ModelId;
use atelier_runtime::{Code, Grants, Kind, Limits, RouteSpec, inspect};

use crate::kit::{guest, runtime, spec, studio, text};

/// The problems of a route that does not load, one per line.
pub(crate) async fn problems(spec: RouteSpec) -> String {
    let error = runtime().deploy(spec).await.expect_err("the route should not load");
    error.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn a_handler_without_a_grant_for_what_it_imports_names_the_import_and_the_key() {
    let told = problems(RouteSpec { grants: Grants::default(), ..studio() }).await;
    assert_has(
        &told,
        &[
            "`studio.wasm` imports `atelier:host/generation@0.1.0`",
            "route `/test` grants no model",
            "`grants.models`",
        ],
    );
    for capability in ["language", "speech"] {
        assert_has(&told, &[&format!("imports `atelier:host/{capability}@0.1.0`")]);
    }
    assert_has(&told, &["`wasi:http/client@0.3.0`", "grants no outbound server", "`grants.outbound`"]);
}

#[tokio::test]
async fn a_granted_model_must_exist() {
    let mut spec = studio();
    spec.grants.models.push(ModelId::new("sd-99"));
    assert_has(&problems(spec).await, &["`sd-99`", "grants.models", "known: fake"]);
}

#[tokio::test]
async fn bytes_that_are_no_component_are_told_by_what_they_are() {
    let handler = |bytes: &[u8]| spec(Code { name: "x.wasm".into(), bytes: bytes.to_vec().into() });
    let whole = guest("plain2").bytes;
    let cases: [(&[u8], &str); 5] = [
        (b"", "is empty"),
        (b"hello", "is not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "is a core WebAssembly module"),
        (&whole[..whole.len() / 2], "is cut short"),
        (&whole[..9], "is cut short"),
    ];
    for (bytes, what) in cases {
        assert_has(&problems(handler(bytes)).await, &["`x.wasm`", what]);
    }
}

#[tokio::test]
async fn a_component_of_another_world_names_the_export_that_it_lacks() {
    assert_has(
        &problems(spec(guest("styler"))).await,
        &["`styler.wasm` is a style plugin, not a request handler", "wasi:http/handler@0.3.0"],
    );
    let wrong_stage = RouteSpec { style: vec![guest("selector")], ..spec(guest("plain2")) };
    assert_has(
        &problems(wrong_stage).await,
        &["`selector.wasm` is a select plugin, not a style plugin", "atelier:host/style@0.1.0"],
    );
    let wrong_stage = RouteSpec { intent: Some(guest("selector")), ..spec(guest("interpreter")) };
    assert_has(
        &problems(wrong_stage).await,
        &[
            "`interpreter.wasm` is an intent plugin, not a request handler",
            "`selector.wasm` is a select plugin, not an intent plugin",
        ],
    );
}

#[tokio::test]
async fn a_component_for_another_version_of_the_host_is_told_both_versions() {
    for version in ["0.2.0", "1.0.0"] {
        let wat = format!(
            r#"(component (instance $style) (export "atelier:host/style@{version}" (instance $style)))"#
        );
        let spec = RouteSpec { style: vec![text("s.wasm", &wat)], ..spec(guest("plain2")) };
        let told = format!("`s.wasm` was built for atelier:host {version}; this host has 0.1.0");
        let problems = problems(spec).await;
        assert_has(&problems, &[&told]);
        assert!(!problems.contains("unknown kind"), "{problems}");
    }
}

#[tokio::test]
async fn sockets_are_never_granted_and_unknown_imports_are_named() {
    let wat = r#"(component
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "acme:secret/vault@1.0.0" (instance))
        (instance $handler)
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    let told = problems(spec(text("x.wasm", wat))).await;
    assert_has(
        &told,
        &[
            "`wasi:sockets/tcp@0.2.0`, which is never granted",
            "`acme:secret/vault@1.0.0`, which this host does not have",
        ],
    );
}

#[tokio::test]
async fn plugins_get_no_capabilities_of_handlers() {
    let wat = r#"(component
        (import "atelier:host/generation@0.1.0" (instance))
        (import "wasi:http/types@0.2.0" (instance))
        (instance $style)
        (export "atelier:host/style@0.1.0" (instance $style)))"#;
    let spec = RouteSpec { style: vec![text("s.wasm", wat)], ..studio() };
    assert_has(
        &problems(spec).await,
        &[
            "`atelier:host/generation@0.1.0`, which is not for plugins",
            "`wasi:http/types@0.2.0`, which is not for plugins",
        ],
    );
}

#[tokio::test]
async fn an_export_of_the_right_name_and_the_wrong_shape_is_refused() {
    let wat = r#"(component (instance $h) (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#;
    assert_has(&problems(spec(text("x.wasm", wat))).await, &["`x.wasm` does not load", "handle"]);
}

#[tokio::test]
async fn a_component_over_the_size_limit_names_the_limit() {
    let handler = guest("plain2");
    let limit = handler.bytes.len() - 1;
    let spec = RouteSpec { limits: Limits { component_bytes: limit, ..Limits::default() }, ..spec(handler) };
    assert_has(
        &problems(spec).await,
        &["`plain2.wasm` has", &format!("at most {limit}"), "limits.component-bytes"],
    );
}

#[tokio::test]
async fn all_problems_of_a_route_are_told_at_once() {
    let error = runtime()
        .deploy(RouteSpec {
            style: vec![guest("selector"), Code { name: "empty".into(), bytes: Default::default() }],
            grants: Grants::default(),
            ..studio()
        })
        .await
        .unwrap_err();
    // one for each interface that needs a grant, one for each plugin
    assert_eq!(error.problems.len(), 6, "{error}");
}

#[test]
fn inspection_tells_kind_imports_and_needed_grants() {
    let kinds = [
        ("plain2", Kind::HandlerP2),
        ("plain3", Kind::HandlerP3),
        ("studio", Kind::HandlerP3),
        ("interpreter", Kind::Interpreter),
        ("styler", Kind::Styler),
        ("selector", Kind::Selector),
        ("finisher", Kind::Finisher),
        ("decoder", Kind::Decoder),
    ];
    for (name, kind) in kinds {
        assert_eq!(inspect(&guest(name).bytes).unwrap().kind, kind, "{name}");
    }
    let studio = inspect(&guest("studio").bytes).unwrap();
    assert_eq!(studio.grants, ["grants.models", "grants.outbound"]);
    assert!(studio.imports.contains(&"atelier:host/images@0.1.0".to_string()), "{:?}", studio.imports);
    assert_eq!(studio.bytes, guest("studio").bytes.len());
    assert!(inspect(b"junk").is_err());
}
