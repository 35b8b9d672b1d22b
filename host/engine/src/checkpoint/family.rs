//! Which family a checkpoint is of, and the folder that it stands for. The rules are those of diffusers'
//! `from_single_file`, but that nothing is guessed: what a file does not say is asked for by the manifest's key.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::layout::{Shapes, TextLayout, UNetLayout, VaeLayout};
use super::names::{self, Names};
use super::vocabulary::{MERGES, vocabulary};
use super::{
    CLIP, OPEN_CLIP, Part, Parts, PredictionType, REFINER_OPEN_CLIP, UNET, VAE, XL_CLIP, XL_OPEN_CLIP,
    configs,
};
use crate::files::Blob;
use crate::weights::Stored;

/// A tensor that marks a velocity model among those that predict noise; a custom of people who train XL.
pub(super) const V_PREDICTION: &str = "v_pred";
/// A tensor that marks a schedule that ends in nothing but noise.
pub(super) const ZERO_SNR: &str = "ztsnr";
/// Tensors that mark a model trained on continuous noise levels (CosXL), with their ends.
pub(super) const SIGMA_MIN: &str = "edm_vpred.sigma_min";
pub(super) const SIGMA_MAX: &str = "edm_vpred.sigma_max";

/// The only number by which published files of Stable Diffusion 2 tell that they predict noise; diffusers knows it too.
const NOISE_STEP: f64 = 875_000.0;
/// By what latents were multiplied for the denoiser: of Stable Diffusion 1 and 2, and of XL.
pub(super) const SCALE: f64 = 0.18215;
const XL_SCALE: f64 = 0.13025;
/// diffusers leaves this layer of Stable Diffusion 2's encoder out, since the model was trained on the one before.
const UNUSED_LAYER: &str = "transformer.resblocks.23.";

/// Numbers among what is left over from training that say something about the model.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    global_step: Option<f64>,
    is_velocity: bool,
    is_zero_snr: bool,
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
}

impl Marks {
    /// Looks at a tensor; most say nothing.
    pub(super) fn read(&mut self, tensor: &Stored, blob: &mut Blob) -> io::Result<()> {
        match tensor.name.as_str() {
            "global_step" => self.global_step = tensor.scalar(blob)?,
            SIGMA_MIN => self.sigma_min = tensor.scalar(blob)?,
            SIGMA_MAX => self.sigma_max = tensor.scalar(blob)?,
            V_PREDICTION => self.is_velocity = true,
            ZERO_SNR => self.is_zero_snr = true,
            _ => {}
        }
        Ok(())
    }
}

/// The text encoders, by which families differ.
#[derive(Debug)]
enum Encoders {
    /// OpenAI's CLIP: Stable Diffusion 1.
    Clip(TextLayout),
    /// OpenCLIP: Stable Diffusion 2.
    OpenClip(TextLayout),
    /// Both: XL.
    Xl(TextLayout, TextLayout),
    /// The second alone: the refiner of XL.
    Refiner(TextLayout),
}

/// A checkpoint's family, with all that its names and shapes tell.
#[derive(Debug)]
pub(super) struct Family {
    unet: UNetLayout,
    /// None in files that leave it out.
    vae: Option<VaeLayout>,
    encoders: Encoders,
    prediction: PredictionType,
    marks: Marks,
}

/// What is wrong with a file.
type Problem = String;

impl Family {
    pub(super) fn of(parts: &Parts, prediction: Option<PredictionType>) -> Result<Self, Problem> {
        let shapes = parts.shapes(&UNET).ok_or_else(|| {
            format!("no tensor below `{}`: this is no Stable Diffusion checkpoint", UNET.prefix)
        })?;
        let unet = UNetLayout::of(&shapes).ok_or_else(|| {
            format!("the tensors below `{}` are not those of a UNet with attention", UNET.prefix)
        })?;
        check_channels(&unet)?;
        let vae = parts.shapes(&VAE).map(|shapes| {
            let layout = VaeLayout::of(&shapes);
            layout
                .ok_or_else(|| format!("the tensors below `{}` are not those of an autoencoder", VAE.prefix))
        });
        let encoders = encoders(parts)?;
        let marks = parts.marks.clone();
        let prediction = predicted(&encoders, &unet, &marks, prediction)?;
        Ok(Self { unet, vae: vae.transpose()?, encoders, prediction, marks })
    }

