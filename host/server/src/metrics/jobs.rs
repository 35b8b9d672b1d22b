//! The families of background jobs: what was done with them, what failed, how many there are, and who was told of them.

use atelier_store::Storage;

use super::page::{Kind, Page};

pub(super) fn write(page: &mut Page, storage: Option<&Storage>) {
    let queue = storage.map(Storage::job_queue);
    let help = "what was done with background jobs: submitted (batches), taken, completed, failed, given back, tried again, \
                called off, asked for";
    let mut family = page.family("atelier_background_jobs_total", Kind::Counter, help);
    let counts = queue.iter().flat_map(|queue| queue.counts().operations());
    counts.for_each(|(operation, count)| family.sample(&[("operation", operation)], count));
    let help = "those operations that were refused or failed, by why";
    let mut family = page.family("atelier_background_job_errors_total", Kind::Counter, help);
    let counts = queue.iter().flat_map(|queue| queue.counts().errors());
    counts.for_each(|(kind, count)| family.sample(&[("kind", kind)], count));
    let help = "background jobs that wait (as of the last second), and that are worked on";
    let mut family = page.family("atelier_background_jobs", Kind::Gauge, help);
    if let Some(queue) = &queue {
        family.sample(&[("state", "waiting")], queue.waiting_lately());
        family.sample(&[("state", "running")], queue.running(None) as u64);
    }
    let outbox = queue.map(|queue| queue.outbox());
    let help =
        "messages to webhooks, by what came of sending them: delivered, tried again later, given up, put off";
    let mut family = page.family("atelier_webhooks_total", Kind::Counter, help);
    let counts = outbox.iter().flat_map(|outbox| outbox.counts().operations());
    counts.for_each(|(operation, count)| family.sample(&[("operation", operation)], count));
    let help = "messages to webhooks that wait or are on their way (as of the last look)";
    let mut family = page.family("atelier_webhooks_waiting", Kind::Gauge, help);
    if let Some(outbox) = outbox {
        family.sample(&[], outbox.waiting_lately());
    }
}
