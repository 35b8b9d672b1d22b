//! Finds the grid of pixel art. Models draw its blocks slightly unevenly, so a block counts as one when nearly all of
//! its pixels are close to its mean; pictures drawn pixel by pixel are told by how few colours they have.

use crate::picture::{CHANNELS, Picture};

/// Sides of a block that are looked for. A picture of larger blocks is made of these as well.
const BLOCK_SIDES: [usize; 7] = [16, 12, 8, 6, 4, 3, 2];

/// How far a channel may be from its block's mean.
const CLOSE: i32 = 26;

/// At most one block in so many may be uneven.
const UNEVEN_ONE_IN: usize = 40;

/// At least one border between blocks in so many must be a jump, or the picture is merely plain or smooth.
const DIFFERENT_ONE_IN: usize = 40;

/// Pictures drawn pixel by pixel have at most so many colours; antialiasing alone makes more.
const FEW_COLOURS: usize = 32;

/// The art itself, one pixel for each block; none when the picture is something else.
pub(crate) fn find(picture: &Picture) -> Option<Picture> {
    BLOCK_SIDES
        .iter()
        .find_map(|side| blocks(picture, *side))
        // last: pictures made of blocks often have few colours as well, and would stay large
        .or_else(|| has_few_colours(picture).then(|| picture.clone()))
}

/// Stops at the first colour too many, so photographs cost a few pixels. One colour alone is a plain area.
fn has_few_colours(picture: &Picture) -> bool {
    let mut seen: Vec<&[u8]> = Vec::with_capacity(FEW_COLOURS);
    for pixel in picture.rgba.chunks_exact(CHANNELS) {
        if !seen.contains(&pixel) {
            if seen.len() == FEW_COLOURS {
                return false;
            }
            seen.push(pixel);
        }
    }
    seen.len() > 1
}

/// The picture reduced to blocks of a side, if it is made of them.
fn blocks(picture: &Picture, side: usize) -> Option<Picture> {
    if !picture.width.is_multiple_of(side) || !picture.height.is_multiple_of(side) {
        return None;
    }
    let (wide, high) = (picture.width / side, picture.height / side);
    let allowed = wide * high / UNEVEN_ONE_IN;
    let mut uneven = 0;
    let mut small = Picture { width: wide, height: high, rgba: Vec::with_capacity(wide * high * CHANNELS) };
    for (x, y) in (0..high).flat_map(|y| (0..wide).map(move |x| (x, y))) {
        let mean = mean(picture, x * side, y * side, side);
        uneven += usize::from(!is_even(picture, x * side, y * side, side, mean));
        // given up early: nearly every picture that is no art fails within its first rows
        if uneven > allowed {
            return None;
        }
        small.rgba.extend(mean.map(|channel| channel as u8));
    }
    jumps(picture, side).then_some(small)
}

/// The places of a block whose first pixel is at (x, y).
fn block(x: usize, y: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
    (y..y + side).flat_map(move |y| (x..x + side).map(move |x| (x, y)))
}

/// A block's mean by channel, rounded.
fn mean(picture: &Picture, x: usize, y: usize, side: usize) -> [i32; CHANNELS] {
    let mut sum = [0i32; CHANNELS];
    for (x, y) in block(x, y, side) {
        let pixel = picture.pixel(x, y);
        (0..CHANNELS).for_each(|channel| sum[channel] += i32::from(pixel[channel]));
    }
    let count = (side * side) as i32;
    sum.map(|sum| (sum + count / 2) / count)
}

/// Whether every pixel of a block is close to its mean.
fn is_even(picture: &Picture, x: usize, y: usize, side: usize, mean: [i32; CHANNELS]) -> bool {
    block(x, y, side).all(|(x, y)| is_close(picture.pixel(x, y).map(i32::from), mean))
}

fn is_close(one: [i32; CHANNELS], other: [i32; CHANNELS]) -> bool {
    one.iter().zip(other).all(|(a, b)| (a - b).abs() <= CLOSE)
}

/// Whether enough neighbouring blocks meet in a jump of colour, beside each other or above each other; a smooth picture
/// has none. Looks at the middle of each border.
fn jumps(picture: &Picture, side: usize) -> bool {
    let (wide, high) = (picture.width / side, picture.height / side);
    let at = |x: usize, y: usize| picture.pixel(x, y).map(i32::from);
    let beside = (0..high).flat_map(|y| (1..wide).map(move |x| (x * side, y * side + side / 2)));
    let beside = beside.filter(|(x, y)| !is_close(at(x - 1, *y), at(*x, *y))).count();
    let above = (1..high).flat_map(|y| (0..wide).map(move |x| (x * side + side / 2, y * side)));
    let above = above.filter(|(x, y)| !is_close(at(*x, y - 1), at(*x, *y))).count();
    beside.max(above) * DIFFERENT_ONE_IN >= wide * high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(x: usize, y: usize) -> u8 {
        ((x * 7 + y * 13 + x * y) % 11) as u8
    }

    fn art(side: usize) -> Picture {
        Picture::from_fn(96, 96, |x, y| {
            let on = (x / side * 5 + y / side * 3) % 4 < 2;
            let base = if on { 200 } else { 40 };
            [base + noise(x, y), 90, 250 - base, 255]
        })
    }

    #[test]
    fn uneven_blocks_are_found_at_their_size() {
        for side in [4, 6, 8] {
            let small = find(&art(side)).expect("art");
            assert_eq!((small.width, small.height), (96 / side, 96 / side));
        }
    }

    #[test]
    fn a_slanted_edge_is_no_pixel_art() {
        let slanted = Picture::from_fn(96, 96, |x, y| {
            let shade = (128.0 + (x as f32 * 0.9 - y as f32 * 0.7) * 60.0).clamp(20.0, 230.0) as u8;
            [shade, noise(x, y) * 3, 10, 255]
        });
        assert!(find(&slanted).is_none());
    }

    #[test]
    fn a_plain_or_smooth_picture_is_no_pixel_art() {
        assert!(
            find(&Picture::from_fn(64, 64, |x, y| [100 + noise(x, y), 100 + noise(y, x), 100, 255]))
                .is_none()
        );
        assert!(find(&Picture::from_fn(64, 64, |x, y| [x as u8 * 3, y as u8 * 3, 9, 255])).is_none());
    }

    #[test]
    fn a_picture_of_few_exact_colours_is_art_of_single_pixels() {
        let sprite =
            Picture::from_fn(30, 30, |x, y| if (x * x + y * 3) % 5 == 0 { [0, 0, 0, 255] } else { [255; 4] });
        assert_eq!(find(&sprite), Some(sprite));
    }
}
