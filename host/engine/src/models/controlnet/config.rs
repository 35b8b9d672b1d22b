//! A ControlNet's `config.json`: the keys of diffusers' `ControlNetModel`, which are those of the denoiser's way down and
//! a few of its own. Read by the denoiser's reader, so that what that refuses is refused here.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::ModelFiles;
use crate::models::config::{ensure, ensure_counts, unsupported};
use crate::models::unet::{UNetConfig, skips};
use crate::{Error, Result};

const WHAT: &str = "controlnet configuration";
/// Most convolutions that halve the picture.
const MAX_HALVINGS: usize = 8;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct ControlNetConfig {
    /// The way down; what it says of the way up is not used.
    pub(super) down: UNetConfig,
    /// Channels of the picture.
    pub conditioning_channels: usize,
    /// Channels on the picture's way to the size of the latents, which each but the last halves.
    pub(super) embedding: Vec<usize>,
    /// Whether the picture's channels are swapped first.
    pub(super) is_bgr: bool,
}

/// Its own keys, with the class's defaults; the others are the denoiser's.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    #[serde(rename = "_class_name")]
    class: Option<String>,
    conditioning_channels: usize,
    conditioning_embedding_out_channels: Vec<usize>,
    controlnet_conditioning_channel_order: String,
    global_pool_conditions: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            class: None,
            conditioning_channels: 3,
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            controlnet_conditioning_channel_order: "rgb".into(),
            global_pool_conditions: false,
            rest: Map::new(),
        }
    }
}

impl ControlNetConfig {
    /// Reads and checks `config.json` in a folder; `.` is the files' own.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names a key that would need code which is not there; [`Error::Malformed`] names the file.
    #[doc(hidden)]
    pub fn read(files: &ModelFiles, folder: &str) -> Result<Self> {
        let name = format!("{folder}/config.json");
        let raw: Raw = files.json(&name)?;
        if let Some(class) = raw.class.filter(|class| class != "ControlNetModel") {
            return Err(unsupported(WHAT, "_class_name", &class.into()));
        }
        if raw.global_pool_conditions {
            return Err(unsupported(WHAT, "global_pool_conditions", &true.into()));
        }
        let is_bgr = match raw.controlnet_conditioning_channel_order.as_str() {
            "rgb" => false,
            "bgr" => true,
            other => return Err(unsupported(WHAT, "controlnet_conditioning_channel_order", &other.into())),
        };
        let embedding = raw.conditioning_embedding_out_channels;
        ensure((1..=MAX_HALVINGS + 1).contains(&embedding.len()), files, &name, || {
            format!("conditioning_embedding_out_channels needs 1 to {} entries", MAX_HALVINGS + 1)
        })?;
        let counts = embedding.iter().map(|channels| ("conditioning_embedding_out_channels", *channels));
        let counts: Vec<_> = counts.chain([("conditioning_channels", raw.conditioning_channels)]).collect();
        ensure_counts(files, &name, &counts)?;
        ensure(!is_bgr || raw.conditioning_channels == 3, files, &name, || {
            "controlnet_conditioning_channel_order is of three conditioning_channels".into()
        })?;
        let down = UNetConfig::of_json(files, &name, with_way_up(raw.rest))?;
        Ok(Self { down, conditioning_channels: raw.conditioning_channels, embedding, is_bgr })
    }

    /// Pixels of the picture along a side, for one of the latents.
    pub fn factor(&self) -> usize {
        1 << (self.embedding.len() - 1)
    }

    /// Whether it fits a denoiser: what it gives must be what that adds, block by block.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the key that differs.
    pub fn check(&self, files: &ModelFiles, folder: &str, unet: &UNetConfig, factor: usize) -> Result<()> {
        let wrong = |key: &str, own: String, other: String| -> Error {
            let reason = format!("{key} is {own}; the model that it is for has {other}");
            files.malformed(&format!("{folder}/config.json"), reason)
        };
        let (own, other) = (self.down.cross_attention_dim, unet.cross_attention_dim);
        if own != other {
            return Err(wrong("cross_attention_dim", own.to_string(), other.to_string()));
        }
        // a denoiser may have channels for a mask or a picture, which a ControlNet does not see
        let (own, other) = (self.down.in_channels, unet.out_channels);
        if own != other {
            return Err(wrong("in_channels", own.to_string(), format!("latents of {other}")));
        }
        let (own, other) = (self.down.added, unet.added);
        if own != other {
            return Err(wrong("addition_embed_type", format!("{own:?}"), format!("{other:?}")));
        }
        let (own, other) = (skips(&self.down), skips(unet));
        if own != other {
            return Err(wrong("block_out_channels", format!("{own:?}"), format!("{other:?}")));
        }
        if self.factor() != factor {
            let own = format!("for {} pixels to one of the latents", self.factor());
            return Err(wrong("conditioning_embedding_out_channels", own, factor.to_string()));
        }
        Ok(())
    }
}

/// The way up that mirrors the way down, as the denoiser's reader wants one; a ControlNet has none.
fn with_way_up(mut rest: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(down)) = rest.get("down_block_types") {
        let mirrored = |name: &Value| match name {
            Value::String(name) => Value::from(name.replace("DownBlock", "UpBlock")),
            other => other.clone(),
        };
        let up = down.iter().rev().map(mirrored).collect();
        rest.insert("up_block_types".into(), up);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ControlNetConfig> {
        let list = vec![("./config.json", String::from(text).leak().as_bytes())].leak();
        ControlNetConfig::read(&ModelFiles::embedded(list), ".")
    }

    #[test]
    fn an_empty_file_means_diffusers_defaults() {
        let config = read("{}").unwrap();
        assert_eq!((config.factor(), config.conditioning_channels, config.is_bgr), (8, 3, false));
        assert_eq!(skips(&config.down).len(), 12);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_key() {
        for (text, named) in [
            (r#"{"global_pool_conditions": true}"#, "global_pool_conditions"),
            (r#"{"controlnet_conditioning_channel_order": "grb"}"#, "controlnet_conditioning_channel_order"),
            (r#"{"_class_name": "ControlNetUnionModel"}"#, "ControlNetUnionModel"),
            (r#"{"num_control_type": 6}"#, "num_control_type"),
            (r#"{"conditioning_embedding_out_channels": []}"#, "conditioning_embedding_out_channels"),
            (r#"{"conditioning_embedding_out_channels": [16, 0]}"#, "conditioning_embedding_out_channels"),
            (r#"{"conditioning_channels": 4, "controlnet_conditioning_channel_order": "bgr"}"#, "three"),
            (r#"{"down_block_types": ["DownBlock2D"]}"#, "down_block_types"),
            (r#"{"down_block_types": [1, 2, 3, 4]}"#, "config.json"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn one_for_another_model_is_refused_by_what_differs() {
        let json = |text: &str| serde_json::from_str(text).unwrap();
        let files = ModelFiles::embedded(&[]);
        for (unet, factor, named) in [
            (r#"{"cross_attention_dim": 768}"#, 8, "cross_attention_dim is 1280"),
            (r#"{"block_out_channels": [320, 640, 1280, 640]}"#, 8, "block_out_channels"),
            ("{}", 4, "conditioning_embedding_out_channels is for 8 pixels"),
        ] {
            let unet = UNetConfig::of_json(&files, "unet/config.json", json(unet)).unwrap();
            let error = read("{}").unwrap().check(&files, ".", &unet, factor).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
