//! The device that computes. What was asked for is what is used, or an error says why not; only `auto` chooses.
//!
//! Opened once, when the engine is made; every model of a process shares it. The rest of the crate is handed candle's
//! `Device` and asks it no more than which of the two it is. How much of its memory is proposed for models is said here.

use std::str::FromStr;

use candle_core::Device;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::{Error, Result};

/// Where a system does not say how much memory it has.
const UNKNOWN_MEMORY_BYTES: u64 = 4 << 30;

/// Which device to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA where this build and this machine have it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device.
    Cuda,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    /// Reads `auto`, `cpu` or `cuda`.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(Error::Unsupported { what: "device", value: name.into(), supported: "auto, cpu, cuda" }),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] where CUDA was asked for by name and is not there. `auto` never fails: it says in the log
    /// why it fell back, so that a slow host can be explained.
    pub(crate) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => cuda(),
            Self::Auto => Ok(cuda().unwrap_or_else(|error| {
                tracing::info!(%error, "computing on the CPU");
                Device::Cpu
            })),
        }
    }
}

/// `cpu` or `cuda`.
pub(crate) fn name(device: &Device) -> &'static str {
    if device.is_cuda() { "cuda" } else { "cpu" }
}

/// Bytes of the device's memory that models and runs may take when nobody says otherwise: nine tenths of what a GPU has
/// free now, half of what this process may use of main memory. The other half is for components and the system.
pub(crate) fn proposed_memory_bytes(device: &Device) -> u64 {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => match cuda.cuda_stream().context().mem_get_info() {
            Ok((free, _)) => free as u64 / 10 * 9,
            Err(_) => UNKNOWN_MEMORY_BYTES,
        },
        _ => main_memory_bytes() / 2,
    }
}

/// Drops a large value and hands its main memory back to the system. glibc keeps what large tensors leave behind for
/// allocations to come, which would be right if no other process ever needed it.
pub(crate) fn give_back_main_memory<T>(large: T) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return glibc::drop_and_trim(large);
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    drop(large);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int};

    /// glibc's own, before it learns from what is freed.
    const SMALL_TRIM_BYTES: c_int = 128 << 10;
    /// What it learns at most: the buffers of a step are reused and not mapped anew each time.
    const LARGE_TRIM_BYTES: c_int = 64 << 20;
    const LARGE_MMAP_BYTES: c_int = 32 << 20;

    /// Trimming reaches the end of the first arena only: those of other threads, which helped to load, shrink while
    /// something is freed, and only by what exceeds the threshold.
    #[expect(unsafe_code, reason = "functions of the C library")]
    pub(super) fn drop_and_trim<T>(large: T) {
        // SAFETY: each takes numbers, and may be called at any time from any thread
        unsafe { libc::mallopt(M_TRIM_THRESHOLD, SMALL_TRIM_BYTES) };
        drop(large);
        unsafe {
            libc::malloc_trim(0);
            libc::mallopt(M_TRIM_THRESHOLD, LARGE_TRIM_BYTES);
            libc::mallopt(M_MMAP_THRESHOLD, LARGE_MMAP_BYTES);
        }
    }
}

/// Of the machine, or of the container that this process is in.
fn main_memory_bytes() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    match system.total_memory().min(container) {
        0 => UNKNOWN_MEMORY_BYTES,
        bytes => bytes,
    }
}

/// The first CUDA device; the two refusals name different fixes, a build and a driver.
fn cuda() -> Result<Device> {
    let refused = |reason: String| Error::Device { name: "cuda".into(), reason };
    if !candle_core::utils::cuda_is_available() {
        return Err(refused("this build has no CUDA; build with `--features cuda` or choose cpu".into()));
    }
    Device::new_cuda(0).map_err(|error| refused(format!("{error}; choose cpu or mend the driver")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_refused_with_those_that_exist() {
        let error = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert_eq!(error, "device `tpu` is not supported; supported: auto, cpu, cuda");
    }

    #[test]
    fn half_of_main_memory_is_proposed() {
        let proposed = proposed_memory_bytes(&Device::Cpu);
        assert_eq!(proposed, main_memory_bytes() / 2);
        assert!(proposed > 64 << 20, "{proposed}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn asking_for_cuda_without_it_is_an_error_that_names_the_fix() {
        let error = DeviceChoice::Cuda.open().unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
    }
}
