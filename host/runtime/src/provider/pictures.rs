//! Pictures: what a plugin of `provider-images` is told, field by field, and what is held against its answer. What comes is a
//! stranger's: it is decoded in the media sandbox, and its size is looked at. No pixel is scaled or cut here.

use atelier_inference::picture::{Encoding, Format, encode};
use atelier_inference::{Mask, Picture, Pixels, Product, ProvidedImageOptions, ProvidedImageOrder, Task};

use super::trouble::{Trouble, notes};
use super::{Asking, Provided};
use crate::bindings::picture_provider::exports::atelier::host::provider_images as wit;
use crate::capabilities::decode_pixels;
use crate::context::Scope;

/// What a plugin is asked. Pictures are written as files once, away from the threads that serve.
pub(super) async fn request(
    asking: &Asking,
    model: &Provided,
    made: &ProvidedImageOrder,
) -> Result<wit::Request, Trouble> {
    let ProvidedImageOrder { order, options } = made;
    let ProvidedImageOptions { negative_prompt, steps, guidance, seed, strength, image_guidance } = options;
    let file = async |pixels: Pixels| png(asking, model, pixels).await;
    let task = match &order.task {
        Task::TextToImage => wit::Task::TextToImage,
        Task::ImageToImage { picture, .. } => {
            wit::Task::ImageToImage(wit::Start { picture: file(picture.clone()).await?, strength: *strength })
        }
        Task::Edit { picture, .. } => {
            wit::Task::Edit(wit::Edit { picture: file(picture.clone()).await?, guidance: *image_guidance })
        }
        Task::Inpaint { picture, mask, .. } => {
            let nowhere = painted(picture, |_| false).map_err(Trouble::refused)?;
            let there = painted(picture, |at| is_new(mask, at)).map_err(Trouble::refused)?;
            wit::Task::Inpaint(wit::PartAnew {
                picture: file(nowhere).await?,
                mask: file(there).await?,
                strength: *strength,
            })
        }
    };
    Ok(wit::Request {
        model: model.name.clone(),
        prompt: order.prompt.clone(),
        negative_prompt: negative_prompt.clone(),
        width: order.size.width,
        height: order.size.height,
        count: order.seeds.len() as u32,
        steps: *steps,
        guidance: *guidance,
        seed: *seed,
        task,
        previews: order.preview_every.is_some(),
    })
}

fn is_new(mask: &Mask, at: usize) -> bool {
    mask.pixels().get(at).copied().unwrap_or(false)
}

/// The picture, transparent where `is_new` says so of a pixel's place, and opaque everywhere else.
fn painted(picture: &Pixels, is_new: impl Fn(usize) -> bool) -> atelier_inference::Result<Pixels> {
    let mut rgba = picture.rgba().to_vec();
    for (at, pixel) in rgba.chunks_exact_mut(4).enumerate() {
        pixel[3] = if is_new(at) { 0 } else { u8::MAX };
    }
    Pixels::new(picture.width(), picture.height(), rgba)
}

async fn png(asking: &Asking, model: &Provided, pixels: Pixels) -> Result<Vec<u8>, Trouble> {
    let place = asking.host.painters.enter(&asking.tenant).await;
    let place = place.map_err(|failure| Trouble::stopped(model, &failure))?;
    let encoding = Encoding { format: Format::Png, quality: None, parameters: false };
    let write = move || {
        let _place = place;
        encode(&Picture { pixels, parameters: None }, encoding)
    };
    let written = tokio::task::spawn_blocking(write).await;
    let stopped = |_| Trouble::malformed(model, "the picture could not be written for it");
    written.map_err(stopped)?.map_err(Trouble::refused)
}

/// What is told of a whole answer, if it is as many pictures as were asked for. Of another size than was asked they stay as
/// they came, with a note.
pub(super) async fn settle(
    asking: &Asking,
    model: &Provided,
    made: &ProvidedImageOrder,
    files: Vec<Vec<u8>>,
    end: wit::End,
) -> Result<(Product, Vec<String>), Trouble> {
    let (order, mut notes) = (&made.order, notes(model, &end.notes));
    let (came, wanted) = (files.len(), order.seeds.len());
    if came != wanted {
        return Err(Trouble::malformed(model, &format!("it sent {came} pictures and not {wanted}")));
    }
    let mut pictures = Vec::with_capacity(came);
    for file in files {
        let read = decoded(asking, &asking.scope, file).await;
        let pixels = read
            .map_err(|why| Trouble::malformed(model, &format!("what it sent is no picture here: {why}")))?;
        pictures.push(Picture { pixels, parameters: None });
    }
    let other = pictures.iter().map(|picture| picture.pixels.size()).find(|size| *size != order.size);
    notes.extend(
        other.map(|size| format!("`{}` made it {size}, not {} as it was asked", model.info.id(), order.size)),
    );
    if made.options.seed.is_none() {
        notes.push("the seed is the server's own, and not told: 0 stands for it".into());
    }
    model.provider.metrics.pictures.add(came as u64);
    Ok((Product::Pictures(pictures), notes))
}

/// A stranger's file as pixels; the text says why it is none.
pub(super) async fn decoded(asking: &Asking, scope: &Scope, file: Vec<u8>) -> Result<Pixels, String> {
    let read = decode_pixels(&asking.host, &asking.tenant, scope, file).await;
    read.map_err(|error| error.into_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_transparent_where_it_is_painted_and_the_picture_nowhere() {
        let picture = Pixels::new(2, 1, [1, 2, 3, 255, 4, 5, 6, 0]).unwrap();
        let mask = Mask::of(&picture);
        let there = painted(&picture, |at| is_new(&mask, at)).unwrap();
        assert_eq!(there.rgba(), [1, 2, 3, 255, 4, 5, 6, 0]);
        assert!(painted(&picture, |_| false).unwrap().is_opaque());
    }
}
