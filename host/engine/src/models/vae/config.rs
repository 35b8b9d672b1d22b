//! `vae/config.json` of both kinds.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::Activation;
use crate::models::config::{Neutral, ensure, ensure_counts, unsupported};

const WHAT: &str = "vae configuration";
/// Most levels; each halves the picture.
const MAX_LEVELS: usize = 8;

const KL_NEUTRAL: Neutral = Neutral {
    what: WHAT,
    values: r#"{
        "act_fn": "silu", "down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D",
        "latents_mean": null, "latents_std": null, "mid_block_add_attention": true
    }"#,
    // the VAE always runs in f32
    ignored: &["force_upcast"],
};

const TINY_NEUTRAL: Neutral = Neutral {
    what: WHAT,
    values: r#"{"upsample_fn": "nearest", "upsampling_scaling_factor": 2, "shift_factor": 0.0}"#,
    // these concern latents stored as bytes, which nothing here does
    ignored: &["latent_magnitude", "latent_shift", "force_upcast", "block_out_channels"],
};

/// `AutoencoderKL`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct KlConfig {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) layers_per_block: usize,
    pub(crate) latent_channels: usize,
    pub(crate) norm_num_groups: usize,
    pub(crate) scaling_factor: f64,
    /// Side in pixels of the pictures that it was trained on.
    pub(crate) sample_size: usize,
    /// Subtracted from latents before they are scaled.
    pub(crate) shift_factor: Option<f64>,
    pub(crate) use_quant_conv: bool,
    pub(crate) use_post_quant_conv: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![64],
            layers_per_block: 1,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            sample_size: 32,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            rest: Map::new(),
        }
    }
}

impl KlConfig {
    pub(crate) fn read(files: &ModelFiles, name: &str) -> Result<Self> {
        let config: Self = files.json(name)?;
        KL_NEUTRAL.check(&config.rest)?;
        ensure_levels(files, name, "block_out_channels", &config.block_out_channels)?;
        let counts = [
            ("layers_per_block", config.layers_per_block),
            ("latent_channels", config.latent_channels),
            ("norm_num_groups", config.norm_num_groups),
            ("sample_size", config.sample_size),
        ];
        ensure_counts(files, name, &counts)?;
        ensure_scale(files, name, config.scaling_factor)?;
        let shift = config.shift_factor.unwrap_or_default();
        ensure(shift.is_finite(), files, name, || format!("shift_factor is {shift}"))?;
        ensure_rgb(config.in_channels, config.out_channels)?;
        Ok(config)
    }
}

/// `AutoencoderTiny`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct TinyConfig {
    in_channels: usize,
    out_channels: usize,
    pub(crate) encoder_block_out_channels: Vec<usize>,
    pub(crate) decoder_block_out_channels: Vec<usize>,
    pub(crate) num_encoder_blocks: Vec<usize>,
    pub(crate) num_decoder_blocks: Vec<usize>,
    pub(crate) latent_channels: usize,
    pub(crate) scaling_factor: f64,
    act_fn: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for TinyConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            latent_channels: 4,
            scaling_factor: 1.0,
            act_fn: "relu".into(),
            rest: Map::new(),
        }
    }
}

impl TinyConfig {
    pub(crate) fn read(files: &ModelFiles, name: &str) -> Result<Self> {
        let config: Self = files.json(name)?;
        TINY_NEUTRAL.check(&config.rest)?;
        config.activation()?;
        for (key, channels, blocks) in [
            ("encoder", &config.encoder_block_out_channels, &config.num_encoder_blocks),
            ("decoder", &config.decoder_block_out_channels, &config.num_decoder_blocks),
        ] {
            ensure_levels(files, name, &format!("{key}_block_out_channels"), channels)?;
            // diffusers' layers keep their width, so that any other file could not have been written
            ensure(channels.iter().all(|width| *width == channels[0]), files, name, || {
                format!("{key}_block_out_channels must all be equal")
            })?;
            ensure(blocks.len() == channels.len(), files, name, || {
                format!("num_{key}_blocks and {key}_block_out_channels must be of one length")
            })?;
        }
        // else latents that were encoded would have another size than those that are decoded
        let (encoder, decoder) = (&config.encoder_block_out_channels, &config.decoder_block_out_channels);
        ensure(encoder.len() == decoder.len(), files, name, || {
            "encoder_block_out_channels and decoder_block_out_channels must be of one length".into()
        })?;
        ensure_counts(files, name, &[("latent_channels", config.latent_channels)])?;
        ensure_scale(files, name, config.scaling_factor)?;
        ensure_rgb(config.in_channels, config.out_channels)?;
        Ok(config)
    }

    pub(crate) fn activation(&self) -> Result<Activation> {
        Activation::from_name(&self.act_fn)
            .ok_or_else(|| unsupported(WHAT, "act_fn", &self.act_fn.as_str().into()))
    }
}

/// Widths of the levels: few enough to shift by, each large enough to exist.
fn ensure_levels(files: &ModelFiles, name: &str, key: &str, channels: &[usize]) -> Result<()> {
    ensure((1..=MAX_LEVELS).contains(&channels.len()), files, name, || {
        format!("{key} has {} entries; 1 to {MAX_LEVELS} make sense", channels.len())
    })?;
    channels.iter().try_for_each(|width| ensure_counts(files, name, &[(key, *width)]))
}

/// The factor is divided by before decoding.
fn ensure_scale(files: &ModelFiles, name: &str, factor: f64) -> Result<()> {
    ensure(factor.is_finite() && factor != 0.0, files, name, || format!("scaling_factor is {factor}"))
}

/// Pictures have three channels on both sides; anything else is a network for other data.
fn ensure_rgb(inputs: usize, outputs: usize) -> Result<()> {
    match (inputs, outputs) {
        (3, 3) => Ok(()),
        (3, _) => Err(unsupported(WHAT, "out_channels", &outputs.into())),
        _ => Err(unsupported(WHAT, "in_channels", &inputs.into())),
    }
}
