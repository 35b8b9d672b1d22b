//! The page and its files, as they lie in `page/`. Nothing of it comes from elsewhere, and its policy says so.

use atelier_kit::Response;

/// Scripts and styles come from here alone; pictures may be previews that a script has.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
     media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What the page may ask of the browser.
const PERMISSIONS: &str = "microphone=(self), camera=(), geolocation=()";

/// The names and texts of files in `page/`.
macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../page/", $name)))),*] };
}

const FILES: &[(&str, &str)] = files![
    "account.js",
    "api.js",
    "app.js",
    "connection.js",
    "dock.css",
    "dock.js",
    "dom.js",
    "gallery.js",
    "hold.js",
    "meter.js",
    "microphone.js",
    "modes.js",
    "notice.js",
    "panel.css",
    "recorder.js",
    "settings.js",
    "stage.css",
    "stage.js",
    "style.css",
    "tabs.js",
    "theme.js",
    "tree.js",
    "words-en.js",
    "words-fi.js",
    "words.js",
];

/// The page.
pub(crate) fn page() -> Response {
    let html = include_str!("../page/index.html");
    Response::new(200, "text/html; charset=utf-8", html.as_bytes().to_vec())
        .with("content-security-policy", POLICY)
        .with("permissions-policy", PERMISSIONS)
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-cache")
}

/// One of its files.
pub(crate) fn file(name: &str) -> Option<Response> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    let content_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    };
    let response = Response::new(200, content_type, text.as_bytes().to_vec());
    // a new version has the same names
    Some(response.with("cache-control", "no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_script_or_a_style() {
        for (name, _) in FILES {
            assert!(name.ends_with(".js") || name.ends_with(".css"), "{name}");
        }
    }
}
