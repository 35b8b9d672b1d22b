//! How a picture gets to its size.
//!
//! Owns the order of attempts and the limit on size. Knows pixels and the prompt, not which model drew the picture.

use std::fmt;

use crate::picture::Picture;
use crate::pixel_art;
use crate::resample::resample;
use crate::sharpen::sharpen;
use crate::soft_grid;

/// The most pixels of a result: what fits into the memory that a plugin has by default, with the steps in between.
const MAX_PIXELS: usize = 2 << 20;

/// A size over what this plugin makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pictures of over {MAX_PIXELS} pixels are left to others")
    }
}

/// Brings a picture to a size. What does not fit the shape is cut off evenly. The prompt that made it tells whether pixel
/// art was meant.
pub fn fit(picture: &Picture, prompt: &str, width: usize, height: usize) -> Result<Picture, TooLarge> {
    // the source counts as well: both are held at once, and one of them may be the larger
    let pixels = width.saturating_mul(height);
    if pixels.max(picture.width * picture.height) > MAX_PIXELS {
        return Err(TooLarge);
    }
    if (picture.width, picture.height) == (width, height) {
        return Ok(picture.clone());
    }
    // cut before it is scaled: what is cut off need not be computed, and blocks of pixel art keep their shape
    let picture = picture.cropped_to_shape(width, height);
    Ok(scale(&picture, prompt, width, height))
}

/// A picture of the right shape to its size. Art is looked for only when the picture grows: reduced by whole pixels
/// it would lose lines.
fn scale(picture: &Picture, prompt: &str, width: usize, height: usize) -> Picture {
    let grows = width > picture.width;
    // soft blocks first: each of them is made of smaller ones that are even
    let soft = || soft_grid::is_asked_for(prompt).then(|| soft_grid::find(picture)).flatten();
    if let Some(art) = grows.then(|| soft().or_else(|| pixel_art::find(picture))).flatten() {
        return art.nearest(width, height);
    }
    let mut scaled = resample(picture, width, height);
    if grows {
        sharpen(&mut scaled, width as f32 / picture.width as f32);
    }
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(side: usize) -> Picture {
        let middle = side as f32 / 2.0;
        Picture::from_fn(side, side, |x, y| {
            let distance = (x as f32 + 0.5 - middle).hypot(y as f32 + 0.5 - middle);
            let inside = (middle * 0.7 - distance + 0.5).clamp(0.0, 1.0);
            [(40.0 + 200.0 * inside) as u8, 90, (220.0 - 180.0 * inside) as u8, 255]
        })
    }

    /// How far two pictures are apart, in levels.
    fn mean_difference(one: &Picture, other: &Picture) -> f64 {
        let sum: f64 = one.rgba.iter().zip(&other.rgba).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        sum / one.rgba.len() as f64
    }

    #[test]
    fn the_same_size_changes_nothing() {
        assert_eq!(fit(&disc(32), "", 32, 32), Ok(disc(32)));
    }

    #[test]
    fn an_enlarged_disc_is_closer_to_a_drawn_one_than_resampling_alone() {
        let (drawn, small) = (disc(512), disc(128));
        let ours = mean_difference(&fit(&small, "", 512, 512).expect("fits"), &drawn);
        let plain = mean_difference(&resample(&small, 512, 512), &drawn);
        assert!(ours < plain * 0.9, "{ours} against {plain}");
    }

    #[test]
    fn pixel_art_grows_by_whole_blocks() {
        let art =
            Picture::from_fn(32, 32, |x, y| [(x * 37 % 5 * 50) as u8, (y * 11 % 4 * 60) as u8, 90, 255]);
        let uneven = Picture::from_fn(128, 128, |x, y| {
            let mut pixel = art.pixel(x / 4, y / 4);
            pixel[2] += ((x + y) % 3) as u8;
            pixel
        });
        let grown = fit(&uneven, "", 512, 512).expect("fits");
        for (x, y) in [(0, 0), (15, 15), (16, 0), (500, 300)] {
            let (block_x, block_y) = (x / 16 * 16, y / 16 * 16);
            assert_eq!(grown.pixel(x, y), grown.pixel(block_x, block_y));
            assert!(grown.pixel(x, y)[0].abs_diff(art.pixel(x / 16, y / 16)[0]) <= 3);
        }
    }

    #[test]
    fn another_shape_is_cut_from_the_middle() {
        let wide =
            Picture::from_fn(40, 20, |x, _| if (10..30).contains(&x) { [9, 9, 9, 255] } else { [255; 4] });
        let square = fit(&wide, "", 10, 10).expect("fits");
        assert_eq!(square, Picture::from_fn(10, 10, |_, _| [9, 9, 9, 255]));
        assert_eq!(fit(&disc(16), "", 48, 16).map(|it| (it.width, it.height)), Ok((48, 16)));
    }

    #[test]
    fn a_result_that_is_too_large_is_refused() {
        assert_eq!(fit(&disc(8), "", 4096, 4096), Err(TooLarge));
        assert_eq!(fit(&disc(8), "", usize::MAX, 2), Err(TooLarge));
    }
}
