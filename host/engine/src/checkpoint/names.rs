//! One table of names between diffusers and the original checkpoints (ldm, kohya), used in both directions: to read a
//! single file as a folder, and to write a folder as a single file. Knows names and what is done to a tensor on the way;
//! which layers there are comes from `layout`.
//!
//! Follows diffusers' `loaders/single_file_utils.py`, which has the same rules in one direction.

use std::collections::BTreeMap;

/// What a tensor becomes on its way from a checkpoint to diffusers. Backwards the same is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The same bytes.
    Nothing,
    /// Rows become columns.
    Transposed,
    /// One of three equal parts, along the rows.
    Third(usize),
    /// A 1x1 convolution becomes a linear layer.
    Linear,
}

/// A component's names in both forms: beginnings that end at a dot, or whole names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    to_diffusers: BTreeMap<String, Vec<(String, Change)>>,
    to_checkpoint: BTreeMap<String, (String, Change)>,
}

impl Names {
    fn add(&mut self, diffusers: String, checkpoint: String, change: Change) {
        self.to_diffusers.entry(checkpoint.clone()).or_default().push((diffusers.clone(), change));
        self.to_checkpoint.insert(diffusers, (checkpoint, change));
    }

    /// Every pair of parts below a pair of prefixes.
    fn add_all(&mut self, diffusers: &str, checkpoint: &str, parts: &[(&str, &str)]) {
        for (new, old) in parts {
            self.add(format!("{diffusers}{new}"), format!("{checkpoint}{old}"), Change::Nothing);
        }
    }

    /// A checkpoint's name as diffusers has it: none where it has no place, three for a fused projection.
    pub(crate) fn to_diffusers(&self, name: &str) -> Vec<(String, Change)> {
        let found = beginnings(name).find_map(|(start, rest)| Some((self.to_diffusers.get(start)?, rest)));
        found.map_or(Vec::new(), |(names, rest)| {
            names.iter().map(|(start, change)| (format!("{start}{rest}"), *change)).collect()
        })
    }

    /// A name of diffusers as the checkpoint has it.
    pub(crate) fn to_checkpoint(&self, name: &str) -> Option<(String, Change)> {
        let found = beginnings(name).find_map(|(start, rest)| Some((self.to_checkpoint.get(start)?, rest)));
        found.map(|((start, change), rest)| (format!("{start}{rest}"), *change))
    }
}

/// A name cut at its end and at each dot, the longest beginning first; the rest begins with the dot.
fn beginnings(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let dots = name.rmatch_indices('.').map(|(at, _)| name.split_at(at));
    std::iter::once((name, "")).chain(dots)
}

