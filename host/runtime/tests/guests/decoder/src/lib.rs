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
            b"grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&kept);
                }
            }
            [b'p', side] if u32::from(*side) <= limits.max_side => {
                let side = u32::from(*side);
                let rgba = vec![255; (side * side * 4) as usize];
                Ok(Decoded { size: Size { width: side, height: side }, rgba, format: "png".into() })
            }
            _ => Err(Error::Unsupported("only what the tests send".into())),
        }
    }

    async fn decode_audio(_: Vec<u8>, _: AudioLimits) -> Result<Recording, AudioError> {
        Err(AudioError::UnknownFormat("the tests send pictures".into()))
    }
}

export!(Decoder);
