//! A bucket of S3, or of a server that speaks like it: requests that are signed by their addresses (SigV4), so that a body is sent
//! as it is read from the disk; those that read are in `download.rs`. Every answer that is none of success is an error, in words
//! that name no address.
//!
//! Objects beyond 5 GB would need to be sent in parts, which nothing here does: the server refuses them.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;

use super::config::S3Copy;
use super::service::ANSWERS;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// For a sign of life: a piece of the body that is taken, or the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Of a signed address: it is used at once.
pub(super) const SIGNED_FOR: Duration = Duration::from_secs(300);
/// A connection that is used no more is closed after so long.
const IDLE: Duration = Duration::from_secs(60);
/// Of a body that is read from the disk at a time.
const PIECE: usize = 64 * 1_024;
/// Of what a server says of an error.
pub(super) const ERROR_BYTES: usize = 16 * 1_024;

/// A bucket.
pub(super) struct S3 {
    pub(super) bucket: Bucket,
    pub(super) credentials: Option<Credentials>,
    pub(super) client: Client<HttpsConnector<HttpConnector>, Upload>,
}

/// Why something was not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) status: Option<StatusCode>,
}

impl S3 {
    /// Reads the configuration. The text says what is wrong with it.
    pub(super) fn open(config: &S3Copy) -> Result<Self, String> {
        let S3Copy { bucket, region, endpoint, access, session, .. } = config;
        // certificates of Amazon's hold for one label before theirs
        let is_label =
            bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let style = if endpoint.is_some() || !is_label { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let endpoint = endpoint.as_deref().unwrap_or(&amazon).parse();
        let endpoint = endpoint.map_err(|error| format!("`endpoint` is no address: {error}"))?;
        let bucket = Bucket::new(endpoint, style, bucket.clone(), region.clone());
        let bucket = bucket.map_err(|error| format!("its bucket has no address: {error}"))?;
        let credentials = access.as_ref().map(|(id, secret)| match session {
            Some(session) => Credentials::new_with_token(id, &secret.0, &session.0),
            None => Credentials::new(id, &secret.0),
        });
        Ok(Self { bucket, credentials, client: client().map_err(|error| error.to_string())? })
    }

    /// Where an object is for whoever may read it.
    pub(super) fn url(&self, key: &str) -> String {
        self.bucket.object_url(key).into()
    }

    /// Writes an object, whole or not at all.
    pub(super) async fn put(&self, key: &str, file: tokio::fs::File, bytes: u64) -> Result<(), Fault> {
        let url = self.bucket.put_object(self.credentials.as_ref(), key).sign(SIGNED_FOR);
        let body = Upload::new(Some(file), bytes);
        self.send(Method::PUT, url.as_str(), Some(content_type(key)), body).await
    }

    /// Removes an object; that it is not there is no error.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Fault> {
        let url = self.bucket.delete_object(self.credentials.as_ref(), key).sign(SIGNED_FOR);
        let deleted = self.send(Method::DELETE, url.as_str(), None, Upload::new(None, 0)).await;
        deleted.or_else(|fault| match fault.reason.as_str() {
            reason if reason.ends_with("NoSuchKey") => Ok(()),
            _ => Err(fault),
        })
    }

    /// Looks whether the bucket is there and may be used.
    pub(super) async fn look(&self) -> Result<(), Fault> {
        let url = self.bucket.head_bucket(self.credentials.as_ref()).sign(SIGNED_FOR);
        self.send(Method::HEAD, url.as_str(), None, Upload::new(None, 0)).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        content_type: Option<&str>,
        body: Upload,
    ) -> Result<(), Fault> {
        let pulse = body.pulse.clone();
        let request = Request::builder().method(method).uri(url);
        let request = content_type.into_iter().fold(request, |request, of| request.header(CONTENT_TYPE, of));
        let request = request.body(body).map_err(|_| Fault::of("an object's key makes no address"))?;
        let work = async {
            let answer = self.client.request(request).await.map_err(|error| Fault::of(unsent(&error)))?;
            let status = answer.status();
            let said = Limited::new(answer.into_body(), ERROR_BYTES).collect().await;
            if status.is_success() {
                return Ok(());
            }
            let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let reason = format!("{ANSWERS} {}{}", status.as_u16(), code(&said));
            Err(Fault { reason, status: Some(status) })
        };
        let silent = || Fault::of(super::service::no_answer(PATIENCE));
        patient(&pulse, work).await.unwrap_or_else(|| Err(silent()))
    }
}

