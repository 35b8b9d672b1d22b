//! Separable resampling: Mitchell's cubic to enlarge, area averages to reduce. Colours are premultiplied while they are
//! mixed, and an enlarged pixel never leaves the range of the four source pixels around it, so that there are no halos
//! at hard edges. Lanczos would be sharper, but it needs that clamp so often that slanted lines become stairs.
//!
//! Works on rows of f32, 0 to 255, first across and then down: two short sums for each pixel, not one over a square.

use crate::picture::{CHANNELS, Picture};

/// Source pixels that the kernel reaches to each side.
const REACH: f32 = 2.0;

/// The source pixels of one destination pixel along one axis, and how much each counts; the weights sum to one.
struct Mix {
    /// The first source pixel; the others follow it.
    first: usize,
    /// One for each source pixel; those beyond the border are left out and the rest made to sum to one again.
    weights: Vec<f32>,
}

/// Scales a picture.
pub(crate) fn resample(picture: &Picture, width: usize, height: usize) -> Picture {
    let source = premultiplied(picture);
    let (columns, rows) = (mixes(picture.width, width), mixes(picture.height, height));
    // across first: an enlarged picture is still short then, so less is summed
    let narrow = across(&source, picture.width, &columns);
    let grows = width > picture.width || height > picture.height;
    // averages cannot leave the range of what they average; only the cubic, which has negative weights, can
    let bounds = grows.then(|| Bounds::new(&source, picture.width, picture.height, width, height));
    let mut rgba = Vec::with_capacity(width * height * CHANNELS);
    for (y, mix) in rows.iter().enumerate() {
        let mut row = down(&narrow, width, mix);
        if let Some(bounds) = &bounds {
            bounds.clamp(y, &mut row);
        }
        rgba.extend(row.chunks_exact(CHANNELS).flat_map(straight));
    }
    Picture { width, height, rgba }
}

/// Channels as f32, colours times alpha: what is transparent must lend no colour to its neighbours.
fn premultiplied(picture: &Picture) -> Vec<f32> {
    let scaled = |pixel: &[u8]| {
        let alpha = f32::from(pixel[3]) / 255.0;
        let colour = |channel: usize| f32::from(pixel[channel]) * alpha;
        [colour(0), colour(1), colour(2), f32::from(pixel[3])]
    };
    picture.rgba.chunks_exact(CHANNELS).flat_map(scaled).collect()
}

/// Bytes of a mixed pixel, rounded, its colours divided by alpha again. What is fully transparent becomes black.
fn straight(pixel: &[f32]) -> [u8; CHANNELS] {
    let scale = if pixel[3] > 0.0 { 255.0 / pixel[3] } else { 0.0 };
    let byte = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
    [byte(pixel[0] * scale), byte(pixel[1] * scale), byte(pixel[2] * scale), byte(pixel[3])]
}

/// The mixes of all destination pixels along one axis, which may grow while the other shrinks.
fn mixes(from: usize, to: usize) -> Vec<Mix> {
    (0..to).map(|at| if to > from { cubic(at, from, to) } else { area(at, from, to) }).collect()
}

/// Source pixels within reach of a destination pixel's centre; centres lie at halves.
fn cubic(at: usize, from: usize, to: usize) -> Mix {
    let centre = (at as f32 + 0.5) * from as f32 / to as f32 - 0.5;
    let first = (centre - REACH).ceil().max(0.0) as usize;
    let last = ((centre + REACH).floor() as usize).min(from - 1);
    normalised(first, (first..=last).map(|place| mitchell(place as f32 - centre)).collect())
}

/// Mitchell and Netravali's cubic with B = C = 1/3.
/// From "Reconstruction Filters in Computer Graphics", SIGGRAPH 1988.
fn mitchell(x: f32) -> f32 {
    let x = x.abs();
    match x {
        x if x < 1.0 => (7.0 * x * x * x - 12.0 * x * x + 16.0 / 3.0) / 6.0,
        x if x < REACH => (-7.0 / 3.0 * x * x * x + 12.0 * x * x - 20.0 * x + 32.0 / 3.0) / 6.0,
        _ => 0.0,
    }
}

/// Source pixels under a destination pixel, each by how much of it is covered.
fn area(at: usize, from: usize, to: usize) -> Mix {
    let (start, end) = ((at * from) as f32 / to as f32, ((at + 1) * from) as f32 / to as f32);
    let first = start as usize;
    let last = (end.ceil() as usize).clamp(first + 1, from);
    let covered = |place: usize| (end.min(place as f32 + 1.0) - start.max(place as f32)).max(0.0);
    normalised(first, (first..last).map(covered).collect())
}

/// A mix whose weights sum to one, so that a plain area keeps its value at the border too.
fn normalised(first: usize, mut weights: Vec<f32>) -> Mix {
    let sum: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    Mix { first, weights }
}

