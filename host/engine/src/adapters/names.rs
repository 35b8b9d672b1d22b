//! The names that a layer goes by. Adapters call it as diffusers does or as the checkpoint does that a family was
//! published with, and kohya's tools write underscores for dots, which cannot be undone: so the names are made from the
//! layers that there are, and a file's names are looked up among them. No name is ever taken apart.
//!
//! Knows names alone; which layers there are comes from the networks' slots.

use std::collections::BTreeMap;

use super::{Component, Places};
use crate::models::flux::names::of_layer;
use crate::weights::Slots;

/// What a file's names mean in one model.
pub(super) struct Index(BTreeMap<(Component, String), Vec<Target>>);

/// A layer, and the rows of an addition that are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// As diffusers has it.
    pub(super) layer: String,
    pub(super) rows: Rows,
}

/// Which outputs of an addition go to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rows {
    /// As they are.
    All,
    /// All, the second half first.
    HalvesSwapped,
    /// The layer's own, where one layer of the checkpoint is several of diffusers': at this place in the row.
    Place(usize),
}

impl Index {
    /// Every name of every layer.
    pub(super) fn of(places: &Places) -> Self {
        let mut names: BTreeMap<_, Vec<Target>> = BTreeMap::new();
        for (component, slots) in &places.0 {
            let levels = levels(slots);
            for layer in slots.keys() {
                for (name, rows) in names_of(*component, layer, &levels) {
                    let target = Target { layer: layer.clone(), rows };
                    names.entry((*component, spelled(&name))).or_default().push(target);
                }
            }
        }
        names.values_mut().for_each(|targets| targets.sort_by_key(|target| target.rows));
        Self(names)
    }

    /// The layers that a name means in any of these components.
    pub(super) fn find(&self, components: &[Component], name: &str) -> Option<(Component, &[Target])> {
        let name = spelled(name);
        components.iter().find_map(|component| {
            let targets = self.0.get(&(*component, name.clone()))?;
            Some((*component, targets.as_slice()))
        })
    }
}

/// The spelling under which names are compared. Attention processors, an older form of diffusers, stood between an
/// attention and its layers.
fn spelled(name: &str) -> String {
    name.replace(".processor.", ".").replace('.', "_")
}

fn names_of(component: Component, layer: &str, levels: &[Level]) -> Vec<(String, Rows)> {
    let mut names = vec![(layer.to_string(), Rows::All)];
    match component {
        Component::UNet => names.extend(ldm(layer, levels).map(|name| (name, Rows::All))),
        Component::Transformer => names.extend(flux(layer)),
        Component::TextEncoder | Component::TextEncoder2 => {
            // the projections as the denoiser calls its own, from when both were adapted by the same code
            let (attention, part) = layer.rsplit_once('.').unwrap_or(("", layer));
            let part = OLD_PROJECTIONS.iter().find(|(new, _)| *new == part);
            names.extend(part.map(|(_, old)| (format!("{attention}.{old}"), Rows::All)));
            let outer = |(name, rows): &(String, Rows)| (format!("text_model.{name}"), *rows);
            names.extend(names.iter().map(outer).collect::<Vec<_>>());
        }
    }
    if let Some(shorter) = layer.strip_suffix(".to_out.0") {
        names.push((format!("{shorter}.to_out"), Rows::All));
    }
    names
}

const OLD_PROJECTIONS: [(&str, &str); 4] =
    [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")];

/// A block of the denoiser on the way down: its layers, and whether they have attention.
type Level = (usize, bool);

fn levels(slots: &Slots) -> Vec<Level> {
    let has =
        |start: String| slots.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start));
    let layers =
        |block| (0..).take_while(|layer| has(format!("down_blocks.{block}.resnets.{layer}."))).count();
    let level = |block| (layers(block), has(format!("down_blocks.{block}.attentions.")));
    (0..).map(level).take_while(|(layers, _)| *layers > 0).collect()
}

/// Outside of the blocks.
const LDM_OUTER: [(&str, &str); 6] = [
    ("conv_in", "input_blocks.0.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_out", "out.2"),
];

