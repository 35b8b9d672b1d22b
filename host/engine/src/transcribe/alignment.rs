//! When each token of a text was said, by where in the window the decoder looked as it wrote it (OpenAI's `timing.py`).
//! Knows numbers only: words are made of them in `words`.

/// Scores of some heads, (heads, tokens, positions) in one row.
pub(super) struct Scores<'a> {
    pub(super) values: &'a [f32],
    pub(super) tokens: usize,
    pub(super) positions: usize,
}

impl Scores<'_> {
    /// How far each token is from each of the first `frames` positions: (tokens, frames). Attention weights are measured
    /// against what other tokens give the same position, smoothed over `width` positions, and averaged over heads.
    pub(super) fn distances(&self, frames: usize, width: usize) -> Vec<Vec<f32>> {
        let frames = frames.min(self.positions);
        let mut sums = vec![vec![0.0f32; frames]; self.tokens];
        let heads = self.values.chunks_exact((self.tokens * self.positions).max(1));
        let count = heads.len().max(1) as f32;
        for head in heads {
            let mut rows: Vec<Vec<f32>> =
                head.chunks_exact(self.positions).map(|row| softmax(&row[..frames])).collect();
            normalize_columns(&mut rows, frames);
            for (sums, row) in sums.iter_mut().zip(&rows) {
                sums.iter_mut().zip(median_filter(row, width)).for_each(|(sum, value)| *sum += value);
            }
        }
        sums.iter_mut().flatten().for_each(|sum| *sum = -*sum / count);
        sums
    }
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// Each column to mean 0 and deviation 1.
fn normalize_columns(rows: &mut [Vec<f32>], columns: usize) {
    let count = rows.len().max(1) as f64;
    for column in 0..columns {
        let mean = rows.iter().map(|row| f64::from(row[column])).sum::<f64>() / count;
        let variance = rows.iter().map(|row| (f64::from(row[column]) - mean).powi(2)).sum::<f64>() / count;
        // a position that all tokens look at alike says nothing
        let inverse = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
        rows.iter_mut().for_each(|row| row[column] = ((f64::from(row[column]) - mean) * inverse) as f32);
    }
}

/// The median of `width` neighbours, which is odd; beyond its ends the row is mirrored. Rows too short for that stay.
fn median_filter(row: &[f32], width: usize) -> Vec<f32> {
    let (half, last) = (width / 2, row.len() as isize - 1);
    if row.len() <= half {
        return row.to_vec();
    }
    let mirrored = |at: isize| {
        let at = at.abs();
        row[(if at > last { 2 * last - at } else { at }) as usize]
    };
    let median = |at: usize| {
        let around = at as isize - half as isize..=(at + half) as isize;
        let mut around: Vec<f32> = around.map(mirrored).collect();
        around.sort_by(f32::total_cmp);
        around[half]
    };
    (0..row.len()).map(median).collect()
}

/// Dynamic time warping: the cheapest way from the first token and position to the last, on which neither goes back. For
/// each token the position at which the way comes to it.
pub(super) fn arrivals(distances: &[Vec<f32>]) -> Vec<usize> {
    let (rows, columns) = (distances.len(), distances.first().map_or(0, Vec::len));
    if columns == 0 {
        return vec![0; rows];
    }
    let width = columns + 1;
    let mut cost = vec![f32::INFINITY; (rows + 1) * width];
    let mut came = vec![Step::Along; (rows + 1) * width];
    cost[0] = 0.0;
    for column in 1..=columns {
        for row in 1..=rows {
            let at = row * width + column;
            let (both, down, along) = (cost[at - width - 1], cost[at - width], cost[at - 1]);
            let (least, step) = if both < down && both < along {
                (both, Step::Both)
            } else if down < both && down < along {
                (down, Step::Down)
            } else {
                (along, Step::Along)
            };
            cost[at] = (f64::from(distances[row - 1][column - 1]) + f64::from(least)) as f32;
            came[at] = step;
        }
    }
    walk_back(&came, rows, columns)
}

/// How the way comes to a place.
#[derive(Clone, Copy)]
enum Step {
    Both,
    /// To the next token.
    Down,
    /// To the next position.
    Along,
}

fn walk_back(came: &[Step], rows: usize, columns: usize) -> Vec<usize> {
    let mut arrivals = vec![0; rows];
    let (mut row, mut column) = (rows, columns);
    while row > 0 && column > 0 {
        // the last that is written is the first of the way
        arrivals[row - 1] = column - 1;
        match came[row * (columns + 1) + column] {
            Step::Both => (row, column) = (row - 1, column - 1),
            Step::Down => row -= 1,
            Step::Along => column -= 1,
        }
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_follows_small_distances() {
        // token 0 at positions 0 to 1, token 1 at 2, token 2 at 3 to 5
        let near = [(0, 0), (0, 1), (1, 2), (2, 3), (2, 4), (2, 5)];
        let distance = |row: usize, column: usize| if near.contains(&(row, column)) { -1.0 } else { 1.0 };
        let distances: Vec<Vec<f32>> =
            (0..3).map(|row| (0..6).map(|column| distance(row, column)).collect()).collect();
        assert_eq!(arrivals(&distances), [0, 2, 3]);
        assert_eq!(arrivals(&[vec![], vec![]]), [0, 0]);
        assert_eq!(arrivals(&vec![vec![0.5]; 4]), [0, 0, 0, 0]);
    }

    #[test]
    fn the_median_filter_takes_out_single_values_and_mirrors_the_ends() {
        // scipy.ndimage.median_filter(row, 5, mode="mirror")
        let row = [1.0, 9.0, 2.0, 3.0, -7.0, 4.0, 5.0, 6.0];
        assert_eq!(median_filter(&row, 5), [2.0, 3.0, 2.0, 3.0, 3.0, 4.0, 5.0, 5.0]);
        assert_eq!(median_filter(&[1.0, 9.0], 5), [1.0, 9.0], "too short");
    }

    #[test]
    fn a_position_that_all_tokens_look_at_alike_says_nothing() {
        let values = [0.0, 0.0, 5.0, 0.0, 0.0, 5.0];
        let scores = Scores { values: &values, tokens: 2, positions: 3 };
        assert_eq!(scores.distances(3, 1), vec![vec![0.0; 3]; 2]);
        assert_eq!(scores.distances(9, 1)[0].len(), 3, "no more than there are");
    }
}
