//! Another of these servers, which does a studio's work: the client of the backend's endpoints. Every question has its time, what
//! comes back is a stranger's until `answers` has read it, and how a picture comes along is told as if it were made here.
//!
//! Knows nothing of visitors and galleries, and does not decide who works when the backend does not (`workshop`).

mod answers;
mod call;

use atelier_kit::Host;
use atelier_kit::host::Call;
use atelier_kit::intent::Intention;
use serde_json::Value;

use crate::api::Studio;
use crate::failure::Failure;
use crate::hear::Heard;
use crate::modes::Mode;
use crate::painter::Painted;
use crate::progress::Follow;
use crate::settings::Server;

pub(crate) use answers::Offer;
use answers::{End, Told};

/// A backend that does not say within so long how it is, is not there.
const HEALTH_MS: u64 = 2_000;
/// For a recording, which is heard before the answer comes, and a command, which is understood before it; both may wait behind a
/// picture. They hold where `limits.outbound-first-byte-ms` is no shorter.
const TRANSCRIBE_MS: u64 = 120_000;
const LLM_MS: u64 = 60_000;
/// For a task to be taken, with its picture.
const SUBMIT_MS: u64 = 30_000;
/// How much later than it was asked to the standing of a task may come.
const LATE_MS: u64 = 2_000;
/// Answers that do not come, one after another, before the backend counts as gone: it may be started anew meanwhile, and loses no
/// task by that.
const MISSED: u32 = 3;
/// Between two such questions.
const PAUSE_MS: u64 = 700;
/// A task that is not asked for any longer is nobody's: more than all that lies between two questions.
const LEASE_S: &str = "30";

/// The most bytes of an answer without a picture, and of one that may have one.
const SMALL_BYTES: usize = 256 << 10;
const LARGE_BYTES: usize = 32 << 20;

/// Why a backend did not do something.
pub(crate) enum Snag {
    /// It does not answer, or not in time.
    Silent(String),
    /// It is not there, or not one that can be worked with: somebody else may do it.
    Gone(String),
    /// It says why not, or answered what cannot be.
    Failed(Failure),
}

impl Snag {
    /// Why it is gone; the failure where it is not.
    pub(crate) fn gone(self) -> Result<String, Failure> {
        match self {
            Self::Silent(why) | Self::Gone(why) => Ok(why),
            Self::Failed(failure) => Err(failure),
        }
    }
}

/// A backend by its address.
pub(crate) struct Backend {
    server: Server,
}

impl Backend {
    pub(crate) fn of(server: &Server) -> Self {
        Self { server: server.clone() }
    }

    /// What it can do, or why it is not to be had.
    pub(crate) async fn offer(&self, host: &impl Host) -> Result<Offer, String> {
        let asked = self.get(host, "/health", HEALTH_MS, SMALL_BYTES).await;
        let offer = asked.and_then(|answer| answers::offer(&answer));
        match offer {
            Ok(offer) if offer.modes.is_empty() => Err("it has no models of pictures".into()),
            Ok(offer) => Ok(offer),
            Err(Snag::Silent(why) | Snag::Gone(why)) => Err(why),
            Err(Snag::Failed(failure)) => Err(failure.text().to_owned()),
        }
    }

    pub(crate) async fn transcribe(
        &self,
        host: &impl Host,
        audio: &[u8],
        language: Option<&str>,
    ) -> Result<Heard, Snag> {
        let language = language.unwrap_or("auto");
        let form = call::form(&[("language", language)], Some(("audio", audio)));
        let answer = self.post(host, "/transcribe", form, TRANSCRIBE_MS).await?;
        answers::heard(&answer)
    }

    pub(crate) async fn understand(&self, host: &impl Host, command: &str) -> Result<Intention, Snag> {
        let form = call::form(&[("text", command)], None);
        let answer = self.post(host, "/llm", form, LLM_MS).await?;
        answers::intention(&answer)
    }

