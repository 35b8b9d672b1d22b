//! A finish plugin that inverts colours, or does as the prompt says.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/finisher" });

use atelier::host::images::Pixels;
use exports::atelier::host::finish::{Context, Error, Guest, Image};

struct Finisher;

impl Guest for Finisher {
    async fn finish(picture: Image, context: Context) -> Result<Image, Error> {
        match context.prompt.as_str() {
            "trap" => std::process::abort(),
            "keep" => Ok(picture),
            "refuse" => Err(Error::Refused("not this one".into())),
            _ => {
                let Pixels { size, rgba } = picture.pixels();
                let rgba = rgba.chunks(4).flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], p[3]]).collect();
                Image::from_pixels(&Pixels { size, rgba }).map_err(|_| Error::Failed("pixels".into()))
            }
        }
    }
}

export!(Finisher);
