//! Step caches: some passes through the denoiser take over what an earlier one made, instead of computing it anew. Much
//! faster, and not quite the picture that the model would have drawn: off unless a request asks for one.
//!
//! Decides which a job may use; how it is done is the engine's matter.

use std::fmt;
use std::str::FromStr;

use super::order::within;
use crate::{Error, ImageModel, Refiner, Result};

/// Most passes of which only the first is whole.
pub const MAX_CACHE_INTERVAL: u32 = 10;

const FIELD: &str = "step-cache";

/// What a job's passes take over. As text it is `deep:3`, `deep:3:1` (interval, branch) or `first-block:0.1`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum StepCache {
    /// DeepCache (arXiv 2312.00858), for denoisers of the U-Net kind: what lies below one of the skips is taken over.
    Deep {
        /// Every so many-th pass is whole, the first one included: 1 to [`MAX_CACHE_INTERVAL`].
        interval: u32,
        /// The deepest skip that the other passes compute, counted from 0 at the largest size. 0 is the fastest.
        branch: u32,
    },
    /// First-block cache (of ParaAttention, as in diffusers), for FLUX: where the first block says nearly the same as
    /// before, what all others added is taken over.
    FirstBlock {
        /// The share of change from which on a pass is whole, 0 to 1; at 0 all are.
        threshold: f64,
    },
}

/// The step cache that fits a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// [`StepCache::Deep`].
    Deep {
        /// The branch is below this.
        branches: u32,
    },
    /// [`StepCache::FirstBlock`].
    FirstBlock,
}

impl fmt::Display for StepCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep { interval, branch: 0 } => write!(f, "deep:{interval}"),
            Self::Deep { interval, branch } => write!(f, "deep:{interval}:{branch}"),
            Self::FirstBlock { threshold } => write!(f, "first-block:{threshold}"),
        }
    }
}

impl FromStr for StepCache {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parse = || {
            let (kind, rest) = text.split_once(':')?;
            let (first, second) = rest.split_once(':').map_or((rest, None), |(a, b)| (a, Some(b)));
            match (kind, second) {
                ("deep", branch) => {
                    let branch = branch.unwrap_or("0").parse().ok()?;
                    Some(Self::Deep { interval: first.parse().ok()?, branch })
                }
                ("first-block", None) => Some(Self::FirstBlock { threshold: first.parse().ok()? }),
                _ => None,
            }
        };
        parse().ok_or_else(|| {
            format!("`{text}` is no step cache; write deep:3, deep:3:1 (interval, branch) or first-block:0.1")
        })
    }
}

impl From<StepCache> for String {
    fn from(cache: StepCache) -> Self {
        cache.to_string()
    }
}

impl TryFrom<String> for StepCache {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

/// A cache that fits every model of the job.
pub(crate) fn checked(
    asked: Option<StepCache>,
    model: &ImageModel,
    refiner: Option<&Refiner>,
) -> Result<Option<StepCache>> {
    let Some(cache) = asked else { return Ok(None) };
    for model in [Some(model), refiner.map(|refiner| refiner.model.as_ref())].into_iter().flatten() {
        fits(cache, model)?;
    }
    Ok(asked)
}

fn fits(cache: StepCache, model: &ImageModel) -> Result<()> {
    let reason = match (cache, model.step_cache) {
        (StepCache::FirstBlock { threshold }, CacheKind::FirstBlock) => {
            return within(FIELD, threshold, 1.0).map(drop);
        }
        (StepCache::Deep { interval, branch }, CacheKind::Deep { branches }) => {
            if !(1..=MAX_CACHE_INTERVAL).contains(&interval) {
                format!("an interval of {interval} is not within 1 to {MAX_CACHE_INTERVAL}")
            } else if branch >= branches {
                format!("branch {branch} is not below {branches}, the skips of model `{}`", model.card.id)
            } else {
                return Ok(());
            }
        }
        (_, CacheKind::Deep { .. }) => format!("model `{}` takes deep:INTERVAL, not {cache}", model.card.id),
        (_, CacheKind::FirstBlock) => {
            format!("model `{}` takes first-block:THRESHOLD, not {cache}", model.card.id)
        }
    };
    Err(Error::invalid(FIELD, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_written_as_it_is_read() {
        for text in ["deep:3", "deep:2:5", "first-block:0.1", "first-block:0"] {
            assert_eq!(text.parse::<StepCache>().unwrap().to_string(), text);
        }
        assert_eq!("deep:3:0".parse(), Ok(StepCache::Deep { interval: 3, branch: 0 }));
        for text in ["", "deep", "deep:", "deep:x", "deep:-1", "deep:1:2:3", "first-block:0.1:2", "block:1"] {
            assert!(text.parse::<StepCache>().unwrap_err().contains("write deep:3"), "{text}");
        }
    }
}
