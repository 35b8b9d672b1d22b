//! The capability `machine` as plain types behind one trait, beside [`crate::Host`]: what a handler asks that shows how the machine
//! fares. The fields mean what `wit/machine.wit` says of the items of the same name.

/// How the machine fares (`machine.figures`).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/machine.wit")]
pub struct Figures {
    pub cores: u32,
    pub cpu_percent: Option<f64>,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub host_memory_bytes: u64,
    pub disk_total_bytes: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    pub jobs_running: u32,
    pub jobs_waiting: u32,
}

/// Why nothing is known of the machine; safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineError(
    /// The reason, with the manifest's key where that is missing.
    pub String,
);

/// What a handler that watches the machine asks of its host.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Machine {
    /// How the machine fares now.
    async fn usage(&self) -> Result<Figures, MachineError>;
}
