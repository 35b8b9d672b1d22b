//! The files of pictures: written when they are made, served to their owner only.

use atelier_kit::Response;
use atelier_kit::Storage;

use crate::api::Studio;
use crate::failure::Failure;
use crate::gallery::Gallery;
use crate::settings::CONTAINER;

/// The longer side of a thumbnail, in pixels.
const THUMBNAIL_SIDE: u32 = 256;

/// Writes a picture's file and its thumbnail's.
pub(crate) async fn keep<H: Studio>(host: &H, name: &str, image: &H::Image) -> Result<(), Failure> {
    let thumbnail = host.thumbnail(image, THUMBNAIL_SIDE).await?;
    let (whole, small) = (host.webp(image).await?, host.webp(&thumbnail).await?);
    host.write(CONTAINER, name, &whole).await?;
    Ok(host.write(CONTAINER, &small_name(name), &small).await?)
}

/// Removes both files.
pub(crate) async fn discard(host: &impl Storage, name: &str) -> Result<(), Failure> {
    host.remove(CONTAINER, name).await?;
    Ok(host.remove(CONTAINER, &small_name(name)).await?)
}

/// The picture's file.
pub(crate) async fn bytes(host: &impl Storage, name: &str) -> Result<Vec<u8>, Failure> {
    host.read(CONTAINER, name).await?.ok_or_else(|| Failure::no_such_picture(name))
}

/// The picture's pixels.
pub(crate) async fn load<H: Studio>(host: &H, name: &str) -> Result<H::Image, Failure> {
    Ok(host.decode(bytes(host, name).await?).await?)
}

/// Answers with a file of a picture in this gallery. Its bytes never change, and are for this browser only.
pub(crate) async fn serve(
    host: &impl Storage,
    gallery: &Gallery,
    name: &str,
    is_thumbnail: bool,
    is_download: bool,
) -> Result<Response, Failure> {
    gallery.find(name)?;
    let file = if is_thumbnail { small_name(name) } else { name.to_owned() };
    let bytes = bytes(host, &file).await?;
    let response =
        Response::new(200, "image/webp", bytes).with("cache-control", "private, max-age=31536000, immutable");
    Ok(match is_download {
        // names are ours: digits, letters and dashes
        true => response.with("content-disposition", &format!("attachment; filename=\"{name}\"")),
        false => response,
    })
}

fn small_name(name: &str) -> String {
    format!("thumbnails/{name}")
}
