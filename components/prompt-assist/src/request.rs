//! The two request bodies: one table of fields each, from which parser, error texts and OpenAPI come.
//!
//! Fields of the original service keep its names, bounds and defaults; all others are marked as extension and may be
//! left out. What a model allows is not known here.

use atelier_kit::fields::{Boolean, Choice, Field, Integer, Number, Reader, Rule, Table, Text};
use atelier_kit::host::{Size, StepCache};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::failure::Failure;

/// The most bytes of a picture that is to be changed, before base64.
const MAX_IMAGE_BYTES: usize = 10 << 20;

/// The most bytes of a body: two of the largest pictures in base64, and room for the other fields. Two prompts of the longest
/// kind take 96 KiB when every character is written as a pair of escapes.
pub(crate) const MAX_BODY_BYTES: usize = 2 * (MAX_IMAGE_BYTES / 3 * 4) + (128 << 10);

/// The largest seed: what every JSON client writes exactly, 2^53 - 1.
const MAX_SEED: u64 = (1 << 53) - 1;

/// Shared by both bodies' prompts; counted in characters, as the service counts.
const PROMPT_RULE: Text = Text { min: 1, max: 4096 };
static PROMPT: Field<Text> = Field::required(
    "prompt",
    PROMPT_RULE,
    "The text prompt describing the desired image (1-4096 characters).",
);
static USE_ENHANCER: Field<Boolean> = Field::with_default(
    "use_enhancer",
    Boolean,
    false,
    "When true, the prompt is enhanced before generation: by the language model server if one is configured, by the \
     route's style plugins otherwise.",
);
static N: Field<Integer> =
    Field::with_default("n", Integer { min: 1, max: 4 }, 1, "Number of images to generate (1-4).");
static SIZE: Field<Choice> = Field::with_default(
    "size",
    Choice(&["256x256", "512x512", "768x768", "1024x1024"]),
    "512x512",
    "Image dimensions. A model that cannot draw this size draws its own, and the picture is scaled; `notes` says so.",
);
static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: MAX_SEED },
    "Extension. The first picture's seed; picture i uses seed + i. The same request with a seed gives the same bytes.",
);
static NEGATIVE_PROMPT: Field<Text> = Field::optional(
    "negative_prompt",
    Text { min: 0, max: 4096 },
    "Extension. What the picture should not show.",
);
static STEPS: Field<Integer> = Field::optional(
    "steps",
    Integer { min: 1, max: 150 },
    "Extension. Denoising steps; the model's own when left out.",
);
static GUIDANCE: Field<Number> = Field::optional(
    "guidance",
    Number { min: 0.0, max: 50.0, above_min: false },
    "Extension. Classifier-free guidance scale; 1 or less switches it off; the model's own when left out.",
);
static MODEL: Field<Text> = Field::optional(
    "model",
    Text { min: 1, max: 200 },
    "Extension. A model of this route, by id or hub name.",
);
static SCHEDULE: Field<Text> = Field::optional(
    "schedule",
    Text { min: 1, max: 64 },
    "Extension. The diffusion schedule by its diffusers name, such as ddim; the model's own when left out.",
);
static IMAGE: Field<Base64> = Field::optional(
    "image",
    Base64,
    "Extension. A png, jpeg, webp or gif to start from, in base64 or as a data URL; with a model that edits, the picture \
     that `prompt` says how to change.",
);
static MASK: Field<Base64> = Field::optional(
    "mask",
    Base64,
    "Extension. A picture file of which part of `image` to paint anew: where it is transparent, or, when it has no \
     transparency, where it is white.",
);
static STRENGTH: Field<Number> = Field::optional(
    "strength",
    Number { min: 0.0, max: 1.0, above_min: true },
    "Extension. How much of the schedule is run on `image`; the model's own when left out.",
);
static IMAGE_GUIDANCE: Field<Number> = Field::optional(
    "image_guidance",
    Number { min: 0.0, max: 50.0, above_min: false },
    "Extension. How closely an edit keeps to `image`, for models that edit; the model's own when left out.",
);
static ADAPTERS: Field<Adapters> = Field::optional(
    "adapters",
    Adapters,
    "Extension. Adapters (LoRA) of the model by id, all at once, each with a weight.",
);

