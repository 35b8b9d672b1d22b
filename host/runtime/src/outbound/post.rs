//! A message of the host's own to a server that a tenant named: the way there is that of guests' requests (its name is resolved
//! once, every address is judged, nothing that is refused gets a packet), and the answer counts by its status alone. Redirects
//! are answers like any other. What the message says, and when it is sent again, is the server's affair.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::io::TokioIo;

use super::network::{Network, Stream, Trust};
use super::origin::{Host, Origin};
use super::refusal::{Failed, Refusal};
use crate::Deployment;

/// Longest address of a webhook.
const URL_BYTES: usize = 2_048;
/// Head of an answer.
const HEAD_BYTES: usize = 16_384;
/// As much of an answer is taken from its server, which may then be done with it.
const ANSWER_BYTES: usize = 65_536;

/// A message.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where it goes.
    pub url: String,
    /// Its headers; the host's name is added.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Bytes,
    /// How long it may take, from the first look at the name to the end of the answer.
    pub limit: Duration,
}

/// What a server said to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// When it wants to be asked again, in its words.
    pub retry_after: Option<HeaderValue>,
}

/// Why a message has no answer. The text is for operators; of the address it has the server's name alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostError(String);

impl Deployment {
    /// Sends a message on the route's behalf.
    ///
    /// # Errors
    /// The server may not be reached (`webhooks.private`), or cannot be, or did not answer in time.
    pub async fn post(&self, post: Post) -> Result<Answered, PostError> {
        let private = self.route.grants.webhooks.as_ref().map_or(&[][..], |webhooks| &webhooks.private);
        let (origin, trust) = self.host.network.destination(&post.url, private).map_err(PostError)?;
        let told = |failed| PostError(told(failed));
        let until = Instant::now() + post.limit;
        let stream = self.host.network.connect(&origin, trust, post.limit).await.map_err(told)?;
        let request = request(post, &origin).map_err(|error| told(error.into()))?;
        let answer = timeout_at(until, exchange(stream, request, until)).await;
        answer.unwrap_or(Err(Error::ConnectionReadTimeout)).map_err(|error| told(error.into()))
    }
}

impl Network {
    /// The server of a webhook's address, as a text by which its messages are told from others', or what is wrong with the
    /// address. Names are not resolved before there is a message.
    pub(crate) fn receiver(&self, url: &str, private: &[Origin]) -> Result<String, String> {
        self.destination(url, private).map(|(origin, _)| origin.to_string())
    }

    /// Where a message goes, and how far the server is trusted: the operator's word stands for those that it names, and an
    /// address of somebody else's has to be public.
    fn destination(&self, url: &str, private: &[Origin]) -> Result<(Origin, Trust), String> {
        if url.len() > URL_BYTES {
            return Err(format!("its address has {} bytes; it may have {URL_BYTES}", url.len()));
        }
        let plain = || "its address wants http or https, a server, and neither user nor fragment".to_owned();
        let uri: Uri = url.parse().map_err(|_| plain())?;
        let origin = Origin::of(&uri).filter(|_| !url.contains('#')).ok_or_else(plain)?;
        let is_named = private.contains(&origin);
        let trust = match &origin.host {
            Host::Address(_) if is_named => Trust::Literal,
            Host::Name(_) if is_named => Trust::Private,
            _ => Trust::Public,
        };
        if let Host::Address(address) = origin.host {
            let judged = self.judge(&origin, (address, origin.port).into(), trust);
            judged.map_err(|refusal| told(refusal.into()))?;
        }
        Ok((origin, trust))
    }
}

/// A refusal with the key that is meant here.
fn told(failed: Failed) -> String {
    match failed {
        Failed::Refused(
            Refusal::Private { server, address, what } | Refusal::Never { server, address, what },
        ) => {
            format!(
                "`{server}` has the address {address}, which is {what}; if it is to be told all the same, the operator names it in `webhooks.private` of the route"
            )
        }
        Failed::Refused(refusal) => refusal.to_string(),
        Failed::Broken(error) => error.to_string(),
    }
}

