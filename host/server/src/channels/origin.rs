//! Which pages may connect. A browser says in `origin` of which site the page is that asks; without this look any page could use
//! its visitor's cookies, since neither WebSockets nor event streams ask a server before. Whoever sends no `origin` is no page.

use http::Request;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::failure::Refusal;

/// The page that asks, where it is of another site that may.
pub(super) struct Elsewhere(Option<HeaderValue>);

/// Looks whether the request may connect.
pub(super) fn check<B>(request: &Request<B>, allowed: &[String]) -> Result<Elsewhere, Refusal> {
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(Elsewhere(None)) };
    let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok()).unwrap_or_default();
    let site = text.split_once("://").map(|(_, site)| site);
    if origins.next().is_none() && site.is_some_and(|site| site.eq_ignore_ascii_case(host)) {
        return Ok(Elsewhere(None));
    }
    if allowed.contains(&text) { Ok(Elsewhere(Some(origin.clone()))) } else { Err(Refusal::Origin) }
}

impl Elsewhere {
    /// Lets a page of another site read the answer, with its cookies.
    pub(super) fn allow(self, headers: &mut HeaderMap) {
        let Some(origin) = self.0 else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a page may connect, and whether it is told so.
    fn checked(origin: Option<&str>) -> Option<bool> {
        let mut request = Request::get("/events").header("host", "Images.example.org:8000");
        for origin in origin.into_iter().flat_map(|origins| origins.split(", ")) {
            request = request.header("origin", origin);
        }
        let allowed = ["https://app.example.org".to_owned()];
        let elsewhere = check(&request.body(()).unwrap(), &allowed).ok()?;
        let mut headers = HeaderMap::new();
        elsewhere.allow(&mut headers);
        Some(headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN))
    }

    #[test]
    fn pages_of_the_same_site_and_of_named_ones_may_connect_and_no_others() {
        for may in [None, Some("http://images.example.org:8000"), Some("https://images.example.org:8000")] {
            assert_eq!(checked(may), Some(false), "{may:?}");
        }
        assert_eq!(checked(Some("https://App.example.org")), Some(true));
        for may_not in [
            "http://images.example.org",
            "http://app.example.org",
            "https://app.example.org.evil.test",
            "https://evil.test",
            "null",
            "",
            "http://images.example.org:8000, https://evil.test",
        ] {
            assert_eq!(checked(Some(may_not)), None, "{may_not}");
        }
    }
}