static STEP_CACHE: Field<Cache> = Field::optional(
    "step_cache",
    Cache,
    "Extension. What passes through the denoiser take over from earlier ones, such as deep:3 (DeepCache; deep:3:1 names a \
     branch) or, with FLUX, first-block:0.1. Faster, and not quite the same picture; `notes` says how many were shortened.",
);

/// The fields of `POST /v1/prompts/enhance`.
pub(crate) const ENHANCEMENT: Table = &[&PROMPT];

/// The fields of `POST /v1/images/generations`.
pub(crate) const GENERATION: Table = &[
    &PROMPT,
    &USE_ENHANCER,
    &N,
    &SIZE,
    &SEED,
    &NEGATIVE_PROMPT,
    &STEPS,
    &GUIDANCE,
    &MODEL,
    &SCHEDULE,
    &IMAGE,
    &MASK,
    &STRENGTH,
    &IMAGE_GUIDANCE,
    &ADAPTERS,
    &STEP_CACHE,
];

/// A request for pictures in which nothing can be wrong any more, except for the model's sake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Generation {
    pub(crate) prompt: String,
    pub(crate) use_enhancer: bool,
    /// How many pictures, 1 to 4; picture i has the seed + i.
    pub(crate) count: u32,
    pub(crate) size: Size,
    /// The first picture's; drawn by the host when left out.
    pub(crate) seed: Option<u64>,
    /// Never empty: an empty one asks for nothing.
    pub(crate) negative_prompt: Option<String>,
    pub(crate) steps: Option<u32>,
    pub(crate) guidance: Option<f64>,
    /// By id or hub name; may name no model at all.
    pub(crate) model: Option<String>,
    pub(crate) schedule: Option<String>,
    /// A file as it was sent, its base64 taken off and its format not yet looked at.
    pub(crate) image: Option<Vec<u8>>,
    /// Likewise; only with `image`.
    pub(crate) mask: Option<Vec<u8>>,
    /// Over 0 to 1; only with `image`.
    pub(crate) strength: Option<f64>,
    /// Only with `image`.
    pub(crate) image_guidance: Option<f64>,
    /// Ids and weights; whether the model has them is not known here.
    pub(crate) adapters: Vec<(String, f64)>,
    /// Whether it is of the model's kind and within its range is not known here.
    pub(crate) step_cache: Option<StepCache>,
}

impl Generation {
    /// Parses a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body, GENERATION).map_err(Failure::invalid)?;
        let request = Self {
            prompt: reader.value(&PROMPT),
            use_enhancer: reader.value(&USE_ENHANCER),
            count: reader.value(&N) as u32,
            size: size(reader.value(&SIZE)),
            seed: reader.option(&SEED),
            negative_prompt: reader.option(&NEGATIVE_PROMPT).filter(|text| !text.is_empty()),
            steps: reader.option(&STEPS).map(|steps| steps as u32),
            guidance: reader.option(&GUIDANCE),
            model: reader.option(&MODEL),
            schedule: reader.option(&SCHEDULE),
            image: reader.option(&IMAGE),
            mask: reader.option(&MASK),
            strength: reader.option(&STRENGTH),
            image_guidance: reader.option(&IMAGE_GUIDANCE),
            adapters: reader.option(&ADAPTERS).unwrap_or_default(),
            step_cache: reader.option(&STEP_CACHE).flatten(),
        };
        let of_image = [
            ("strength", request.strength.is_some()),
            ("image_guidance", request.image_guidance.is_some()),
            ("mask", request.mask.is_some()),
        ];
        for (field, _) in of_image.into_iter().filter(|(_, is_given)| *is_given) {
            // a picture that cannot be read is a fault of its own
            if !reader.has(IMAGE.name()) {
                reader.fault(format!("`{field}` is given without `image`; give both or neither"));
            }
        }
        reader.finish(request).map_err(Failure::invalid)
    }
}

/// Parses the body of a request for a better prompt.
pub(crate) fn parse_enhancement(body: &[u8]) -> Result<String, Failure> {
    let mut reader = Reader::new(body, ENHANCEMENT).map_err(Failure::invalid)?;
    let prompt = reader.value(&PROMPT);
    reader.finish(prompt).map_err(Failure::invalid)
}

