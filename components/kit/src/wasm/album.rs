//! [`Album`] on the bindings.

use super::Granted;
use super::host::image_error;
use crate::album::Album;
use crate::bindings::atelier::host::images;
use crate::host::ImageError;

impl Album for Granted {
    async fn webp(&self, picture: &images::Image) -> Result<Vec<u8>, ImageError> {
        let encoding = images::Encoding { format: images::Format::Webp, quality: None, parameters: false };
        picture.encode(encoding).await.map_err(image_error)
    }

    async fn thumbnail(&self, picture: &images::Image, max_side: u32) -> Result<images::Image, ImageError> {
        picture.thumbnail(max_side).await.map_err(image_error)
    }
}
