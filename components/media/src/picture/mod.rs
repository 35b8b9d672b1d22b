//! Decodes one picture: told by its first bytes, measured on its header, turned upright, and given as RGBA.

mod jpeg;
mod sniff;

use std::fmt;
use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};

use sniff::guess;

pub use sniff::{Format, sniff};

/// What a decoder may allocate besides eight bytes for each pixel (16-bit RGBA): tables, rows and colour profiles.
const WORKING_BYTES: u64 = 16 << 20;

/// Limits checked on the header, before any pixel is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest side in pixels.
    pub max_side: u32,
    /// The most pixels in all.
    pub max_pixels: u64,
}

/// A decoded picture.
#[derive(Debug)]
pub struct Decoded {
    /// Pixels from left to right, after turning the picture upright.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// `width * height * 4` bytes: red, green, blue, alpha (not premultiplied), row by row from the top.
    pub rgba: Vec<u8>,
    /// The format found.
    pub format: Format,
}

/// Why bytes were not decoded. The texts are safe to show.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes are of no accepted format.
    Unsupported(String),
    /// The bytes do not hold a whole picture.
    Malformed(String),
    /// A limit is exceeded.
    TooLarge(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unsupported(text) | Self::Malformed(text) | Self::TooLarge(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

/// Decodes PNG, JPEG, WebP or the first frame of a GIF.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Decoded, Error> {
    let format = sniff(bytes).ok_or_else(|| unsupported(bytes))?;
    let picture = read(bytes, format, limits)?.into_rgba8();
    let (width, height) = picture.dimensions();
    Ok(Decoded { width, height, rgba: picture.into_raw(), format })
}

fn unsupported(bytes: &[u8]) -> Error {
    Error::Unsupported(format!("the bytes are {}; png, jpeg, webp and gif are accepted", guess(bytes)))
}

/// Decodes and turns upright. Every check that needs only the header comes before the first pixel.
fn read(bytes: &[u8], format: Format, limits: Limits) -> Result<DynamicImage, Error> {
    let broken = |error: ImageError| translate(error, format);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format(format));
    reader.limits(allocation_limit(limits));
    let mut decoder = reader.into_decoder().map_err(broken)?;
    check_size(decoder.dimensions(), limits)?;
    if format == Format::Jpeg && !jpeg::is_whole(bytes) {
        return Err(Error::Malformed("the jpeg picture is cut off: its end marker is missing".into()));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn image_format(format: Format) -> image::ImageFormat {
    match format {
        Format::Png => image::ImageFormat::Png,
        Format::Jpeg => image::ImageFormat::Jpeg,
        Format::Webp => image::ImageFormat::WebP,
        Format::Gif => image::ImageFormat::Gif,
    }
}

fn allocation_limit(limits: Limits) -> image::Limits {
    let mut allocation = image::Limits::no_limits();
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(WORKING_BYTES));
    allocation
}

/// Holds a header's size against the limits; the product is taken in 64 bits and cannot overflow.
fn check_size((width, height): (u32, u32), limits: Limits) -> Result<(), Error> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Error::Malformed(format!("the picture is {width}x{height}: it has no pixels")));
    }
    if width.max(height) > limits.max_side {
        let most = limits.max_side;
        return Err(Error::TooLarge(format!(
            "the picture is {width}x{height}; a side may have {most} pixels"
        )));
    }
    if pixels > limits.max_pixels {
        let most = limits.max_pixels;
        return Err(Error::TooLarge(format!(
            "the picture is {width}x{height}; {most} pixels in all are allowed"
        )));
    }
    Ok(())
}

fn translate(error: ImageError, format: Format) -> Error {
    let name = format.name();
    match error {
        ImageError::Limits(_) => {
            Error::TooLarge(format!("decoding the {name} picture needs too much memory"))
        }
        ImageError::Unsupported(error) => {
            Error::Unsupported(format!("this kind of {name} picture is not supported: {error}"))
        }
        error => Error::Malformed(format!("the {name} picture is broken or cut off: {error}")),
    }
}
