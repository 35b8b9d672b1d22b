//! How the next token is chosen from what is allowed: the likeliest, one that is drawn, or the best of several texts that
//! are followed side by side (OpenAI's `GreedyDecoder`, `BeamSearchDecoder` and `MaximumLikelihoodRanker`).

use super::rules::log_sum_exp;
use crate::noise::TorchCpu;
use crate::{Error, Result};

/// A text and the sum of its tokens' logarithms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// What was written, and perhaps the token that ends it.
    pub(super) tokens: Vec<u32>,
    pub(super) sum: f64,
}

/// Texts of one window that grow together.
#[derive(Debug)]
pub(super) struct Search {
    rows: Vec<Candidate>,
    eot: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// At a temperature; at 0 the likeliest.
    Draw(f64),
    Beams {
        finished: Vec<Candidate>,
        /// So many are enough.
        wanted: usize,
    },
}

/// What a step has chosen.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    /// Which row each row goes on from.
    pub(super) sources: Vec<u32>,
    /// Whether all texts are at their end.
    pub(super) is_over: bool,
}

impl Search {
    /// `count` texts, drawn independently of each other.
    pub(super) fn draw(count: usize, temperature: f64, eot: u32) -> Self {
        Self::new(count, eot, Kind::Draw(temperature))
    }

    /// The `count` likeliest texts, until `patience` times as many are finished.
    pub(super) fn beams(count: usize, patience: f64, eot: u32) -> Self {
        let wanted = (count as f64 * patience).round_ties_even().max(1.0) as usize;
        Self::new(count, eot, Kind::Beams { finished: Vec::new(), wanted })
    }

    fn new(count: usize, eot: u32, kind: Kind) -> Self {
        Self { rows: vec![Candidate { tokens: Vec::new(), sum: 0.0 }; count], eot, kind }
    }

    /// The texts so far.
    pub(super) fn rows(&self) -> &[Candidate] {
        &self.rows
    }

