//! `unet/config.json`: the keys of diffusers' `UNet2DConditionModel` that Stable Diffusion 1, 2 and XL and their
//! relatives use. Every other key must hold its neutral value.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::FOLDER;
use crate::Result;
use crate::files::ModelFiles;
use crate::models::blocks::Norm;
use crate::models::config::{Neutral, OneOrMany, ensure, ensure_counts, unsupported};

const WHAT: &str = "unet configuration";
/// Most blocks on the way down; each halves the picture.
const MAX_BLOCKS: usize = 12;
/// Largest latents, along a side.
const MAX_SAMPLE_SIZE: usize = 4_096;

const NEUTRAL: Neutral = Neutral {
    what: WHAT,
    values: r#"{
        "center_input_sample": false, "only_cross_attention": false, "downsample_padding": 1,
        "mid_block_scale_factor": 1, "dropout": 0, "act_fn": "silu", "reverse_transformer_layers_per_block": null,
        "encoder_hid_dim": null, "encoder_hid_dim_type": null, "num_attention_heads": null,
        "dual_cross_attention": false, "class_embed_type": null,
        "num_class_embeds": null, "resnet_time_scale_shift": "default", "resnet_skip_time_act": false,
        "resnet_out_scale_factor": 1, "time_embedding_type": "positional", "time_embedding_dim": null,
        "time_embedding_act_fn": null, "timestep_post_act": null, "conv_in_kernel": 3, "conv_out_kernel": 3,
        "attention_type": "default", "class_embeddings_concat": false, "mid_block_only_cross_attention": null,
        "cross_attention_norm": null
    }"#,
    // attention is always computed in f32, so upcast_attention changes nothing
    ignored: &["addition_embed_type_num_heads", "upcast_attention"],
};

/// A block on the way down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// Resnets alone.
    Plain,
    /// Resnets and transformers that look at the text.
    CrossAttention,
}

/// One block's settings, the lists of the file taken apart.
#[derive(Debug, Clone)]
pub(crate) struct BlockConfig {
    pub(crate) kind: BlockKind,
    pub(crate) channels: usize,
    /// On the way down `layers_per_block`, on the way up one more, for the skip of the convolution before the block.
    pub(crate) resnets: usize,
    pub(crate) attention: AttentionConfig,
}

/// A spatial transformer's settings.
#[derive(Debug, Clone)]
pub(crate) struct AttentionConfig {
    /// The file's `attention_head_dim`: diffusers reads it as the number of heads, because Stable Diffusion 1 was
    /// published so, and keeps the name.
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) context_width: usize,
    pub(crate) use_linear_projection: bool,
    pub(crate) groups: usize,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct UNetConfig {
    /// Height and width of the latents that the model was trained on.
    pub sample_size: Option<(usize, usize)>,
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Width of the guidance embedding of distilled models (LCM), which replaces classifier-free guidance.
    pub time_cond_proj_dim: Option<usize>,
    /// What is added to the time embedding (XL).
    pub added: Option<AddedConfig>,
    pub(crate) flip_sin_to_cos: bool,
    pub(crate) freq_shift: f64,
    pub(crate) norm: Norm,
    /// From the largest picture to the smallest.
    pub(crate) down: Vec<BlockConfig>,
    /// From the smallest to the largest.
    pub(crate) up: Vec<BlockConfig>,
}

/// XL's second embedding: of the pooled text and of a few numbers, such as sizes (`addition_embed_type` `text_time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedConfig {
    /// Sines and cosines for each number.
    pub time_embed_dim: usize,
    /// Width of the pooled text and all numbers' sinusoids together.
    pub input_dim: usize,
}

impl AddedConfig {
    /// How many numbers there are beside a pooled text of this width; none when the widths do not fit.
    pub(crate) fn numbers(&self, pooled: usize) -> Option<usize> {
        let rest = self.input_dim.checked_sub(pooled)?;
        rest.is_multiple_of(self.time_embed_dim).then_some(rest / self.time_embed_dim)
    }
}

/// The file as it stands, with the class's defaults for what it leaves out.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    sample_size: Option<OneOrMany>,
    in_channels: usize,
    out_channels: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    down_block_types: Vec<String>,
    mid_block_type: Option<String>,
    up_block_types: Vec<String>,
    block_out_channels: Vec<usize>,
    layers_per_block: OneOrMany,
    norm_num_groups: usize,
    norm_eps: f64,
    cross_attention_dim: OneOrMany,
    transformer_layers_per_block: OneOrMany,
    attention_head_dim: OneOrMany,
    use_linear_projection: bool,
    time_cond_proj_dim: Option<usize>,
    addition_embed_type: Option<String>,
    addition_time_embed_dim: Option<usize>,
    projection_class_embeddings_input_dim: Option<usize>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for Raw {
    fn default() -> Self {
        let cross = |name: &str| [name; 3].map(String::from);
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: [cross("CrossAttnDownBlock2D").as_slice(), &["DownBlock2D".into()]].concat(),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".into()),
            up_block_types: [["UpBlock2D".into()].as_slice(), &cross("CrossAttnUpBlock2D")].concat(),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: OneOrMany::One(2),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: OneOrMany::One(1280),
            transformer_layers_per_block: OneOrMany::One(1),
            attention_head_dim: OneOrMany::One(8),
            use_linear_projection: false,
            time_cond_proj_dim: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            rest: Map::new(),
        }
    }
}