impl Fault {
    pub(super) fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), status: None }
    }
}

/// With the certificate authorities that Mozilla trusts.
fn client() -> Result<Client<HttpsConnector<HttpConnector>, Upload>, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_idle_timeout(IDLE).pool_timer(hyper_util::rt::TokioTimer::new());
    Ok(client.build(connector.wrap_connector(http)))
}

/// Why there is no answer at all.
pub(super) fn unsent(error: &hyper_util::client::legacy::Error) -> &'static str {
    if error.is_connect() { "no connection" } else { "the connection broke" }
}

/// The code in what a server says of an error: `<Error><Code>AccessDenied</Code>…`.
pub(super) fn code(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let code = said.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let is_code = |code: &&str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    code.map(|(code, _)| code).filter(is_code).map_or(String::new(), |code| format!(" {code}"))
}

/// What becomes of something that gives signs of life, unless there is none for too long.
async fn patient<T>(pulse: &AtomicU64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let before = pulse.load(Ordering::Relaxed);
        match timeout(PATIENCE, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if pulse.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
    }
}

/// By a name's ending; what has none that is known is bytes.
fn content_type(key: &str) -> &'static str {
    let ending = key.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A request's body: a file, or nothing.
pub(super) struct Upload {
    file: Option<tokio::fs::File>,
    left: u64,
    pulse: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn new(file: Option<tokio::fs::File>, bytes: u64) -> Self {
        Self { file, left: bytes, pulse: Arc::default() }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let Some(file) = self.file.as_mut().filter(|_| left > 0) else { return Poll::Ready(None) };
        let mut piece = vec![0; left.min(PIECE)];
        let mut read = ReadBuf::new(&mut piece);
        ready!(Pin::new(file).poll_read(cx, &mut read))?;
        let bytes = read.filled().len();
        if bytes == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        piece.truncate(bytes);
        self.left -= bytes as u64;
        self.pulse.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(endpoint: Option<&str>, bucket: &str) -> S3 {
        let config = S3Copy {
            bucket: bucket.into(),
            region: "eu-north-1".into(),
            endpoint: endpoint.map(str::to_owned),
            access: None,
            session: None,
            key: "{name}".into(),
            containers: vec![],
            tenant: None,
            read: false,
        };
        S3::open(&config).unwrap()
    }

    #[test]
    fn addresses_are_amazons_or_below_the_endpoint() {
        let url = |endpoint, name, key| bucket(endpoint, name).url(key);
        assert_eq!(url(None, "a-b", "g/x y.png"), "https://a-b.s3.eu-north-1.amazonaws.com/g/x%20y.png");
        // the certificate would not fit the name
        assert_eq!(url(None, "a.b", "x"), "https://s3.eu-north-1.amazonaws.com/a.b/x");
        assert_eq!(url(Some("http://127.0.0.1:9000"), "a", "ä?"), "http://127.0.0.1:9000/a/%C3%A4%3F");
    }

    #[test]
    fn a_servers_error_is_its_code_and_nothing_else() {
        let xml =
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Resource>/secret</Resource></Error>";
        assert_eq!(code(xml), " AccessDenied");
        assert_eq!(code(b"<Code>a secret at http://x</Code>"), "");
        assert_eq!(code(b"\xff"), "");
    }

    #[test]
    fn kinds_are_told_by_names() {
        assert_eq!(content_type("generations/1.PNG"), "image/png");
        assert_eq!(content_type("png"), "application/octet-stream");
    }
}
