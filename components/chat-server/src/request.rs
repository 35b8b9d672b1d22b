//! The form of `POST /image/generate`: one table of fields, from which parser, error texts and OpenAPI come. Names, bounds and
//! defaults are the service's; what a model allows is not known here.

use atelier_kit::Request;
use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Boolean, Choice, Field, Integer, Number, Reader, Table, Text};
use atelier_kit::multipart::Form;
use serde_json::{Value, json};

use crate::models::NAMES;

/// The form's part that is a file.
pub(crate) const FILES: &[&str] = &["image"];

/// The most characters of a prompt. The host takes 32 KiB, which as many characters of any kind fit into.
const MAX_PROMPT: usize = 8_192;

/// The largest seed: what every JSON client writes exactly, 2^53 - 1.
const MAX_SEED: u64 = (1 << 53) - 1;

static PROMPT: Field<Text> = Field::required(
    "prompt",
    Text { min: 1, max: MAX_PROMPT },
    "The main text prompt describing the desired image.",
);
static MODEL_NAME: Field<Choice> = Field::with_default(
    "model_name",
    Choice(&NAMES),
    NAMES[0],
    "The generation model to use; the route's configuration says which model each name stands for.",
);
static STEPS: Field<Integer> = Field::with_default(
    "steps",
    Integer { min: 1, max: 150 },
    25,
    "Number of diffusion steps, for either model. `lcm` is made for 4 to 8; it takes as many as it is told.",
);
static NEGATIVE_PROMPT: Field<Text> = Field::optional(
    "negative_prompt",
    Text { min: 1, max: MAX_PROMPT },
    "Terms to exclude from the image. A model without guidance, as most that stand for `lcm`, refuses it by name.",
);
static STRENGTH: Field<Number> = Field::optional(
    "strength",
    Number { min: 0.0, max: 1.0, above_min: true },
    "For image-to-image: how much of the schedule is run on `image`, as in diffusers. 1 leaves nothing of it, and 0 would leave \
     nothing to do; the model's own, often 0.8, when left out.",
);
static USE_REFINER: Field<Boolean> = Field::with_default(
    "use_refiner",
    Boolean,
    false,
    "Whether the SDXL refiner model ends the picture; for `sdxl` only.",
);
static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: MAX_SEED },
    "Extension. The same request with the same seed gives the same picture; chosen by the host and told when left out.",
);

/// The form's fields, besides the file.
pub(crate) const GENERATION: Table =
    &[&PROMPT, &MODEL_NAME, &STEPS, &NEGATIVE_PROMPT, &STRENGTH, &USE_REFINER, &SEED];

/// A request in which nothing can be wrong any more, except for the model's or the picture's sake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Generation {
    pub(crate) prompt: String,
    /// One of the service's names.
    pub(crate) model_name: &'static str,
    pub(crate) steps: u32,
    pub(crate) negative_prompt: Option<String>,
    /// Over 0 to 1; only there with an image.
    pub(crate) strength: Option<f64>,
    pub(crate) use_refiner: bool,
    pub(crate) seed: Option<u64>,
    /// A picture file as it was sent, its format not yet looked at.
    pub(crate) image: Option<Vec<u8>>,
}

impl Generation {
    /// Parses a form.
    pub(crate) async fn parse(request: Request) -> Result<Self, Failure> {
        let mut form = Form::read(request, FILES).await.map_err(Failure::unreadable)?.without_empty_texts();
        let mut images = form.files("image");
        let mut reader = form.reader(GENERATION, FILES);
        if images.len() > 1 {
            let text = format!("`image` is given {} times; send one picture", images.len());
            reader.fault_of("image", text);
        }
        let request = Self {
            prompt: reader.value(&PROMPT),
            model_name: reader.value(&MODEL_NAME),
            steps: reader.value(&STEPS) as u32,
            negative_prompt: reader.option(&NEGATIVE_PROMPT),
            strength: reader.option(&STRENGTH),
            use_refiner: reader.value(&USE_REFINER),
            seed: reader.option(&SEED),
            image: images.pop(),
        };
        request.check_together(&mut reader);
        let request = reader.check(request)?;
        match request.image.as_ref().is_some_and(Vec::is_empty) {
            true => Err(Failure::new(400, "`image` is empty; send a picture, or leave it out")),
            false => Ok(request),
        }
    }

    /// Refuses what would have no effect beside the other fields.
    fn check_together(&self, reader: &mut Reader) {
        if reader.has(STRENGTH.name()) && self.image.is_none() {
            reader.fault_of("strength", "`strength` is given without `image`; give both or neither");
        }
        if self.use_refiner && self.model_name != NAMES[0] {
            let text = format!(
                "`use_refiner` is for `{}`: leave it out with `{}`, which has no refiner",
                NAMES[0], self.model_name
            );
            reader.fault_of("use_refiner", text);
        }
    }

    /// The fields that give the same picture again, with the seed that was taken. An image is not repeated.
    pub(crate) fn again(&self, seed: u64) -> Value {
        let mut fields = self.fields();
        fields["seed"] = json!(seed);
        fields
    }

    /// The fields that are there, by their names. An image is not repeated.
    pub(crate) fn fields(&self) -> Value {
        let mut fields = json!({
            "prompt": self.prompt,
            "model_name": self.model_name,
            "steps": self.steps,
            "use_refiner": self.use_refiner,
        });
        if let Some(seed) = self.seed {
            fields["seed"] = json!(seed);
        }
        if let Some(text) = &self.negative_prompt {
            fields["negative_prompt"] = json!(text);
        }
        if let Some(strength) = self.strength {
            fields["strength"] = json!(strength);
        }
        fields
    }
}
