//! What operators say of the service, in the route's `config` or in environment variables that the route passes on. The first
//! names are those that its README has of `config.py`; a value that cannot be used is said by name.

use atelier_kit::Host;
use atelier_kit::settings::{given, pairs};

use crate::failure::Failure;

const STEPS: &str = "DEFAULT_INFERENCE_STEPS";
const GUIDANCE: &str = "DEFAULT_GUIDANCE_SCALE";
const RETENTION_HOURS: &str = "IMAGE_RETENTION_HOURS";
const MAX_IMAGES: &str = "MAX_IMAGES";
const RATE: &str = "RATE_LIMIT_PER_MINUTE";
const CLEANUP_KEY: &str = "CLEANUP_KEY";
/// What the styles' names stand for, such as `dreamshaper=atelier-nano`.
const MODELS: &str = "models";

/// The most pictures that are kept: what is known of so many fits one value of the host's storage.
const MOST_IMAGES: u32 = 500;

/// The service's settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Steps of a picture whose request names none; the model's own when `None`.
    pub(crate) steps: Option<u32>,
    /// Guidance scale of a picture whose request names none; the model's own when `None`.
    pub(crate) guidance: Option<f64>,
    /// Seconds after which a picture goes.
    pub(crate) retention_seconds: u64,
    /// Beyond so many, the oldest goes.
    pub(crate) max_images: usize,
    /// Requests of a client that cost something.
    pub(crate) requests_per_minute: u32,
    /// What `/cleanup` wants; without one nobody may.
    pub(crate) cleanup_key: Option<String>,
    /// Names of styles and the ids that they stand for.
    pub(crate) models: Vec<(String, String)>,
}

impl Settings {
    /// Reads all of them, so that what is wrong is said before any work.
    pub(crate) fn read(host: &impl Host) -> Result<Self, Failure> {
        let models = given(host, MODELS).unwrap_or_default();
        let models = pairs(&models)
            .ok_or_else(|| unusable(MODELS, "such as \"dreamshaper=one-id, realistic_vision=another-id\""))?;
        let hours = number(host, RETENTION_HOURS, 0.01, 87_600.0)?.unwrap_or(168.0);
        Ok(Self {
            steps: whole(host, STEPS, 150)?,
            guidance: number(host, GUIDANCE, 0.0, 50.0)?,
            retention_seconds: (hours * 3_600.0) as u64,
            max_images: whole(host, MAX_IMAGES, MOST_IMAGES)?.unwrap_or(200) as usize,
            requests_per_minute: whole(host, RATE, 100_000)?.unwrap_or(30),
            cleanup_key: given(host, CLEANUP_KEY),
            models,
        })
    }
}

/// A whole number from 1; what is none is not rounded to one.
fn whole(host: &impl Host, key: &str, max: u32) -> Result<Option<u32>, Failure> {
    let Some(text) = given(host, key) else { return Ok(None) };
    let found = text.parse().ok().filter(|number| (1..=max).contains(number));
    found.map(Some).ok_or_else(|| unusable(key, &format!("a whole number from 1 to {max}")))
}

/// A number within bounds; one that is not a number is in no bounds.
fn number(host: &impl Host, key: &str, min: f64, max: f64) -> Result<Option<f64>, Failure> {
    let Some(text) = given(host, key) else { return Ok(None) };
    let found = text.parse().ok().filter(|number| (min..=max).contains(number));
    found.map(Some).ok_or_else(|| unusable(key, &format!("a number from {min} to {max}")))
}

/// A backend's failure and not the request's: the client can do nothing about the operator's settings.
fn unusable(key: &str, wanted: &str) -> Failure {
    Failure::backend(format!("the route's `config.{key}` cannot be used; it must be {wanted}"))
}
