//! What a single file holds, told from the names and shapes of its tensors alone: the denoiser's blocks, the
//! autoencoder's levels, and which text encoders there are. Reads no values.

use std::collections::BTreeMap;

/// Shapes of a component's tensors, by the checkpoint's name without the component's prefix.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// A text encoder of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextLayout {
    pub(super) width: usize,
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) positions: usize,
    pub(super) vocabulary: usize,
    /// Of the pooled state, where it is projected.
    pub(super) projection: Option<usize>,
}

/// A level of the denoiser on the way down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) channels: usize,
    pub(super) layers: usize,
    /// Transformer blocks in each layer; none without attention.
    pub(super) depth: usize,
}

/// The denoiser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UNetLayout {
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) levels: Vec<Level>,
    pub(super) middle_depth: usize,
    /// Width of the text's states.
    pub(super) context: usize,
    /// Whether transformers begin with a linear layer; if not, with a 1x1 convolution.
    pub(super) is_linear: bool,
    /// Width of the guidance embedding of distilled models.
    pub(super) guidance: Option<usize>,
    /// Width of what is added to the time embedding in XL models.
    pub(super) addition: Option<usize>,
}

/// The autoencoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VaeLayout {
    pub(super) channels: Vec<usize>,
    pub(super) layers: usize,
    pub(super) latents: usize,
    pub(super) has_quant: bool,
    pub(super) has_post_quant: bool,
}

/// The side of a tensor, if there is such a tensor with so many.
fn side(shapes: &Shapes, name: &str, index: usize) -> Option<usize> {
    shapes.get(name)?.get(index).copied()
}

/// Whether any name begins so.
fn has(shapes: &Shapes, start: &str) -> bool {
    shapes.range(start.to_string()..).next().is_some_and(|(name, _)| name.starts_with(start))
}

/// How often a name can be counted up, from 0.
fn count(shapes: &Shapes, start: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|index| has(shapes, &start(*index))).count()
}

impl UNetLayout {
    /// None where something is missing that every denoiser of the family has.
    pub(super) fn of(shapes: &Shapes) -> Option<Self> {
        let levels = levels(shapes)?;
        let attention = attention(shapes)?;
        Some(Self {
            in_channels: side(shapes, "input_blocks.0.0.weight", 1)?,
            out_channels: side(shapes, "out.2.weight", 0)?,
            levels,
            middle_depth: depth(shapes, "middle_block.1"),
            context: side(shapes, &format!("{attention}.transformer_blocks.0.attn2.to_k.weight"), 1)?,
            is_linear: shapes.get(&format!("{attention}.proj_in.weight"))?.len() == 2,
            guidance: side(shapes, "time_embed.cond_proj.weight", 1),
            addition: side(shapes, "label_emb.0.0.weight", 1),
        })
    }

    /// As the table of names wants it.
    pub(super) fn blocks(&self) -> Vec<(usize, bool)> {
        self.levels.iter().map(|level| (level.layers, level.depth > 0)).collect()
    }
}

/// Levels end where the size changes, or where the sequence ends.
fn levels(shapes: &Shapes) -> Option<Vec<Level>> {
    let mut levels = Vec::new();
    let mut level: Option<Level> = None;
    for at in 1..count(shapes, |index| format!("input_blocks.{index}.")) {
        let block = format!("input_blocks.{at}");
        if has(shapes, &format!("{block}.0.op.")) {
            levels.push(level.take()?);
            continue;
        }
        let channels = side(shapes, &format!("{block}.0.out_layers.3.weight"), 0)?;
        let level =
            level.get_or_insert(Level { channels, layers: 0, depth: depth(shapes, &format!("{block}.1")) });
        level.layers += 1;
    }
    levels.push(level?);
    Some(levels)
}

/// Transformer blocks of an attention.
fn depth(shapes: &Shapes, attention: &str) -> usize {
    count(shapes, |index| format!("{attention}.transformer_blocks.{index}."))
}

/// The first attention on the way down, or the one in the middle.
fn attention(shapes: &Shapes) -> Option<String> {
    let down = count(shapes, |index| format!("input_blocks.{index}."));
    let mut places = (1..down).map(|at| format!("input_blocks.{at}.1")).chain(["middle_block.1".into()]);
    places.find(|place| depth(shapes, place) > 0)
}

impl VaeLayout {
    /// None where something is missing that every such autoencoder has.
    pub(super) fn of(shapes: &Shapes) -> Option<Self> {
        let levels = count(shapes, |level| format!("encoder.down.{level}.block."));
        let channels = |level| side(shapes, &format!("encoder.down.{level}.block.0.conv1.weight"), 0);
        Some(Self {
            channels: (0..levels).map(channels).collect::<Option<_>>()?,
            layers: count(shapes, |layer| format!("encoder.down.0.block.{layer}.")),
            latents: side(shapes, "decoder.conv_in.weight", 1)?,
            has_quant: has(shapes, "quant_conv."),
            has_post_quant: has(shapes, "post_quant_conv."),
        })
    }
}

impl TextLayout {
    /// In transformers' names.
    pub(super) fn of_clip(shapes: &Shapes) -> Option<Self> {
        let embeddings = "text_model.embeddings";
        let positions = format!("{embeddings}.position_embedding.weight");
        Some(Self {
            width: side(shapes, &positions, 1)?,
            inner: side(shapes, "text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
            layers: count(shapes, |layer| format!("text_model.encoder.layers.{layer}.")),
            positions: side(shapes, &positions, 0)?,
            vocabulary: side(shapes, &format!("{embeddings}.token_embedding.weight"), 0)?,
            projection: side(shapes, "text_projection.weight", 0),
        })
    }

    /// In OpenCLIP's names.
    pub(super) fn of_open_clip(shapes: &Shapes) -> Option<Self> {
        Some(Self {
            width: side(shapes, "positional_embedding", 1)?,
            inner: side(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 0)?,
            layers: count(shapes, |layer| format!("transformer.resblocks.{layer}.")),
            positions: side(shapes, "positional_embedding", 0)?,
            vocabulary: side(shapes, "token_embedding.weight", 0)?,
            projection: side(shapes, "text_projection", 1),
        })
    }
}
