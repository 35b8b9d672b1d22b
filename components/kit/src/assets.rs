//! Static files that are stored compressed and sent as they are to every client that takes gzip.
//!
//! Files come from `docs` and from handlers with pages of their own. They were packed before or by the build; nothing is
//! compressed while a request waits. A client that has a file already is answered that it is still the one.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

use crate::accept::takes_coding;
use crate::http::{Request, Response};

/// The most bytes that a stored file may have when it is unpacked: far over any of ours.
const MAX_UNPACKED_BYTES: usize = 16 << 20;

/// Bytes before the compressed data of a gzip file written by `gzip -n` (RFC 1952, no optional field), and after it.
const GZIP_HEAD: usize = 10;
const GZIP_TAIL: usize = 8;

/// A file embedded in the component.
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// Whether and how long it may be used again without asking: the value of `Cache-Control`.
    pub cache: &'static str,
    /// The file, packed by `gzip -9n`.
    pub gzip: &'static [u8],
}

impl Asset {
    /// The file as an answer: packed when the client takes it so, unpacked otherwise, 304 when it has it.
    pub fn answer(&self, request: &Request) -> Response {
        if request.headers.get("if-none-match").is_some_and(|known| names(known, &self.tag())) {
            return Response { status: 304, ..self.head(Vec::new()) };
        }
        if takes_coding(request.headers.get("accept-encoding"), "gzip") {
            return self.head(self.gzip.to_vec()).with("content-encoding", "gzip");
        }
        match unpack(self.gzip) {
            Ok(body) => self.head(body),
            Err(_) => Response::new(500, "text/plain", b"the embedded file is damaged".to_vec()),
        }
    }

    /// Caches must keep the two forms apart.
    fn head(&self, body: Vec<u8>) -> Response {
        Response::new(200, self.content_type, body)
            .with("vary", "accept-encoding")
            .with("cache-control", self.cache)
            .with("etag", &self.tag())
    }

    /// Checksum and length of the text, as they stand in the tail. Weak, since it names the packed form and the unpacked.
    fn tag(&self) -> String {
        let tail = &self.gzip[self.gzip.len().saturating_sub(GZIP_TAIL)..];
        let digits: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("W/\"{digits}\"")
    }
}

/// Whether an `If-None-Match` names a tag, by the weak comparison (RFC 9110, section 13.1.2).
fn names(known: &str, tag: &str) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    known.trim() == "*" || known.split(',').any(|one| opaque(one) == opaque(tag))
}

/// The checksum in the tail is not compared: the bytes are part of the component, and a test unpacks each file.
fn unpack(gzip: &[u8]) -> Result<Vec<u8>, TINFLStatus> {
    let end = gzip.len().saturating_sub(GZIP_TAIL);
    let data = gzip.get(GZIP_HEAD..end).ok_or(TINFLStatus::Failed)?;
    decompress_to_vec_with_limit(data, MAX_UNPACKED_BYTES).map_err(|error| error.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::ASSETS;

    #[test]
    fn every_embedded_file_unpacks_to_the_length_it_says() {
        for asset in ASSETS {
            let body = asset.answer(&Request::default()).body;
            let tail: [u8; 4] = asset.gzip[asset.gzip.len() - 4..].try_into().expect("four bytes");
            assert_eq!(body.len(), u32::from_le_bytes(tail) as usize, "{}", asset.path);
            assert!(std::str::from_utf8(&body).is_ok(), "{} is text", asset.path);
        }
    }

    #[test]
    fn a_client_that_takes_gzip_gets_it_as_stored() {
        let headers = [("accept-encoding", "gzip, br")].into_iter().collect();
        let response = ASSETS[0].answer(&Request { headers, ..Request::default() });
        assert_eq!(response.body, ASSETS[0].gzip);
        assert_eq!(response.headers.get("content-encoding"), Some("gzip"));
        assert_eq!(response.headers.get("x-content-type-options"), Some("nosniff"));
    }

    #[test]
    fn a_client_that_has_a_file_is_not_sent_it_again() {
        let tag = ASSETS[0].answer(&Request::default()).headers.get("etag").expect("a tag").to_owned();
        let strong = tag.trim_start_matches("W/");
        let answer = |known: &str| {
            let headers = [("if-none-match", known)].into_iter().collect();
            ASSETS[0].answer(&Request { headers, ..Request::default() })
        };
        for known in [tag.as_str(), strong, "*", &format!("\"another\", {tag}")] {
            let response = answer(known);
            assert_eq!((response.status, response.body.len()), (304, 0), "{known}");
            assert_eq!(response.headers.get("etag"), Some(tag.as_str()));
            assert_eq!(response.headers.get("vary"), Some("accept-encoding"));
        }
        let others = ASSETS[1].answer(&Request::default()).headers.get("etag").expect("a tag").to_owned();
        for known in [others.as_str(), "", "W/", "\"\""] {
            assert_eq!(answer(known).status, 200, "{known}");
        }
    }
}
