//! Which token may follow: ids that are never text, and the rules of timestamps (arXiv 2212.04356, 4.5; OpenAI's
//! `decoding.py`). A rule sets what it forbids to minus infinity.

use super::Whisper;
use crate::models::whisper::{FRAMES_PER_SECOND, FRAMES_PER_STATE};
use atelier_inference::SpeechOptions;
use atelier_inference::speech::Timestamps;

/// The rules of one request.
#[derive(Debug)]
pub(super) struct Rules {
    /// Never.
    suppressed: Vec<u32>,
    /// Not first.
    suppressed_at_begin: Vec<u32>,
    /// Ends a text.
    eot: usize,
    /// The first of all timestamps.
    timestamp_begin: usize,
    timing: Timing,
}

#[derive(Debug)]
enum Timing {
    /// No timestamps at all. OpenAI leaves that to the model; here it is certain.
    None,
    /// They come in pairs and never go back, and a text begins with one, which has a latest value.
    Pairs { last_at_begin: Option<usize> },
}

impl Rules {
    pub(super) fn new(whisper: &Whisper, options: &SpeechOptions) -> Self {
        let tokens = &whisper.tokens;
        let mut suppressed = options.suppress_tokens.clone().unwrap_or_else(|| tokens.suppressed.clone());
        suppressed.extend(&tokens.never_written);
        let begin = tokens.timestamps.start as usize;
        let states_per_second = FRAMES_PER_SECOND as f64 / FRAMES_PER_STATE as f64;
        let latest = |seconds: f64| begin + (seconds * states_per_second).round() as usize;
        Self {
            suppressed,
            suppressed_at_begin: match options.suppress_blank {
                true => tokens.suppressed_at_begin.clone(),
                false => Vec::new(),
            },
            eot: tokens.eot as usize,
            timestamp_begin: begin,
            timing: match options.timestamps {
                Timestamps::None => Timing::None,
                _ => Timing::Pairs {
                    // 0 means none to OpenAI as well
                    last_at_begin: options.max_initial_timestamp.filter(|seconds| *seconds > 0.0).map(latest),
                },
            },
        }
    }

    /// Forbids what may not follow `written`, the text so far without what came before it.
    pub(super) fn apply(&self, logits: &mut [f32], written: &[u32]) {
        if written.is_empty() {
            forbid(logits, self.suppressed_at_begin.iter().map(|id| *id as usize));
        }
        forbid(logits, self.suppressed.iter().map(|id| *id as usize));
        match self.timing {
            Timing::None => logits[self.timestamp_begin..].fill(f32::NEG_INFINITY),
            Timing::Pairs { last_at_begin } => self.apply_pairs(logits, written, last_at_begin),
        }
    }

    fn apply_pairs(&self, logits: &mut [f32], written: &[u32], last_at_begin: Option<usize>) {
        let begin = self.timestamp_begin;
        let is_time = |id: &u32| *id as usize >= begin;
        let is_last = written.last().is_some_and(is_time);
        let is_penultimate = written.len() < 2 || is_time(&written[written.len() - 2]);
        match (is_last, is_penultimate) {
            (true, true) => logits[begin..].fill(f32::NEG_INFINITY), // a pair is whole, or the text just began
            (true, false) => logits[..self.eot].fill(f32::NEG_INFINITY), // the second of a pair, or the end
            (false, _) => {}
        }
        if let Some(latest) = written.iter().rfind(|id| is_time(id)) {
            // the second of a pair may be the same time; a segment that begins there has to last
            let is_half_a_pair = is_last && !is_penultimate;
            let first_allowed = *latest as usize + usize::from(!is_half_a_pair);
            let end = first_allowed.min(logits.len());
            logits[begin..end].fill(f32::NEG_INFINITY);
        }
        if written.is_empty() {
            logits[..begin].fill(f32::NEG_INFINITY);
            if let Some(last) = last_at_begin {
                let after = (last + 1).min(logits.len());
                logits[after..].fill(f32::NEG_INFINITY);
            }
        }
        // times together may be likelier than any one word
        let (text, times) = logits.split_at(begin);
        let likeliest = text.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if log_sum_exp(times) > f64::from(likeliest) {
            logits[..begin].fill(f32::NEG_INFINITY);
        }
    }
}

fn forbid(logits: &mut [f32], ids: impl Iterator<Item = usize>) {
    for id in ids {
        if let Some(logit) = logits.get_mut(id) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// The logarithm of the sum of exponentials: what logits are measured against. Minus infinity where nothing is allowed.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - largest).exp())).sum();
    f64::from(largest) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids 0 to 3 are text, 4 ends it, 5 is special, 6 to 11 are times.
    fn rules(timing: Timing) -> Rules {
        Rules { suppressed: vec![5, 3], suppressed_at_begin: vec![0, 4], eot: 4, timestamp_begin: 6, timing }
    }

    fn allowed(rules: &Rules, written: &[u32], likely: u32) -> Vec<usize> {
        let mut logits = vec![0.0; 12];
        logits[likely as usize] = 5.0;
        rules.apply(&mut logits, written);
        (0..12).filter(|id| logits[*id] > f32::NEG_INFINITY).collect()
    }

    #[test]
    fn timestamps_come_in_pairs_that_never_go_back() {
        let rules = rules(Timing::Pairs { last_at_begin: Some(8) });
        assert_eq!(allowed(&rules, &[], 1), [6, 7, 8], "a text begins with one");
        assert_eq!(allowed(&rules, &[7], 1), [0, 1, 2, 4], "then there is text");
        assert_eq!(allowed(&rules, &[7, 1], 1), [0, 1, 2, 4, 8, 9, 10, 11], "until a later one");
        assert_eq!(allowed(&rules, &[7, 1, 9], 9), [9, 10, 11], "which comes twice");
        assert_eq!(allowed(&rules, &[7, 1, 9], 4), [4, 9, 10, 11], "or ends the text");
        assert_eq!(allowed(&rules, &[7, 1, 9, 9], 1), [0, 1, 2, 4]);
        assert_eq!(allowed(&rules, &[7, 1, 9, 9, 2], 1), [0, 1, 2, 4, 10, 11]);
        assert_eq!(allowed(&rules, &[7, 1, 11, 11, 2], 1), [0, 1, 2, 4], "the last has no successor");
    }

    #[test]
    fn a_time_is_written_when_times_together_are_likelier_than_any_word() {
        let rules = rules(Timing::Pairs { last_at_begin: None });
        assert_eq!(allowed(&rules, &[6, 1], 9), [7, 8, 9, 10, 11]);
        assert_eq!(allowed(&rules, &[], 1), [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn without_timestamps_there_are_none() {
        let rules = rules(Timing::None);
        assert_eq!(allowed(&rules, &[], 9), [1, 2], "what a text may not begin with");
        assert_eq!(allowed(&rules, &[1], 9), [0, 1, 2, 4]);
    }
}
