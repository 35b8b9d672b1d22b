//! Whether a page of another site has a visitor's browser ask. Such a page can send any form, and what it is answered may set the
//! visitor's cookie even where the cookie itself was kept back (`SameSite`); a handler with cookies refuses whatever changes
//! something and comes from there. Whoever says nothing of its origin is no browser, and has no visitor's cookies.

use crate::Request;

/// Whether a browser says that a page of another site sent the request. What is said of the site counts, since the browser knows
/// the page's address as well as the one that it asks; browsers say it at addresses with TLS and at this machine's own. Elsewhere
/// the page's origin has to be the host that is asked, which a proxy in between must not rename.
pub fn is_elsewhere(request: &Request) -> bool {
    let mut sites = all(request, "sec-fetch-site").peekable();
    if sites.peek().is_some() {
        // "none": a person's own doing, such as an address that was typed
        return !sites.all(|site| matches!(site, "same-origin" | "none"));
    }
    let host = request.authority.as_deref().unwrap_or_default();
    all(request, "origin").any(|origin| {
        let site = origin.split_once("://").map(|(_, site)| site);
        !site.is_some_and(|site| !site.is_empty() && site.eq_ignore_ascii_case(host))
    })
}

fn all<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    request.headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(headers: &[(&str, &str)]) -> bool {
        let authority = Some("images.example.org:8000".to_owned());
        is_elsewhere(&Request { authority, headers: headers.iter().copied().collect(), ..Request::default() })
    }

    #[test]
    fn a_page_of_the_same_site_asks_and_no_other() {
        for own in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://Images.example.org:8000")],
            &[("origin", "https://images.example.org:8000")],
            // behind a proxy that calls the host by another name
            &[("origin", "https://pictures.example.org"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!elsewhere(own), "{own:?}");
        }
        for other in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://images.example.org:8000")],
            &[("origin", "http://images.example.org")],
            &[("origin", "http://images.example.org:8000.evil.test")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://images.example.org:8000"), ("origin", "https://evil.test")],
        ] {
            assert!(elsewhere(other), "{other:?}");
        }
    }

    #[test]
    fn where_the_host_is_not_known_no_origin_is_its_own() {
        let headers = [("origin", "http://")].into_iter().collect();
        assert!(is_elsewhere(&Request { headers, ..Request::default() }));
    }
}