/// Parts of a residual block of the denoiser.
const UNET_RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// The denoiser, from its blocks on the way down: for each its layers, and whether they have attention.
pub(crate) fn unet(down: &[(usize, bool)]) -> Names {
    let mut names = Names::default();
    names.add_all(
        "",
        "",
        &[
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            // of models that are distilled to take guidance as an input; ComfyUI's name
            ("time_embedding.cond_proj", "time_embed.cond_proj"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_in", "input_blocks.0.0"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
            ("mid_block.attentions.0", "middle_block.1"),
        ],
    );
    names.add_all("mid_block.resnets.0.", "middle_block.0.", &UNET_RESNET);
    names.add_all("mid_block.resnets.1.", "middle_block.2.", &UNET_RESNET);
    // the checkpoint numbers every layer and every change of size in one sequence
    let mut at = 1;
    for (block, (layers, has_attention)) in down.iter().enumerate() {
        for layer in 0..*layers {
            unet_layer(
                &mut names,
                &format!("down_blocks.{block}"),
                layer,
                &format!("input_blocks.{at}"),
                *has_attention,
            );
            at += 1;
        }
        if block + 1 < down.len() {
            let new = format!("down_blocks.{block}.downsamplers.0.conv");
            names.add(new, format!("input_blocks.{at}.0.op"), Change::Nothing);
            at += 1;
        }
    }
    let mut at = 0;
    for (block, (layers, has_attention)) in down.iter().rev().enumerate() {
        for layer in 0..layers + 1 {
            unet_layer(
                &mut names,
                &format!("up_blocks.{block}"),
                layer,
                &format!("output_blocks.{at}"),
                *has_attention,
            );
            at += 1;
        }
        if block + 1 < down.len() {
            let place = if *has_attention { 2 } else { 1 };
            let old = format!("output_blocks.{}.{place}.conv", at - 1);
            names.add(format!("up_blocks.{block}.upsamplers.0.conv"), old, Change::Nothing);
        }
    }
    names
}

fn unet_layer(names: &mut Names, block: &str, layer: usize, old: &str, has_attention: bool) {
    names.add_all(&format!("{block}.resnets.{layer}."), &format!("{old}.0."), &UNET_RESNET);
    if has_attention {
        names.add(format!("{block}.attentions.{layer}"), format!("{old}.1"), Change::Nothing);
    }
}

/// Parts of a residual block of the autoencoder.
const VAE_RESNET: [(&str, &str); 5] = [
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("conv_shortcut", "nin_shortcut"),
];

/// The autoencoder of so many levels and, in the encoder, layers for each.
pub(crate) fn vae(levels: usize, layers: usize) -> Names {
    let mut names = Names::default();
    names.add_all("", "", &[("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")]);
    for half in ["encoder", "decoder"] {
        let parts = [("conv_in", "conv_in"), ("conv_norm_out", "norm_out"), ("conv_out", "conv_out")];
        names.add_all(&format!("{half}."), &format!("{half}."), &parts);
        for resnet in 0..2 {
            let (new, old) = (format!("{half}.mid_block.resnets.{resnet}."), resnet + 1);
            names.add_all(&new, &format!("{half}.mid.block_{old}."), &VAE_RESNET);
        }
        let (new, old) = (format!("{half}.mid_block.attentions.0."), format!("{half}.mid.attn_1."));
        names.add(format!("{new}group_norm"), format!("{old}norm"), Change::Nothing);
        // the third names are those of diffusers before 0.18, which many folders still have
        let parts = [
            ("to_q", "q", "query"),
            ("to_k", "k", "key"),
            ("to_v", "v", "value"),
            ("to_out.0", "proj_out", "proj_attn"),
        ];
        for (to, from, before) in parts {
            for (kind, change) in [("weight", Change::Linear), ("bias", Change::Nothing)] {
                let from = format!("{old}{from}.{kind}");
                names.to_checkpoint.insert(format!("{new}{before}.{kind}"), (from.clone(), change));
                names.add(format!("{new}{to}.{kind}"), from, change);
            }
        }
    }
    for level in 0..levels {
        // the checkpoint numbers the decoder's levels by size, diffusers in the order of the pass
        let (down, up) =
            (format!("encoder.down_blocks.{level}."), format!("decoder.up_blocks.{}.", levels - 1 - level));
        for layer in 0..layers + 1 {
            let (new, old) = (format!("resnets.{layer}."), format!(".{level}.block.{layer}."));
            names.add_all(&format!("{down}{new}"), &format!("encoder.down{old}"), &VAE_RESNET);
            names.add_all(&format!("{up}{new}"), &format!("decoder.up{old}"), &VAE_RESNET);
        }
        let (old_down, old_up) =
            (format!("encoder.down.{level}.downsample.conv"), format!("decoder.up.{level}.upsample.conv"));
        names.add(format!("{down}downsamplers.0.conv"), old_down, Change::Nothing);
        names.add(format!("{up}upsamplers.0.conv"), old_up, Change::Nothing);
    }
    names
}

/// OpenCLIP's text encoder of so many layers, with its fused projection.
pub(crate) fn open_clip(layers: usize) -> Names {
    let mut names = Names::default();
    let embeddings = "text_model.embeddings";
    names.add_all(
        "",
        "",
        &[
            (&format!("{embeddings}.token_embedding"), "token_embedding"),
            (&format!("{embeddings}.position_embedding.weight"), "positional_embedding"),
            ("text_model.final_layer_norm", "ln_final"),
        ],
    );
    // some tools write the projection as transformers does
    names.add("text_projection.weight".into(), "text_projection.weight".into(), Change::Nothing);
    names.add("text_projection.weight".into(), "text_projection".into(), Change::Transposed);
    for layer in 0..layers {
        let (new, old) =
            (format!("text_model.encoder.layers.{layer}."), format!("transformer.resblocks.{layer}."));
        let parts = [
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
            ("self_attn.out_proj", "attn.out_proj"),
        ];
        names.add_all(&new, &old, &parts);
        for (third, part) in ["q", "k", "v"].into_iter().enumerate() {
            for kind in ["weight", "bias"] {
                let (new, old) =
                    (format!("{new}self_attn.{part}_proj.{kind}"), format!("{old}attn.in_proj_{kind}"));
                names.add(new, old, Change::Third(third));
            }
        }
    }
    names
}

/// transformers' own names, which the checkpoints of CLIP's first text encoder keep.
pub(crate) fn clip() -> Names {
    let mut names = Names::default();
    names.add_all("", "", &[("text_model", "text_model")]);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_longest_beginning() {
        let names = unet(&[(2, true), (2, false)]);
        let one = |name: &str| names.to_diffusers(name).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(one("input_blocks.1.0.in_layers.2.weight"), ["down_blocks.0.resnets.0.conv1.weight"]);
        assert_eq!(one("input_blocks.2.1.proj_in.bias"), ["down_blocks.0.attentions.1.proj_in.bias"]);
        assert_eq!(one("input_blocks.3.0.op.bias"), ["down_blocks.0.downsamplers.0.conv.bias"]);
        assert_eq!(one("output_blocks.2.1.conv.weight"), ["up_blocks.0.upsamplers.0.conv.weight"]);
        assert_eq!(one("output_blocks.5.1.norm.weight"), ["up_blocks.1.attentions.2.norm.weight"]);
        for unknown in ["input_blocks.1.0.weight", "input_blocks.9.0.op.bias", "conv_in.weight", "", "."] {
            assert!(one(unknown).is_empty(), "{unknown}");
        }
    }

    #[test]
    fn a_fused_projection_is_three_and_each_leads_back() {
        let names = open_clip(2);
        let fused = "transformer.resblocks.1.attn.in_proj_weight";
        let thirds = names.to_diffusers(fused);
        assert_eq!(thirds.len(), 3);
        for (third, (name, change)) in thirds.iter().enumerate() {
            assert_eq!(*change, Change::Third(third));
            assert_eq!(names.to_checkpoint(name), Some((fused.to_string(), *change)));
        }
    }
}
