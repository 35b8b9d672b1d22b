//! `POST /listen`: a spoken or written command, and the pictures so far, become the next picture. The route keeps nothing
//! between requests: the client sends its pictures along, and is told which of them still stand.
//!
//! `command` is the form that is read, `converse` what happens, `painter` the models that draw, `progress` what is told on
//! the way, `answer` the forms of the end.

mod answer;
mod command;
mod converse;
mod painter;
mod progress;

pub(crate) use answer::intent;
pub(crate) use command::{LISTENING, MAX_PICTURES};

use atelier_kit::http::{BodyWriter, Reply, Request, Response};
use atelier_kit::{accept, sse};

use self::command::Command;
use self::converse::converse;
use self::progress::Progress;
use crate::api::Ears;
use crate::failure::Failure;

const JSON: &str = "application/json";
const PNG: &str = "image/png";
const EVENTS: &str = "text/event-stream";

/// Answers the request in the form that its client likes best. The form is checked before an event stream begins, so that
/// faults have their own status.
pub(crate) async fn answer<H: Ears>(host: H, request: Request) -> Result<Reply, Failure> {
    let form = [JSON, PNG, EVENTS];
    // a client that takes none of the three gets JSON
    let form = accept::preferred(request.headers.get("accept"), &form).map(|index| form[index]);
    let command = Command::parse(request).await?;
    match form {
        Some(EVENTS) => Ok(Reply::Stream(
            sse::head().with("vary", "accept"),
            Box::new(|writer| Box::pin(follow(host, command, writer))),
        )),
        form => {
            let answered = converse(&host, command, &mut Progress::silent()).await?;
            let response = match form {
                Some(PNG) => answer::png(answered)?,
                _ => Response::json(200, &answer::json(&answered)),
            };
            Ok(response.with("vary", "accept").into())
        }
    }
}

/// Writes the event stream: what happens, then the answer or the error.
async fn follow<H: Ears>(host: H, command: Command, writer: BodyWriter) {
    // the stream has begun with status 200, so a failure can only be told as an event
    let mut progress = Progress::to(writer.clone());
    let work = async {
        match converse(&host, command, &mut progress).await {
            Ok(answered) => progress.send("picture", &answer::json(&answered)).await,
            Err(failure) => progress.send("error", &failure.body()).await,
        }
    };
    sse::keeping_alive(writer, || host.sleep_ms(sse::KEEP_ALIVE_MS), work).await;
}