const LDM_RESNET: [(&str, &str); 4] = [
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// The name in the checkpoints of Stable Diffusion, which number every layer and every change of size in one sequence.
/// The reference is diffusers' `loaders/single_file_utils.py`.
fn ldm(layer: &str, levels: &[Level]) -> Option<String> {
    if let Some((_, old)) = LDM_OUTER.iter().find(|(new, _)| *new == layer) {
        return Some((*old).into());
    }
    let parts: Vec<&str> = layer.split('.').collect();
    let resnet = |name: &str| LDM_RESNET.iter().find(|(new, _)| *new == name).map(|(_, old)| *old);
    match parts.as_slice() {
        ["mid_block", "resnets", index, part] => {
            Some(format!("middle_block.{}.{}", 2 * index.parse::<usize>().ok()?, resnet(part)?))
        }
        ["mid_block", "attentions", "0", rest @ ..] => Some(format!("middle_block.1.{}", rest.join("."))),
        [side, block, kind, index, rest @ ..] => {
            let (block, index): (usize, usize) = (block.parse().ok()?, index.parse().ok()?);
            let is_down = *side == "down_blocks";
            // on the way up a block has a layer more, in place of the change of size
            let in_order = |block: usize| match is_down {
                true => levels.get(block),
                false => levels.len().checked_sub(block + 1).and_then(|level| levels.get(level)),
            };
            let before: usize = (0..block).filter_map(in_order).map(|(layers, _)| layers + 1).sum();
            let (layers, has_attention) = *in_order(block)?;
            let (blocks, before) =
                if is_down { ("input_blocks", before + 1) } else { ("output_blocks", before) };
            Some(match *kind {
                "resnets" => format!("{blocks}.{}.0.{}", before + index, resnet(rest.first()?)?),
                "attentions" => format!("{blocks}.{}.1.{}", before + index, rest.join(".")),
                "downsamplers" => format!("{blocks}.{}.0.op", before + layers),
                "upsamplers" => {
                    format!("{blocks}.{}.{}.conv", before + layers, 1 + usize::from(has_attention))
                }
                _ => return None,
            })
        }
        _ => None,
    }
}

/// The name in FLUX's own checkpoint. The reference is diffusers' `_convert_kohya_flux_lora_to_diffusers`.
fn flux(layer: &str) -> Option<(String, Rows)> {
    let place = of_layer(layer)?;
    let rows = match place.part {
        Some(part) => Rows::Place(part),
        None if place.swaps_halves => Rows::HalvesSwapped,
        None => Rows::All,
    };
    Some((place.name, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_numbered_as_in_the_checkpoints_of_stable_diffusion() {
        // XL's: two layers each, attention in the last two
        let levels = [(2, false), (2, true), (2, true)];
        for (layer, name) in [
            ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("down_blocks.2.resnets.1.conv_shortcut", "input_blocks.8.0.skip_connection"),
            ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
            (
                "up_blocks.0.attentions.2.transformer_blocks.9.attn2.to_k",
                "output_blocks.2.1.transformer_blocks.9.attn2.to_k",
            ),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
            ("up_blocks.2.resnets.0.conv1", "output_blocks.6.0.in_layers.2"),
        ] {
            assert_eq!(ldm(layer, &levels).as_deref(), Some(name));
        }
        // Stable Diffusion 1: the way up begins without attention
        let levels = [(2, true), (2, true), (2, true), (2, false)];
        let name = ldm("up_blocks.0.upsamplers.0.conv", &levels);
        assert_eq!(name.as_deref(), Some("output_blocks.2.1.conv"));
        assert_eq!(ldm("up_blocks.9.upsamplers.0.conv", &levels), None);
    }

    #[test]
    fn joined_layers_of_flux_know_their_place() {
        let name = flux("single_transformer_blocks.37.proj_mlp");
        assert_eq!(name, Some(("single_blocks.37.linear1".into(), Rows::Place(3))));
        assert_eq!(flux("norm_out.linear").map(|(_, rows)| rows), Some(Rows::HalvesSwapped));
        assert_eq!(flux("transformer_blocks.0.attn.to_x"), None);
    }
}