/// A size of the table, whose words are all `NxN`.
fn size(word: &str) -> Size {
    // the words have passed the table, so the 0 is never seen
    let side = word.split_once('x').and_then(|(side, _)| side.parse().ok()).unwrap_or(0);
    Size { width: side, height: side }
}

/// A list of adapters: `{"id": "ink", "weight": 0.8}`, where the weight is 1 when it is left out.
struct Adapters;

impl Adapters {
    fn one(entry: &Value) -> Option<(String, f64)> {
        let entry = entry.as_object()?;
        let id = entry.get("id")?.as_str()?.to_owned();
        let weight = entry.get("weight").map_or(Some(1.0), Value::as_f64)?;
        let is_known = entry.keys().all(|key| ["id", "weight"].contains(&key.as_str()));
        is_known.then_some((id, weight))
    }
}

impl Rule for Adapters {
    type Value = Vec<(String, f64)>;

    fn read(&self, value: &Value) -> Result<Self::Value, String> {
        let entries = value.as_array().map(|entries| entries.iter().map(Self::one).collect());
        entries.flatten().ok_or_else(|| format!("is not a list of adapters; give {}", self.wanted()))
    }

    fn wanted(&self) -> String {
        r#"a list such as [{"id": "ink", "weight": 0.8}]"#.into()
    }

    fn schema(&self) -> Value {
        let weight = json!({"type": "number", "minimum": -10.0, "maximum": 10.0, "default": 1.0});
        let item = json!({
            "type": "object",
            "properties": {"id": {"type": "string"}, "weight": weight},
            "required": ["id"],
            "additionalProperties": false,
        });
        json!({"type": "array", "items": item, "maxItems": 16})
    }

    fn written(&self, value: &Self::Value) -> Value {
        value.iter().map(|(id, weight)| json!({"id": id, "weight": weight})).collect()
    }
}

/// A step cache in a word: `deep:3`, `deep:3:1`, `first-block:0.1`.
struct Cache;

impl Cache {
    fn parse(word: &str) -> Option<StepCache> {
        let (kind, numbers) = word.split_once(':')?;
        let (first, second) =
            numbers.split_once(':').map_or((numbers, None), |(first, second)| (first, Some(second)));
        match (kind, second) {
            ("deep", branch) => {
                let branch = branch.unwrap_or("0").parse().ok()?;
                Some(StepCache::Deep { interval: first.parse().ok()?, branch })
            }
            ("first-block", None) => Some(StepCache::FirstBlock { threshold: first.parse().ok()? }),
            _ => None,
        }
    }
}

impl Rule for Cache {
    // there is none by default; what was read is always there
    type Value = Option<StepCache>;

    fn read(&self, value: &Value) -> Result<Self::Value, String> {
        let parsed = value.as_str().and_then(Self::parse);
        parsed.map(Some).ok_or_else(|| format!("is no step cache; give {}", self.wanted()))
    }

    fn wanted(&self) -> String {
        "deep:INTERVAL, deep:INTERVAL:BRANCH or first-block:THRESHOLD".into()
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "pattern": r"^(deep:\d+(:\d+)?|first-block:[\d.]+)$"})
    }

    fn written(&self, value: &Self::Value) -> Value {
        json!(value.map(|cache| match cache {
            StepCache::Deep { interval, branch } => format!("deep:{interval}:{branch}"),
            StepCache::FirstBlock { threshold } => format!("first-block:{threshold}"),
        }))
    }
}

/// Bytes in base64, with or without the head of a data URL.
struct Base64;

impl Rule for Base64 {
    type Value = Vec<u8>;

