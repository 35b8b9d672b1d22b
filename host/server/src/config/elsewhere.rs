//! What the manifest says of a `[[model]]` that a provider serves: its files are not here, so that nobody else can say what it
//! makes, and within which limits.

use std::fmt;

use atelier_inference::picture::MAX_SIDE;
use atelier_inference::{Features, Size};
use serde::{Serialize, Serializer};

use super::check::one_of;
use super::raw::{Found, Table};
use super::types::ModelSource;

/// Tokens that such a model is taken to hold where the manifest does not say: most that are sold hold more.
const CONTEXT_LENGTH: u32 = 32_768;
/// The size that every service makes which is known to this host.
const SIZE: Size = Size { width: 1_024, height: 1_024 };
/// Most sizes of one model.
const MAX_SIZES: usize = 100;

/// What a provider's model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// Replies to conversations.
    Replies,
    /// Pictures.
    Pictures,
    /// Text from speech.
    Transcripts,
}

impl Product {
    const ALL: [(&str, Self); 3] =
        [("replies", Self::Replies), ("pictures", Self::Pictures), ("transcripts", Self::Transcripts)];
    const NAMES: [&str; 3] = ["replies", "pictures", "transcripts"];
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, known)| known == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Says of a model that it can do something.
type Can = fn(&mut Features);

/// What a model of pictures can be asked to do: the words of `types.features` in `wit/types.wit` for what another server may have.
const ABILITIES: [(&str, Can); 6] = [
    ("text-to-image", |can| can.text_to_image = true),
    ("image-to-image", |can| can.image_to_image = true),
    ("edit", |can| can.edit = true),
    ("inpaint", |can| can.inpaint = true),
    ("negative-prompt", |can| can.negative_prompt = true),
    ("guidance", |can| can.guidance = true),
];

/// What a provider's model makes, and within which limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// Told apart by this.
    pub makes: Product,
    /// Of replies: tokens that it holds, conversation and reply together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// Of pictures: what it can be asked to do.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_words")]
    pub can: Option<Features>,
    /// Of pictures: their sizes, the first of them unless another is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub sizes: Vec<Size>,
}

fn as_words<S: Serializer>(can: &Option<Features>, serializer: S) -> Result<S::Ok, S::Error> {
    let has = |ability: fn(&mut Features)| {
        let mut with = can.unwrap_or(Features::NONE);
        ability(&mut with);
        Some(with) == *can
    };
    serializer.collect_seq(ABILITIES.iter().filter(|(_, ability)| has(*ability)).map(|(name, _)| name))
}

fn as_texts<S: Serializer>(sizes: &[Size], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(sizes.iter().map(Size::to_string))
}

/// What a model of a provider says besides, and what it cannot say.
pub(super) fn offer(
    table: &Table<'_>,
    source: Option<&ModelSource>,
    kept: [(&'static str, bool); 2],
) -> Option<Offer> {
    let makes = one_of(table, "makes", &Product::NAMES);
    let makes = makes.and_then(|name| Product::ALL.into_iter().find(|(known, _)| *known == name));
    let makes = makes.map_or(Product::Replies, |(_, makes)| makes);
    let length = table.number("context-length", 1..=u64::from(u32::MAX)).map(|length| length as u32);
    let (can, sizes) = (can(table), sizes(table));
    if !matches!(source, Some(ModelSource::Provider(_))) {
        for key in ["makes", "context-length", "can", "sizes"].into_iter().filter(|key| table.has(key)) {
            let text =
                format!("`{key}` is for models of a provider: of others the files say it; leave it out");
            table.problem(table.at(), text);
        }
        return None;
    }
    files(table, kept);
    let foreign: &[&str] = match makes {
        Product::Replies => &["can", "sizes"],
        Product::Pictures => &["context-length"],
        Product::Transcripts => &["can", "sizes", "context-length"],
    };
    for key in foreign.iter().filter(|key| table.has(key)) {
        let of = if *key == "context-length" { Product::Replies } else { Product::Pictures };
        let text = format!("`{key}` is for models whose `makes` is \"{of}\", not \"{makes}\"; leave it out");
        table.problem(table.at(), text);
    }
    let draws = makes == Product::Pictures;
    Some(Offer {
        makes,
        context_length: (makes == Product::Replies).then(|| length.unwrap_or(CONTEXT_LENGTH)),
        can: draws.then(|| can.unwrap_or(Features { text_to_image: true, ..Features::NONE })),
        sizes: if draws { sizes.unwrap_or_else(|| vec![SIZE]) } else { Vec::new() },
    })
}

/// Refuses what is said of files that are not here.
fn files(table: &Table<'_>, kept: [(&'static str, bool); 2]) {
    let of_files = ["vae", "prediction", "adapters", "controls", "embeddings", "refiner", "idle-unload-s"];
    let given = of_files.into_iter().filter(|key| table.has(key));
    // what is false anyway may be said
    let kept = kept.into_iter().filter_map(|(key, is_kept)| is_kept.then_some(key));
    for key in given.chain(kept) {
        let text = format!("`{key}` is for models whose files are here, not for a provider's; leave it out");
        table.problem(table.at(), text);
    }
}

fn can(table: &Table<'_>) -> Option<Features> {
    let mut can = Features::NONE;
    for Found { value, at } in table.texts("can") {
        match ABILITIES.iter().find(|(name, _)| *name == value) {
            Some((_, add)) => add(&mut can),
            None => {
                let known = ABILITIES.map(|(name, _)| name).join(", ");
                table.problem(&at, format!("wants some of {known}, not `{value}`"));
            }
        }
    }
    if table.has("can") && can == Features::NONE {
        table
            .problem(table.at(), "`can` leaves nothing to ask of the model; write can = [\"text-to-image\"]");
    }
    table.has("can").then_some(can)
}

fn sizes(table: &Table<'_>) -> Option<Vec<Size>> {
    let found = table.texts("sizes");
    if found.len() > MAX_SIZES {
        table.problem(table.at(), format!("`sizes` has {} entries; at most {MAX_SIZES}", found.len()));
    }
    let size = |Found { value, at }: Found<String>| {
        let side = |text: &str| text.parse::<u32>().ok().filter(|side| (1..=MAX_SIDE).contains(side));
        let size = value
            .split_once('x')
            .and_then(|(width, height)| Some(Size { width: side(width)?, height: side(height)? }));
        if size.is_none() {
            let text =
                format!("wants sizes such as \"1024x1024\" with sides of 1 to {MAX_SIDE}, not `{value}`");
            table.problem(&at, text);
        }
        size
    };
    let sizes: Vec<Size> = found.into_iter().filter_map(size).collect();
    table.has("sizes").then_some(sizes)
}