/// Rows of `width` pixels to rows of as many as there are mixes.
fn across(source: &[f32], width: usize, columns: &[Mix]) -> Vec<f32> {
    let mut out = Vec::with_capacity(source.len() / width * columns.len());
    for row in source.chunks_exact(width * CHANNELS) {
        for mix in columns {
            let mut sum = [0f32; CHANNELS];
            let pixels = row[mix.first * CHANNELS..].chunks_exact(CHANNELS);
            for (pixel, weight) in pixels.zip(&mix.weights) {
                (0..CHANNELS).for_each(|channel| sum[channel] += pixel[channel] * weight);
            }
            out.extend(sum);
        }
    }
    out
}

/// One destination row from the rows that it mixes.
fn down(narrow: &[f32], width: usize, mix: &Mix) -> Vec<f32> {
    let length = width * CHANNELS;
    let mut out = vec![0f32; length];
    for (row, weight) in narrow[mix.first * length..].chunks_exact(length).zip(&mix.weights) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * weight);
    }
    out
}

/// The least and greatest values of every two by two source pixels, and which of them surround a destination pixel.
struct Bounds {
    /// Source pixels in a row.
    width: usize,
    /// For each source pixel and channel, premultiplied: the least of it and its neighbours to the right and below.
    least: Vec<f32>,
    /// The greatest of the same four.
    most: Vec<f32>,
    /// For each destination column the source column at the left of the four pixels around it.
    columns: Vec<usize>,
    /// For each destination row the source row above.
    rows: Vec<usize>,
}

impl Bounds {
    fn new(source: &[f32], from_width: usize, from_height: usize, width: usize, height: usize) -> Self {
        let fold = |pick: fn(f32, f32) -> f32| around(source, from_width, from_height, pick);
        let corner = |at: usize, from: usize, to: usize| {
            (((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).floor().max(0.0) as usize).min(from - 1)
        };
        Self {
            width: from_width,
            least: fold(f32::min),
            most: fold(f32::max),
            columns: (0..width).map(|x| corner(x, from_width, width)).collect(),
            rows: (0..height).map(|y| corner(y, from_height, height)).collect(),
        }
    }

    /// Brings destination row `y` into the range of the source pixels around each of its own.
    fn clamp(&self, y: usize, row: &mut [f32]) {
        for (pixel, column) in row.chunks_exact_mut(CHANNELS).zip(&self.columns) {
            let at = (self.rows[y] * self.width + column) * CHANNELS;
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = value.max(self.least[at + channel]).min(self.most[at + channel]);
            }
        }
    }
}

/// Folds each value with its neighbours to the right, below, and below right.
fn around(source: &[f32], width: usize, height: usize, pick: fn(f32, f32) -> f32) -> Vec<f32> {
    let row = width * CHANNELS;
    let beside = |at: usize| if at % row + CHANNELS < row { at + CHANNELS } else { at };
    let across: Vec<f32> = (0..source.len()).map(|at| pick(source[at], source[beside(at)])).collect();
    let below = |at: usize| if at / row + 1 < height { at + row } else { at };
    (0..source.len()).map(|at| pick(across[at], across[below(at)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_picture_stays_plain_at_any_size() {
        let plain = Picture::from_fn(7, 5, |_, _| [10, 200, 33, 255]);
        for (width, height) in [(28, 20), (3, 2), (1, 1), (50, 41)] {
            let scaled = resample(&plain, width, height);
            assert_eq!(scaled, Picture::from_fn(width, height, |_, _| [10, 200, 33, 255]));
        }
    }

    #[test]
    fn an_enlarged_edge_has_no_halo() {
        let edge =
            Picture::from_fn(16, 16, |x, _| if x < 8 { [60, 60, 60, 255] } else { [180, 180, 180, 255] });
        let scaled = resample(&edge, 64, 64);
        assert!(scaled.rgba.chunks_exact(4).all(|pixel| (60..=180).contains(&pixel[0])));
        assert_eq!((scaled.pixel(0, 30)[0], scaled.pixel(63, 30)[0]), (60, 180));
    }

    #[test]
    fn halving_averages_four_pixels() {
        let board =
            Picture::from_fn(
                4,
                4,
                |x, y| if (x + y) % 2 == 0 { [0, 0, 0, 255] } else { [200, 100, 50, 255] },
            );
        assert_eq!(resample(&board, 2, 2), Picture::from_fn(2, 2, |_, _| [100, 50, 25, 255]));
    }

    #[test]
    fn what_is_transparent_lends_no_colour() {
        let half = Picture::from_fn(2, 1, |x, _| if x == 0 { [255, 0, 0, 255] } else { [0, 255, 0, 0] });
        assert_eq!(resample(&half, 1, 1).pixel(0, 0), [255, 0, 0, 128]);
    }
}
