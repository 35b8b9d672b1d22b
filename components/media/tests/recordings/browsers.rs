//! What a real browser records: Chromium's own files, made by `make_browser_recordings.py`.

use media::audio::Container;

use crate::files::{TOLERANCE, decode, expected, read, worst};

/// Every file, its container and its codec.
const FILES: [(&str, Container, &str); 2] =
    [("chromium-opus.webm", Container::Webm, "opus"), ("chromium-opus.mp4", Container::Mp4, "opus")];
/// Who records begins and ends in the middle of a sound: for 3 ms the two resamplers ring each in its own way.
const EDGE: usize = 48;
const EDGE_TOLERANCE: f32 = 5e-3;

#[test]
fn what_chromium_records_becomes_the_samples_of_its_packets() {
    for (file, container, codec) in FILES {
        let found = decode(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let expected = expected(file);
        assert_eq!((found.container, found.codec, found.damage), (container, codec, None), "{file}");
        assert_eq!(found.samples.len(), expected.len(), "{file}");
        let inner = EDGE..expected.len() - EDGE;
        let within = worst(&found.samples[inner.clone()], &expected[inner]);
        let everywhere = worst(&found.samples, &expected);
        println!("{file}: {within:.1e}, {everywhere:.1e} with its edges");
        assert!(within < TOLERANCE, "{file}: {within}");
        assert!(everywhere < EDGE_TOLERANCE, "{file}: {everywhere} at an edge");
    }
}