impl UNetConfig {
    /// Reads and checks the file.
    #[doc(hidden)]
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let name = format!("{FOLDER}/config.json");
        Self::of_raw(files, &name, files.json(&name)?)
    }

    /// Checks what was read from a file that holds more than this; `name` is the file's.
    pub(crate) fn of_json(files: &ModelFiles, name: &str, json: Map<String, Value>) -> Result<Self> {
        let raw = serde_json::from_value(Value::Object(json));
        Self::of_raw(files, name, raw.map_err(|error| files.malformed(name, error.to_string()))?)
    }

    fn of_raw(files: &ModelFiles, name: &str, raw: Raw) -> Result<Self> {
        NEUTRAL.check(&raw.rest)?;
        if raw.mid_block_type.as_deref() != Some("UNetMidBlock2DCrossAttn") {
            return Err(unsupported(WHAT, "mid_block_type", &raw.mid_block_type.into()));
        }
        let down = raw.blocks(files, name)?;
        let added = raw.added(files, name)?;
        let config = raw.checked(down, added)?;
        config.check_numbers(files, name)?;
        Ok(config)
    }

    fn check_numbers(&self, files: &ModelFiles, name: &str) -> Result<()> {
        let groups = self.norm.groups;
        ensure_counts(
            files,
            name,
            &[("in_channels", self.in_channels), ("out_channels", self.out_channels)],
        )?;
        let (height, width) = self.sample_size.unwrap_or((1, 1));
        ensure([height, width].iter().all(|side| (1..=MAX_SAMPLE_SIZE).contains(side)), files, name, || {
            format!("sample_size is {height}x{width}; 1 to {MAX_SAMPLE_SIZE} make sense")
        })?;
        for block in &self.down {
            let attention = &block.attention;
            let counts = [
                ("norm_num_groups", groups),
                ("block_out_channels", block.channels),
                ("layers_per_block", block.resnets),
                ("attention_head_dim", attention.heads),
                ("transformer_layers_per_block", attention.layers),
                ("cross_attention_dim", attention.context_width),
            ];
            ensure_counts(files, name, &counts)?;
            ensure(block.channels.is_multiple_of(groups), files, name, || {
                format!("norm_num_groups {groups} does not divide the {} channels of a block", block.channels)
            })?;
            ensure(block.channels.is_multiple_of(attention.heads), files, name, || {
                format!(
                    "{} heads (attention_head_dim) do not divide {} channels",
                    attention.heads, block.channels
                )
            })?;
        }
        Ok(())
    }
}

impl Raw {
    /// The blocks on the way down, every list checked against their number.
    fn blocks(&self, files: &ModelFiles, name: &str) -> Result<Vec<BlockConfig>> {
        let count = self.block_out_channels.len();
        ensure((1..=MAX_BLOCKS).contains(&count), files, name, || {
            format!("block_out_channels has {count} entries; 1 to {MAX_BLOCKS} make sense")
        })?;
        ensure(self.block_out_channels[0].is_multiple_of(2), files, name, || {
            "the first of block_out_channels must be even: it holds sines and cosines of the timestep".into()
        })?;
        let lengths =
            [("down_block_types", &self.down_block_types), ("up_block_types", &self.up_block_types)];
        for (key, list) in lengths {
            ensure(list.len() == count, files, name, || {
                format!("{key} needs {count} entries, like block_out_channels")
            })?;
        }
        let list = |key: &str, values: &OneOrMany| {
            values
                .per_block(count)
                .ok_or_else(|| files.malformed(name, format!("{key} needs one value or {count}")))
        };
        let resnets = list("layers_per_block", &self.layers_per_block)?;
        let heads = list("attention_head_dim", &self.attention_head_dim)?;
        let layers = list("transformer_layers_per_block", &self.transformer_layers_per_block)?;
        let context = list("cross_attention_dim", &self.cross_attention_dim)?;
        let block = |index: usize| {
            let attention = AttentionConfig {
                heads: heads[index],
                layers: layers[index],
                context_width: context[index],
                use_linear_projection: self.use_linear_projection,
                groups: self.norm_num_groups,
            };
            let kind = kind(
                "down_block_types",
                &self.down_block_types[index],
                "DownBlock2D",
                "CrossAttnDownBlock2D",
            )?;
            Ok(BlockConfig {
                kind,
                channels: self.block_out_channels[index],
                resnets: resnets[index],
                attention,
            })
        };
        (0..count).map(block).collect()
    }