    /// By what latents are multiplied for the denoiser.
    pub(super) fn scale(&self) -> f64 {
        match self.encoders {
            Encoders::Xl(..) | Encoders::Refiner(_) => XL_SCALE,
            Encoders::Clip(_) | Encoders::OpenClip(_) => SCALE,
        }
    }

    /// The parts that there are, with their tables of names.
    pub(super) fn names(&self) -> Vec<(&'static Part, Names)> {
        let mut names = vec![(&UNET, names::unet(&self.unet.blocks()))];
        names.extend(self.vae.as_ref().map(|vae| (&VAE, names::vae(vae.channels.len(), vae.layers))));
        names.extend(match &self.encoders {
            Encoders::Clip(_) => vec![(&CLIP, names::clip())],
            Encoders::OpenClip(text) => vec![(&OPEN_CLIP, names::open_clip(text.layers))],
            Encoders::Xl(_, text) => {
                vec![(&XL_CLIP, names::clip()), (&XL_OPEN_CLIP, names::open_clip(text.layers))]
            }
            Encoders::Refiner(text) => vec![(&REFINER_OPEN_CLIP, names::open_clip(text.layers))],
        });
        names
    }

    /// Whether diffusers does not take this tensor of a part either.
    pub(super) fn leaves_out(part: &Part, name: &str) -> bool {
        match part.prefix {
            prefix if prefix == OPEN_CLIP.prefix => {
                name == "text_projection" || name.starts_with(UNUSED_LAYER)
            }
            // the first encoder's pooled state is used by nobody
            prefix if prefix == CLIP.prefix || prefix == XL_CLIP.prefix => name == "text_projection.weight",
            _ => false,
        }
    }

    /// Every file of the folder but the weights.
    pub(super) fn texts(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = vec![
            ("model_index.json".to_string(), self.index()),
            ("unet/config.json".into(), configs::unet(&self.unet, self.sample_size())),
            ("scheduler/scheduler_config.json".into(), self.schedule()),
        ];
        files
            .extend(self.vae.as_ref().map(|vae| ("vae/config.json".into(), configs::vae(vae, self.scale()))));
        files.extend(self.encoder_configs());
        let mut texts: BTreeMap<_, _> =
            files.into_iter().map(|(name, json)| (name, json.to_string().into_bytes())).collect();
        for tokenizer in self.tokenizers() {
            texts.insert(format!("{tokenizer}/vocab.json"), vocabulary());
            texts.insert(format!("{tokenizer}/merges.txt"), MERGES.into());
        }
        texts
    }

