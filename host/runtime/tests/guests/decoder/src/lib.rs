//! A stand-in for the media decoder that does as the bytes say.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/decoder" });

use exports::atelier::host::media::{AudioError, AudioLimits, Decoded, Error, Guest, Limits, Recording, Size};

struct Decoder;

impl Guest for Decoder {
    async fn decode_image(bytes: Vec<u8>, limits: Limits) -> Result<Decoded, Error> {
        match bytes.as_slice() {
            b"trap" => std::process::abort(),
            b"lie" => {
                Ok(Decoded { size: Size { width: 9, height: 9 }, rgba: vec![0; 4], format: "png".into() })
            }
            b"grow" => grow(),
            [b'p', side] if u32::from(*side) <= limits.max_side => {
                let side = u32::from(*side);
                let rgba = vec![255; (side * side * 4) as usize];
                Ok(Decoded { size: Size { width: side, height: side }, rgba, format: "png".into() })
            }
            _ => Err(Error::Unsupported("only what the tests send".into())),
        }
    }

    async fn decode_audio(bytes: Vec<u8>, limits: AudioLimits) -> Result<Recording, AudioError> {
        let text = String::from_utf8_lossy(&bytes);
        let (word, number) = text.split_once(' ').unwrap_or((&text, "0"));
        let seconds: u32 = number.parse().unwrap_or(0);
        match word {
            "trap" => std::process::abort(),
            "grow" => grow(),
            "sleep" => std::thread::sleep(std::time::Duration::from_secs(20)),
            "damaged" => return Err(AudioError::Damaged("at 0.000 s: it is damaged".into())),
            "silence" if seconds > limits.max_seconds => return Err(AudioError::TooLong),
            "silence" | "overlong" => {}
            _ => return Err(AudioError::UnknownFormat("only what the tests send".into())),
        }
        Ok(silence(seconds))
    }
}

fn silence(seconds: u32) -> Recording {
    Recording {
        samples: vec![0.0; seconds as usize * 16_000],
        container: "wav".into(),
        codec: "pcm".into(),
        source_rate: 8_000,
        channels: 2,
        seconds: seconds.into(),
        damage: None,
    }
}

/// Takes memory until there is none.
fn grow() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

export!(Decoder);
