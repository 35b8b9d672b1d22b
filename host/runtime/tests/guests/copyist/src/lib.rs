//! A handler that asks for copies, as its request's body tells it line by line.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/handler", generate_all });

use atelier::host::copies;
use exports::wasi::http0_3_0::handler::Guest;
use wasi::http0_3_0::types::{ErrorCode, Fields, Request, Response};

struct Copyist;

impl Guest for Copyist {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_done, outcome) = wit_future::new(|| Ok(()));
        let (stream, _trailers) = Request::consume_body(request, outcome);
        let body = String::from_utf8_lossy(&stream.collect().await).into_owned();
        let mut answers = Vec::new();
        for line in body.lines() {
            answers.push(act(line).await);
        }
        let (mut writer, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        wit_bindgen::spawn_local(async move {
            writer.write_all(answers.join("\n").into_bytes()).await;
            drop(trailers);
        });
        Ok(response)
    }
}

async fn act(line: &str) -> String {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["services"] => {
            let told = |found: copies::Service| {
                let reason = found.reason.unwrap_or_default();
                format!("{} {} {:?} {} {reason}", found.id, found.kind, found.state, found.waiting)
            };
            copies::services().await.into_iter().map(told).collect::<Vec<_>>().join("; ")
        }
        ["object", container, name, wait] => {
            match copies::object(container.into(), name.into(), wait.parse().unwrap()).await {
                Ok(Some(copy)) => format!("{} {}", copy.url, copy.is_there),
                Ok(None) => "none".into(),
                Err(error) => format!("error: {error:?}"),
            }
        }
        _ => format!("what is `{line}`?"),
    }
}

export!(Copyist);