    /// XL's second embedding, if the file asks for one; its two widths must be there and make sense.
    fn added(&self, files: &ModelFiles, name: &str) -> Result<Option<AddedConfig>> {
        match self.addition_embed_type.as_deref() {
            None => match self.projection_class_embeddings_input_dim.or(self.addition_time_embed_dim) {
                None => Ok(None),
                Some(_) => Err(unsupported(WHAT, "addition_embed_type", &Value::Null)),
            },
            Some("text_time") => {
                let time_embed_dim = self.addition_time_embed_dim.unwrap_or_default();
                let input_dim = self.projection_class_embeddings_input_dim.unwrap_or_default();
                let counts = [
                    ("addition_time_embed_dim", time_embed_dim),
                    ("projection_class_embeddings_input_dim", input_dim),
                ];
                ensure_counts(files, name, &counts)?;
                ensure(time_embed_dim.is_multiple_of(2), files, name, || {
                    "addition_time_embed_dim must be even: it holds sines and cosines".into()
                })?;
                Ok(Some(AddedConfig { time_embed_dim, input_dim }))
            }
            Some(other) => Err(unsupported(WHAT, "addition_embed_type", &other.into())),
        }
    }

    /// The way up mirrors the way down in width, heads and layers; its kinds of block are in a list of their own.
    fn checked(self, down: Vec<BlockConfig>, added: Option<AddedConfig>) -> Result<UNetConfig> {
        let mirrored = down.iter().rev().zip(&self.up_block_types).map(|(block, name)| {
            let kind = kind("up_block_types", name, "UpBlock2D", "CrossAttnUpBlock2D")?;
            Ok(BlockConfig { kind, resnets: block.resnets + 1, ..block.clone() })
        });
        let sample_size = self.sample_size.clone().map(pair).transpose()?;
        let context_width = down[0].attention.context_width;
        // one prompt is encoded for all blocks
        if let Some(other) = down.iter().find(|block| block.attention.context_width != context_width) {
            return Err(unsupported(WHAT, "cross_attention_dim", &other.attention.context_width.into()));
        }
        Ok(UNetConfig {
            sample_size,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            cross_attention_dim: context_width,
            time_cond_proj_dim: self.time_cond_proj_dim,
            added,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            norm: Norm { groups: self.norm_num_groups, eps: self.norm_eps },
            up: mirrored.collect::<Result<_>>()?,
            down,
        })
    }
}

/// Height and width, of a number for both or a list of two.
fn pair(size: OneOrMany) -> Result<(usize, usize)> {
    let shown = format!("{size:?}");
    match size.per_block(2).as_deref() {
        Some([height, width]) => Ok((*height, *width)),
        _ => Err(unsupported(WHAT, "sample_size", &shown.into())),
    }
}

fn kind(key: &str, name: &str, plain: &str, cross: &str) -> Result<BlockKind> {
    match name {
        _ if name == plain => Ok(BlockKind::Plain),
        _ if name == cross => Ok(BlockKind::CrossAttention),
        _ => Err(unsupported(WHAT, key, &Value::from(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UNetConfig> {
        let list = vec![("unet/config.json", String::from(text).leak().as_bytes())].leak();
        UNetConfig::read(&ModelFiles::embedded(list))
    }

    #[test]
    fn an_empty_file_means_diffusers_defaults() {
        let config = read("{}").unwrap();
        let kinds: Vec<_> =
            config.up.iter().map(|block| (block.kind, block.channels, block.resnets)).collect();
        use BlockKind::{CrossAttention, Plain};
        assert_eq!(kinds[..2], [(Plain, 1280, 3), (CrossAttention, 1280, 3)]);
        assert_eq!(config.down[0].attention.heads, 8);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_key() {
        for (text, named) in [
            (r#"{"sample_size": [64, 64, 64]}"#, "sample_size"),
            (r#"{"cross_attention_dim": [768, 768, 1024, 768]}"#, "cross_attention_dim"),
            (r#"{"class_embed_type": "timestep"}"#, "class_embed_type"),
            (r#"{"num_attention_heads": 4}"#, "num_attention_heads"),
            (r#"{"addition_embed_type": "image"}"#, "addition_embed_type"),
            (r#"{"addition_time_embed_dim": 256}"#, "addition_embed_type"),
            (r#"{"mid_block_type": null}"#, "mid_block_type"),
            (
                r#"{"down_block_types": ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"]}"#,
                "AttnDownBlock2D",
            ),
            (r#"{"act_fn": "mish"}"#, "act_fn"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("not supported"), "{error}");
        }
    }

    #[test]
    fn numbers_that_would_divide_by_zero_or_not_divide_are_refused() {
        for text in [
            r#"{"block_out_channels": []}"#,
            r#"{"block_out_channels": [320, 640, 0, 1280]}"#,
            r#"{"norm_num_groups": 0}"#,
            r#"{"norm_num_groups": 7}"#,
            r#"{"attention_head_dim": 0}"#,
            r#"{"attention_head_dim": [5, 10]}"#,
            r#"{"layers_per_block": 0}"#,
            r#"{"in_channels": 0}"#,
            r#"{"sample_size": 0}"#,
            r#"{"sample_size": [64, 18446744073709551615]}"#,
            r#"{"in_channels": -1}"#,
            r#"{"addition_embed_type": "text_time"}"#,
            r#"{"addition_embed_type": "text_time", "addition_time_embed_dim": 255, "projection_class_embeddings_input_dim": 1}"#,
            r#"{"up_block_types": []}"#,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("unet/config.json"), "{error}");
        }
    }
}