    /// Queues a picture, tells how it comes along, and takes it. Without a picture to change, a new one.
    pub(crate) async fn paint<H: Studio>(
        &self,
        host: &H,
        mode: Mode,
        prompt: &str,
        picture: Option<Vec<u8>>,
        progress: &mut impl Follow,
    ) -> Result<(Painted<H::Image>, Mode), Snag> {
        let texts = [("prompt", prompt), ("mode", mode.name()), ("lease_s", LEASE_S)];
        let file = picture.as_deref().map(|bytes| ("image", bytes));
        let path = if file.is_some() { "/edit_image" } else { "/generate_image" };
        let answer = self.post(host, path, call::form(&texts, file), SUBMIT_MS).await?;
        let result = self.follow(host, &answer, progress).await?;
        let found = answers::result(&result)?;
        let image = host.decode(found.file).await.map_err(|_| answers::lie("image"))?;
        let (seed, model, prompt, notes) = (found.seed, found.model, found.prompt, found.notes);
        Ok((Painted { image, seed, model, prompt, notes }, found.mode))
    }

    /// Asks how a task stands until it has ended; its result. `task` is how it stood when it was taken.
    async fn follow(
        &self,
        host: &impl Host,
        task: &Value,
        progress: &mut impl Follow,
    ) -> Result<Value, Snag> {
        let (id, first) = (answers::task_id(task)?, answers::told(task)?);
        let (mut known, mut missed, mut asked) = (tell(first, Told::default(), progress).await, 0, 0);
        loop {
            let wait_ms = call::patience_ms(asked);
            let path = format!("/task_status/{id}?wait_ms={wait_ms}&preview_after={}", known.preview_step());
            match self.get(host, &path, wait_ms + LATE_MS, LARGE_BYTES).await {
                Ok(answer) => {
                    (asked, missed) = (asked + 1, 0);
                    let mut told = answers::told(&answer)?;
                    let end = told.end.take();
                    known = tell(told, known, progress).await;
                    match end {
                        Some(End::Completed(result)) => {
                            // the last steps came between two questions; and a client that has gone is noticed now
                            progress.painting(known.last_step(), None).await;
                            return Ok(result);
                        }
                        Some(End::Failed(failure)) => return Err(Snag::Failed(failure)),
                        None => {}
                    }
                }
                Err(Snag::Silent(_) | Snag::Gone(_)) if missed < MISSED => {
                    missed += 1;
                    host.sleep_ms(PAUSE_MS).await;
                }
                Err(snag) => return Err(snag),
            }
        }
    }

    async fn get(&self, host: &impl Host, path: &str, timeout_ms: u64, bytes: usize) -> Result<Value, Snag> {
        let call = Call::get(self.address(path));
        self.ask(host, call, timeout_ms, bytes).await
    }

    async fn post(
        &self,
        host: &impl Host,
        path: &str,
        form: call::Form,
        timeout_ms: u64,
    ) -> Result<Value, Snag> {
        let call = Call::post(self.address(path), &form.content_type, form.body);
        self.ask(host, call, timeout_ms, SMALL_BYTES).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    async fn ask(
        &self,
        host: &impl Host,
        mut call: Call,
        timeout_ms: u64,
        max_answer_bytes: usize,
    ) -> Result<Value, Snag> {
        if let Some(key) = &self.server.key {
            call.headers.add("authorization", &format!("Bearer {key}"));
        }
        let call = Call { timeout_ms, max_answer_bytes, ..call };
        let (status, body) = host.call(call).await.map_err(|error| Snag::Silent(error.0))?;
        answers::value(status, &body)
    }
}

/// Tells what is new of a task, and gives what is known then.
async fn tell(told: Told, known: Told, progress: &mut impl Follow) -> Told {
    for event in told.events_after(&known) {
        progress.painting(event, None).await;
    }
    told.after(known)
}
