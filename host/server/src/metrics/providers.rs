//! The families of models that are served elsewhere: attempts, what came of them, and what they cost.

use atelier_runtime::ProviderStatus;

use super::page::{Kind, Page};

pub(super) fn write(page: &mut Page, providers: &[ProviderStatus]) {
    let help = "attempts at a provider's server by how they ended; answered are those with an answer";
    let mut family = page.family("atelier_provider_attempts_total", Kind::Counter, help);
    for provider in providers {
        for (outcome, count) in &provider.attempts {
            family.sample(&[("provider", provider.id.as_str()), ("outcome", *outcome)], *count);
        }
    }
    for (name, help, value) in counters() {
        let mut family = page.family(name, Kind::Counter, help);
        for provider in providers {
            family.sample(&[("provider", provider.id.as_str())], value(provider));
        }
    }
    let help = "tokens of conversations and of replies, as a provider's server counted them";
    let mut family = page.family("atelier_provider_tokens_total", Kind::Counter, help);
    for provider in providers {
        let id = provider.id.as_str();
        family.sample(&[("provider", id), ("kind", "read")], provider.tokens_read);
        family.sample(&[("provider", id), ("kind", "written")], provider.tokens_written);
    }
    for (name, help, value) in gauges() {
        let mut family = page.family(name, Kind::Gauge, help);
        for provider in providers {
            family.sample(&[("provider", provider.id.as_str())], value(provider));
        }
    }
}

type Counted = (&'static str, &'static str, fn(&ProviderStatus) -> u64);

fn counters() -> [Counted; 4] {
    [
        ("atelier_provider_retries_total", "attempts after failed ones", |status| status.retries),
        ("atelier_provider_fallbacks_total", "jobs that went to another model", |status| status.fallbacks),
        ("atelier_provider_pictures_total", "pictures that came", |status| status.pictures),
        ("atelier_provider_audio_seconds_total", "seconds of sound of which a transcript came", |status| {
            status.audio_seconds
        }),
    ]
}

type Measured = (&'static str, &'static str, fn(&ProviderStatus) -> u32);

fn gauges() -> [Measured; 3] {
    [
        ("atelier_provider_running", "calls that run (provider.calls)", |status| status.running),
        ("atelier_provider_waiting", "calls that wait (provider.waiting)", |status| status.waiting),
        (
            "atelier_provider_left_alone",
            "whether a provider failed so often that it is left alone",
            |status| u32::from(status.left_alone),
        ),
    ]
}
