//! On whose account guests work: the allowance is charged before a job is made, and given back when none is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use atelier_inference::{QueueConfig, Scheduler};
use atelier_runtime::{Deployment, Exceeded, Quota, Tenant, Work};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{deploy, runtime_with, studio, until, within};

/// Counts, and refuses what goes over its limit of pictures.
#[derive(Default)]
struct Counting {
    limit: u64,
    charged: Mutex<Vec<Work>>,
    refunded: Mutex<Vec<Work>>,
}

impl Quota for Counting {
    fn charge(&self, work: Work) -> Result<(), Exceeded> {
        let mut charged = self.charged.lock().unwrap();
        if charged.iter().map(|work| work.images).sum::<u64>() + work.images > self.limit {
            let reason = "the allowance is used up (some.key)".into();
            return Err(Exceeded { reason, retry_after: Duration::from_millis(1_500) });
        }
        charged.push(work);
        Ok(())
    }

    fn refund(&self, work: Work) {
        self.refunded.lock().unwrap().push(work);
    }
}

fn tenant(quota: &Arc<Counting>) -> Arc<Tenant> {
    Arc::new(Tenant { quota: quota.clone(), ..Tenant::default() })
}

async fn generate(route: &Arc<Deployment>, tenant: &Arc<Tenant>, prompt: &str) -> String {
    let body = Full::new(Bytes::copy_from_slice(prompt.as_bytes()));
    let request = Request::post("http://test.invalid/generate").body(body).unwrap();
    let answer = within(route.handle_for(tenant, request)).await.unwrap();
    String::from_utf8(within(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_beyond_the_allowance_is_refused_before_it_is_made() {
    let quota = Arc::new(Counting { limit: 1, ..Counting::default() });
    let (route, tenant) = (deploy(studio()).await, tenant(&quota));
    let first = generate(&route, &tenant, "fake cat 3").await;
    assert!(first.starts_with("64x64"), "{first}");
    let second = generate(&route, &tenant, "fake cat 3").await;
    assert!(second.contains("Overloaded") && second.contains("some.key"), "{second}");
    assert!(second.contains("1500"), "{second}");
    assert_eq!(
        *quota.charged.lock().unwrap(),
        [Work { images: 1, pixel_steps: 64 * 64 * 3, ..Work::default() }]
    );
    assert!(quota.refunded.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_finds_the_queue_full_costs_nothing() {
    let engine = Box::new(FakeEngine { step: Duration::from_secs(60), ..FakeEngine::default() });
    let scheduler = Scheduler::start(engine, QueueConfig { depth: 1, ..QueueConfig::default() }).unwrap();
    let route = runtime_with(Default::default(), scheduler.clone()).deploy(studio()).await.unwrap();
    let quota = Arc::new(Counting { limit: 10, ..Counting::default() });
    let tenant = tenant(&quota);
    let waiting = || {
        let (route, tenant) = (route.clone(), tenant.clone());
        tokio::spawn(async move { generate(&route, &tenant, "fake cat 1").await })
    };
    let running = waiting();
    until(|| scheduler.status().running).await;
    let queued = waiting();
    until(|| scheduler.status().waiting == 1).await;
    let refused = generate(&route, &tenant, "fake cat 2").await;
    assert!(refused.contains("Overloaded"), "{refused}");
    assert_eq!(
        *quota.refunded.lock().unwrap(),
        [Work { images: 1, pixel_steps: 64 * 64 * 2, ..Work::default() }]
    );
    running.abort();
    queued.abort();
}