    /// Adds a token to each text, by the logits of each row.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a row has values that are no numbers.
    pub(super) fn update(&mut self, logits: &[Vec<f32>], generator: &mut TorchCpu) -> Result<Chosen> {
        if logits.iter().flatten().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
            return Err(Error::NotFinite { op: "the decoder" });
        }
        match self.kind {
            Kind::Draw(temperature) => Ok(self.draw_next(logits, temperature, generator)),
            Kind::Beams { .. } => Ok(self.grow_beams(logits)),
        }
    }

    fn draw_next(&mut self, logits: &[Vec<f32>], temperature: f64, generator: &mut TorchCpu) -> Chosen {
        for (row, logits) in self.rows.iter_mut().zip(logits) {
            let drawn = match temperature > 0.0 {
                true => sample(logits, temperature as f32, generator.uniform_f64()),
                false => likeliest(logits),
            };
            // a row that is at its end draws all the same, so that what others draw does not depend on it
            let (token, logit) = match (row.tokens.last() == Some(&self.eot), drawn) {
                (true, _) => (self.eot, None),
                (false, None) => (self.eot, None),
                (false, Some(token)) => (token, Some(logits[token as usize])),
            };
            row.sum += logit.map_or(0.0, |logit| f64::from(logit) - log_sum_exp(logits));
            row.tokens.push(token);
        }
        let is_over = self.rows.iter().all(|row| row.tokens.last() == Some(&self.eot));
        Chosen { sources: (0..self.rows.len() as u32).collect(), is_over }
    }

    fn grow_beams(&mut self, logits: &[Vec<f32>]) -> Chosen {
        let count = self.rows.len();
        let mut candidates = Vec::with_capacity(count * (count + 1));
        for (index, (row, logits)) in self.rows.iter().zip(logits).enumerate() {
            // at first all rows are the same text, which counts once
            if self.rows[..index].iter().any(|before| before.tokens == row.tokens) {
                continue;
            }
            let total = log_sum_exp(logits);
            for token in top(logits, count + 1) {
                let sum = row.sum + (f64::from(logits[token as usize]) - total);
                candidates.push((index, token, if sum.is_nan() { f64::NEG_INFINITY } else { sum }));
            }
        }
        candidates.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        let (mut rows, mut sources, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (source, token, sum) in candidates {
            let candidate = Candidate { tokens: [&*self.rows[source].tokens, &[token]].concat(), sum };
            if token == self.eot {
                ended.push(candidate);
            } else {
                rows.push(candidate);
                sources.push(source as u32);
            }
            if rows.len() == count {
                break;
            }
        }
        self.rows = rows;
        let Kind::Beams { finished, wanted } = &mut self.kind else {
            return Chosen { sources, is_over: true };
        };
        let room = wanted.saturating_sub(finished.len());
        finished.extend(ended.into_iter().take(room));
        Chosen { is_over: finished.len() >= *wanted || self.rows.is_empty(), sources }
    }

    /// The best text, without the token that ends it, and the sum of its logarithms. Texts are compared by the mean, or with
    /// a `penalty` on their length.
    pub(super) fn best(self, penalty: Option<f64>) -> Candidate {
        let eot = self.eot;
        let length = |candidate: &Candidate| {
            candidate.tokens.iter().position(|id| *id == eot).unwrap_or(candidate.tokens.len())
        };
        let score = |candidate: &Candidate| {
            let length = length(candidate) as f64;
            candidate.sum / penalty.map_or(length.max(1.0), |alpha| ((5.0 + length) / 6.0).powf(alpha))
        };
        let mut best: Option<Candidate> = None;
        for candidate in self.candidates() {
            if best.as_ref().is_none_or(|best| score(&candidate) > score(best)) {
                best = Some(candidate);
            }
        }
        let mut best = best.unwrap_or(Candidate { tokens: Vec::new(), sum: 0.0 });
        best.tokens.truncate(length(&best));
        best
    }

    /// All texts; of beams those that are finished, and where these are too few the likeliest of the others.
    fn candidates(self) -> Vec<Candidate> {
        let Self { mut rows, kind, .. } = self;
        let Kind::Beams { mut finished, .. } = kind else { return rows };
        let count = rows.len();
        rows.sort_by(|a, b| b.sum.total_cmp(&a.sum));
        let missing = count.saturating_sub(finished.len());
        finished.extend(rows.into_iter().take(missing));
        finished
    }
}

/// The first of the largest; none where nothing is allowed.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best = (None, f32::NEG_INFINITY);
    for (id, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (Some(id), *logit);
        }
    }
    best.0
}

/// The token up to which probabilities add up to `uniform`, a number from 0 to 1. torch draws in a way that differs between
/// its builds, so its tokens cannot be had.
fn sample(logits: &[f32], temperature: f32, uniform: f64) -> Option<u32> {
    let scaled: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
    let total = log_sum_exp(&scaled);
    let weights = scaled.iter().map(|logit| (f64::from(*logit) - total).exp());
    let sum: f64 = weights.clone().sum();
    let mut passed = 0.0;
    let mut last = None;
    for (id, weight) in (0..).zip(weights).filter(|(_, weight)| *weight > 0.0) {
        passed += weight;
        last = Some(id);
        if passed > uniform * sum {
            break;
        }
    }
    last
}

