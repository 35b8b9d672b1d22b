//! [`Machine`] on the bindings.

use super::Granted;
use crate::bindings::atelier::host::machine;
use crate::machine::{Figures, Machine, MachineError};

impl Machine for Granted {
    async fn usage(&self) -> Result<Figures, MachineError> {
        let found = machine::usage().await.map_err(|machine::Error::Other(text)| MachineError(text))?;
        Ok(Figures {
            cores: found.cores,
            cpu_percent: found.cpu_percent,
            memory_total_bytes: found.memory_total_bytes,
            memory_available_bytes: found.memory_available_bytes,
            host_memory_bytes: found.host_memory_bytes,
            disk_total_bytes: found.disk_total_bytes,
            disk_free_bytes: found.disk_free_bytes,
            jobs_running: found.jobs_running,
            jobs_waiting: found.jobs_waiting,
        })
    }
}
