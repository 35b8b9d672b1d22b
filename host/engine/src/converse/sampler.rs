//! Which token comes next: what the model says of each, through penalty, temperature and the cuts of top-k, top-p and min-p,
//! in the order and by the definitions of transformers' processors; then drawn by a generator of the run's own, so that the
//! same seed gives the same reply.

use std::collections::BTreeSet;

use crate::noise::TorchCpu;
use atelier_inference::chat::ChatOptions;

/// The options of one reply, and what it draws from.
#[derive(Debug)]
pub struct Sampler {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    min_p: f64,
    repeat_penalty: f64,
    generator: TorchCpu,
    /// Tokens that came before.
    before: BTreeSet<u32>,
}

impl Sampler {
    /// `prompt` came before the reply.
    pub fn new(options: &ChatOptions, prompt: &[u32]) -> Self {
        // without a penalty nobody asks what came before
        let before = if options.repeat_penalty == 1.0 { &[] } else { prompt };
        Self {
            temperature: options.temperature,
            top_k: options.top_k as usize,
            top_p: options.top_p,
            min_p: options.min_p,
            repeat_penalty: options.repeat_penalty,
            generator: TorchCpu::new(options.seed),
            before: before.iter().copied().collect(),
        }
    }

    /// The next token, of those whose logit is a number and not minus infinity; none where there is no such token.
    pub fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.penalise(logits);
        let chosen = match self.temperature > 0.0 {
            true => self.draw(logits),
            false => likeliest(logits),
        };
        if self.repeat_penalty != 1.0 {
            self.before.extend(chosen);
        }
        chosen
    }

    /// What tokens may be drawn, and how likely each is, the likeliest first (`LogitsProcessorList` of transformers).
    pub fn left(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut left: Vec<(u32, f32)> =
            (0u32..).zip(logits.iter().copied()).filter(|(_, logit)| *logit > f32::NEG_INFINITY).collect();
        left.iter_mut().for_each(|(_, logit)| *logit /= self.temperature as f32);
        let likelier =
            |one: &(u32, f32), other: &(u32, f32)| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0));
        if (1..left.len()).contains(&self.top_k) {
            let (_, last, _) = left.select_nth_unstable_by(self.top_k - 1, likelier);
            // those that are as likely as the last stay as well
            let least = last.1;
            left.retain(|(_, logit)| *logit >= least);
        }
        left.sort_unstable_by(likelier);
        let mut left = probabilities(&left);
        if self.top_p < 1.0 {
            let mut sum = 0.0;
            // a token stays while those before it are less likely together
            let count = left.iter().take_while(|(_, probability)| {
                let before = sum;
                sum += probability;
                before < self.top_p
            });
            left.truncate(count.count().max(1));
        }
        let least = self.min_p * left.first().map_or(0.0, |(_, probability)| *probability);
        left.retain(|(_, probability)| *probability >= least);
        let total: f64 = left.iter().map(|(_, probability)| probability).sum();
        left.iter_mut().for_each(|(_, probability)| *probability /= total);
        left
    }

    /// Makes what came before less likely.
    pub fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.repeat_penalty as f32;
        for id in &self.before {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let left = self.left(logits);
        let drawn = self.generator.uniform_f64();
        let mut sum = 0.0;
        let found = left.iter().find(|(_, probability)| {
            sum += probability;
            drawn < sum
        });
        // sums of roundings may end below one
        found.or(left.last()).map(|(id, _)| *id)
    }
}

/// The first of the highest.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let all = (0u32..).zip(logits.iter().copied());
    let best = all.fold(
        (None, f32::NEG_INFINITY),
        |best, (id, logit)| {
            if logit > best.1 { (Some(id), logit) } else { best }
        },
    );
    best.0
}

/// Softmax of logits, the highest of which comes first.
fn probabilities(logits: &[(u32, f32)]) -> Vec<(u32, f64)> {
    let highest = logits.first().map_or(0.0, |(_, logit)| *logit);
    let weights: Vec<f64> = logits.iter().map(|(_, logit)| f64::from(logit - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    logits.iter().zip(weights).map(|((id, _), weight)| (*id, weight / total)).collect()
}
