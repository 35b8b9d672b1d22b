//! A running host, as the verbs that operate one see it: its admin address, the operators' key, and one request at a
//! time. What it answers is JSON; what it refuses, it says itself.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Usage;
use crate::signing::{SIGNATURE_HEADER, Signature};
use crate::terminal::Terminal;
use crate::versions::now_ms;

/// The variable that holds the operators' key. There is no argument for it: arguments can be seen by everybody.
const KEY: &str = "ATELIER_ADMIN_KEY";
const CONNECT: Duration = Duration::from_secs(10);
/// An upload is compiled and probed before it is answered.
const ANSWER: Duration = Duration::from_secs(900);
const PORT: u16 = 80;

/// What every verb takes that talks to a running host. The operators' key comes from $ATELIER_ADMIN_KEY.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Remote {
    /// The host's admin address.
    #[arg(long, value_name = "URL", env = "ATELIER_ADMIN", default_value = "http://127.0.0.1:8001")]
    admin: Uri,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Remote {
    pub(super) fn terminal(&self) -> Terminal {
        Terminal::of_process(self.json)
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, None).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    /// Sends a component, with its signature if it has one.
    pub(super) async fn upload(
        &self,
        path: &str,
        component: Vec<u8>,
        signature: Option<Signature>,
    ) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some((component, signature))).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        upload: Option<(Vec<u8>, Option<Signature>)>,
    ) -> anyhow::Result<Value> {
        let authority = self.authority()?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
        if let Some(key) = std::env::var_os(KEY) {
            let bearer = key.to_str().and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
            let mut bearer = bearer.ok_or_else(|| Usage(format!("{KEY} holds no key")))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        if upload.is_some() {
            request = request.header(CONTENT_TYPE, "application/wasm");
        }
        let (component, signature) = upload.unwrap_or_default();
        if let Some(signature) = signature {
            request = request.header(SIGNATURE_HEADER, signature.to_string());
        }
        let body = Full::new(Bytes::from(component));
        let request = request.body(body).map_err(|error| Usage(format!("{path} is no path: {error}")))?;
        timeout(ANSWER, self.send(request)).await.context("the host does not answer")?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Value> {
        let (host, port) = (self.admin.host().unwrap_or_default(), self.admin.port_u16().unwrap_or(PORT));
        let address = (host.trim_matches(['[', ']']), port);
        let unreachable = || format!("cannot reach a host at {} (--admin, or ATELIER_ADMIN)", self.admin);
        let stream = timeout(CONNECT, TcpStream::connect(address)).await.with_context(unreachable)?;
        let stream = stream.with_context(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // ends with the answer; what goes wrong is told by the answer
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.context("the host broke off")?.into_parts();
        let bytes = body.collect().await.context("the host broke off")?.to_bytes();
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|_| anyhow!("{} does not answer like Atelier's admin address", self.admin))?;
        if !head.status.is_success() {
            let message = value["error"]["message"].as_str();
            bail!("{}", message.unwrap_or("the host refused, and did not say why"));
        }
        Ok(value)
    }

    fn authority(&self) -> Result<&str, Usage> {
        let plain = self.admin.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP);
        let authority = self.admin.authority().map(|authority| authority.as_str());
        authority.filter(|_| plain).ok_or_else(|| {
            Usage(format!("--admin wants an address such as http://127.0.0.1:8001, not {}", self.admin))
        })
    }
}

/// A text of an answer; nothing where there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The list that an answer holds.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How long ago, in the largest unit that says something.
pub(super) fn ago(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |then| since(now_ms().saturating_sub(then) / 1_000))
}

/// The same, of seconds that have passed.
pub(super) fn since(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
