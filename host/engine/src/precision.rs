//! What the networks that draw multiply. What was asked for is what is used, or an error says why not; only `auto` chooses.
//!
//! Settled once, when the engine is made, and handed to the layers of a denoiser and its ControlNets while they are loaded.
//! Text encoders, autoencoders and speech stay in f32: they are a small part of the work, or their errors are seen at once.

use std::str::FromStr;

use atelier_inference::Precision;
use candle_core::Device;

use crate::{Error, Result, kernels};

/// In which precision to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrecisionChoice {
    /// Single precision: what the golden values hold for.
    #[default]
    F32,
    /// Products of bf16, summed in f32. Half the memory for the denoiser's weights.
    Bf16,
    /// bf16 where the processor has instructions for it and does the work, else f32.
    Auto,
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    /// Reads `f32`, `bf16` or `auto`.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "auto" => Ok(Self::Auto),
            _ => Err(Error::Unsupported {
                what: "precision",
                value: name.into(),
                supported: "f32, bf16, auto",
            }),
        }
    }
}

impl PrecisionChoice {
    /// What is computed in on that device.
    ///
    /// # Errors
    /// [`Error::Precision`] where bf16 was asked for by name and there is no kernel for it. `auto` never fails: it says in the
    /// log why it fell back.
    pub(crate) fn settle(self, device: &Device) -> Result<Precision> {
        self.settle_with(device.is_cpu(), kernels::have_bf16())
    }

    fn settle_with(self, is_cpu: bool, has_bf16: bool) -> Result<Precision> {
        let refused = |reason: &str| Error::Precision { name: "bf16".into(), reason: reason.into() };
        let bf16 = match (is_cpu, has_bf16) {
            (true, true) => Ok(Precision::Bf16),
            (true, false) => Err(refused("this processor has no AVX512-BF16; choose f32 or auto")),
            (false, _) => {
                Err(refused("the kernels of bf16 are the CPU's; choose f32 or auto, or the device cpu"))
            }
        };
        match self {
            Self::F32 => Ok(Precision::F32),
            Self::Bf16 => bf16,
            Self::Auto => Ok(bf16.unwrap_or_else(|error| {
                tracing::info!(%error, "computing in f32");
                Precision::F32
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_precision_is_refused_with_those_that_exist() {
        let error = "f16".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert_eq!(error, "precision `f16` is not supported; supported: f32, bf16, auto");
    }

    #[test]
    fn bf16_without_a_kernel_is_an_error_that_names_the_key_and_the_fix_and_auto_chooses() {
        let choose = |name: &str, is_cpu, has_bf16| {
            let choice = name.parse::<PrecisionChoice>().unwrap();
            choice.settle_with(is_cpu, has_bf16).map_err(|error| error.to_string())
        };
        assert_eq!(choose("bf16", true, true), Ok(Precision::Bf16));
        assert_eq!(choose("auto", true, true), Ok(Precision::Bf16));
        for (is_cpu, has_bf16, why) in
            [(true, false, "no AVX512-BF16"), (false, false, "the CPU's"), (false, true, "the CPU's")]
        {
            assert_eq!(choose("auto", is_cpu, has_bf16), Ok(Precision::F32));
            assert_eq!(choose("f32", is_cpu, has_bf16), Ok(Precision::F32));
            let error = choose("bf16", is_cpu, has_bf16).unwrap_err();
            assert!(error.starts_with("engine.precision bf16: ") && error.contains(why), "{error}");
            assert!(error.contains("choose f32 or auto"), "{error}");
        }
    }
}
