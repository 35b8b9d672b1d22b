//! `machine`: how the machine fares, for routes that may see it.

use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::machine::{Error, Figures, Host, HostWithStore};
use crate::sandbox::Sandbox;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn usage(access: &Access) -> Result<Result<Figures, Error>> {
        let caller = caller(access).await;
        let host = &caller.host;
        let Some(memory) = host.machine.memory() else {
            return Ok(Err(Error::Other("this system does not say how it fares: Linux does".into())));
        };
        let (queue, _wait) = (host.scheduler.status(), caller.meter.wait());
        let disk = match host.storage.get() {
            Some(storage) => storage.space().await.ok(),
            None => None,
        };
        Ok(Ok(Figures {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
            cpu_percent: host.machine.cpu_percent(),
            memory_total_bytes: memory.total,
            memory_available_bytes: memory.available,
            host_memory_bytes: memory.own,
            disk_total_bytes: disk.map(|disk| disk.total),
            disk_free_bytes: disk.map(|disk| disk.free),
            jobs_running: u32::try_from(queue.running_jobs).unwrap_or(u32::MAX),
            jobs_waiting: u32::try_from(queue.waiting).unwrap_or(u32::MAX),
        }))
    }
}
