//! Predictions of a step: what the denoiser is asked, once or several times, and how its answers become one.
//!
//! Knows the rules of diffusers' pipelines; the loop asks and mixes without knowing which rule it follows.

use atelier_inference::{ImageOrder, Task};
use candle_core::{DType, Tensor};

use super::family::Numbers;
use super::{Conditioning, Pipeline, Text};
use crate::Result;

/// What a refiner is told about the picture that it should make, and about the one that it should not.
const SCORES: (f32, f32) = (6.0, 2.5);

/// One question to the denoiser; the same for every image.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) text: Text,
    /// For XL: (1, count).
    pub(super) numbers: Option<Tensor>,
    /// A source picture's latents, as further channels: (1, channels, h, w).
    pub(super) channels: Option<Tensor>,
}

/// How the branches' predictions become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Guidance {
    /// There is one prediction.
    Off,
    /// Of the negative prompt and the prompt, in this order: classifier-free guidance (arXiv 2207.12598).
    ClassifierFree {
        /// Away from the negative prompt, by this much.
        scale: f64,
        /// How far the result is brought back to the prompt's own deviation (arXiv 2305.08891, 3.4).
        rescale: f64,
    },
    /// Of prompt and picture, of the picture alone, and of neither (arXiv 2211.09800, 3.2.1).
    Instruct {
        /// Towards the prompt.
        text: f64,
        /// Towards the picture.
        picture: f64,
        /// As above.
        rescale: f64,
    },
}

impl Guidance {
    /// The order's; a distilled model takes the scale as an input instead.
    pub(super) fn of(order: &ImageOrder, takes_guidance: bool) -> Self {
        let (scale, rescale) = (order.guidance, order.guidance_rescale);
        match order.task {
            _ if takes_guidance || scale <= 1.0 => Self::Off,
            Task::Edit { guidance, .. } if guidance < 1.0 => Self::Off,
            Task::Edit { guidance, .. } => Self::Instruct { text: scale, picture: guidance, rescale },
            _ => Self::ClassifierFree { scale, rescale },
        }
    }

    /// Whether the negative prompt is asked for.
    pub(super) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// How many predictions are mixed.
    pub(super) fn branches(self) -> usize {
        match self {
            Self::Off => 1,
            Self::ClassifierFree { .. } => 2,
            Self::Instruct { .. } => 3,
        }
    }

    /// Predictions (images, channels, h, w), one per branch and in their order, to one.
    pub(super) fn mix(self, predictions: &[Tensor]) -> Result<Tensor> {
        let (prompt, mixed, rescale) = match (self, predictions) {
            (Self::ClassifierFree { scale, rescale }, [negative, prompt]) => {
                (prompt, (negative + ((prompt - negative)? * scale)?)?, rescale)
            }
            (Self::Instruct { text, picture, rescale }, [both, alone, neither]) => {
                let towards_text = ((both - alone)? * text)?;
                let towards_picture = ((alone - neither)? * picture)?;
                (both, ((neither + towards_text)? + towards_picture)?, rescale)
            }
            (_, predictions) => return Ok(predictions[0].clone()),
        };
        if rescale == 0.0 { Ok(mixed) } else { rescaled(&mixed, prompt, rescale) }
    }
}

/// `rescale_noise_cfg`: `share` of the result has the prompt's own deviation, image by image.
fn rescaled(mixed: &Tensor, prompt: &Tensor, share: f64) -> Result<Tensor> {
    let deviation = |x: &Tensor| x.flatten_from(1)?.var_keepdim(1)?.sqrt();
    let factor = (deviation(prompt)? / deviation(mixed)?)?; // (images, 1)
    let factor = ((factor * share)? + (1.0 - share))?;
    Ok(mixed.broadcast_mul(&factor.unsqueeze(2)?.unsqueeze(3)?)?)
}

impl Pipeline {
    /// The branches that the guidance mixes, in its order. `channels` are a source picture's latents.
    pub(super) fn branches(
        &self,
        order: &ImageOrder,
        conditioning: &Conditioning,
        channels: Option<&Tensor>,
    ) -> Result<Vec<Branch>> {
        let branch = |text: &Text, is_negative, channels: Option<Tensor>| {
            Result::Ok(Branch { text: text.clone(), numbers: self.numbers(order, is_negative)?, channels })
        };
        let own = || channels.cloned();
        let prompt = &conditioning.prompt;
        match (&conditioning.negative, channels) {
            (None, _) => Ok(vec![branch(prompt, false, own())?]),
            (Some(negative), None) => Ok(vec![branch(negative, true, None)?, branch(prompt, false, None)?]),
            (Some(negative), Some(channels)) => Ok(vec![
                branch(prompt, false, own())?,
                branch(negative, true, own())?,
                branch(negative, true, Some(channels.zeros_like()?))?,
            ]),
        }
    }

    /// What XL is told beside the text: sizes, or sizes and a score.
    fn numbers(&self, order: &ImageOrder, is_negative: bool) -> Result<Option<Tensor>> {
        let framing = order.framing;
        let (original, crop, target) = (framing.original, framing.crop, framing.target);
        let mut numbers =
            vec![original.height as f32, original.width as f32, crop.top as f32, crop.left as f32];
        match self.family.numbers {
            Numbers::None => return Ok(None),
            Numbers::Sizes => numbers.extend([target.height as f32, target.width as f32]),
            Numbers::Score => numbers.push(if is_negative { SCORES.1 } else { SCORES.0 }),
        }
        let count = numbers.len();
        Ok(Some(Tensor::from_vec(numbers, (1, count), &self.device)?.to_dtype(DType::F32)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn values(list: &[f32]) -> Tensor {
        Tensor::from_vec(list.to_vec(), (1, 1, 1, list.len()), &Device::Cpu).unwrap()
    }

    fn mixed(guidance: Guidance, predictions: &[Tensor]) -> Vec<f32> {
        guidance.mix(predictions).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn guidance_goes_away_from_the_negative_prompt() {
        let guidance = Guidance::ClassifierFree { scale: 3.0, rescale: 0.0 };
        assert_eq!(mixed(guidance, &[values(&[1.0, 2.0]), values(&[2.0, 0.0])]), [4.0, -4.0]);
    }

    #[test]
    fn a_whole_rescale_gives_the_prompts_own_deviation() {
        let guidance = Guidance::ClassifierFree { scale: 3.0, rescale: 1.0 };
        // deviations of the mix and of the prompt are as 4 to 1
        assert_eq!(mixed(guidance, &[values(&[0.5, -0.5]), values(&[1.0, -1.0])]), [1.0, -1.0]);
    }

    #[test]
    fn instructions_have_two_scales() {
        let guidance = Guidance::Instruct { text: 2.0, picture: 3.0, rescale: 0.0 };
        assert_eq!(mixed(guidance, &[values(&[5.0]), values(&[3.0]), values(&[2.0])]), [2.0 + 4.0 + 3.0]);
    }
}
