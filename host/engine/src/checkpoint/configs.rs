//! The configuration files that a folder of diffusers would have beside the weights, written from a checkpoint's layout.
//! What shapes cannot tell (heads, activations, scales, schedules) is the same for all checkpoints of a family, and
//! stands here once, as in the folders that were published for it.

use serde_json::{Map, Value, json};

use super::layout::{TextLayout, UNetLayout, VaeLayout};

/// Channels of an attention head in the families that were trained with a fixed size.
pub(super) const HEAD: usize = 64;
/// Heads of every attention in the family that was trained with a fixed number.
pub(super) const HEADS: usize = 8;
/// Normalisation groups of the denoiser and the autoencoder.
pub(super) const GROUPS: usize = 32;

/// Configurations from before transformers 4.31 named this id, those of all three families among them. It means: the token
/// of the highest id.
const OLD_EOS: u32 = 2;

/// A list, or its value where all are equal, as published files have it.
fn short(values: Vec<usize>) -> Value {
    match values.first() {
        Some(first) if values.iter().all(|value| value == first) => json!(first),
        _ => json!(values),
    }
}

/// `unet/config.json`; `sample_size` is the side of the latents.
pub(super) fn unet(layout: &UNetLayout, sample_size: usize) -> Value {
    let levels = &layout.levels;
    let kinds = |up: bool| {
        let (plain, attention) =
            if up { ("UpBlock2D", "CrossAttnUpBlock2D") } else { ("DownBlock2D", "CrossAttnDownBlock2D") };
        levels.iter().map(move |level| if level.depth > 0 { attention } else { plain })
    };
    let channels: Vec<_> = levels.iter().map(|level| level.channels).collect();
    let heads = match layout.is_linear {
        true => short(channels.iter().map(|channels| channels / HEAD).collect()),
        false => json!(HEADS),
    };
    // the last entry is the middle's as well, whether or not its level has attention
    let mut depths: Vec<_> = levels.iter().map(|level| level.depth.max(1)).collect();
    if let Some(last) = depths.last_mut() {
        *last = layout.middle_depth.max(1);
    }
    let mut config = json!({
        "_class_name": "UNet2DConditionModel", "sample_size": sample_size,
        "in_channels": layout.in_channels, "out_channels": layout.out_channels,
        "down_block_types": kinds(false).collect::<Vec<_>>(),
        "up_block_types": kinds(true).rev().collect::<Vec<_>>(),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "block_out_channels": channels, "attention_head_dim": heads,
        "layers_per_block": short(levels.iter().map(|level| level.layers).collect()),
        "transformer_layers_per_block": short(depths),
        "cross_attention_dim": layout.context, "use_linear_projection": layout.is_linear,
        "norm_num_groups": GROUPS, "norm_eps": 1e-5, "act_fn": "silu",
        "flip_sin_to_cos": true, "freq_shift": 0, "time_cond_proj_dim": layout.guidance,
    });
    if let Some(width) = layout.addition {
        config["addition_embed_type"] = json!("text_time");
        config["addition_time_embed_dim"] = json!(256);
        config["projection_class_embeddings_input_dim"] = json!(width);
    }
    config
}

/// `vae/config.json`.
pub(super) fn vae(layout: &VaeLayout, scaling_factor: f64) -> Value {
    json!({
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "act_fn": "silu",
        "down_block_types": vec!["DownEncoderBlock2D"; layout.channels.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; layout.channels.len()],
        "block_out_channels": layout.channels, "layers_per_block": layout.layers,
        "latent_channels": layout.latents, "norm_num_groups": GROUPS, "scaling_factor": scaling_factor,
        "use_quant_conv": layout.has_quant, "use_post_quant_conv": layout.has_post_quant,
    })
}

/// `text_encoder/config.json` of OpenAI's CLIP.
pub(super) fn clip(layout: &TextLayout) -> Value {
    text(layout, "CLIPTextModel", "quick_gelu")
}

/// `text_encoder/config.json` of OpenCLIP without its projection, as in Stable Diffusion 2.
pub(super) fn open_clip(layout: &TextLayout) -> Value {
    text(layout, "CLIPTextModel", "gelu")
}

/// `text_encoder_2/config.json`, the projection included.
pub(super) fn open_clip_projected(layout: &TextLayout) -> Value {
    text(layout, "CLIPTextModelWithProjection", "gelu")
}

fn text(layout: &TextLayout, class: &str, activation: &str) -> Value {
    json!({
        "architectures": [class], "model_type": "clip_text_model",
        "hidden_size": layout.width, "intermediate_size": layout.inner,
        "num_hidden_layers": layout.layers, "num_attention_heads": layout.width / HEAD,
        "max_position_embeddings": layout.positions, "vocab_size": layout.vocabulary,
        "hidden_act": activation, "layer_norm_eps": 1e-5,
        "projection_dim": layout.projection.unwrap_or(layout.width),
        "bos_token_id": 0, "eos_token_id": OLD_EOS, "pad_token_id": 1,
    })
}

/// `tokenizer/tokenizer_config.json`; texts are filled up with `pad`.
pub(super) fn tokenizer(pad: &str) -> Value {
    json!({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad,
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    })
}

/// `scheduler/scheduler_config.json` on the training table that all of these families share.
pub(super) fn schedule(class: &str, prediction: &str, more: Value) -> Value {
    let mut config = json!({
        "_class_name": class, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "prediction_type": prediction, "steps_offset": 1,
        "set_alpha_to_one": false, "clip_sample": false, "trained_betas": null,
    });
    merge(&mut config, more);
    config
}

/// `model_index.json`: the pipeline's class, its components with their classes, and what else it says.
pub(super) fn index(class: &str, components: &[(&str, &str, &str)], more: Value) -> Value {
    let mut index = json!({ "_class_name": class });
    for (component, library, class) in components {
        index[*component] = json!([library, class]);
    }
    merge(&mut index, more);
    index
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend::<Map<String, Value>>(more);
    }
}
