//! Finds the grid of pixel art that a model has drawn with soft borders between its blocks: by where the jumps of colour
//! are. Used only when the prompt asks for pixel art, because straight edges of other pictures can look the same.

use crate::picture::{CHANNELS, Picture};

/// Sides of a block that are looked for.
const BLOCK_SIDES: [usize; 5] = [16, 12, 8, 6, 4];

/// A difference of neighbouring pixels up to this is no jump.
const FAINT: u32 = 12;

/// So much of all jumps, in percent, must be on the grid; chance puts less than 25 there.
const ON_GRID_PERCENT: u64 = 40;

/// So many lines of the grid must have jumps, or it may be the edges of one square.
const LINES: usize = 4;

/// A larger block must hold so much, in percent, of what the best one holds, or it is two blocks taken for one.
const OF_BEST_PERCENT: u64 = 85;

/// The art itself, one pixel for each block.
pub(crate) fn find(picture: &Picture) -> Option<Picture> {
    let columns: Vec<_> = (1..picture.width).map(|x| column_jump(picture, x)).collect();
    let rows: Vec<_> = (1..picture.height).map(|y| row_jump(picture, y)).collect();
    let fits = |side: &usize| picture.width.is_multiple_of(*side) && picture.height.is_multiple_of(*side);
    // the lesser of both axes: stripes have a grid along one alone
    let share = |side: usize| on_grid_percent(&columns, side).min(on_grid_percent(&rows, side));
    let shares: Vec<_> = BLOCK_SIDES.into_iter().filter(fits).map(|side| (side, share(side))).collect();
    let best = shares.iter().map(|(_, share)| *share).max()?;
    let is_block = |share: u64| share >= ON_GRID_PERCENT && share * 100 >= best * OF_BEST_PERCENT;
    let (side, _) = shares.into_iter().find(|(_, share)| is_block(*share))?;
    Some(middles(picture, side))
}

/// Whether prompts ask for pixel art by this one's words.
pub(crate) fn is_asked_for(prompt: &str) -> bool {
    let prompt = prompt.to_lowercase();
    ["pixel", "8-bit", "8 bit", "16-bit", "sprite", "retro game"].iter().any(|word| prompt.contains(word))
}

/// The sum of jumps between column `x` and the one before it.
fn column_jump(picture: &Picture, x: usize) -> u64 {
    (0..picture.height).map(|y| jump(picture.pixel(x - 1, y), picture.pixel(x, y))).sum()
}

/// The sum of jumps between row `y` and the one before it.
fn row_jump(picture: &Picture, y: usize) -> u64 {
    (0..picture.width).map(|x| jump(picture.pixel(x, y - 1), picture.pixel(x, y))).sum()
}

/// The difference of two pixels over all channels; 0 where it is faint, so that noise adds up to nothing.
fn jump(one: [u8; CHANNELS], other: [u8; CHANNELS]) -> u64 {
    let sum: u32 = one.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
    if sum > FAINT { u64::from(sum) } else { 0 }
}

/// How much of the jumps between neighbouring lines is where blocks of a side meet, in percent.
fn on_grid_percent(jumps: &[u64], side: usize) -> u64 {
    // entry 0 is between lines 0 and 1, so the first border of a block is at `side - 1`
    let grid = || jumps.iter().skip(side - 1).step_by(side);
    let lines = grid().filter(|jump| **jump > 0).count();
    if lines < LINES { 0 } else { grid().sum::<u64>() * 100 / jumps.iter().sum::<u64>() }
}

/// The mean of each block's inside, which its neighbours have not bled into.
fn middles(picture: &Picture, side: usize) -> Picture {
    Picture::from_fn(picture.width / side, picture.height / side, |x, y| {
        let inside = |at: usize| at * side + 1..(at + 1) * side - 1;
        let mut sum = [0u32; CHANNELS];
        for (x, y) in inside(y).flat_map(|y| inside(x).map(move |x| (x, y))) {
            let pixel = picture.pixel(x, y);
            (0..CHANNELS).for_each(|channel| sum[channel] += u32::from(pixel[channel]));
        }
        let count = ((side - 2) * (side - 2)) as u32;
        sum.map(|sum| ((sum + count / 2) / count) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::resample;

    fn art(x: usize, y: usize) -> [u8; CHANNELS] {
        let on = (x * 5 + y * 3) % 7 < 3;
        if on { [220, 60, 40, 255] } else { [30, 90, 200, 255] }
    }

    /// Blocks whose borders are blurred over two pixels.
    fn soft(side: usize) -> Picture {
        let sharp = Picture::from_fn(96, 96, |x, y| art(x / side, y / side));
        let blurred = resample(&resample(&sharp, 192, 192), 96, 96);
        Picture::from_fn(96, 96, |x, y| {
            let (near, far) = (blurred.pixel(x, y), blurred.pixel((x + 1).min(95), y));
            std::array::from_fn(|channel| {
                ((u16::from(near[channel]) * 3 + u16::from(far[channel])) / 4) as u8
            })
        })
    }

    #[test]
    fn soft_blocks_are_found_and_keep_their_colours() {
        for side in [4, 8] {
            let small = find(&soft(side)).expect("art");
            assert_eq!((small.width, small.height), (96 / side, 96 / side));
            let close = |a: [u8; 4], b: [u8; 4]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 50);
            let right = (1..small.width).filter(|x| close(small.pixel(*x, 3), art(*x, 3))).count();
            assert!(right + 2 >= small.width, "{right} of {}", small.width);
        }
    }

    #[test]
    fn slanted_edges_and_a_lone_square_are_no_grid() {
        let slanted = Picture::from_fn(96, 96, |x, y| if x * 3 > y * 2 + 20 { [200; 4] } else { [20; 4] });
        assert!(find(&slanted).is_none());
        let square = Picture::from_fn(96, 96, |x, y| {
            if (16..64).contains(&x) && (32..80).contains(&y) { [200; 4] } else { [20; 4] }
        });
        assert!(find(&square).is_none());
    }

    #[test]
    fn the_prompts_words_decide_whether_it_is_looked_for() {
        assert!(is_asked_for("A cat as PIXEL art") && is_asked_for("an 8-bit star"));
        assert!(!is_asked_for("a cat"));
    }
}
