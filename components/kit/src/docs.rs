//! `/docs` (Swagger UI) and `/redoc` (ReDoc) beside an `/openapi.json`, as FastAPI has them, but offline: scripts and
//! styles are embedded, and the pages' policy forbids any request elsewhere.
//!
//! The document itself is the handler's; the pages fetch it from beside themselves.

use serde_json::{Value, json};

use crate::assets::Asset;
use crate::http::{Request, Response};

/// They are large and change with a version only, which has the same paths.
const FOR_A_DAY: &str = "public, max-age=86400";

/// The files that the two pages load.
pub const ASSETS: &[Asset] = &[
    Asset {
        path: "/docs/swagger-ui-bundle.js",
        content_type: "text/javascript; charset=utf-8",
        cache: FOR_A_DAY,
        gzip: include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js.gz"),
    },
    Asset {
        path: "/docs/swagger-ui.css",
        content_type: "text/css; charset=utf-8",
        cache: FOR_A_DAY,
        gzip: include_bytes!("../assets/swagger-ui/swagger-ui.css.gz"),
    },
    Asset {
        path: "/redoc/redoc.standalone.js",
        content_type: "text/javascript; charset=utf-8",
        cache: FOR_A_DAY,
        gzip: include_bytes!("../assets/redoc/redoc.standalone.js.gz"),
    },
];

/// Where schemas stand in a document.
const SCHEMAS: &str = "#/components/schemas/";

/// Starts Swagger UI; a file of its own, so that the policy can forbid inline scripts.
const SWAGGER_START: &str = r##"window.onload = () => {
  window.ui = SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true });
};
"##;

/// Starts ReDoc with system fonts and without its promotional link.
const REDOC_START: &str = r##"window.onload = () => {
  const theme = { typography: { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } } };
  Redoc.init("openapi.json", { theme, hideLoading: true }, document.getElementById("redoc"));
};
"##;

/// Both pages style themselves from scripts; ReDoc searches in a worker made from a blob.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// A reference to a schema of the document. They stand once each, under `components`.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

/// An answer of JSON as one of the document's schemas has it.
pub fn json_answer(description: &str, schema: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": reference(schema)}}})
}

/// The schemas that a document refers to and does not have: none, as a handler's test wants it.
pub fn dangling(document: &Value) -> Vec<String> {
    let text = document.to_string();
    let names = text.split(SCHEMAS).skip(1).filter_map(|rest| rest.split('"').next());
    let is_there = |name: &str| document["components"]["schemas"][name].is_object();
    names.filter(|name| !is_there(name)).map(str::to_owned).collect()
}

/// The schema of an object in an answer, which may gain properties: clients should not refuse unknown ones.
pub fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// Under which path the route serves this component, without a slash at the end: the host says so, and strips it.
pub fn base(request: &Request) -> &str {
    request.headers.get("x-forwarded-prefix").unwrap_or_default().trim_end_matches('/')
}

/// Answers `/docs`, `/redoc` and their files; nothing when the path is another. Paths are relative to the route's
/// prefix, and so are the pages' links, so that they work under any.
pub fn answer(request: &Request, title: &str) -> Option<Response> {
    let asset = || ASSETS.iter().find(|asset| asset.path == request.path);
    match request.path.as_str() {
        "/docs" => Some(page(&swagger_html(title))),
        "/redoc" => Some(page(&redoc_html(title))),
        "/docs/start.js" => Some(script(SWAGGER_START)),
        "/redoc/start.js" => Some(script(REDOC_START)),
        _ => asset().map(|asset| asset.answer(request)),
    }
}

/// Pages are asked for anew each time: they are small, and a new version may name other files.
fn page(html: &str) -> Response {
    Response::new(200, "text/html; charset=utf-8", html.as_bytes().to_vec())
        .with("content-security-policy", POLICY)
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-cache")
}

fn script(text: &str) -> Response {
    Response::new(200, "text/javascript; charset=utf-8", text.as_bytes().to_vec())
        .with("cache-control", "no-cache")
}

/// Links have no leading slash, so they hold below any prefix that a route may have.
fn swagger_html(title: &str) -> String {
    html(
        title,
        r#"<link rel="stylesheet" href="docs/swagger-ui.css">"#,
        "swagger-ui",
        "docs/swagger-ui-bundle.js",
        "docs/start.js",
    )
}

fn redoc_html(title: &str) -> String {
    html(title, "", "redoc", "redoc/redoc.standalone.js", "redoc/start.js")
}

/// A page around one empty element, which `library` fills when `start` tells it to. Only the title is not ours.
fn html(title: &str, style: &str, place: &str, library: &str, start: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n{style}\n</head>\n<body>\n<div id=\"{place}\"></div>\n\
         <script src=\"{library}\"></script>\n<script src=\"{start}\"></script>\n</body>\n</html>\n"
    )
}

/// Safe as text and inside of double quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<Response> {
        answer(&Request { path: path.into(), ..Request::default() }, "A <b> title")
    }

    #[test]
    fn every_file_that_a_page_names_is_served() {
        for path in ["/docs", "/redoc"] {
            let page = String::from_utf8(get(path).expect(path).body).expect("utf-8");
            for link in page.split("src=\"").skip(1).chain(page.split("stylesheet\" href=\"").skip(1)) {
                let file = link.split('"').next().expect("closed");
                assert!(get(&format!("/{file}")).is_some(), "{path} names {file}");
            }
        }
    }

    #[test]
    fn the_pages_name_no_other_host_and_run_no_inline_script() {
        for path in ["/docs", "/redoc"] {
            let response = get(path).expect(path);
            let page = String::from_utf8(response.body.clone()).expect("utf-8");
            assert!(!page.contains("http:") && !page.contains("https:") && page.contains("A &lt;b>"));
            assert!(!page.contains("<script>"));
            let policy = response.headers.get("content-security-policy").expect("a policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"));
        }
    }

    #[test]
    fn other_paths_are_left_to_the_handler() {
        assert!(get("/").is_none() && get("/docs/../x").is_none());
    }
}
