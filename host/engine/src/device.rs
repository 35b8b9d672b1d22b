//! The device that computes. What was asked for is what is used, or an error says why not; only `auto` chooses.
//!
//! Opened once, when the engine is made; every model of a process shares it. The rest of the crate is handed candle's
//! `Device` and asks it no more than which of the two it is.

use std::str::FromStr;

use candle_core::Device;

use crate::{Error, Result};

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

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn asking_for_cuda_without_it_is_an_error_that_names_the_fix() {
        let error = DeviceChoice::Cuda.open().unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
    }
}
