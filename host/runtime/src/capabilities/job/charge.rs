//! What a job was charged with, until it is known what it used. Replies alone are charged with more than they may use: how
//! many tokens a conversation has, and the reply to it, is known at the end.

use std::sync::Arc;

use atelier_inference::{Error, Outcome, Product, Result};
use tokio::sync::oneshot;

use crate::{Tenant, Work};

/// A job's outcome, with the charge for it. It is settled by whoever waits for the outcome, or when nobody will.
pub(super) struct Charged {
    receiver: oneshot::Receiver<Result<Outcome>>,
    tenant: Arc<Tenant>,
    work: Work,
}

impl Charged {
    pub(super) fn new(receiver: oneshot::Receiver<Result<Outcome>>, tenant: Arc<Tenant>, work: Work) -> Self {
        Self { receiver, tenant, work }
    }

    /// Waits for it.
    pub(super) async fn come(mut self) -> Result<Outcome> {
        let ended = (&mut self.receiver).await.unwrap_or(Err(Error::WorkerGone));
        self.settle(&ended);
        ended
    }

    fn settle(&self, ended: &Result<Outcome>) {
        let used = match ended {
            Ok(Outcome { product: Product::Reply(reply), .. }) => {
                u64::from(reply.usage.prompt_tokens) + u64::from(reply.usage.reply_tokens)
            }
            // found out only when it was to be read: nothing was
            Err(Error::Invalid { .. }) => 0,
            _ => return,
        };
        let tokens = self.work.tokens.saturating_sub(used);
        if tokens > 0 {
            self.tenant.quota.refund(Work { tokens, ..Work::default() });
        }
    }
}

impl Drop for Charged {
    /// The events told all that the guest wanted to know, and the job has ended.
    fn drop(&mut self) {
        if let Ok(ended) = self.receiver.try_recv() {
            self.settle(&ended);
        }
    }
}
