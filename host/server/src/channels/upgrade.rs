//! From HTTP to WebSocket (RFC 6455, section 4.2), on HTTP/1.1: looks at the client's handshake, and answers it. Over HTTP/2 there are
//! no WebSockets here; socket.io's polling works there.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::failure::Refusal;
use crate::http::{Answer, whole};

/// Bytes of a key: 16 in base64.
const KEY_BYTES: usize = 24;

/// The key of a handshake, which is one in all its parts.
pub(super) fn check<B>(request: &Request<B>) -> Result<&HeaderValue, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::Method(vec![Method::GET]));
    }
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let asks = names(headers, &UPGRADE, "websocket") && names(headers, &CONNECTION, "upgrade");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_BYTES);
    key.filter(|_| request.version() == Version::HTTP_11 && asks && version).ok_or(Refusal::Upgrade)
}

/// Takes the connection's other side out of a request, and makes the answer after which it can be had.
pub(super) fn begin<B>(request: &mut Request<B>) -> Result<(OnUpgrade, Answer), Refusal> {
    let key = check(request)?;
    // base64 is visible ASCII
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| Refusal::Upgrade)?;
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok((hyper::upgrade::on(request), response))
}

/// Whether a list in the headers has a name, whatever its case.
fn names(headers: &HeaderMap, header: &HeaderName, name: &str) -> bool {
    let lists = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn request(version: Version, without: &str) -> Request<()> {
        let mut request = Request::get("/ws").version(version);
        for (name, value) in SAMPLE.into_iter().filter(|(name, _)| *name != without) {
            request = request.header(name, value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn the_sample_of_the_standard_is_answered_as_there() {
        let (_, answer) = begin(&mut request(Version::HTTP_11, "")).unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_told_what_is_wanted() {
        for (name, _) in SAMPLE {
            let refused = begin(&mut request(Version::HTTP_11, name)).map(drop).unwrap_err();
            assert_eq!(refused, Refusal::Upgrade, "without {name}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert!(begin(&mut request(version, "")).is_err(), "{version:?}");
        }
    }
}
