//! Posting to the server through `wasi:http/client` 0.3, and reading the answer as it comes.
//!
//! Where it may go and how long it may take is the host's to decide. No redirect is followed: the key is for this server
//! alone. No compression is asked for: what is small after it may be anything before.

use crate::bindings::wasi::http0_3_0::client;
use crate::bindings::wasi::http0_3_0::types::{
    ErrorCode, Fields, Method, Request, Response, Scheme, Trailers,
};
use crate::bindings::{wit_future, wit_stream};
use crate::{Answer, Ask, Error};

/// Bytes asked for in one read of a body.
const READ_BYTES: usize = 16 << 10;

/// An answer whose body is still coming.
pub(super) struct Coming {
    pub(super) head: Answer,
    body: wit_bindgen::StreamReader<u8>,
    trailers: Option<wit_bindgen::FutureReader<Result<Option<Trailers>, ErrorCode>>>,
    /// Dropped last: with it the host learns that the body is not wanted any more.
    _done: wit_bindgen::FutureWriter<Result<(), ErrorCode>>,
}

/// Posts, and waits for the answer's head.
pub(super) async fn post(base_url: &str, ask: Ask) -> Result<Coming, Error> {
    let address = Address::of(base_url, &ask.path)?;
    let (mut body, contents) = wit_stream::new::<u8>();
    let (_trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(fields(&ask)?, Some(contents), no_trailers, None);
    address.apply(&request)?;
    let bytes = ask.body;
    let write = async move {
        // a server that answers before it has read everything is judged by its answer
        let _ = body.write_all(bytes).await;
    };
    let (answer, ()) = futures::join!(client::send(request), write);
    let answer = answer.map_err(|code| error(&code))?;
    let head = head(&answer);
    let (done, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(answer, outcome);
    Ok(Coming { head, body, trailers: Some(trailers), _done: done })
}

fn head(answer: &Response) -> Answer {
    let headers = answer.get_headers().copy_all();
    let headers =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?)));
    let headers: Vec<(&str, &str)> = headers.collect();
    let is_packed = |(name, value): &(&str, &str)| {
        name.eq_ignore_ascii_case("content-encoding") && !value.trim().eq_ignore_ascii_case("identity")
    };
    let mut head = Answer::head(answer.get_status_code(), headers.iter().copied());
    if headers.iter().any(is_packed) {
        // nobody asked for it, so that it is not what it seems to be
        head.content_type = "compressed".into();
    }
    head
}

impl Coming {
    /// The next bytes; nothing at the end of a body that came whole.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        use wit_bindgen::StreamResult::Complete;
        let (result, bytes) = self.body.read(Vec::with_capacity(READ_BYTES)).await;
        if !bytes.is_empty() || matches!(result, Complete(_)) {
            return Some(Ok(bytes));
        }
        // a connection that breaks shows in the trailers, not in the stream
        match self.trailers.take()?.await {
            Ok(_) => None,
            Err(code) => Some(Err(error(&code))),
        }
    }

    /// The beginning of the body, as far as it comes.
    pub(super) async fn whole(&mut self, max_bytes: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < max_bytes {
            match self.next().await {
                Some(Ok(bytes)) => body.extend(bytes),
                Some(Err(_)) | None => break,
            }
        }
        body.truncate(max_bytes);
        body
    }

    /// All of the body, which has at most so many bytes.
    pub(super) async fn entire(&mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next().await {
            body.extend(bytes?);
            if body.len() > max_bytes {
                return Err(Error::Malformed(format!("its answer has more than {max_bytes} bytes")));
            }
        }
        Ok(body)
    }
}

/// An address, taken apart as `wasi:http` wants it.
struct Address {
    scheme: Scheme,
    authority: String,
    path: String,
}

impl Address {
    /// The manifest's address with a path behind it. What is wrong with it is said without repeating it.
    fn of(base_url: &str, path: &str) -> Result<Self, Error> {
        let bad = || Error::Other("`base-url` is no http or https address".into());
        let (scheme, rest) = base_url.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad()),
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, folder) = rest.split_at(at);
        Ok(Self { scheme, authority: authority.to_owned(), path: format!("{folder}{path}") })
    }

    fn apply(&self, request: &Request) -> Result<(), Error> {
        let set = request
            .set_method(&Method::Post)
            .and_then(|()| request.set_scheme(Some(&self.scheme)))
            .and_then(|()| request.set_authority(Some(&self.authority)))
            .and_then(|()| request.set_path_with_query(Some(&self.path)));
        set.map_err(|()| Error::Other("`base-url` is no http or https address".into()))
    }
}

fn fields(ask: &Ask) -> Result<Fields, Error> {
    let own = [
        ("content-type", ask.content_type.clone()),
        ("accept", "text/event-stream, application/x-ndjson, application/json".to_owned()),
        ("accept-encoding", "identity".to_owned()),
        ("content-length", ask.body.len().to_string()),
    ];
    let all = own.into_iter().chain(ask.headers.iter().cloned());
    let entries: Vec<_> = all.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    // not repeated: one of the values is a key
    Fields::from_list(&entries)
        .map_err(|_| Error::Other("a header cannot be sent; look at the value of `api-key-env`".into()))
}

/// What happened to the connection, in words that name no address.
fn error(code: &ErrorCode) -> Error {
    let unavailable = |text: &str| Error::Unavailable(text.into(), None);
    match code {
        ErrorCode::HttpRequestDenied => {
            Error::Other("it may not be reached: only the server of `base-url` and `grants.outbound` are".into())
        }
        ErrorCode::DestinationIpProhibited => Error::Other(
            "its address is not public: to allow it, add its origin to the provider's `grants.outbound-private`".into(),
        ),
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Error::TimedOut("the server did not answer in time".into()),
        ErrorCode::HttpRequestBodySize(_) | ErrorCode::HttpResponseBodySize(_) => {
            Error::Malformed("its answer is longer than a reply can be".into())
        }
        ErrorCode::ConnectionRefused => unavailable("the connection was refused: is the server running?"),
        ErrorCode::DnsError(_) => unavailable("the server's name could not be resolved"),
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError | ErrorCode::TlsAlertReceived(_) => {
            unavailable("the server cannot be believed: TLS failed")
        }
        ErrorCode::HttpProtocolError => Error::Malformed("its answer is no HTTP".into()),
        _ => unavailable("the connection broke"),
    }
}
