//! Single-file checkpoints, the form in which most people have Stable Diffusion: one safetensors file in the layout of the
//! original training code, without any configuration. Read as the folder of diffusers that it stands for: `layout` tells
//! from names and shapes what is in it, `configs` writes the files that are missing, `names` renames the tensors, and
//! `vocabulary` brings the tokenizer. `convert` writes such a file from a folder.
//!
//! Knows no network: what it makes is read by the same code as a folder. What belongs to no part is refused by name,
//! except for what is known to be left over from training.

mod configs;
pub(crate) mod convert;
mod family;
mod layout;
mod names;
mod vocabulary;

use std::collections::BTreeMap;

use crate::Result;
use crate::files::{Blob, ModelFiles};
use crate::models::flux::names::is_bfl;
use crate::weights::{Stored, open_safetensors};
use family::{Family, Marks};
use layout::Shapes;
use names::{Change, Names};

/// What a denoiser was trained to predict, where a file does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The velocity (arXiv 2202.00512).
    Velocity,
}

impl PredictionType {
    /// As diffusers names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
        }
    }
}

/// A single file, as the folder that it stands for.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// Configurations and vocabulary: names as in a folder, and contents.
    texts: BTreeMap<String, Vec<u8>>,
    /// The components' tensors, named as diffusers does.
    tensors: BTreeMap<&'static str, Vec<Stored>>,
    /// By what the family multiplies latents for its denoiser.
    scale: f64,
}

/// A part of a checkpoint: where its tensors' names begin, and its folder.
pub(super) struct Part {
    prefix: &'static str,
    folder: &'static str,
}

const UNET: Part = Part { prefix: "model.diffusion_model.", folder: "unet" };
const VAE: Part = Part { prefix: "first_stage_model.", folder: "vae" };
/// OpenAI's CLIP in Stable Diffusion 1, OpenCLIP in 2; then both of XL, and the one of its refiner.
const CLIP: Part = Part { prefix: "cond_stage_model.transformer.", folder: "text_encoder" };
const OPEN_CLIP: Part = Part { prefix: "cond_stage_model.model.", folder: "text_encoder" };
const XL_CLIP: Part = Part { prefix: "conditioner.embedders.0.transformer.", folder: "text_encoder" };
const XL_OPEN_CLIP: Part = Part { prefix: "conditioner.embedders.1.model.", folder: "text_encoder_2" };
const REFINER_OPEN_CLIP: Part = Part { prefix: "conditioner.embedders.0.model.", folder: "text_encoder_2" };

const PARTS: [Part; 7] = [UNET, VAE, CLIP, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP, REFINER_OPEN_CLIP];

/// Beginnings of names that are left over from training: averaged weights, whose plain form is there as well and is what
/// diffusers takes, and losses.
const LEFTOVER_STARTS: [&str; 4] =
    ["model_ema.", "first_stage_model.model_ema.", "first_stage_model.loss.", "embedding_manager."];
/// Tables of the training schedule and counters; some are looked at by `family`.
const LEFTOVERS: [&str; 22] = [
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "logvar",
    "lvlb_weights",
    "scale_factor",
    "denoiser.sigmas",
    "global_step",
    "epoch",
    family::V_PREDICTION,
    family::ZERO_SNR,
    family::SIGMA_MIN,
    family::SIGMA_MAX,
];
/// Last parts of names that no encoder uses: tables that follow from the configuration, and training's temperature.
const LEFTOVER_ENDS: [&str; 3] = ["position_ids", "attn_mask", "logit_scale"];

/// FLUX is shared without its text encoders and its autoencoder.
const FLUX_ALONE: &str = "holds FLUX's transformer, which is no model by itself; put it into a folder of its repository, \
                          beside model_index.json, text encoders and autoencoder, and name that folder as the source";

/// How names of a text encoder begin below `text_model`.
const UNWRAPPED: [&str; 3] = ["embeddings.", "encoder.", "final_layer_norm."];

/// A file's tensors by component, the prefix cut off.
struct Parts {
    found: BTreeMap<&'static str, Vec<Stored>>,
    marks: Marks,
}

impl Checkpoint {
    /// Reads the header of `files`' file `name` and tells what it is.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for a file that is none of the family, naming a tensor without a place, the part that
    /// is missing, or the manifest's key that tells what the file does not.
    pub(crate) fn open(files: &ModelFiles, name: &str, prediction: Option<PredictionType>) -> Result<Self> {
        let (blob, tensors) = open_safetensors(files, name)?;
        if let Some(tensors) = lone_vae(&tensors) {
            return Self::of_vae(files, name, tensors);
        }
        if is_bfl(|wanted| tensors.iter().any(|tensor| tensor.name == wanted)) {
            return Err(files.malformed(name, FLUX_ALONE));
        }
        let mut parts = Parts::sort(files, name, blob, tensors)?;
        let malformed = |reason: String| files.malformed(name, reason);
        let family = Family::of(&parts, prediction).map_err(malformed)?;
        let mut checkpoint = Self { texts: family.texts(), tensors: BTreeMap::new(), scale: family.scale() };
        for (part, names) in family.names() {
            let tensors = parts.found.remove(part.prefix).unwrap_or_default();
            let tensors = tensors.into_iter().filter(|tensor| !Family::leaves_out(part, &tensor.name));
            checkpoint.rename(part, &names, tensors).map_err(malformed)?;
        }
        Ok(checkpoint)
    }

