//! What guests may ask of the host: one file per WIT interface of the same name, and what those that start jobs share
//! (`job.rs`) or keep things
//! (`storage.rs`) share. Jobs that outlive their requests are in `jobs.rs`. Each file translates between the generated types and the domain's, checks grants first, and never lets a
//! guest's mistake become more than a value or a trap of that guest.

mod audio;
mod blobstore;
mod channels;
mod copies;
mod finish;
mod generation;
mod images;
mod intent;
mod job;
mod jobs;
mod keyvalue;
mod language;
mod logging;
mod machine;
mod models;
mod select;
mod speech;
mod storage;
mod style;

use std::sync::Arc;

use wasmtime::component::{Accessor, HasData};

use crate::runtime::Host;
use crate::sandbox::{Meter, Sandbox};
use crate::stage::Caller;

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use audio::Sound;
#[expect(unreachable_pub, reason = "the generated bindings re-export them")]
pub use blobstore::{Container, IncomingValue, Names, OutgoingValue};
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use generation::RunningJob;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use images::Image;
pub(crate) use images::decode_pixels;
pub(crate) use jobs::standing;
#[expect(unreachable_pub, reason = "the generated bindings re-export them")]
pub use keyvalue::{Bucket, Swap};
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use language::RunningCompletion;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use speech::RunningTranscription;

/// Ties the generated traits to a store's data.
pub(crate) struct Capabilities;

impl HasData for Capabilities {
    type Data<'a> = &'a mut Sandbox;
}

/// How the asynchronous capabilities reach their store: for moments, never across an await.
pub(crate) type Access = Accessor<Sandbox, Capabilities>;

/// On whose behalf a capability works. It is asked for before anything is waited for: the store may work for another
/// request after that. A request that was given up gets nothing any more.
async fn caller(access: &Access) -> Caller {
    let caller = access.with(|mut store| {
        let sandbox = store.get();
        Caller { host: sandbox.host.clone(), route: sandbox.route.clone(), meter: sandbox.meter().clone() }
    });
    if caller.meter.given_up_since().is_some() {
        std::future::pending::<()>().await;
    }
    caller
}

/// Heavy work on pixels under a name, away from the threads that serve requests, as many at a time as there are processors.
async fn paint<R: Send + 'static>(
    host: &Arc<Host>,
    meter: &Arc<Meter>,
    name: &'static str,
    work: impl FnOnce() -> R + Send + 'static,
) -> wasmtime::Result<R> {
    let (_wait, _span) = (meter.wait(), meter.scope().open(name));
    let place = host.painters.enter(meter.tenant()).await?;
    let work = move || {
        let _place = place;
        work()
    };
    Ok(tokio::task::spawn_blocking(work).await?)
}
