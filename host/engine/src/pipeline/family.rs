//! What tells the families of models apart beside their networks: which text encoders there are and which
//! of their states count, which numbers XL is told, and what a source picture is to the denoiser. Read from
//! `model_index.json`; everything that differs between families is a field here, so that there is one loop for all.

use serde_json::{Map, Value};

use crate::files::ModelFiles;
use crate::models::unet::UNetConfig;
use crate::{Error, Result};

const NAME: &str = "model_index.json";
const SUPPORTED: &str = "StableDiffusionPipeline, StableDiffusionXLPipeline, their Img2Img, Inpaint and InstructPix2Pix \
                         relatives, LatentConsistencyModelPipeline, FluxPipeline with Img2Img and Inpaint";

/// One family's pipeline, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    /// As the catalog shows it.
    pub(crate) name: &'static str,
    pub(crate) text: TextLayout,
    pub(crate) numbers: Numbers,
    pub(crate) source: SourceUse,
    /// Zeros stand for the states of a negative prompt that was not given.
    pub(crate) zeros_for_no_negative: bool,
    /// The folder lists a checker that nobody runs here; its users should know.
    pub(crate) has_checker: bool,
}

/// Which text encoders there are, and which of their states the denoiser looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextLayout {
    /// `text_encoder`, its last states after the final norm.
    One,
    /// `text_encoder` and `text_encoder_2`, their last but one states side by side, and the second one's pooled state.
    Both,
    /// `text_encoder_2` alone, as in XL's refiner.
    Second,
    /// T5's states from `text_encoder_2`, and the pooled state of `text_encoder`; the denoiser is FLUX's.
    Flux,
}

/// The numbers that go into XL's second embedding (arXiv 2307.01952, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// There is no second embedding.
    None,
    /// Original height and width, top and left of the crop, target height and width.
    Sizes,
    /// The target size's place is taken by an aesthetic score, as in the refiner.
    Score,
}

/// What a source picture is to the denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceUse {
    /// Its latents, with noise, are what a run may start from.
    Start,
    /// Its latents are further channels of every step's input, as in InstructPix2Pix (arXiv 2211.09800).
    Channels {
        /// Whether they are multiplied by the autoencoder's factor: CosXL-Edit. diffusers takes `is_cosxl_edit` as an
        /// argument and saves it nowhere, so it is looked for in `model_index.json` under that name.
        is_scaled: bool,
    },
    /// A mask and the latents of what it leaves are further channels of every step's input, as in inpainting models.
    Masked,
}

impl Family {
    /// Reads `model_index.json`. Other pipelines have similar parts and would run to a wrong picture, so those that are not
    /// known are refused.
    pub(crate) fn read(files: &ModelFiles) -> Result<Self> {
        let index: Map<String, Value> = files.json(NAME)?;
        let class = index.get("_class_name").and_then(Value::as_str).unwrap_or("nothing");
        let is = |key: &str, default| index.get(key).and_then(Value::as_bool).unwrap_or(default);
        let family = match class {
            "StableDiffusionPipeline"
            | "StableDiffusionImg2ImgPipeline"
            | "LatentConsistencyModelPipeline"
            | "LatentConsistencyModelImg2ImgPipeline" => Self::stable_diffusion(SourceUse::Start),
            "StableDiffusionInpaintPipeline" => Self::stable_diffusion(masked(files)?),
            "StableDiffusionXLInpaintPipeline" => Self::xl(masked(files)?),
            "StableDiffusionInstructPix2PixPipeline" => {
                Self::stable_diffusion(SourceUse::Channels { is_scaled: false })
            }
            "StableDiffusionXLPipeline" => Self::xl(SourceUse::Start),
            "StableDiffusionXLImg2ImgPipeline" if is("requires_aesthetics_score", false) => Self::refiner(),
            "StableDiffusionXLImg2ImgPipeline" => Self::xl(SourceUse::Start),
            "FluxPipeline" | "FluxImg2ImgPipeline" | "FluxInpaintPipeline" => Self::flux(),
            "StableDiffusionXLInstructPix2PixPipeline" => {
                Self::xl(SourceUse::Channels { is_scaled: is("is_cosxl_edit", false) })
            }
            other => {
                return Err(Error::Unsupported {
                    what: "pipeline",
                    value: other.into(),
                    supported: SUPPORTED,
                });
            }
        };
        // a component that is not there is [null, null]
        let has = |key: &str| {
            index.get(key).and_then(|entry| entry.get(0)).is_some_and(|library| !library.is_null())
        };
        if family.text == TextLayout::Both && !has("text_encoder") {
            return Err(files.malformed(NAME, "text_encoder is missing; only a refiner has none"));
        }
        let zeros = family.zeros_for_no_negative && is("force_zeros_for_empty_prompt", true);
        Ok(Self { zeros_for_no_negative: zeros, has_checker: has("safety_checker"), ..family })
    }

    /// Channels of the denoiser's input, for latents of so many.
    pub(crate) fn input_channels(&self, latents: usize) -> usize {
        match self.source {
            SourceUse::Start => latents,
            SourceUse::Channels { .. } => 2 * latents,
            SourceUse::Masked => 2 * latents + 1,
        }
    }

    /// Whether it changes pictures as the prompt says, and does nothing else.
    pub(crate) fn edits(&self) -> bool {
        matches!(self.source, SourceUse::Channels { .. })
    }

    /// The family's name for people.
    pub(crate) fn title(&self) -> &'static str {
        match self.text {
            TextLayout::One => "Stable Diffusion",
            TextLayout::Both => "Stable Diffusion XL",
            TextLayout::Second => "Stable Diffusion XL's refiner",
            TextLayout::Flux => "FLUX.1",
        }
    }

    fn stable_diffusion(source: SourceUse) -> Self {
        Self {
            name: "stable-diffusion",
            text: TextLayout::One,
            numbers: Numbers::None,
            source,
            zeros_for_no_negative: false,
            has_checker: false,
        }
    }

    fn xl(source: SourceUse) -> Self {
        let (name, text, numbers) = ("stable-diffusion-xl", TextLayout::Both, Numbers::Sizes);
        Self { name, text, numbers, zeros_for_no_negative: true, ..Self::stable_diffusion(source) }
    }

    fn refiner() -> Self {
        let (name, text, numbers) = ("stable-diffusion-xl-refiner", TextLayout::Second, Numbers::Score);
        Self { name, text, numbers, ..Self::xl(SourceUse::Start) }
    }

    /// Its guidance is an input or none at all, so that there is no negative prompt.
    fn flux() -> Self {
        Self { name: "flux", text: TextLayout::Flux, ..Self::stable_diffusion(SourceUse::Start) }
    }
}

/// An inpainting pipeline may have a denoiser of any model, which then paints as all do.
fn masked(files: &ModelFiles) -> Result<SourceUse> {
    let unet = UNetConfig::read(files)?;
    Ok(if unet.in_channels == unet.out_channels { SourceUse::Start } else { SourceUse::Masked })
}

impl Numbers {
    /// How many there are.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Sizes => 6,
            Self::Score => 5,
        }
    }
}

impl TextLayout {
    /// The folders of CLIP's tokenizers and encoders, in the order in which their states stand side by side.
    pub(crate) fn folders(self) -> &'static [(&'static str, &'static str)] {
        const FIRST: (&str, &str) = ("tokenizer", "text_encoder");
        const SECOND: (&str, &str) = ("tokenizer_2", "text_encoder_2");
        match self {
            Self::One | Self::Flux => &[FIRST],
            Self::Both => &[FIRST, SECOND],
            Self::Second => &[SECOND],
        }
    }
}
