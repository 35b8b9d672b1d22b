//! The names of Black Forest Labs' own files (`flux1-dev.safetensors`, and GGUF made of it) as diffusers has them.
//!
//! Theirs join layers that see the same input: rows of one matrix, which are told apart here without touching them.
//! diffusers' `convert_flux_transformer_checkpoint_to_diffusers` is the reference. The same table names the layers that
//! adapters call as these files do.

/// What tools that pack whole pipelines into one file put before each name.
const PREFIX: &str = "model.diffusion_model.";

/// Layers of one name in Black Forest Labs' files: their names in diffusers, and how wide each is beside the others.
type Parts = &'static [(&'static str, usize)];

/// Outside of the blocks; the tensor's own `weight` or `bias` follows.
const OUTER: [(&str, &str); 10] = [
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    ("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
    ("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
    ("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
    ("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
    ("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
    ("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
    ("final_layer.adaLN_modulation.1", "norm_out.linear"),
    ("final_layer.linear", "proj_out"),
];

/// Below `double_blocks.N.`.
const DOUBLE: [(&str, Parts); 14] = [
    ("img_mod.lin", &[("norm1.linear", 1)]),
    ("txt_mod.lin", &[("norm1_context.linear", 1)]),
    ("img_attn.qkv", &[("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1)]),
    ("txt_attn.qkv", &[("attn.add_q_proj", 1), ("attn.add_k_proj", 1), ("attn.add_v_proj", 1)]),
    ("img_attn.norm.query_norm", &[("attn.norm_q", 1)]),
    ("img_attn.norm.key_norm", &[("attn.norm_k", 1)]),
    ("txt_attn.norm.query_norm", &[("attn.norm_added_q", 1)]),
    ("txt_attn.norm.key_norm", &[("attn.norm_added_k", 1)]),
    ("img_attn.proj", &[("attn.to_out.0", 1)]),
    ("txt_attn.proj", &[("attn.to_add_out", 1)]),
    ("img_mlp.0", &[("ff.net.0.proj", 1)]),
    ("img_mlp.2", &[("ff.net.2", 1)]),
    ("txt_mlp.0", &[("ff_context.net.0.proj", 1)]),
    ("txt_mlp.2", &[("ff_context.net.2", 1)]),
];

/// Below `single_blocks.N.`.
const SINGLE: [(&str, Parts); 5] = [
    ("modulation.lin", &[("norm.linear", 1)]),
    ("linear1", &[("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1), ("proj_mlp", 4)]),
    ("linear2", &[("proj_out", 1)]),
    ("norm.query_norm", &[("attn.norm_q", 1)]),
    ("norm.key_norm", &[("attn.norm_k", 1)]),
];

/// The last modulation, which gives a scale and then a shift in diffusers, and the other way round in their files.
const SWAPPED: &str = "norm_out.linear";

/// The blocks' two kinds: how names begin in their files and in diffusers, and the layers.
type Kind = (&'static str, &'static str, &'static [(&'static str, Parts)]);
const KINDS: [Kind; 2] = [
    ("double_blocks.", "transformer_blocks.", &DOUBLE),
    ("single_blocks.", "single_transformer_blocks.", &SINGLE),
];

/// A layer of diffusers in Black Forest Labs' files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// Which part it is, where several layers are one there.
    pub(crate) part: Option<usize>,
    /// Whether its outputs' second half comes first.
    pub(crate) swaps_halves: bool,
}

/// Whether a file's names are Black Forest Labs'.
pub(crate) fn is_bfl(contains: impl Fn(&str) -> bool) -> bool {
    ["", PREFIX].iter().any(|prefix| contains(&format!("{prefix}double_blocks.0.img_attn.qkv.weight")))
}

/// Whether a tensor's halves change places on the way to diffusers; by its name there.
pub(super) fn swaps_halves(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(layer, _)| layer == SWAPPED)
}

/// Where a layer of diffusers is in their files.
pub(crate) fn of_layer(layer: &str) -> Option<Place> {
    let swaps_halves = layer == SWAPPED;
    if let Some((theirs, _)) = OUTER.iter().find(|(_, own)| *own == layer) {
        return Some(Place { name: (*theirs).into(), part: None, swaps_halves });
    }
    KINDS.into_iter().find_map(|(prefix, own_prefix, rules)| {
        let (block, layer) = layer.strip_prefix(own_prefix)?.split_once('.')?;
        let (theirs, parts, part) = rules.iter().find_map(|(theirs, parts)| {
            Some((theirs, parts, parts.iter().position(|(own, _)| *own == layer)?))
        })?;
        let part = (parts.len() > 1).then_some(part);
        Some(Place { name: format!("{prefix}{block}.{theirs}"), part, swaps_halves })
    })
}

/// The names in diffusers of a tensor's rows, in order, with how many rows each has; `None` for a name that stays.
pub(super) fn to_diffusers(name: &str, shape: &[usize]) -> Option<Vec<(String, usize)>> {
    let parts = parts(name)?;
    // rows that do not divide are left to whoever holds the parts against the whole
    let share = shape.first()? / parts.iter().map(|(_, share)| share).sum::<usize>().max(1);
    Some(parts.into_iter().map(|(name, own)| (name, own * share)).collect())
}

/// The names of a tensor's parts, with the share of each.
fn parts(name: &str) -> Option<Vec<(String, usize)>> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let (layer, kind) = name.rsplit_once('.')?;
    let kind = if kind == "scale" { "weight" } else { kind };
    if let Some((_, own)) = OUTER.iter().find(|(theirs, _)| *theirs == layer) {
        return Some(vec![(format!("{own}.{kind}"), 1)]);
    }
    KINDS.into_iter().find_map(|(prefix, own_prefix, rules)| {
        let (block, layer) = layer.strip_prefix(prefix)?.split_once('.')?;
        let (_, parts) = rules.iter().find(|(theirs, _)| *theirs == layer)?;
        let own = |(own, share): &(&str, usize)| (format!("{own_prefix}{block}.{own}.{kind}"), *share);
        Some(parts.iter().map(own).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, rows: usize) -> Vec<(String, usize)> {
        to_diffusers(name, &[rows, 5]).unwrap_or_default()
    }

    #[test]
    fn joined_layers_come_apart_in_diffusers_order() {
        let own = |name: &str, rows| (format!("single_transformer_blocks.37.{name}.bias"), rows);
        let expected = [own("attn.to_q", 3), own("attn.to_k", 3), own("attn.to_v", 3), own("proj_mlp", 12)];
        assert_eq!(names("single_blocks.37.linear1.bias", 21), expected);
    }

    #[test]
    fn scales_of_norms_are_weights() {
        let expected = [("transformer_blocks.0.attn.norm_added_k.weight".to_string(), 8)];
        assert_eq!(names("double_blocks.0.txt_attn.norm.key_norm.scale", 8), expected);
        assert_eq!(names("model.diffusion_model.img_in.bias", 8), [("x_embedder.bias".to_string(), 8)]);
    }

    #[test]
    fn every_name_leads_back() {
        let layers = KINDS.into_iter().flat_map(|(prefix, _, rules)| {
            rules.iter().map(move |(theirs, parts)| (format!("{prefix}7.{theirs}"), parts.len()))
        });
        for (theirs, count) in layers.chain(OUTER.map(|(theirs, _)| (theirs.to_string(), 1))) {
            let parts = names(&format!("{theirs}.bias"), 42);
            assert_eq!(parts.len(), count, "{theirs}");
            for (index, (own, _)) in parts.iter().enumerate() {
                let place = of_layer(own.trim_end_matches(".bias")).unwrap();
                assert_eq!((&place.name, place.part), (&theirs, (count > 1).then_some(index)), "{own}");
                assert_eq!(place.swaps_halves, swaps_halves(own), "{own}");
            }
        }
        assert!(swaps_halves("norm_out.linear.weight") && !swaps_halves("norm_out.linear"));
        assert_eq!(of_layer("transformer_blocks.0.attn.to_x"), None);
    }

    #[test]
    fn unknown_names_have_no_place() {
        for name in ["double_blocks.0.img_mlp.1.weight", "triple_blocks.0.linear1.weight", "img_in", ""] {
            assert_eq!(to_diffusers(name, &[8]), None, "{name}");
        }
    }
}
