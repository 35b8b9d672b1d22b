//! Pictures as they are kept and shown: smaller files than PNG, and thumbnails. Beside [`crate::Host`], for handlers that keep
//! pictures. The methods mean what `wit/images.wit` says of the items of the same name.

use crate::Host;
use crate::host::ImageError;

/// What a handler that keeps pictures asks of its host, besides [`Host`].
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Album: Host {
    /// The picture as a lossless WebP file.
    async fn webp(&self, picture: &Self::Image) -> Result<Vec<u8>, ImageError>;
    /// A scaled copy whose longer side is at most `max_side` pixels; never enlarges.
    async fn thumbnail(&self, picture: &Self::Image, max_side: u32) -> Result<Self::Image, ImageError>;
}
