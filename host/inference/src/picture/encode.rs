//! Pictures to files. The same picture gives the same bytes.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::parameters::{JSON_KEYWORD, TEXT_KEYWORD};
use super::{Parameters, Picture, Pixels};
use crate::{Error, Result};

const DEFAULT_JPEG_QUALITY: u8 = 90;

/// File formats that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lossless.
    Png,
    /// Lossy, without transparency.
    Jpeg,
    /// Lossless WebP.
    Webp,
}

/// How a picture is written.
#[derive(Debug, Clone, Copy)]
pub struct Encoding {
    /// The file format.
    pub format: Format,
    /// JPEG quality, 1 to 100; 90 when `None`. Refused for the other formats.
    pub quality: Option<u8>,
    /// Embed the generation parameters. PNG only.
    pub parameters: bool,
}

/// The picture as a file.
pub fn encode(picture: &Picture, encoding: Encoding) -> Result<Vec<u8>> {
    if encoding.quality.is_some() && encoding.format != Format::Jpeg {
        return Err(Error::invalid("quality", "only jpeg has one; leave it out"));
    }
    if encoding.parameters && encoding.format != Format::Png {
        return Err(Error::invalid("parameters", "only png carries them; choose png or leave them out"));
    }
    let parameters = picture.parameters.as_deref().filter(|_| encoding.parameters);
    match encoding.format {
        Format::Png => encode_png(&picture.pixels, parameters),
        Format::Jpeg => encode_jpeg(&picture.pixels, encoding.quality.unwrap_or(DEFAULT_JPEG_QUALITY)),
        Format::Webp => encode_webp(&picture.pixels),
    }
}

fn encode_png(pixels: &Pixels, parameters: Option<&Parameters>) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width(), pixels.height());
    let (color, data) = color(pixels);
    encoder.set_color(if color == ExtendedColorType::Rgb8 {
        png::ColorType::Rgb
    } else {
        png::ColorType::Rgba
    });
    encoder.set_depth(png::BitDepth::Eight);
    write_png(encoder, parameters, &data)
        .map_err(|error| Error::Failed(format!("cannot write png: {error}")))?;
    Ok(file)
}

fn write_png(
    mut encoder: png::Encoder<'_, &mut Vec<u8>>,
    parameters: Option<&Parameters>,
    data: &[u8],
) -> std::result::Result<(), png::EncodingError> {
    if let Some(parameters) = parameters {
        // iTXt, since prompts are UTF-8
        encoder.add_itxt_chunk(TEXT_KEYWORD.into(), parameters.text())?;
        encoder.add_itxt_chunk(JSON_KEYWORD.into(), parameters.json())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    writer.finish()
}

fn encode_jpeg(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    if !(1..=100).contains(&quality) {
        return Err(Error::invalid("quality", format!("{quality} is not within 1 to 100")));
    }
    let mut file = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut file, quality)
        .write_image(&pixels.rgb(), pixels.width(), pixels.height(), ExtendedColorType::Rgb8)
        .map_err(|error| Error::Failed(format!("cannot write jpeg: {error}")))?;
    Ok(file.into_inner())
}

fn encode_webp(pixels: &Pixels) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let (color, data) = color(pixels);
    WebPEncoder::new_lossless(&mut file)
        .write_image(&data, pixels.width(), pixels.height(), color)
        .map_err(|error| Error::Failed(format!("cannot write webp: {error}")))?;
    Ok(file.into_inner())
}

/// Alpha is written only where a pixel needs it.
fn color(pixels: &Pixels) -> (ExtendedColorType, Cow<'_, [u8]>) {
    match pixels.is_opaque() {
        true => (ExtendedColorType::Rgb8, pixels.rgb().into()),
        false => (ExtendedColorType::Rgba8, pixels.rgba().into()),
    }
}
