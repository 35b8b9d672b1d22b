//! The page and its files, as they lie in `page/`. Nothing of it comes from elsewhere, and its policy says so.

use atelier_kit::assets::Asset;
use atelier_kit::http::{Request, Response};

/// Scripts and styles come from here alone; pictures may be previews that a script has.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
     media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What the page may ask of the browser.
const PERMISSIONS: &str = "microphone=(self), camera=(), geolocation=()";

/// A new version has the same names, so that each visit asks whether a file is still the one.
const CACHE: &str = "no-cache";

/// A file of `page/`, as `build.rs` packed it.
macro_rules! file {
    ($name:expr, $content_type:expr) => {
        Asset {
            path: $name,
            content_type: $content_type,
            cache: CACHE,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        }
    };
}

/// The files that the page loads, by their endings.
macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(file!($name, content_type($name))),*] };
}

const PAGE: Asset = file!("index.html", "text/html; charset=utf-8");

const FILES: &[Asset] = files![
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
pub(crate) fn page(request: &Request) -> Response {
    PAGE.answer(request)
        .with("content-security-policy", POLICY)
        .with("permissions-policy", PERMISSIONS)
        .with("referrer-policy", "no-referrer")
}

/// One of its files.
pub(crate) fn file(name: &str, request: &Request) -> Option<Response> {
    FILES.iter().find(|file| file.path == name).map(|file| file.answer(request))
}

/// What a file is, by its ending: a style or a script.
const fn content_type(name: &str) -> &'static str {
    match name.as_bytes() {
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_script_or_a_style() {
        for Asset { path: name, content_type, .. } in FILES {
            assert!(name.ends_with(".js") || name.ends_with(".css"), "{name}");
            assert_eq!(name.ends_with(".css"), content_type.starts_with("text/css"), "{name}");
        }
    }
}
