//! Requests to other servers, as the body's lines `key=value` say: `to` (host and port), `path`, `method`, `timeout` in
//! nanoseconds, `upload` in bytes, `header` (`name: value`), `times`, `burn` (milliseconds of computing before the first).
//! The answer is the last status with its body, or the error.

use crate::wasi::http0_3_0::client;
use crate::wasi::http0_3_0::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use crate::{wit_future, wit_stream};

fn get<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn number(text: &str, key: &str) -> Option<u64> {
    get(text, key).map(|number| number.parse().unwrap())
}

pub async fn call(text: &str) -> String {
    let mut last = String::new();
    let burn = std::time::Duration::from_millis(number(text, "burn").unwrap_or(0));
    let began = std::time::Instant::now();
    while began.elapsed() < burn {
        std::hint::black_box(0);
    }
    for n in 1..=number(text, "times").unwrap_or(1) {
        last = match once(text).await {
            Ok(answer) => answer,
            Err(error) => return format!("{error:?} at {n}"),
        };
    }
    last
}

async fn once(text: &str) -> Result<String, ErrorCode> {
    let fields = Fields::new();
    if let Some((name, value)) = get(text, "header").and_then(|header| header.split_once(": ")) {
        if let Err(error) = fields.append(name, value.as_bytes()) {
            return Ok(format!("{error:?}"));
        }
    }
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let upload = number(text, "upload");
    let (request, _) = Request::new(fields, upload.is_some().then_some(contents), no_trailers, options(text));
    wit_bindgen::spawn_local(async move {
        let mut left = upload.unwrap_or(0) as usize;
        while left > 0 {
            let chunk = left.min(65_536);
            if !writer.write_all(vec![b'u'; chunk]).await.is_empty() {
                break;
            }
            left -= chunk;
        }
        drop((writer, trailers));
    });
    if let Some(method) = get(text, "method") {
        request.set_method(&Method::Other(method.into())).unwrap();
    }
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    if request.set_authority(get(text, "to")).is_err() {
        return Ok("no authority".into());
    }
    if request.set_path_with_query(Some(get(text, "path").unwrap_or("/"))).is_err() {
        return Ok("no path".into());
    }
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let body = read(response).await?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

fn options(text: &str) -> Option<RequestOptions> {
    let timeout = number(text, "timeout")?;
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(timeout)).unwrap();
    options.set_first_byte_timeout(Some(timeout)).unwrap();
    options.set_between_bytes_timeout(Some(timeout)).unwrap();
    Some(options)
}

async fn read(response: Response) -> Result<Vec<u8>, ErrorCode> {
    let (_done, outcome) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, outcome);
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(65_536)).await;
        body.extend_from_slice(&chunk);
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    trailers.await.map(|_| body)
}