    fn read(&self, value: &Value) -> Result<Vec<u8>, String> {
        let text = value.as_str().ok_or_else(|| format!("is not text; give {}", self.wanted()))?;
        // the type that a data URL names is not read: the bytes say what they are
        let data = match text.strip_prefix("data:") {
            Some(url) => url.split_once(";base64,").map_or("", |(_, data)| data),
            None => text,
        };
        let bytes = STANDARD.decode(data.trim()).ok().filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| format!("is not base64; give {}", self.wanted()))?;
        if bytes.len() > MAX_IMAGE_BYTES {
            return Err(format!("has {} bytes; give at most {MAX_IMAGE_BYTES}", bytes.len()));
        }
        Ok(bytes)
    }

    fn wanted(&self) -> String {
        "a picture file in base64".into()
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "contentEncoding": "base64"})
    }

    fn written(&self, value: &Vec<u8>) -> Value {
        json!(STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_alone_takes_the_documented_defaults() {
        let request = Generation::parse(br#"{"prompt": "a cat"}"#).expect("valid");
        let size = Size { width: 512, height: 512 };
        assert_eq!((request.use_enhancer, request.count, request.size), (false, 1, size));
    }

    #[test]
    fn a_prompt_of_4096_characters_is_taken_and_one_more_is_not() {
        let body = |count| json!({"prompt": "ä".repeat(count)}).to_string();
        assert!(Generation::parse(body(4096).as_bytes()).is_ok());
        let error = Generation::parse(body(4097).as_bytes()).expect_err("too long").body();
        assert_eq!(error["error"], "`prompt` has 4097 characters; give text of 1 to 4096 characters");
    }

    #[test]
    fn a_picture_is_read_from_base64_and_from_a_data_url() {
        for written in ["aGk=", "data:image/png;base64,aGk="] {
            let body = json!({"prompt": "a", "image": written}).to_string();
            assert_eq!(Generation::parse(body.as_bytes()).expect(written).image, Some(b"hi".to_vec()));
        }
        for written in ["", "no base64!", "data:image/png,aGk="] {
            let body = json!({"prompt": "a", "image": written}).to_string();
            assert!(Generation::parse(body.as_bytes()).is_err(), "{written}");
        }
    }

    #[test]
    fn what_is_said_of_a_picture_without_a_picture_is_a_fault() {
        for (field, value) in
            [("strength", json!(0.5)), ("image_guidance", json!(0.5)), ("mask", json!("aGk="))]
        {
            let body = json!({"prompt": "a", field: value}).to_string();
            let error = Generation::parse(body.as_bytes()).expect_err("fault").body();
            assert_eq!(error["error"], format!("`{field}` is given without `image`; give both or neither"));
        }
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_one_fault_whatever_is_said_of_it() {
        let body = json!({"prompt": "a", "image": "no base64!", "strength": 0.5}).to_string();
        let error = Generation::parse(body.as_bytes()).expect_err("fault").body();
        assert_eq!(error["error"], "`image` is not base64; give a picture file in base64");
    }

    #[test]
    fn a_step_cache_is_a_kind_with_numbers() {
        let parse = |cache: &str| {
            let body = json!({"prompt": "a", "step_cache": cache}).to_string();
            Generation::parse(body.as_bytes()).map(|request| request.step_cache)
        };
        assert_eq!(parse("deep:3"), Ok(Some(StepCache::Deep { interval: 3, branch: 0 })));
        assert_eq!(parse("deep:2:4"), Ok(Some(StepCache::Deep { interval: 2, branch: 4 })));
        assert_eq!(parse("first-block:0.1"), Ok(Some(StepCache::FirstBlock { threshold: 0.1 })));
        for wrong in ["", "deep", "deep:x", "deep:1:2:3", "first-block", "first-block:1:2"] {
            let text = parse(wrong).expect_err(wrong).body()["error"].to_string();
            assert!(text.contains("`step_cache` is no step cache; give deep:INTERVAL"), "{text}");
        }
    }

    #[test]
    fn adapters_are_ids_with_weights() {
        let parse = |adapters: Value| {
            let body = json!({"prompt": "a", "adapters": adapters}).to_string();
            Generation::parse(body.as_bytes()).map(|request| request.adapters)
        };
        let both = json!([{"id": "ink", "weight": -0.5}, {"id": "wash"}]);
        assert_eq!(parse(both), Ok(vec![("ink".into(), -0.5), ("wash".into(), 1.0)]));
        for wrong in [json!("ink"), json!(["ink"]), json!([{"weight": 1}]), json!([{"id": "ink", "wait": 1}])]
        {
            let error = parse(wrong).expect_err("wrong").body();
            let text = error["error"].as_str().unwrap_or_default().to_owned();
            assert!(text.contains("`adapters` is not a list of adapters"), "{text}");
        }
    }

    #[test]
    fn every_size_of_the_table_is_a_size() {
        for word in ["256x256", "512x512", "768x768", "1024x1024"] {
            assert_eq!(size(word).to_string(), word);
        }
    }
}
