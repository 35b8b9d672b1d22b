//! Makes pictures to decode: honest ones with `image`, dishonest ones chunk by chunk.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

/// A colourful picture in which no two neighbours are equal.
pub(crate) fn gradient(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])).into()
}

/// The picture as a file.
pub(crate) fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

/// A tiny PNG of one bit a pixel that claims to be huge.
pub(crate) fn header_bomb(width: u32, height: u32) -> Vec<u8> {
    png(width, height, 1, 0, &[], &deflate(&[0u8; 64]))
}

/// A PNG of one bit a pixel with a palette. `row` is its only row.
pub(crate) fn palette_png(palette: &[[u8; 3]], width: u32, height: u32, row: &[u8]) -> Vec<u8> {
    let data = [&[0u8], row].concat();
    png(width, height, 1, 3, &chunk(b"PLTE", &palette.concat()), &deflate(&data))
}

fn png(width: u32, height: u32, depth: u8, colour: u8, between: &[u8], data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat();
    let head = [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), between.to_vec()].concat();
    [head, chunk(b"IDAT", data), chunk(b"IEND", &[])].concat()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("short").to_be_bytes();
    let body = [&kind[..], data].concat();
    [&length[..], &body, &crc32(&body).to_be_bytes()].concat()
}

/// One stored (uncompressed) zlib block.
fn deflate(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short");
    let head = [&[0x78, 1, 1][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
    [&head[..], data, &adler32(data).to_be_bytes()].concat()
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    (b << 16) | a
}

/// An APP1 segment with nothing but an orientation, 1 to 8.
pub(crate) fn exif_segment(orientation: u8) -> Vec<u8> {
    let tiff =
        [&b"MM\0*\0\0\0\x08\0\x01"[..], &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0], &[0, 0, 0, 0]]
            .concat();
    let body = [&b"Exif\0\0"[..], &tiff].concat();
    let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
    [&[0xff, 0xe1][..], &length, &body].concat()
}

/// The JPEG file with the segment right after its first marker.
pub(crate) fn with_exif(jpeg: &[u8], segment: &[u8]) -> Vec<u8> {
    [&jpeg[..2], segment, &jpeg[2..]].concat()
}
