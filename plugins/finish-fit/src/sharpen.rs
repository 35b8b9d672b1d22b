//! Makes the soft edges of an enlarged picture steep again: an unsharp mask that stays within the range of the pixels
//! around it, so that it adds no halo, and that leaves faint texture alone.

use crate::picture::{CHANNELS, Picture};

/// How much of the difference to the blurred picture is added.
const AMOUNT: i32 = 2;

/// A range of values up to this many levels is texture; from twice as many on it is an edge.
const TEXTURE: i32 = 24;

/// Sharpens a picture that was enlarged so that one source pixel is `scale` pixels wide.
pub(crate) fn sharpen(picture: &mut Picture, scale: f32) {
    let radius = (scale / 2.0).round() as usize;
    // hardly enlarged: there is no softness to take away
    if radius == 0 {
        return;
    }
    // colours alone, one plane after another; alpha keeps its soft edge
    for channel in 0..CHANNELS - 1 {
        let plane: Vec<u8> = picture.rgba.iter().skip(channel).step_by(CHANNELS).copied().collect();
        let least = window(&plane, picture.width, radius, u8::min);
        let most = window(&plane, picture.width, radius, u8::max);
        let blurred = blur(&plane, picture.width, radius);
        let values = picture.rgba.iter_mut().skip(channel).step_by(CHANNELS);
        for (at, value) in values.enumerate() {
            *value = steepened(plane[at], blurred[at], least[at], most[at]);
        }
    }
}

/// A value moved away from the blurred one and kept between its neighbours' extremes; in between texture and edge,
/// moved by a part.
fn steepened(value: u8, blurred: u8, least: u8, most: u8) -> u8 {
    let (value, blurred, least, most) =
        (i32::from(value), i32::from(blurred), i32::from(least), i32::from(most));
    let weight = (most - least - TEXTURE).clamp(0, TEXTURE);
    let steep = (value + AMOUNT * (value - blurred)).clamp(least, most);
    (value + (steep - value) * weight / TEXTURE) as u8
}

/// The least or greatest value in the square of `radius` around each value.
fn window(plane: &[u8], width: usize, radius: usize, pick: fn(u8, u8) -> u8) -> Vec<u8> {
    let across: Vec<u8> = plane.chunks_exact(width).flat_map(|row| along(row, radius, pick)).collect();
    let mut out = across.clone();
    for distance in 1..=radius {
        let shift = distance * width;
        for at in shift..plane.len() {
            out[at] = pick(out[at], across[at - shift]);
            out[at - shift] = pick(out[at - shift], across[at]);
        }
    }
    out
}

/// The least or greatest value within `radius` along a row.
fn along(row: &[u8], radius: usize, pick: fn(u8, u8) -> u8) -> Vec<u8> {
    let mut out = row.to_vec();
    for distance in 1..=radius.min(row.len() - 1) {
        for at in distance..row.len() {
            out[at] = pick(out[at], row[at - distance]);
            out[at - distance] = pick(out[at - distance], row[at]);
        }
    }
    out
}

/// The mean of the square of `radius` around each value; places outside repeat the border.
/// A box twice, across and down: cheap, and all that a mask needs.
fn blur(plane: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let across: Vec<u8> = plane.chunks_exact(width).flat_map(|row| running_mean(row, radius)).collect();
    let height = plane.len() / width;
    let row = |y: isize| {
        let start = y.clamp(0, height as isize - 1) as usize * width;
        &across[start..start + width]
    };
    let (reach, count) = (radius as isize, 2 * radius as u32 + 1);
    // begins with half of the divisor, so that the division rounds
    let mut sums = vec![count / 2; width];
    (-reach..=reach)
        .for_each(|y| sums.iter_mut().zip(row(y)).for_each(|(sum, value)| *sum += u32::from(*value)));
    let mut out = Vec::with_capacity(plane.len());
    for y in 0..height as isize {
        out.extend(sums.iter().map(|sum| (sum / count) as u8));
        let moved = row(y + reach + 1).iter().zip(row(y - reach));
        sums.iter_mut()
            .zip(moved)
            .for_each(|(sum, (new, old))| *sum = *sum + u32::from(*new) - u32::from(*old));
    }
    out
}

/// The mean within `radius` along a row, rounded; one value enters and one leaves at each step, whatever the radius.
fn running_mean(row: &[u8], radius: usize) -> Vec<u8> {
    let value = |at: isize| u32::from(row[at.clamp(0, row.len() as isize - 1) as usize]);
    let (reach, count) = (radius as isize, 2 * radius as u32 + 1);
    let mut sum: u32 = count / 2 + (-reach..=reach).map(value).sum::<u32>();
    let mut out = Vec::with_capacity(row.len());
    for at in 0..row.len() as isize {
        out.push((sum / count) as u8);
        sum = sum + value(at + reach + 1) - value(at - reach);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Picture {
        Picture::from_fn(40, 8, |x, _| {
            let shade = (x as i32 - 16).clamp(0, 8) as u8 * 20 + 40;
            [shade, shade, shade, 255]
        })
    }

    #[test]
    fn a_soft_edge_becomes_steeper_and_stays_in_its_range() {
        let mut picture = ramp();
        sharpen(&mut picture, 4.0);
        let row: Vec<u8> = (0..40).map(|x| picture.pixel(x, 4)[0]).collect();
        assert!(row.is_sorted() && row[0] == 40 && row[39] == 200, "{row:?}");
        let steepest = |row: &[u8]| row.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(row[17] < ramp().pixel(17, 4)[0] && steepest(&row) >= Some(20), "{row:?}");
    }

    #[test]
    fn faint_texture_and_transparency_are_left_alone() {
        let faint = Picture::from_fn(16, 16, |x, y| [100 + ((x + y) % 3) as u8 * 9, 50, 50, (x * 9) as u8]);
        let mut sharpened = faint.clone();
        sharpen(&mut sharpened, 4.0);
        assert_eq!(sharpened, faint);
    }

    #[test]
    fn a_picture_smaller_than_the_window_is_survived() {
        let mut picture = Picture::from_fn(1, 3, |_, y| [y as u8 * 100, 0, 0, 255]);
        sharpen(&mut picture, 16.0);
        assert_eq!(picture.rgba.len(), 12);
    }
}