fn request(post: Post, origin: &Origin) -> Result<Request<Full<Bytes>>, Error> {
    let invalid = || Error::HttpRequestUriInvalid;
    let uri: Uri = post.url.parse().map_err(|_| invalid())?;
    let path = uri.into_parts().path_and_query.map_or(Uri::from_static("/"), Uri::from);
    let mut request = Request::post(path).body(Full::new(post.body)).map_err(|_| invalid())?;
    *request.headers_mut() = post.headers;
    let host = HeaderValue::try_from(origin.authority()).map_err(|_| invalid())?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// One request and its answer, of which the body is taken and thrown away.
async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
    until: Instant,
) -> Result<Answered, Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let work = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        // its status is all that counts: a body that breaks off or never ends takes nothing from it
        let _ = timeout_at(until, drain(body)).await;
        Ok::<_, Error>(Answered { status: head.status, retry_after: head.headers.get(RETRY_AFTER).cloned() })
    };
    let broken = async {
        match connection.await {
            // what there is of the answer is with `work` by now
            Ok(()) => pending().await,
            Err(error) => Err(Error::from(error)),
        }
    };
    tokio::select! {
        biased;
        answered = work => answered,
        broken = broken => broken,
    }
}

async fn drain(mut body: Incoming) {
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > ANSWER_BYTES {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(url: &str, private: &[&str]) -> Result<String, String> {
        let private: Vec<Origin> = private.iter().map(|text| Origin::parse(text).unwrap()).collect();
        let network = Network::new().unwrap();
        network.guard(["127.0.0.1:8000".parse().unwrap()]);
        network.receiver(url, &private)
    }

    #[test]
    fn a_webhook_is_an_address_of_a_server_that_may_be_told() {
        assert_eq!(judged("https://a.test/told?key=1", &[]).unwrap(), "https://a.test:443");
        assert_eq!(judged("http://A.test:81", &[]).unwrap(), "http://a.test:81");
        assert_eq!(judged("http://1.1.1.1/x", &[]).unwrap(), "http://1.1.1.1:80");
        let private = ["http://127.0.0.1:9000", "http://169.254.1.1", "http://127.0.0.1:8000"];
        assert!(judged("http://127.0.0.1:9000/told", &private).is_ok());
        assert!(judged("http://169.254.1.1/", &private).is_ok());
    }

    #[test]
    fn what_is_no_such_address_is_refused_by_what_is_wrong_with_it() {
        let odd =
            ["", "a.test", "/told", "ftp://a.test/", "http://", "http://u:p@a.test/", "http://a.test/#x"];
        for url in odd.into_iter().chain([
            "http://2130706433/",
            "http://0x7f.1/",
            "http://a.test:x/",
            "http://ä.test/",
        ]) {
            assert!(judged(url, &[]).unwrap_err().starts_with("its address wants"), "{url}");
        }
        let url = |bytes: usize| format!("http://a.test/{}", "x".repeat(bytes - 14));
        assert!(judged(&url(2_048), &[]).is_ok());
        assert!(judged(&url(2_049), &[]).unwrap_err().contains("2049 bytes"));
    }

    #[test]
    fn an_address_of_ones_own_network_needs_the_operators_word_and_the_hosts_own_has_none() {
        let hidden =
            ["http://127.0.0.1:9000/", "http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/"];
        for url in hidden.into_iter().chain([
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
            "http://127.0.0.1:9001/",
        ]) {
            let why = judged(url, &["http://127.0.0.1:9002"]).unwrap_err();
            assert!(why.contains("`webhooks.private`"), "{url}: {why}");
        }
        let why = judged("http://127.0.0.1:8000/", &["http://127.0.0.1:8000"]).unwrap_err();
        assert!(why.contains("this host itself listens"), "{why}");
    }
}
