//! Recordings in the sandbox: what comes back, and what a decoder that does wrong is to whoever asked.

use std::time::Duration;

use atelier_runtime::{AudioError, DoorStatus, Recording, Runtime};

use crate::kit::{self, runtime, until, within};

/// Half an hour, which the host allows whatever its caller does.
const LONGEST: usize = 30 * 60;

async fn decode(text: &'static str, max_seconds: u32) -> Result<Recording, AudioError> {
    within(runtime().decode_audio(text.into(), max_seconds)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_comes_back_as_samples_with_what_was_found() {
    let found = decode("silence 2", 2).await.unwrap();
    assert_eq!((found.samples.len(), found.seconds), (32_000, 2.0));
    assert_eq!((&*found.container, &*found.codec), ("wav", "pcm"));
    assert_eq!((found.source_rate, found.channels, found.damage), (8_000, 2, None));
    let refused = decode("RIFF", 2).await.unwrap_err();
    assert_eq!(refused, AudioError::Unsupported("only what the tests send".into()));
    assert!(
        matches!(decode("damaged", 2).await, Err(AudioError::Malformed(text)) if text.contains("0.000 s"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_recording_fits_and_one_second_more_is_refused() {
    assert_eq!(decode("silence 1800", u32::MAX).await.unwrap().samples.len(), LONGEST * 16_000);
    for (text, most, seconds) in [("silence 1801", u32::MAX, 1_800), ("silence 3", 2, 2)] {
        assert_eq!(decode(text, most).await.unwrap_err(), AudioError::TooLong { seconds });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audio_decoder_that_traps_lies_or_bursts_is_a_value() {
    assert!(matches!(decode("trap", 2).await, Err(AudioError::Malformed(_))));
    assert!(matches!(decode("grow", 2).await, Err(AudioError::TooLarge(text)) if text.contains("of memory")));
    assert!(
        matches!(decode("overlong 3", 2).await, Err(AudioError::Other(text)) if text.contains("more seconds"))
    );
    assert!(
        matches!(decode("overlong 0", 2).await, Err(AudioError::Other(text)) if text.contains("no recording"))
    );
    // it fits into the guest, and not into what a call may carry
    assert!(matches!(decode("overlong 3600", 2).await, Err(AudioError::Malformed(_))));
}

fn audio_door(runtime: &Runtime) -> DoorStatus {
    runtime.doors().into_iter().find(|door| door.name == "audio_decoders").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_do_not_wait_for_recordings_and_who_gives_up_leaves() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::ZERO));
    let places = audio_door(&runtime).places;
    let sleeping: Vec<_> = (0..places + 2)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.decode_audio("sleep".into(), 2).await })
        })
        .collect();
    until(|| audio_door(&runtime).waiting == 2).await;
    assert_eq!(audio_door(&runtime).held, places);
    assert!(within(runtime.decode_image("p\u{10}".into())).await.is_ok());
    assert_eq!(audio_door(&runtime).held, places, "they sleep still");
    sleeping.iter().for_each(|task| task.abort());
    until(|| audio_door(&runtime).held == 0).await;
}