    /// A file that is nothing but an autoencoder; of no family, so that its scale is for others to know.
    fn of_vae(files: &ModelFiles, name: &str, tensors: Vec<Stored>) -> Result<Self> {
        let malformed = |reason: String| files.malformed(name, reason);
        let (config, names) = family::lone_vae(&shapes(&tensors)).map_err(malformed)?;
        let texts = BTreeMap::from([("vae/config.json".into(), config.to_string().into_bytes())]);
        let mut checkpoint = Self { texts, tensors: BTreeMap::new(), scale: family::SCALE };
        checkpoint.rename(&Part { prefix: "", ..VAE }, &names, tensors.into_iter()).map_err(malformed)?;
        Ok(checkpoint)
    }

    /// A file of the folder that the checkpoint stands for; weights are not among them.
    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// The tensors of a component, by its folder.
    pub(crate) fn tensors(&self, component: &str) -> Option<&[Stored]> {
        self.tensors.get(component).map(Vec::as_slice)
    }

    /// The scale of the latents, also where the autoencoder is left out.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether this is a model like the other, perhaps with other weights.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.texts == other.texts
    }

    /// Takes a part's tensors in, each under its name in diffusers.
    fn rename(
        &mut self,
        part: &Part,
        names: &Names,
        tensors: impl Iterator<Item = Stored>,
    ) -> std::result::Result<(), String> {
        let taken = self.tensors.entry(part.folder).or_default();
        for tensor in tensors {
            let changed = names.to_diffusers(&tensor.name);
            if changed.is_empty() {
                return Err(format!(
                    "tensor `{}{}` has no place in {}",
                    part.prefix, tensor.name, part.folder
                ));
            }
            for (name, change) in changed {
                let misfit =
                    || format!("tensor `{}{}` of {:?} is no {name}", part.prefix, tensor.name, tensor.shape);
                let tensor = tensor.clone().changed(change).ok_or_else(misfit)?;
                taken.push(Stored { name, ..tensor });
            }
        }
        Ok(())
    }
}

impl Parts {
    /// Sorts tensors by the beginnings of their names.
    fn sort(files: &ModelFiles, name: &str, mut blob: Blob, tensors: Vec<Stored>) -> Result<Self> {
        let mut parts = Self { found: BTreeMap::new(), marks: Marks::default() };
        for mut tensor in tensors {
            let last = tensor.name.rsplit('.').next().unwrap_or_default();
            let is_left_over = LEFTOVERS.contains(&tensor.name.as_str())
                || LEFTOVER_ENDS.contains(&last)
                || LEFTOVER_STARTS.iter().any(|start| tensor.name.starts_with(start));
            if is_left_over {
                let read = parts.marks.read(&tensor, &mut blob);
                read.map_err(|source| files.unreadable(name, source))?;
                continue;
            }
            let Some(part) = PARTS.iter().find(|part| tensor.name.starts_with(part.prefix)) else {
                let reason = format!(
                    "tensor `{}` belongs to no part of a Stable Diffusion checkpoint; those begin with {}",
                    tensor.name,
                    PARTS.map(|part| part.prefix).join(", ")
                );
                return Err(files.malformed(name, reason));
            };
            tensor.name.drain(..part.prefix.len());
            // merges of the first year leave transformers' outer name out
            if part.prefix == CLIP.prefix && UNWRAPPED.iter().any(|start| tensor.name.starts_with(start)) {
                tensor.name.insert_str(0, "text_model.");
            }
            parts.found.entry(part.prefix).or_default().push(tensor);
        }
        Ok(parts)
    }

    fn shapes(&self, part: &Part) -> Option<Shapes> {
        self.found.get(part.prefix).map(|tensors| shapes(tensors))
    }
}

fn shapes(tensors: &[Stored]) -> Shapes {
    tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect()
}

/// The tensors of a file that holds an autoencoder alone, with the prefix of a checkpoint or without.
fn lone_vae(tensors: &[Stored]) -> Option<Vec<Stored>> {
    const STARTS: [&str; 4] = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."];
    let cut = |tensor: &Stored| {
        let name = tensor.name.strip_prefix(VAE.prefix).unwrap_or(&tensor.name);
        STARTS
            .iter()
            .any(|start| name.starts_with(start))
            .then(|| Stored { name: name.into(), ..tensor.clone() })
    };
    // published with the loss that it was trained with
    let is_loss = |tensor: &&Stored| {
        tensor.name.starts_with("loss.") || LEFTOVER_STARTS.iter().any(|start| tensor.name.starts_with(start))
    };
    tensors
        .iter()
        .filter(|tensor| !is_loss(tensor))
        .map(cut)
        .collect::<Option<Vec<_>>>()
        .filter(|kept| !kept.is_empty())
}

impl Stored {
    /// As the change makes it; none where the shape does not allow that.
    fn changed(self, change: Change) -> Option<Self> {
        match (change, self.shape.as_slice()) {
            (Change::Nothing, _) => Some(self),
            (Change::Transposed, [rows, columns]) => {
                Some(Self { shape: vec![*columns, *rows], is_transposed: true, ..self })
            }
            (Change::Third(third), [rows, ..]) if rows.is_multiple_of(3) => {
                self.rows(third * (rows / 3), rows / 3)
            }
            (Change::Linear, [_, _]) => Some(self),
            (Change::Linear, [outputs, inputs, 1] | [outputs, inputs, 1, 1]) => {
                Some(Self { shape: vec![*outputs, *inputs], ..self })
            }
            _ => None,
        }
    }
}
