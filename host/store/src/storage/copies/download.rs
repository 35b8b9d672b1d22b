//! Objects on their way from S3: what is known of one, and its bytes as they come. A server that says nothing for too long while
//! somebody waits for it is given up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use rusty_s3::S3Action;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use super::s3::{ERROR_BYTES, Fault, PATIENCE, S3, SIGNED_FOR, Upload, code, unsent};
use super::service::{ANSWERS, Service, no_answer};
use crate::storage::ObjectInfo;

/// Beyond this nothing is, and servers may not read the number.
const MOST: u64 = i64::MAX as u64;

/// Bytes that come; that they broke off is all that is said of an error.
pub(super) type Bytestream = UnsyncBoxBody<Bytes, ()>;

/// A part of an object.
pub(super) enum Part {
    /// There is no such object.
    Absent,
    /// It has no such part.
    Beyond,
    /// The part comes.
    Bytes {
        /// Bytes of the whole object.
        whole: u64,
        /// Bytes of the part.
        length: u64,
        /// The part.
        body: Bytestream,
    },
}

impl S3 {
    /// What is known of an object; `None` where there is none.
    pub(super) async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        let url = self.bucket.head_object(self.credentials.as_ref(), key).sign(SIGNED_FOR);
        match self.fetch(Method::HEAD, url.as_str(), None).await {
            Ok(answer) => described(answer.headers()).map(Some),
            Err(fault) if fault.status == Some(StatusCode::NOT_FOUND) => {
                // without a text it may be the bucket that is not there
                self.look().await.map(|()| None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Bytes `start` to `end` of an object, both included; what lies beyond its end is left out.
    pub(super) async fn get(&self, key: &str, start: u64, end: u64) -> Result<Part, Fault> {
        let url = self.bucket.get_object(self.credentials.as_ref(), key).sign(SIGNED_FOR);
        let range = match (start, end) {
            (0, MOST..) => None,
            (start, end) if start > end => return Ok(Part::Beyond),
            (start, MOST..) => Some(format!("bytes={start}-")),
            (start, end) => Some(format!("bytes={start}-{end}")),
        };
        let is_part = range.is_some();
        let answer = match self.fetch(Method::GET, url.as_str(), range).await {
            Ok(answer) => answer,
            Err(fault) => match fault.status {
                Some(StatusCode::NOT_FOUND) if fault.reason.ends_with("NoSuchKey") => {
                    return Ok(Part::Absent);
                }
                Some(StatusCode::RANGE_NOT_SATISFIABLE) => return Ok(Part::Beyond),
                _ => return Err(fault),
            },
        };
        if is_part != (answer.status() == StatusCode::PARTIAL_CONTENT) {
            return Err(Fault::of(format!("{ANSWERS} {} to a part", answer.status().as_u16())));
        }
        let length = number(answer.headers(), CONTENT_LENGTH)?;
        let whole = if is_part { whole(answer.headers())? } else { length };
        Ok(Part::Bytes { whole, length, body: answer.into_body() })
    }

    /// An answer that is a success; its body has not come yet.
    async fn fetch(
        &self,
        method: Method,
        url: &str,
        range: Option<String>,
    ) -> Result<Response<Bytestream>, Fault> {
        let request = Request::builder().method(method).uri(url);
        let request = range.into_iter().fold(request, |request, range| request.header(RANGE, range));
        let request = request.body(Upload::new(None, 0));
        let request = request.map_err(|_| Fault::of("an object's key makes no address"))?;
        let silent = |_| Fault::of(no_answer(PATIENCE));
        let answer = timeout(PATIENCE, self.client.request(request)).await.map_err(silent)?;
        let answer = answer.map_err(|error| Fault::of(unsent(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.map(|body| body.map_err(|_| ()).boxed_unsync()));
        }
        let said = timeout(PATIENCE, Limited::new(answer.into_body(), ERROR_BYTES).collect()).await;
        let said = said.map_err(silent)?.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let reason = format!("{ANSWERS} {}{}", status.as_u16(), code(&said));
        Err(Fault { reason, status: Some(status) })
    }
}

/// What a head says of an object.
fn described(headers: &HeaderMap) -> Result<ObjectInfo, Fault> {
    let size = number(headers, CONTENT_LENGTH)?;
    let written = headers.get(LAST_MODIFIED).and_then(|time| time.to_str().ok());
    let written = written.and_then(|time| httpdate::parse_http_date(time).ok());
    let created = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(ObjectInfo { size, created: created.as_secs() })
}

fn number(headers: &HeaderMap, name: HeaderName) -> Result<u64, Fault> {
    let number = headers.get(&name).and_then(|value| value.to_str().ok()?.parse().ok());
    number.ok_or_else(|| Fault::of(format!("{ANSWERS} without {name}")))
}

/// How large an object is of which a part comes: `bytes 0-9/100`.
fn whole(headers: &HeaderMap) -> Result<u64, Fault> {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let whole = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    whole.ok_or_else(|| Fault::of(format!("{ANSWERS} with a part of nobody knows what")))
}

/// An object's bytes as somebody reads them.
pub(in crate::storage) struct Download {
    body: Bytestream,
    piece: Bytes,
    /// Bytes that have not come yet.
    left: u64,
    /// Since somebody waits for the next piece: until when. Who takes long to ask for more keeps no server to its time.
    patience: Option<Pin<Box<Sleep>>>,
    service: Arc<Service>,
}

impl Download {
    pub(super) fn new(body: Bytestream, length: u64, service: Arc<Service>) -> Self {
        Self { body, piece: Bytes::new(), left: length, patience: None, service }
    }

    /// Nothing.
    pub(super) fn none(service: Arc<Service>) -> Self {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        Self::new(body, 0, service)
    }

    fn broke(&self, reason: String) -> io::Error {
        self.service.failed(reason.clone());
        io::Error::other(self.service.away(reason))
    }
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() && self.left > 0 {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let mut piece = frame.into_data().unwrap_or_default();
                    piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= piece.len() as u64;
                    (self.piece, self.patience) = (piece, None);
                }
                Poll::Ready(_) => return Poll::Ready(Err(self.broke("the connection broke".into()))),
                Poll::Pending => {
                    let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                    ready!(patience.as_mut().poll(context));
                    return Poll::Ready(Err(self.broke(no_answer(PATIENCE))));
                }
            }
        }
        let taken = self.piece.len().min(buffer.remaining());
        buffer.put_slice(&self.piece.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_large_and_how_old_an_object_is() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        let date = (LAST_MODIFIED, "Fri, 13 Feb 2009 23:31:30 GMT");
        let known = described(&headers(&[(CONTENT_LENGTH, "7"), date.clone()])).unwrap();
        assert_eq!(known, ObjectInfo { size: 7, created: 1_234_567_890 });
        assert!(described(&headers(&[date])).unwrap_err().reason.contains("content-length"));
        assert_eq!(whole(&headers(&[(CONTENT_RANGE, "bytes 2-4/9")])).unwrap(), 9);
        assert!(whole(&headers(&[(CONTENT_RANGE, "bytes 2-4/*")])).is_err());
    }
}
