//! Tells webhooks what became of background jobs: takes what is due out of the store, lets the route's deployment say how the job
//! reads, signs that, sends it, and says in the store what came of it. In tasks of its own: no job waits for a receiver, and
//! of receivers none for another tenant's.
//!
//! When the host ends, messages that are on their way are let go of; they are due again when the next process comes.

mod message;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use atelier_runtime::{Answered, Deployment, Post, Runtime, Tenant};
use atelier_store::{Delivery, Error as StoreError, Outbox, Sent};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::config::Webhooks;
use crate::http::Stop;
use crate::live::Live;

use sign::Signer;

/// How often it looks for what is due without being told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A message of a route or tenant that is not here: it may come back with the next change of the manifest.
const AWAY: Duration = Duration::from_secs(60);
/// A message of which cannot be kept what came of it is not sent again before.
const DISK_BROKEN: Duration = Duration::from_secs(60);
const AGENT: &str = concat!("atelier/", env!("CARGO_PKG_VERSION"));

/// Who tells them.
pub(crate) struct Courier {
    pub(crate) live: Arc<Live>,
    pub(crate) runtime: Runtime,
}

/// Everything that a message needs of its route and tenant.
struct Sender {
    deployment: Arc<Deployment>,
    tenant: Arc<Tenant>,
    webhooks: Webhooks,
    signer: Signer,
}

impl Courier {
    /// Sends messages until the host closes.
    pub(crate) async fn run(self, mut stop: Stop) {
        let mut tours = JoinSet::new();
        let mut closing = std::pin::pin!(stop.closing());
        loop {
            let outbox = self.runtime.storage().map(|storage| storage.outbox());
            if let Some(outbox) = &outbox
                && let Err(error) = self.begin(outbox, &mut tours).await
            {
                tracing::error!("what is to be told to webhooks cannot be read: {error}");
            }
            tokio::select! {
                biased;
                () = &mut closing => break,
                () = changed(outbox.as_ref()) => {}
                Some(_) = tours.join_next() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Sends what is due and may be sent beside what is on its way.
    async fn begin(&self, outbox: &Outbox, tours: &mut JoinSet<()>) -> Result<(), StoreError> {
        for delivery in outbox.take().await? {
            let (sender, outbox) = (self.sender(&delivery), outbox.clone());
            tours.spawn(async move {
                let sent = match sender {
                    Ok(sender) => sender.tell(&outbox, &delivery).await,
                    Err(why) => {
                        tracing::warn!(job = delivery.job, "a webhook waits: {why}");
                        put_off(AWAY)
                    }
                };
                if let Err(error) = outbox.settle(&delivery, sent).await {
                    tracing::error!("what came of a message to a webhook cannot be kept: {error}");
                    sleep(DISK_BROKEN).await;
                }
            });
        }
        Ok(())
    }

    /// The text says what is not here.
    fn sender(&self, delivery: &Delivery) -> Result<Sender, String> {
        let (table, route) = (self.live.table(), &delivery.route);
        let slot = table.slot(route);
        let deployed = slot.and_then(|slot| Some((slot.route.webhooks.clone()?, slot.deployment.clone()?)));
        let (webhooks, deployed) = deployed
            .ok_or_else(|| format!("route `{route}` does not stand, or has no `webhooks` any more"))?;
        let member = table.tenants.named(&delivery.owner);
        let away = || format!("its tenant `{}` is not in the manifest any more", delivery.owner);
        let signer = signer(&webhooks)?;
        let (deployment, tenant) = (deployed.deployment, member.ok_or_else(away)?.runtime.clone());
        Ok(Sender { deployment, tenant, webhooks, signer })
    }
}

/// Whether the variable with a route's secret is not there, or empty.
pub(crate) fn is_unset(webhooks: &Webhooks) -> bool {
    // one that is no text is there, and no secret
    std::env::var_os(&webhooks.secret_env).is_none_or(|value| value.is_empty())
}

/// What signs a route's messages, by the process's variables. The text is for operators.
pub(crate) fn signer(webhooks: &Webhooks) -> Result<Signer, String> {
    let name = &webhooks.secret_env;
    let value = std::env::var(name).unwrap_or_default();
    Signer::read(&value).map_err(|why| format!("webhooks.secret-env: the variable {name} {why}"))
}

async fn changed(outbox: Option<&Outbox>) {
    match outbox {
        Some(outbox) => outbox.changed().await,
        None => std::future::pending().await,
    }
}

fn put_off(time: Duration) -> Sent {
    Sent::PutOff(message::now_ms().saturating_add(time.as_millis() as u64))
}

impl Sender {
    /// Sends a message, and says what came of it.
    async fn tell(&self, outbox: &Outbox, delivery: &Delivery) -> Sent {
        let status = match outbox.job(delivery).await {
            Ok(Some(status)) => status,
            // there is no job without its messages; one that is not there has nothing to be told
            Ok(None) => return Sent::GivenUp,
            Err(error) => {
                tracing::error!(job = delivery.job, "the job of a webhook cannot be read: {error}");
                return put_off(AWAY);
            }
        };
        let state = status.state;
        let view = self.deployment.describe(&self.tenant, status).await;
        let body = message::body(delivery.occasion, state, delivery.since_ms, &view);
        let headers = self.headers(&message::id(&delivery.job, delivery.occasion), body.as_bytes());
        let post =
            Post { url: delivery.url.clone(), headers, body: body.into(), limit: self.webhooks.timeout };
        let answer = self.deployment.post(post).await;
        let (before, since) = (delivery.attempts, delivery.since_ms);
        let sent = message::outcome(answer.as_ref().ok(), before, since, message::now_ms(), &self.webhooks);
        let told = match &answer {
            Ok(Answered { status, .. }) => format!("it answered {status}"),
            Err(error) => error.to_string(),
        };
        let (job, attempt) = (&delivery.job, before.saturating_add(1));
        match sent {
            Sent::Delivered => tracing::debug!(job, attempt, "a webhook was told"),
            Sent::GivenUp => tracing::warn!(job, attempt, "a webhook is not told again: {told}"),
            Sent::Again(_) | Sent::PutOff(_) => {
                tracing::info!(job, attempt, "a webhook is told later: {told}")
            }
        }
        sent
    }

    fn headers(&self, id: &str, body: &[u8]) -> HeaderMap {
        let seconds = message::now_ms() / 1_000;
        let (signed, seconds) = (self.signer.sign(id, seconds, body), seconds.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let named = [("webhook-id", id), ("webhook-timestamp", &seconds), ("webhook-signature", &signed)];
        for (name, value) in named {
            // ids are of jobs, and the rest is digits and base64
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }
}