    fn tokenizers(&self) -> Vec<&'static str> {
        match self.encoders {
            Encoders::Clip(_) | Encoders::OpenClip(_) => vec!["tokenizer"],
            Encoders::Xl(..) => vec!["tokenizer", "tokenizer_2"],
            Encoders::Refiner(_) => vec!["tokenizer_2"],
        }
    }

    /// Encoders and how their tokenizers fill texts up: the first of CLIP with the end of the text, OpenCLIP with `!`.
    fn encoder_configs(&self) -> Vec<(String, Value)> {
        let files = |number: &str, encoder: Value, pad: &str| {
            vec![
                (format!("text_encoder{number}/config.json"), encoder),
                (format!("tokenizer{number}/tokenizer_config.json"), configs::tokenizer(pad)),
            ]
        };
        let first = |text: &TextLayout| files("", configs::clip(text), "<|endoftext|>");
        let second = |text: &TextLayout| files("_2", configs::open_clip_projected(text), "!");
        match &self.encoders {
            Encoders::Clip(text) => first(text),
            Encoders::OpenClip(text) => files("", configs::open_clip(text), "!"),
            Encoders::Xl(text, other) => [first(text), second(other)].concat(),
            Encoders::Refiner(text) => second(text),
        }
    }

    /// Of the latents on which the family was trained.
    fn sample_size(&self) -> usize {
        match (&self.encoders, self.prediction) {
            (Encoders::Xl(..) | Encoders::Refiner(_), _) => 128,
            (Encoders::OpenClip(_), PredictionType::Velocity) => 96,
            _ => 64,
        }
    }

    fn class(&self) -> &'static str {
        match (&self.encoders, self.unet.in_channels) {
            (Encoders::Refiner(_), _) => "StableDiffusionXLImg2ImgPipeline",
            (Encoders::Xl(..), 9) => "StableDiffusionXLInpaintPipeline",
            (Encoders::Xl(..), 8) => "StableDiffusionXLInstructPix2PixPipeline",
            (Encoders::Xl(..), _) => "StableDiffusionXLPipeline",
            (_, 9) => "StableDiffusionInpaintPipeline",
            (_, 8) => "StableDiffusionInstructPix2PixPipeline",
            _ if self.unet.guidance.is_some() => "LatentConsistencyModelPipeline",
            _ => "StableDiffusionPipeline",
        }
    }

    fn index(&self) -> Value {
        let schedule = self.schedule();
        let scheduler = schedule["_class_name"].as_str().unwrap_or_default();
        let mut components = vec![
            ("scheduler", "diffusers", scheduler),
            ("unet", "diffusers", "UNet2DConditionModel"),
            ("vae", "diffusers", "AutoencoderKL"),
        ];
        let (first, second) = (
            ("text_encoder", "transformers", "CLIPTextModel"),
            ("text_encoder_2", "transformers", "CLIPTextModelWithProjection"),
        );
        match self.encoders {
            Encoders::Clip(_) | Encoders::OpenClip(_) => components.push(first),
            Encoders::Xl(..) => components.extend([first, second]),
            Encoders::Refiner(_) => components.push(second),
        }
        components.extend(self.tokenizers().into_iter().map(|name| (name, "transformers", "CLIPTokenizer")));
        configs::index(self.class(), &components, self.flags())
    }

    /// What an index says beside the components.
    fn flags(&self) -> Value {
        match self.encoders {
            Encoders::Refiner(_) => json!({
                "text_encoder": [null, null], "tokenizer": [null, null],
                "requires_aesthetics_score": true, "force_zeros_for_empty_prompt": false,
            }),
            Encoders::Xl(..) if self.unet.in_channels == 8 => {
                json!({"force_zeros_for_empty_prompt": true, "is_cosxl_edit": self.marks.sigma_max.is_some()})
            }
            Encoders::Xl(..) => json!({"force_zeros_for_empty_prompt": true}),
            _ => json!({"requires_safety_checker": false}),
        }
    }

    fn schedule(&self) -> Value {
        let prediction = self.prediction.name();
        if let (Some(sigma_min), Some(sigma_max)) = (self.marks.sigma_min, self.marks.sigma_max) {
            return json!({
                "_class_name": "EDMEulerScheduler", "prediction_type": prediction, "num_train_timesteps": 1000,
                "sigma_min": sigma_min, "sigma_max": sigma_max, "sigma_data": 1.0, "sigma_schedule": "exponential",
            });
        }
        let snr = match self.marks.is_zero_snr {
            true => json!({"rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}),
            false => json!({}),
        };
        match (&self.encoders, self.unet.in_channels) {
            (_, 8) => configs::schedule("EulerAncestralDiscreteScheduler", prediction, snr),
            (Encoders::Xl(..) | Encoders::Refiner(_), _) => {
                configs::schedule("EulerDiscreteScheduler", prediction, snr)
            }
            (Encoders::OpenClip(_), _) => configs::schedule("DDIMScheduler", prediction, snr),
            (Encoders::Clip(_), _) if self.unet.guidance.is_some() => {
                let more = json!({"set_alpha_to_one": true, "steps_offset": 0});
                configs::schedule("LCMScheduler", prediction, more)
            }
            _ => configs::schedule("PNDMScheduler", prediction, json!({"skip_prk_steps": true})),
        }
    }
}

/// The denoiser's inputs: latents alone, with a picture beside them (edit), or with a mask and a picture (inpainting).
fn check_channels(unet: &UNetLayout) -> Result<(), Problem> {
    if ![4, 8, 9].contains(&unet.in_channels) {
        return Err(format!(
            "the denoiser takes {} channels; 4, 8 (instruct edit) and 9 (inpainting) are supported",
            unet.in_channels
        ));
    }
    let heads = unet.levels.iter().all(|level| level.channels.is_multiple_of(configs::HEAD));
    if unet.is_linear && !heads {
        return Err(format!("the denoiser's channels are no multiples of a head's {}", configs::HEAD));
    }
    Ok(())
}

fn encoders(parts: &Parts) -> Result<Encoders, Problem> {
    let read = |part: &Part, of: fn(&Shapes) -> Option<TextLayout>| {
        let layout = parts.shapes(part).map(|shapes| of(&shapes).filter(|text| text.width >= configs::HEAD));
        let problem = || format!("the tensors below `{}` are not those of a CLIP text encoder", part.prefix);
        layout.map(|layout| layout.ok_or_else(problem)).transpose()
    };
    let (clip, open_clip) = (read(&CLIP, TextLayout::of_clip)?, read(&OPEN_CLIP, TextLayout::of_open_clip)?);
    let xl = (read(&XL_CLIP, TextLayout::of_clip)?, read(&XL_OPEN_CLIP, TextLayout::of_open_clip)?);
    let refiner = read(&REFINER_OPEN_CLIP, TextLayout::of_open_clip)?;
    match (clip, open_clip, xl, refiner) {
        (Some(text), None, (None, None), None) => Ok(Encoders::Clip(text)),
        (None, Some(text), (None, None), None) => {
            let used =
                UNUSED_LAYER.split('.').filter_map(|part| part.parse().ok()).next().unwrap_or(text.layers);
            Ok(Encoders::OpenClip(TextLayout { layers: text.layers.min(used), projection: None, ..text }))
        }
        (None, None, (Some(text), Some(other)), None) => Ok(Encoders::Xl(text, other)),
        (None, None, (None, None), Some(text)) => Ok(Encoders::Refiner(text)),
        (None, None, (None, None), None) => {
            Err("no text encoder: a denoiser alone is no checkpoint; use the file that has all parts".into())
        }
        _ => Err("the text encoders are those of no family: 1, 2, XL and its refiner are supported".into()),
    }
}

/// What the denoiser predicts: what the manifest says, what a mark says, or what all of the family do.
fn predicted(
    encoders: &Encoders,
    unet: &UNetLayout,
    marks: &Marks,
    asked: Option<PredictionType>,
) -> Result<PredictionType, Problem> {
    let is_marked = marks.is_velocity || marks.sigma_max.is_some();
    match (asked, encoders) {
        (Some(asked), _) => Ok(asked),
        _ if is_marked => Ok(PredictionType::Velocity),
        (None, Encoders::OpenClip(_)) if unet.in_channels == 4 && marks.global_step != Some(NOISE_STEP) => Err(
            "a file of Stable Diffusion 2 does not say what it predicts; add prediction = \"v_prediction\" (models \
             for 768 pixels) or prediction = \"epsilon\" (base models, for 512) to its [[model]]"
                .into(),
        ),
        _ => Ok(PredictionType::Epsilon),
    }
}

/// An autoencoder alone: its configuration and table of names. The scale is that
/// of Stable Diffusion 1; whoever puts the autoencoder into a model knows the model's.
pub(super) fn lone_vae(shapes: &Shapes) -> Result<(Value, Names), Problem> {
    let layout = VaeLayout::of(shapes).ok_or_else(|| {
        "the tensors are not those of an autoencoder in a checkpoint's layout; name the folder of an \
         autoencoder in diffusers' layout instead of its file"
            .to_string()
    })?;
    Ok((configs::vae(&layout, SCALE), names::vae(layout.channels.len(), layout.layers)))
}
