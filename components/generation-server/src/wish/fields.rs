//! The fields of tasks, and the tables that each kind of body has of them: from these come parser, error texts and OpenAPI. Names,
//! bounds and defaults are the original's; what it has not is marked as extension.

use atelier_kit::fields::{Choice, Field, Integer, Number, Table, Text};

use crate::models::NAMES;

/// The form's part that is a file.
pub(crate) const FILES: &[&str] = &["image"];

/// The most characters of a prompt. The host takes 32 KiB, which as many characters of any kind fit into.
const MAX_PROMPT: usize = 8_192;

/// The largest seed: what every JSON client writes exactly, 2^53 - 1.
const MAX_SEED: u64 = (1 << 53) - 1;

/// What a picture's side may be. Models draw sizes of their own; the picture is scaled to the one that was asked for.
const SIDE: Integer = Integer { min: 64, max: 2_048 };

/// The views of the multi-angle model, and how they are said to a model that reads words.
pub(super) const VIEWS: [(&str, &str); 10] = [
    ("front", "seen from the front"),
    ("front-left", "seen from the front left"),
    ("left", "seen from the left side"),
    ("back-left", "seen from the back left"),
    ("back", "seen from behind"),
    ("back-right", "seen from the back right"),
    ("right", "seen from the right side"),
    ("front-right", "seen from the front right"),
    ("top", "seen from above"),
    ("bottom", "seen from below"),
];

const VIEW_NAMES: [&str; 10] = {
    let mut names = [""; 10];
    let mut i = 0;
    while i < names.len() {
        names[i] = VIEWS[i].0;
        i += 1;
    }
    names
};

pub(super) static MODEL: Field<Choice> = Field::required("model", Choice(&NAMES), "Whose task it is.");
pub(super) static PROMPT: Field<Text> =
    Field::required("prompt", Text { min: 1, max: MAX_PROMPT }, "What the picture shows.");
pub(super) static CHANGE: Field<Text> =
    Field::optional("prompt", Text { min: 1, max: MAX_PROMPT }, "What the image is to become.");
pub(super) static NEGATIVE_PROMPT: Field<Text> = Field::optional(
    "negative_prompt",
    // forms that leave it empty send it all the same
    Text { min: 0, max: MAX_PROMPT },
    "What it does not show. A model that has no use for one, as FLUX, refuses it by name.",
);
pub(super) static WIDTH: Field<Integer> =
    Field::with_default("width", SIDE, 512, "Pixels from left to right.");
pub(super) static HEIGHT: Field<Integer> =
    Field::with_default("height", SIDE, 512, "Pixels from top to bottom.");
pub(super) static STEPS: Field<Integer> = Field::with_default(
    "num_inference_steps",
    Integer { min: 1, max: 150 },
    50,
    "Number of diffusion steps.",
);
pub(super) static GUIDANCE: Field<Number> = Field::with_default(
    "guidance_scale",
    Number { min: 0.0, max: 50.0, above_min: false },
    7.5,
    "How closely the prompt is followed. A model that runs without refuses one that is sent, and does without the default.",
);
pub(super) static STRENGTH: Field<Number> = Field::with_default(
    "strength",
    Number { min: 0.0, max: 1.0, above_min: true },
    0.8,
    "How much of the schedule is run on the image, as in diffusers. 1 leaves nothing of it, and 0 would leave nothing to do.",
);
pub(super) static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: MAX_SEED },
    "The same task with the same seed gives the same picture; chosen by the host when left out.",
);
pub(super) static VIEW: Field<Choice> =
    Field::with_default("view", Choice(&VIEW_NAMES), "front", "From where the subject is seen.");
pub(super) static PRIORITY: Field<Choice> = Field::with_default(
    "priority",
    Choice(&["low", "normal", "high"]),
    "normal",
    "Extension. Which of one's own tasks go first; one class is worth ten minutes of waiting.",
);

pub(crate) static WEBHOOK_URL: Field<Text> = Field::optional(
    "webhook_url",
    Text { min: 1, max: 2_048 },
    "Extension. Who is told of the task's end: its status is posted there, signed as Standard Webhooks, until it is acknowledged.",
);
pub(crate) static CACHE_SECONDS: Field<Integer> = Field::optional(
    "cache_seconds",
    Integer { min: 1, max: 604_800 },
    "Extension. The picture of the same task will do, if it is not older; for tasks with a `seed`. It is kept so long for others.",
);

/// The body of a t2i task.
pub(crate) const DRAWING: Table = &[
    &PROMPT,
    &NEGATIVE_PROMPT,
    &WIDTH,
    &HEIGHT,
    &STEPS,
    &GUIDANCE,
    &SEED,
    &PRIORITY,
    &WEBHOOK_URL,
    &CACHE_SECONDS,
];
/// The same for a model with views.
pub(crate) const DRAWING_VIEW: Table = &[
    &PROMPT,
    &VIEW,
    &NEGATIVE_PROMPT,
    &WIDTH,
    &HEIGHT,
    &STEPS,
    &GUIDANCE,
    &SEED,
    &PRIORITY,
    &WEBHOOK_URL,
    &CACHE_SECONDS,
];
/// The form of an i2i task, besides the file.
pub(crate) const CHANGING: Table = &[&CHANGE, &STRENGTH, &GUIDANCE, &STEPS, &SEED, &PRIORITY, &WEBHOOK_URL];
/// The same for a model with views.
pub(crate) const CHANGING_VIEW: Table =
    &[&CHANGE, &VIEW, &STRENGTH, &GUIDANCE, &STEPS, &SEED, &PRIORITY, &WEBHOOK_URL];
/// A t2i task of a batch, whatever its model is.
pub(crate) const BATCHED: Table = &[
    &MODEL,
    &PROMPT,
    &VIEW,
    &NEGATIVE_PROMPT,
    &WIDTH,
    &HEIGHT,
    &STEPS,
    &GUIDANCE,
    &SEED,
    &PRIORITY,
    &WEBHOOK_URL,
    &CACHE_SECONDS,
];
