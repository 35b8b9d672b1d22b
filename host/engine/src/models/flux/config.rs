//! `transformer/config.json`; where there is none, as beside a single file, the shapes of the tensors say as much.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::FOLDER;
use crate::Result;
use crate::files::ModelFiles;
use crate::models::config::{Neutral, ensure, ensure_counts};
use crate::weights::Weights;

const NEUTRAL: Neutral = Neutral {
    what: "transformer configuration",
    values: r#"{"patch_size": 1, "out_channels": null}"#,
    ignored: &[],
};
/// Latents of 2 by 2 pixels make one token.
pub(super) const PATCH: usize = 2;
/// Of every published FLUX.1; a single file does not say them.
const AXES: [usize; 3] = [16, 56, 56];

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct FluxConfig {
    /// Width of an image token before it is projected: 4 times the channels of the latents.
    pub in_channels: usize,
    /// Blocks with separate weights for text and image.
    pub num_layers: usize,
    /// Blocks with weights for both.
    pub num_single_layers: usize,
    /// Width of a head.
    pub attention_head_dim: usize,
    /// Heads of each block.
    pub num_attention_heads: usize,
    /// Width of the text's states.
    pub joint_attention_dim: usize,
    /// Width of the text's pooled state.
    pub pooled_projection_dim: usize,
    /// Whether the guidance scale is an input (dev) or there is none (schnell).
    pub guidance_embeds: bool,
    /// How much of a head is turned by each of a token's three positions.
    pub axes_dims_rope: [usize; 3],
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for FluxConfig {
    fn default() -> Self {
        Self {
            in_channels: 64,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: AXES,
            rest: Map::new(),
        }
    }
}

impl FluxConfig {
    /// Width of the states.
    pub fn width(&self) -> usize {
        self.attention_head_dim * self.num_attention_heads
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        self.in_channels / (PATCH * PATCH)
    }

    /// Tokens of the text, padding included: with guidance (dev) a longer one was trained than without (schnell), as in
    /// Black Forest Labs' own code.
    pub fn text_tokens(&self) -> usize {
        if self.guidance_embeds { 512 } else { 256 }
    }

    /// Latents along a side that make one token: pictures come in multiples of so many latents.
    pub fn patch(&self) -> usize {
        PATCH
    }

    /// Tokens of a picture of so many latents; a flow-match schedule with dynamic shifting is told it.
    pub fn image_tokens(&self, height: usize, width: usize) -> usize {
        (height / PATCH) * (width / PATCH)
    }

    /// Reads and checks the file, or tells the configuration from the weights, whose names are those of diffusers.
    pub(super) fn of(files: &ModelFiles, weights: &Weights) -> Result<Self> {
        let name = format!("{FOLDER}/config.json");
        match files.contains(&name) {
            true => Self::read(files, &name),
            false => Self::from_shapes(weights).ok_or_else(|| {
                weights.malformed("is no FLUX.1 of the published shape; others need transformer/config.json")
            }),
        }
    }

    fn read(files: &ModelFiles, name: &str) -> Result<Self> {
        let config: Self = files.json(name)?;
        NEUTRAL.check(&config.rest)?;
        let counts = [
            ("in_channels", config.in_channels),
            ("num_layers", config.num_layers),
            ("num_single_layers", config.num_single_layers),
            ("attention_head_dim", config.attention_head_dim),
            ("num_attention_heads", config.num_attention_heads),
            ("joint_attention_dim", config.joint_attention_dim),
            ("pooled_projection_dim", config.pooled_projection_dim),
        ];
        ensure_counts(files, name, &counts)?;
        ensure(config.in_channels.is_multiple_of(PATCH * PATCH), files, name, || {
            format!("in_channels {} must be a multiple of 4: tokens are 2 by 2 latents", config.in_channels)
        })?;
        let (axes, head) = (config.axes_dims_rope, config.attention_head_dim);
        let sum = axes.iter().try_fold(0usize, |sum, axis| sum.checked_add(*axis));
        ensure(sum == Some(head) && axes.iter().all(|axis| axis.is_multiple_of(2)), files, name, || {
            format!("axes_dims_rope {axes:?} must be even and add up to attention_head_dim {head}")
        })?;
        Ok(config)
    }

    /// A head's width is that of its norm; how it is divided among the positions no tensor says.
    fn from_shapes(weights: &Weights) -> Option<Self> {
        let [width, in_channels] = *weights.shape("x_embedder.weight")? else { return None };
        let [_, joint_attention_dim] = *weights.shape("context_embedder.weight")? else { return None };
        let pooled = weights.shape("time_text_embed.text_embedder.linear_1.weight")?;
        let [_, pooled_projection_dim] = *pooled else { return None };
        let [attention_head_dim] = *weights.shape("transformer_blocks.0.attn.norm_q.weight")? else {
            return None;
        };
        let count = |prefix: &str| {
            let has =
                |index: &usize| weights.shape(&format!("{prefix}.{index}.attn.norm_q.weight")).is_some();
            (0..).take_while(has).count()
        };
        let config = Self {
            in_channels,
            num_layers: count("transformer_blocks"),
            num_single_layers: count("single_transformer_blocks"),
            attention_head_dim,
            num_attention_heads: width / attention_head_dim.max(1),
            joint_attention_dim,
            pooled_projection_dim,
            guidance_embeds: weights.shape("time_text_embed.guidance_embedder.linear_1.weight").is_some(),
            ..Self::default()
        };
        let is_sound = attention_head_dim == AXES.iter().sum::<usize>()
            && config.width() == width
            && in_channels.is_multiple_of(PATCH * PATCH);
        is_sound.then_some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atelier_inference::Precision;

    use crate::models::flux::describe;
    use crate::weights::testing::file_of;

    /// Of a file in Black Forest Labs' names, as few as tell a configuration.
    fn single_file(head: usize, guidance: bool) -> ModelFiles {
        let width = 2 * head;
        let mut tensors = vec![
            ("img_in.weight", vec![width, 64]),
            ("txt_in.weight", vec![width, 96]),
            ("vector_in.in_layer.weight", vec![width, 48]),
            ("double_blocks.0.img_attn.qkv.weight", vec![3 * width, width]),
            ("double_blocks.0.img_attn.norm.query_norm.scale", vec![head]),
            ("single_blocks.0.norm.query_norm.scale", vec![head]),
            ("single_blocks.1.norm.query_norm.scale", vec![head]),
        ];
        if guidance {
            tensors.push(("guidance_in.in_layer.weight", vec![width, 256]));
        }
        ModelFiles::embedded(vec![("flux1-dev.safetensors", file_of(&tensors))].leak())
    }

    #[test]
    fn a_single_file_tells_its_configuration() {
        for guidance in [true, false] {
            let (config, bytes) = describe(&single_file(128, guidance), Precision::F32).unwrap();
            assert_eq!((config.num_layers, config.num_single_layers), (1, 2));
            assert_eq!((config.width(), config.latent_channels()), (256, 16));
            assert_eq!((config.joint_attention_dim, config.pooled_projection_dim), (96, 48));
            assert_eq!(config.guidance_embeds, guidance);
            assert_eq!(config.text_tokens(), if guidance { 512 } else { 256 });
            // matrices stay in two bytes, norms become f32
            let matrices = 256 * (64 + 96 + 48 + 3 * 256 + if guidance { 256 } else { 0 });
            assert_eq!(bytes, 2 * matrices + 4 * 3 * 128);
        }
    }

    #[test]
    fn a_single_file_of_another_shape_needs_a_configuration() {
        let error = describe(&single_file(64, false), Precision::F32).unwrap_err().to_string();
        assert!(
            error.contains("flux1-dev.safetensors") && error.contains("transformer/config.json"),
            "{error}"
        );
    }

    #[test]
    fn what_no_flux_is_like_is_refused_by_key() {
        for (json, named) in [
            (r#"{"axes_dims_rope": [16, 56, 58]}"#, "axes_dims_rope"),
            (r#"{"axes_dims_rope": [15, 57, 56]}"#, "axes_dims_rope"),
            (r#"{"in_channels": 66}"#, "in_channels"),
            (r#"{"num_layers": 0}"#, "num_layers"),
            (r#"{"patch_size": 2}"#, "patch_size"),
            (r#"{"qk_norm": "layer"}"#, "qk_norm"),
        ] {
            let files: &'static [(&str, &[u8])] = vec![("transformer/config.json", json.as_bytes())].leak();
            let error = FluxConfig::read(&ModelFiles::embedded(files), "transformer/config.json");
            let error = error.unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }
}
