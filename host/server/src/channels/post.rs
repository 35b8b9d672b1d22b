//! What a client sends, on its way to the component: one event after the other, while the client is there. The host's other work for
//! the client (its own events, its signs of life) does not wait for that.

use std::sync::Arc;

use atelier_runtime::ChannelEvent;
use tokio::sync::mpsc;

use super::client::Client;
use super::desk::Desk;

/// Takes what a client is answered: JSON text where there is some, or a text that says what was wrong.
type Answer = Box<dyn FnOnce(Result<Option<String>, String>) + Send>;

/// An event of a client.
pub(super) struct Letter {
    event: ChannelEvent,
    answer: Answer,
}

impl Letter {
    pub(super) fn new(
        event: ChannelEvent,
        answer: impl FnOnce(Result<Option<String>, String>) + Send + 'static,
    ) -> Self {
        Self { event, answer: Box::new(answer) }
    }

    /// How much it carries.
    pub(super) fn bytes(&self) -> usize {
        self.event.payload.len()
    }

    #[cfg(test)]
    pub(super) fn unanswered(event: ChannelEvent) -> Self {
        Self::new(event, |_| {})
    }
}

/// Works for a client until it is gone, and tells the component.
pub(super) async fn attend(desk: Arc<Desk>, client: Arc<Client>, mut letters: mpsc::Receiver<Letter>) {
    let work = async {
        let mut number = 0_u64;
        while let Some(Letter { event, answer }) = letters.recv().await {
            number += 1;
            answer(desk.receive(&client, number, event).await);
        }
    };
    let why = tokio::select! {
        biased;
        why = client.closed() => why,
        // the client itself holds the other end
        () = work => client.closed().await,
    };
    desk.clients.remove(&client, why);
    let (id, realm) = (client.id.as_str(), &client.origin.realm);
    let (route, tenant) = (realm.route.as_ref(), realm.tenant.as_str());
    tracing::info!(id, route, tenant, "a client that was connected is gone: {}", why.words());
    if why.is_told() {
        desk.disconnect(&client).await;
    }
}
