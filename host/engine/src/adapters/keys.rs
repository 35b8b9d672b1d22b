//! A tensor's name in an adapter file: which components it may be of, the layer's name, and what the tensor is to it.
//! One table for all dialects, because their endings and beginnings are mixed freely in the wild.

use super::Component::{self, TextEncoder, TextEncoder2, Transformer, UNet};

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// From the layer's inputs to the rank.
    Down,
    /// From the rank to the layer's outputs.
    Up,
    /// LyCORIS' kernel between a 1x1 `Down` and `Up`.
    Middle,
    /// A number: the addition is scaled by `alpha / rank`.
    Alpha,
}

/// Endings of names: kohya's, peft's (with the name that peft gives an only adapter), diffusers' of three ages.
const ENDINGS: [(&str, Part); 17] = [
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Middle),
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_A.default.weight", Part::Down),
    (".lora_B.default.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora.alpha", Part::Alpha),
    (".lora_linear_layer.alpha", Part::Alpha),
    ("_lora.alpha", Part::Alpha),
    (".alpha", Part::Alpha),
];

/// Parts of names that say that a file is of another kind.
const OTHER_KINDS: [(&str, &str); 8] = [
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".oft_", "OFT"),
    (".boft_", "BOFT"),
    (".lora_B.bias", "LoRA with a bias"),
    ("bundle_emb.", "LoRA with an embedding inside"),
];
/// Endings that say so.
const WHOLE_DIFFERENCES: [&str; 2] = [".diff", ".diff_b"];

/// Beginnings of names, the longest of those that fit first: kohya's, diffusers', ComfyUI's, and none at all for the
/// file of one network.
const BEGINNINGS: [(&str, &[Component]); 12] = [
    ("lora_unet_", &[UNet, Transformer]),
    ("lora_transformer_", &[Transformer]),
    ("lora_te1_", &[TextEncoder]),
    ("lora_te2_", &[TextEncoder2]),
    ("lora_te_", &[TextEncoder]),
    ("unet.", &[UNet]),
    ("transformer.", &[Transformer]),
    ("text_encoder.", &[TextEncoder]),
    ("text_encoder_2.", &[TextEncoder2]),
    ("diffusion_model.", &[UNet, Transformer]),
    ("text_encoders.clip_l.transformer.", &[TextEncoder]),
    ("text_encoders.clip_g.transformer.", &[TextEncoder2]),
];
/// Of a network on its own; a file of a text encoder alone says so by its folder.
const ALONE: &[Component] = &[UNet, Transformer];

/// What peft puts before all names.
const PEFT: &str = "base_model.model.";

/// The layer's name with its beginning, and what the tensor is to it; `None` for a name that is no adapter's.
pub(super) fn split(key: &str) -> Option<(&str, Part)> {
    let key = key.strip_prefix(PEFT).unwrap_or(key);
    ENDINGS.iter().find_map(|(ending, part)| Some((key.strip_suffix(ending)?, *part)))
}

/// The name of the kind of adapter whose tensors are named so, where it is one that is not read.
pub(super) fn other_kind(key: &str) -> Option<&'static str> {
    if WHOLE_DIFFERENCES.iter().any(|ending| key.ends_with(ending)) {
        return Some("a whole difference of weights");
    }
    OTHER_KINDS.iter().find(|(part, _)| key.contains(part)).map(|(_, kind)| *kind)
}

/// The components that a layer's name may be of, and the name within them.
pub(super) fn components(layer: &str) -> (&'static [Component], &str) {
    let found = BEGINNINGS.iter().find_map(|(start, of)| Some((*of, layer.strip_prefix(start)?)));
    found.unwrap_or((ALONE, layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_dialect_are_split() {
        for (key, of, layer, part) in [
            (
                "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
                UNet,
                "mid_block_attentions_0_proj_in",
                Part::Down,
            ),
            (
                "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
                TextEncoder,
                "text_model_encoder_layers_0_mlp_fc1",
                Part::Alpha,
            ),
            ("lora_te2_text_projection.lora_up.weight", TextEncoder2, "text_projection", Part::Up),
            ("unet.conv_in.lora_A.weight", UNet, "conv_in", Part::Down),
            (
                "text_encoder_2.text_model.x.lora_linear_layer.up.weight",
                TextEncoder2,
                "text_model.x",
                Part::Up,
            ),
            ("base_model.model.mid_block.x.lora_B.default.weight", UNet, "mid_block.x", Part::Up),
            (
                "mid_block.attn1.processor.to_out_lora.down.weight",
                UNet,
                "mid_block.attn1.processor.to_out",
                Part::Down,
            ),
            ("unet.mid_block.attn1.to_q.lora.down.weight", UNet, "mid_block.attn1.to_q", Part::Down),
            (
                "transformer.transformer_blocks.0.x.lora_A.weight",
                Transformer,
                "transformer_blocks.0.x",
                Part::Down,
            ),
        ] {
            let (name, found) = split(key).unwrap();
            let (components, name) = components(name);
            assert_eq!((components[0], name, found), (of, layer, part), "{key}");
        }
        for key in ["conv_in.weight", "lora_unet_conv_in", "", ".weight"] {
            assert_eq!(split(key), None, "{key}");
        }
    }

    #[test]
    fn other_kinds_are_known_by_name() {
        assert_eq!(other_kind("lora_unet_conv_in.dora_scale"), Some("DoRA"));
        assert_eq!(other_kind("lora_unet_conv_in.hada_w1_a"), Some("LoHa"));
        assert_eq!(other_kind("lora_unet_conv_in.lokr_w2"), Some("LoKr"));
        assert_eq!(other_kind("lora_unet_conv_in.diff_b"), Some("a whole difference of weights"));
        assert_eq!(other_kind("base_model.model.diffusion_model.conv_in.lora_A.weight"), None);
    }
}
