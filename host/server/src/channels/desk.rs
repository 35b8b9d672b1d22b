//! Between clients and the component of their route: finds the deployment that stands at each call, and turns what went wrong into
//! what a client may know. A failure is told in the log, once.

use std::sync::Arc;

use atelier_runtime::{ChannelClient, ChannelEvent, ChannelRealm, ChannelWelcome, Failure, RequestContext};
use http::request::Parts;
use tokio::sync::mpsc;

use super::client::Client;
use super::clients::Clients;
use super::post::{Letter, attend};
use crate::failure::Refusal;
use crate::live::{Deployed, Live};
use crate::tenants::Member;

/// What every client's affairs need.
pub(crate) struct Desk {
    pub(super) clients: Arc<Clients>,
    pub(super) live: Arc<Live>,
}

impl Desk {
    /// Asks the component whether a client may come in; `head` is of the request with which it came.
    pub(super) async fn connect(
        &self,
        client: &Client,
        head: &Parts,
        auth: Option<String>,
    ) -> Result<ChannelWelcome, Refusal> {
        let route = client.origin.realm.route.to_string();
        let standing = self.standing(&client.origin.realm);
        let (deployed, member) = standing.ok_or(Refusal::NotDeployed { route, public: None })?;
        let context = head.extensions.get::<Arc<RequestContext>>().cloned().unwrap_or_default();
        let arriving = ChannelClient {
            id: client.id.clone(),
            kind: client.origin.kind,
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: headers(head),
            auth,
        };
        let welcome = deployed.deployment.connect(&member.runtime, context, arriving).await;
        count(&deployed, welcome.as_ref().err());
        welcome.map_err(Refusal::Failed)?.map_err(Refusal::NotWelcome)
    }

    /// A client that was let in is there from now on; false when nobody may come in any more.
    pub(super) fn admit(
        self: &Arc<Self>,
        client: &Arc<Client>,
        welcome: ChannelWelcome,
        letters: mpsc::Receiver<Letter>,
    ) -> bool {
        let ChannelWelcome { rooms, events, note } = welcome;
        client.remember(note);
        let is_in = self.clients.enter(client, rooms, events);
        if is_in {
            tokio::spawn(attend(self.clone(), client.clone(), letters));
        }
        is_in
    }

    /// Hands an event over; what the client is answered.
    pub(super) async fn receive(
        &self,
        client: &Client,
        number: u64,
        event: ChannelEvent,
    ) -> Result<Option<String>, String> {
        let Some((deployed, member)) = self.standing(&client.origin.realm) else {
            return Err("the route is not deployed; try again later".into());
        };
        // an event counts as a request does
        let _begun = member.begin().map_err(|refusal| refusal.public())?;
        let id = format!("{}-{number}", client.id);
        let context = RequestContext::new(&id, None);
        let reply = deployed.deployment.receive(&member.runtime, context, client.peer(), event).await;
        count(&deployed, reply.as_ref().err());
        reply.unwrap_or_else(|failure| {
            tell(&id, client, &failure);
            Err(failure.public())
        })
    }

    /// Tells the component that a client is gone.
    pub(super) async fn disconnect(&self, client: &Client) {
        let Some((deployed, member)) = self.standing(&client.origin.realm) else { return };
        let context = RequestContext::new(&client.id, None);
        let told = deployed.deployment.disconnect(&member.runtime, context, client.peer()).await;
        count(&deployed, told.as_ref().err());
        if let Err(failure) = told {
            tell(&client.id, client, &failure);
        }
    }

    /// What answers for a realm now.
    fn standing(&self, realm: &ChannelRealm) -> Option<(Deployed, Arc<Member>)> {
        let table = self.live.table();
        let deployed = table.slot(&realm.route)?.deployment.clone()?;
        Some((deployed, table.tenants.find(&realm.tenant)?.clone()))
    }
}

/// A version that fails its clients is not a good one.
fn count(deployed: &Deployed, failure: Option<&Failure>) {
    if let Some(trial) = &deployed.trial {
        trial.count(failure, &deployed.deployment);
    }
}

fn tell(id: &str, client: &Client, failure: &Failure) {
    let (route, code) = (client.origin.realm.route.as_ref(), failure.code());
    tracing::warn!(id, route, code, "a call for a connected client failed: {}", failure.internal());
}

/// As a handler would see them.
fn headers(head: &Parts) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
