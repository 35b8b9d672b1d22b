//! Whole, broken, oversized and disguised pictures against the decoder. Every file is made here.

mod files;

use files::{encoded, exif_segment, gradient, header_bomb, with_exif};
use media::picture::{Error, Format, Limits, decode};

const LIMITS: Limits = Limits { max_side: 4096, max_pixels: 16_777_216 };

#[test]
fn every_accepted_format_decodes_to_its_pixels() {
    let source = gradient(37, 21);
    for (format, name) in [(image::ImageFormat::Png, "png"), (image::ImageFormat::WebP, "webp")] {
        let found = decode(&encoded(&source, format), LIMITS).expect(name);
        assert_eq!((found.width, found.height, found.format.name()), (37, 21, name));
        assert_eq!(found.rgba, source.to_rgba8().into_raw(), "{name} is lossless");
    }
    for (format, name) in [(image::ImageFormat::Jpeg, "jpeg"), (image::ImageFormat::Gif, "gif")] {
        let found = decode(&encoded(&source, format), LIMITS).expect(name);
        assert_eq!((found.width, found.height, found.rgba.len()), (37, 21, 37 * 21 * 4), "{name}");
    }
}

#[test]
fn sixteen_bits_grey_and_transparency_become_rgba8() {
    let source = gradient(9, 9);
    let kinds = [
        image::DynamicImage::from(source.to_luma8()),
        source.to_luma_alpha8().into(),
        source.to_luma16().into(),
        source.to_rgb16().into(),
        source.to_rgba16().into(),
    ];
    for kind in kinds {
        let found = decode(&encoded(&kind, image::ImageFormat::Png), LIMITS).expect("png");
        assert_eq!(found.rgba, kind.to_rgba8().into_raw(), "{:?}", kind.color());
    }
}

#[test]
fn a_palette_is_resolved() {
    let bytes = files::palette_png(&[[255, 0, 0], [0, 0, 255]], 2, 1, &[0b0100_0000]);
    let found = decode(&bytes, LIMITS).expect("palette png");
    assert_eq!(found.rgba, [255, 0, 0, 255, 0, 0, 255, 255]);
}

#[test]
fn exif_orientation_turns_the_picture_upright() {
    let lying = encoded(&gradient(8, 4), image::ImageFormat::Jpeg);
    let found = decode(&with_exif(&lying, &exif_segment(6)), LIMITS).expect("jpeg");
    assert_eq!((found.width, found.height), (4, 8));
}

#[test]
fn a_file_cut_anywhere_is_malformed_and_never_a_picture() {
    use image::ImageFormat::{Gif, Jpeg, Png, WebP};
    for format in [Png, Jpeg, WebP, Gif] {
        let whole = encoded(&gradient(40, 30), format);
        for keep in (12..whole.len() - 12).step_by(7) {
            let error = decode(&whole[..keep], LIMITS).expect_err(&format!("{format:?} cut at {keep}"));
            assert!(matches!(error, Error::Malformed(_)), "{format:?} cut at {keep}: {error:?}");
        }
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_any_pixel_is_decoded() {
    let error = decode(&header_bomb(65_535, 65_535), LIMITS).expect_err("bomb");
    assert_eq!(error, Error::TooLarge("the picture is 65535x65535; a side may have 4096 pixels".into()));
    let narrow = Limits { max_side: 4096, max_pixels: 99 };
    let error = decode(&encoded(&gradient(10, 10), image::ImageFormat::Png), narrow).expect_err("pixels");
    assert_eq!(error, Error::TooLarge("the picture is 10x10; 99 pixels in all are allowed".into()));
}

#[test]
fn a_picture_exactly_at_the_limits_is_taken() {
    let exact = Limits { max_side: 10, max_pixels: 100 };
    assert!(decode(&encoded(&gradient(10, 10), image::ImageFormat::Png), exact).is_ok());
}

#[test]
fn other_formats_and_markup_are_named_and_refused() {
    let cases: [(&[u8], &str); 5] = [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "markup (SVG or HTML)"),
        (b"<!doctype html><script>", "markup (SVG or HTML)"),
        (b"BM\x3a\0\0\0", "a BMP picture"),
        (b"", "nothing at all"),
        (b"\0\0\0\x20ftypavif", "an AVIF, HEIC or MP4 file"),
    ];
    for (bytes, name) in cases {
        let Err(Error::Unsupported(text)) = decode(bytes, LIMITS) else { panic!("{name} was not refused") };
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_tail_of_markup_does_not_survive_decoding() {
    let source = gradient(5, 5);
    let polyglot =
        [encoded(&source, image::ImageFormat::Png), b"<script>alert(1)</script>".to_vec()].concat();
    let found = decode(&polyglot, LIMITS).expect("the picture itself is whole");
    assert_eq!(found.format, Format::Png);
    assert_eq!(found.rgba, source.to_rgba8().into_raw());
}

#[test]
fn a_format_hidden_behind_the_magic_of_another_is_malformed() {
    let jpeg = encoded(&gradient(5, 5), image::ImageFormat::Jpeg);
    let disguised = [b"\x89PNG\r\n\x1a\n".to_vec(), jpeg].concat();
    assert!(matches!(decode(&disguised, LIMITS), Err(Error::Malformed(_))));
}

#[test]
fn flipped_bytes_give_errors_or_pictures_of_the_right_length() {
    use image::ImageFormat::{Gif, Jpeg, Png, WebP};
    for format in [Png, Jpeg, WebP, Gif] {
        let whole = encoded(&gradient(24, 24), format);
        for at in 8..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x5a;
            if let Ok(found) = decode(&broken, LIMITS) {
                assert_eq!(found.rgba.len() as u64, u64::from(found.width) * u64::from(found.height) * 4);
            }
        }
    }
}