/// Ids of the largest, in order.
fn top(logits: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let count = count.min(ids.len());
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOT: u32 = 3;

    fn generator() -> TorchCpu {
        TorchCpu::new(1)
    }

    #[test]
    fn the_likeliest_token_is_taken_at_temperature_0_until_the_end() {
        let mut search = Search::draw(1, 0.0, EOT);
        let over: Vec<bool> = [[0.0, 2.0, 1.0, 0.0], [0.0, 0.0, 1.0, 4.0], [9.0, 0.0, 0.0, 0.0]]
            .map(|logits| search.update(&[logits.to_vec()], &mut generator()).unwrap().is_over)
            .into();
        assert_eq!(over, [false, true, true]);
        let best = search.best(None);
        assert_eq!(best.tokens, [1]);
        let logprob = |logits: [f32; 4], id: usize| f64::from(logits[id]) - log_sum_exp(&logits);
        let sum = logprob([0.0, 2.0, 1.0, 0.0], 1) + logprob([0.0, 0.0, 1.0, 4.0], 3);
        assert!((best.sum - sum).abs() < 1e-12);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely_and_alike_for_one_seed() {
        let logits = [0.0f32, 1.0, f32::NEG_INFINITY, 2.0];
        let draw = |seed: u64| {
            let mut generator = TorchCpu::new(seed);
            (0..4_000).map(|_| sample(&logits, 0.5, generator.uniform_f64()).unwrap()).collect::<Vec<u32>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let total: f64 = logits.iter().map(|logit| f64::from(logit / 0.5).exp()).sum();
        for (id, logit) in (0..).zip(logits) {
            let share = draw(7).into_iter().filter(|drawn| *drawn == id).count() as f64 / 4_000.0;
            assert!((share - f64::from(logit / 0.5).exp() / total).abs() < 0.02, "{id}: {share}");
        }
    }

    #[test]
    fn beams_find_a_text_that_the_likeliest_first_token_hides() {
        // 0 is likelier at first, but what follows 1 is far likelier than what follows 0
        let after = |token: Option<u32>| match token {
            None => vec![1.0, 0.9, -9.0, -9.0],
            Some(0) => vec![0.1, 0.0, 0.1, 0.2],
            Some(1) => vec![-9.0, -9.0, -9.0, 9.0],
            Some(_) => vec![0.0; 4],
        };
        let mut search = Search::beams(2, 1.0, EOT);
        loop {
            let logits: Vec<_> = search.rows().iter().map(|row| after(row.tokens.last().copied())).collect();
            if search.update(&logits, &mut generator()).unwrap().is_over {
                break;
            }
        }
        assert_eq!(search.best(None).tokens, [1]);
    }

    #[test]
    fn beams_change_places_and_patience_waits_for_more() {
        let mut search = Search::beams(2, 2.0, EOT);
        let rows = vec![vec![2.0, 1.0, 0.0, -5.0]; 2];
        assert_eq!(
            search.update(&rows, &mut generator()).unwrap(),
            Chosen { sources: vec![0, 0], is_over: false }
        );
        assert_eq!([search.rows()[0].tokens[0], search.rows()[1].tokens[0]], [0, 1]);
        // the second row becomes the likelier one
        let rows = vec![vec![0.0, 0.0, 0.0, 0.0], vec![9.0, -9.0, -9.0, -9.0]];
        let chosen = search.update(&rows, &mut generator()).unwrap();
        assert_eq!(chosen, Chosen { sources: vec![1, 0], is_over: false });
        let rows = vec![vec![0.0, -9.0, -9.0, 5.0]; 2];
        let over: Vec<bool> =
            (0..2).map(|_| search.update(&rows, &mut generator()).unwrap().is_over).collect();
        assert_eq!(over, [false, true], "four are wanted");
    }

    #[test]
    fn where_nothing_is_allowed_a_text_ends_and_what_is_no_number_is_an_error() {
        let nothing = vec![vec![f32::NEG_INFINITY; 4]];
        for temperature in [0.0, 0.5] {
            let mut search = Search::draw(1, temperature, EOT);
            assert!(search.update(&nothing, &mut generator()).unwrap().is_over);
            assert_eq!(search.best(None), Candidate { tokens: vec![], sum: 0.0 });
        }
        let mut search = Search::beams(2, 1.0, EOT);
        let rows = vec![vec![f32::NEG_INFINITY; 4]; 2];
        search.update(&rows, &mut generator()).unwrap();
        let error = search.update(&[vec![f32::NAN; 4]], &mut generator()).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}
