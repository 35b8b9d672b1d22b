//! A handler on every capability; the path says what it does and the body says with what.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/handler", generate_all });

mod calls;
mod hostile;
mod listen;
mod paint;
mod talk;

use exports::wasi::http0_3_0::handler::Guest;
use wasi::clocks0_3_0::monotonic_clock::wait_for;
use wasi::http0_3_0::types::{ErrorCode, Fields, Request, Response};

struct Studio;

impl Guest for Studio {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let body = read(request).await;
        let text = body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
        let answer = match path.as_str() {
            "/hello" => "hello".to_string(),
            "/length" => body.map_or("broken".into(), |body| body.len().to_string()),
            "/config" => format!("{:?}", wasi::config::store::get(&text)),
            "/count" => hostile::count().to_string(),
            "/who" => hostile::instance(),
            "/hold" => return Ok(hold(text)),
            "/world" => hostile::world(),
            "/random" => wasi::random0_3_0::random::get_random_bytes(text.parse().unwrap()).len().to_string(),
            "/error" => return Err(ErrorCode::InternalError(Some("on purpose".into()))),
            "/models" => paint::models().await,
            "/absent-models" => paint::absent_models().await,
            "/generate" => paint::generate(&text).await,
            "/events" => paint::events(&text).await,
            "/leave" => paint::leave(&text).await,
            "/jobs" => paint::jobs().await,
            "/from-picture" => paint::from_picture(&text).await,
            "/steered" => paint::steered(&text).await,
            "/cached" => paint::cached(&text).await,
            "/speech-models" => listen::models().await,
            "/record" => listen::record(body.unwrap_or_default()).await,
            "/sounds" => listen::sounds(&text),
            "/transcribe" => listen::transcribe(&text).await,
            "/heard" => listen::heard(&text).await,
            "/leave-speech" => listen::leave(&text).await,
            "/language-models" => talk::models().await,
            "/chat" => talk::chat(&text).await,
            "/chat-again" => talk::again(&text).await,
            "/said" => talk::said(&text).await,
            "/leave-chat" => talk::leave(&text).await,
            "/intent" => paint::intent(&text).await,
            "/intent-again" => paint::intent_again(&text).await,
            "/style" => paint::style(&text).await,
            "/select" => paint::select(&text).await,
            "/finish" => paint::finish(&text).await,
            "/decode" => paint::decode(body.unwrap_or_default()).await,
            "/pictures" => paint::pictures().await,
            "/hoard" => paint::hoard(),
            "/keep-picture" => paint::keep_picture(),
            "/keep-job" => paint::keep_job().await,
            "/fetch" => hostile::fetch(&text).await,
            "/hide" => hostile::hide(&text).await,
            "/call" => calls::call(&text).await,
            "/stream" => return stream(&text),
            "/long" => return long(text.parse().unwrap()),
            other => hostile::act(other).await,
        };
        Ok(respond(answer.into_bytes()))
    }
}

async fn read(request: Request) -> Option<Vec<u8>> {
    let (_done, outcome) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Request::consume_body(request, outcome);
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(65_536)).await;
        body.extend_from_slice(&chunk);
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    trailers.await.ok().map(|_| body)
}

fn respond(body: Vec<u8>) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        writer.write_all(body).await;
        drop(trailers);
    });
    response
}

/// A head and a first chunk; then it sleeps, spins, traps or ends as it was told.
fn stream(then: &str) -> Result<Response, ErrorCode> {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    let then = then.to_owned();
    wit_bindgen::spawn_local(async move {
        writer.write_all(b"first".to_vec()).await;
        hostile::act(&then).await;
        writer.write_all(b"last".to_vec()).await;
        drop(trailers);
    });
    Ok(response)
}

/// Says in which instance it is, and then does what it was told: a path and a text.
fn hold(then: String) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        writer.write_all(hostile::instance().into_bytes()).await;
        // while the guest waits, what it wrote goes out; what it does next may stop it
        wait_for(1_000_000).await;
        let (path, text) = then.split_once(' ').unwrap_or((&then, ""));
        let answer = match path {
            "/generate" => paint::generate(text).await,
            "/jobs" => paint::jobs().await,
            "/call" => calls::call(text).await,
            "/print" => hostile::print(text).await,
            path => hostile::act(path).await,
        };
        writer.write_all(answer.into_bytes()).await;
        drop(trailers);
    });
    response
}

/// So many bytes.
fn long(length: usize) -> Result<Response, ErrorCode> {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        let mut left = length;
        while left > 0 {
            let chunk = left.min(65_536);
            if !writer.write_all(vec![b'x'; chunk]).await.is_empty() {
                return;
            }
            left -= chunk;
        }
        drop(trailers);
    });
    Ok(response)
}

export!(Studio);
