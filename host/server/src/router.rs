//! Which route answers a request. The rules:
//!
//! 1. A route's `path` is a prefix of whole segments: `/v1` answers `/v1` and `/v1/images`, never `/v10`.
//! 2. Among the routes that fit, an exact `host` beats none; then the longest prefix wins; then a route that names the
//!    method beats one that takes any.
//! 3. When a prefix fits but no route of it takes the method, the answer is 405 with `allow`; a shorter prefix does not
//!    step in, nor does a route without host for one with it.
//! 4. The component sees the path below the prefix, so that it works wherever it is mounted; where that is stands in the
//!    header `x-forwarded-prefix` (`edge.rs` does this by `below`).
//! 5. Two routes that would answer the same request with the same right are a conflict, found when the manifest loads.
//!
//! On purpose: no patterns, no parameters, no regular expressions (a component has its own router), and no decoding: the
//! path is compared as the client sent it, so that host and component never disagree about what `%2f` means.
//!
//! Knows routes by their position in the manifest and nothing of what they run.

use std::cmp::Reverse;

use http::Method;

use crate::config::Route;

/// The routes, the most particular first.
#[derive(Debug, Default)]
pub struct Router {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    host: Option<String>,
    path: String,
    methods: Vec<Method>,
    index: usize,
}

/// What the router found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The route at this position.
    Route(usize),
    /// A path without a route.
    Nothing,
    /// A path whose routes take only these methods.
    OtherMethods(Vec<Method>),
}

impl Router {
    /// Takes routes in the manifest's order.
    pub fn new<'a>(routes: impl IntoIterator<Item = &'a Route>) -> Self {
        let entry = |(index, route): (usize, &Route)| Entry {
            host: route.host.clone(),
            path: route.path.trim_end_matches('/').to_owned(),
            methods: route.methods.clone(),
            index,
        };
        let mut entries: Vec<Entry> = routes.into_iter().enumerate().map(entry).collect();
        entries.sort_by_key(|entry| {
            (entry.host.is_none(), Reverse(entry.path.len()), entry.methods.is_empty(), entry.index)
        });
        Self { entries }
    }

    /// The route for a request; `host` may carry a port.
    pub fn find(&self, host: Option<&str>, method: &Method, path: &str) -> Found {
        let host = host.map(without_port);
        let Some(first) = self.entries.iter().find(|entry| entry.fits(host, path)) else {
            return Found::Nothing;
        };
        let peers =
            || self.entries.iter().filter(|entry| entry.host == first.host && entry.path == first.path);
        let takes = |entry: &&Entry| entry.methods.is_empty() || entry.methods.contains(method);
        match peers().find(takes) {
            Some(entry) => Found::Route(entry.index),
            None => Found::OtherMethods(peers().flat_map(|entry| entry.methods.clone()).collect()),
        }
    }

    /// Whether two routes would answer the same request with the same right.
    pub(crate) fn conflict(one: &Route, other: &Route) -> bool {
        let methods = |a: &[Method], b: &[Method]| {
            a.is_empty() && b.is_empty() || a.iter().any(|method| b.contains(method))
        };
        one.host == other.host && one.path == other.path && methods(&one.methods, &other.methods)
    }
}

impl Entry {
    fn fits(&self, host: Option<&str>, path: &str) -> bool {
        let same_host =
            self.host.as_deref().is_none_or(|own| host.is_some_and(|host| own.eq_ignore_ascii_case(host)));
        let below = path.strip_prefix(self.path.as_str());
        same_host && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The target as the component of a route sees it: without the route's prefix, never empty.
pub(crate) fn below(prefix: &str, target: &str) -> String {
    let rest = target.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(target);
    if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
}

/// `[::1]:8000` keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str, methods: &[Method]) -> Route {
        let any = Route::for_tests(path, path);
        Route { host: host.map(Into::into), methods: methods.into(), ..any }
    }

    fn find(routes: &[Route], host: &str, method: Method, path: &str) -> Found {
        Router::new(routes).find(Some(host), &method, path)
    }

    #[test]
    fn a_prefix_answers_whole_segments_only() {
        let routes = [route(None, "/v1", &[])];
        assert_eq!(find(&routes, "a", Method::GET, "/v1"), Found::Route(0));
        assert_eq!(find(&routes, "a", Method::GET, "/v1/images"), Found::Route(0));
        assert_eq!(find(&routes, "a", Method::GET, "/v10"), Found::Nothing);
        assert_eq!(find(&routes, "a", Method::GET, "/"), Found::Nothing);
    }

    #[test]
    fn the_longest_prefix_wins_and_the_root_takes_the_rest() {
        let routes = [route(None, "/", &[]), route(None, "/v1", &[]), route(None, "/v1/images", &[])];
        assert_eq!(find(&routes, "a", Method::GET, "/v1/images/x"), Found::Route(2));
        assert_eq!(find(&routes, "a", Method::GET, "/v1/other"), Found::Route(1));
        assert_eq!(find(&routes, "a", Method::GET, "/other"), Found::Route(0));
    }

    #[test]
    fn a_named_host_beats_none_whatever_the_case_and_port() {
        let routes = [route(None, "/v1", &[]), route(Some("images.example.org"), "/", &[])];
        assert_eq!(find(&routes, "Images.Example.org:8000", Method::GET, "/v1"), Found::Route(1));
        assert_eq!(find(&routes, "example.org", Method::GET, "/v1"), Found::Route(0));
        assert_eq!(find(&routes, "[::1]:80", Method::GET, "/v1"), Found::Route(0));
    }

    #[test]
    fn a_component_sees_the_path_below_its_prefix() {
        assert_eq!(below("/v1", "/v1/images?n=1"), "/images?n=1");
        assert_eq!(below("/v1", "/v1"), "/");
        assert_eq!(below("/v1", "/v1?n=1"), "/?n=1");
        assert_eq!(below("/", "/images"), "/images");
    }

    #[test]
    fn a_method_that_no_route_takes_is_told_which_ones_would_be() {
        let routes =
            [route(None, "/a", &[Method::POST]), route(None, "/a", &[Method::PUT]), route(None, "/", &[])];
        assert_eq!(find(&routes, "a", Method::PUT, "/a"), Found::Route(1));
        assert_eq!(
            find(&routes, "a", Method::GET, "/a"),
            Found::OtherMethods(vec![Method::POST, Method::PUT])
        );
    }

    #[test]
    fn a_named_method_beats_any_method_and_is_no_conflict() {
        let (any, post) = (route(None, "/a", &[]), route(None, "/a", &[Method::POST]));
        assert!(!Router::conflict(&any, &post));
        assert!(Router::conflict(&post, &post) && Router::conflict(&any, &any));
        let routes = [any, post];
        assert_eq!(find(&routes, "a", Method::POST, "/a"), Found::Route(1));
        assert_eq!(find(&routes, "a", Method::GET, "/a"), Found::Route(0));
    }
}
