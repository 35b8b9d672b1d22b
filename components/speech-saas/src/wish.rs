//! The body of `POST /generate-image`: one table of fields, from which parser, error texts and OpenAPI come. What a model allows is
//! not known here.

use atelier_kit::fields::{Choice, Field, Integer, Number, Reader, Table, Text};
use atelier_kit::host::Size;

use crate::clean::cleaned;
use crate::failure::Failure;
use crate::styles::{AUTO, NAMES};

/// The most characters of a prompt, of which the history keeps the first.
const MAX_PROMPT: usize = 1_000;

/// The largest seed: what every JSON client writes exactly, 2^53 - 1.
const MAX_SEED: u64 = (1 << 53) - 1;

static PROMPT: Field<Text> = Field::required(
    "prompt",
    Text { min: 1, max: MAX_PROMPT },
    "What to draw. Markup, control characters and characters that nobody sees are taken out.",
);
static NEGATIVE_PROMPT: Field<Text> =
    Field::optional("negative_prompt", Text { min: 0, max: MAX_PROMPT }, "What the picture should not show.");
static MODEL: Field<Choice> = Field::with_default(
    "model",
    Choice(&NAMES),
    AUTO,
    "Which model draws: `dreamshaper` for artistic, fantasy and stylised pictures, `realistic_vision` for photographs and \
     cinematic ones, or `auto`, which chooses by the prompt.",
);
static WIDTH: Field<Integer> = Field::optional(
    "width",
    SIDE,
    "Pixels, together with `height`; the model's own size when both are left out.",
);
static HEIGHT: Field<Integer> = Field::optional("height", SIDE, "Pixels, together with `width`.");
static STEPS: Field<Integer> = Field::optional(
    "steps",
    Integer { min: 1, max: 150 },
    "Inference steps; `DEFAULT_INFERENCE_STEPS`, or else the model's own, when left out.",
);
static GUIDANCE_SCALE: Field<Number> = Field::optional(
    "guidance_scale",
    Number { min: 0.0, max: 50.0, above_min: false },
    "Guidance scale; `DEFAULT_GUIDANCE_SCALE`, or else the model's own, when left out.",
);
static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: MAX_SEED },
    "The same request with the same seed gives the same picture; chosen by the host and told when left out.",
);

const SIDE: Integer = Integer { min: 8, max: 4_096 };

/// The fields of the body.
pub(crate) const GENERATION: Table =
    &[&PROMPT, &NEGATIVE_PROMPT, &MODEL, &WIDTH, &HEIGHT, &STEPS, &GUIDANCE_SCALE, &SEED];

/// A request in which nothing can be wrong any more, except for the model's sake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    /// Cleaned, and not empty.
    pub(crate) prompt: String,
    /// Cleaned.
    pub(crate) negative_prompt: Option<String>,
    /// Whether cleaning took something out of either.
    pub(crate) was_cleaned: bool,
    /// One of the service's names, or `auto`.
    pub(crate) model: &'static str,
    pub(crate) size: Option<Size>,
    pub(crate) steps: Option<u32>,
    pub(crate) guidance: Option<f64>,
    pub(crate) seed: Option<u64>,
}

impl Wish {
    /// Parses a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body, GENERATION).map_err(Failure::invalid)?;
        let (prompt, negative) = (reader.value(&PROMPT), reader.option(&NEGATIVE_PROMPT));
        let wish = Self {
            prompt: cleaned(&prompt),
            negative_prompt: negative.as_deref().map(cleaned).filter(|text| !text.is_empty()),
            was_cleaned: false,
            model: reader.value(&MODEL),
            size: size(&mut reader),
            steps: reader.option(&STEPS).map(|steps| steps as u32),
            guidance: reader.option(&GUIDANCE_SCALE),
            seed: reader.option(&SEED),
        };
        let was_cleaned = wish.prompt != spaced(&prompt)
            || wish.negative_prompt.as_deref().unwrap_or_default()
                != spaced(negative.as_deref().unwrap_or_default());
        if wish.prompt.is_empty() && !prompt.is_empty() {
            reader.fault_of("prompt", "`prompt` has no words; say what to draw");
        }
        reader.finish(Self { was_cleaned, ..wish }).map_err(Failure::invalid)
    }
}

/// A text whose spaces are made one, which is nothing taken out.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Both sides or neither.
fn size(reader: &mut Reader) -> Option<Size> {
    match (reader.option(&WIDTH), reader.option(&HEIGHT)) {
        (Some(width), Some(height)) => Some(Size { width: width as u32, height: height as u32 }),
        (None, None) => None,
        _ => {
            reader.fault("`width` and `height` belong together; give both or neither");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Wish, String> {
        Wish::parse(body.as_bytes()).map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn a_prompt_alone_leaves_the_rest_to_the_service() {
        let wish = parse(r#"{"prompt": " a red boat "}"#).expect("valid");
        assert_eq!((wish.prompt.as_str(), wish.model, wish.was_cleaned), ("a red boat", "auto", false));
        assert_eq!((wish.size, wish.steps, wish.guidance, wish.seed), (None, None, None, None));
    }

    #[test]
    fn what_is_taken_out_is_known() {
        let wish = parse(r#"{"prompt": "a <b>red</b> boat", "negative_prompt": ""}"#).expect("valid");
        assert_eq!((wish.prompt.as_str(), wish.was_cleaned), ("a red boat", true));
        let wish = parse(r#"{"prompt": "a  red \n boat", "negative_prompt": " a  house "}"#).expect("valid");
        assert_eq!((wish.prompt.as_str(), wish.was_cleaned), ("a red boat", false));
        assert_eq!(parse(r#"{"prompt": "<i></i>"}"#), Err("`prompt` has no words; say what to draw".into()));
    }

    #[test]
    fn every_fault_is_told_by_its_field() {
        let text = parse(r#"{"model": "sdxl", "width": 512, "steps": 0, "style": "x"}"#).expect_err("faults");
        for part in [
            "`style` is not a field",
            "`prompt` is missing",
            "`model` is \"sdxl\"; give one of auto",
            "give both",
            "`steps` is 0",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_prompt_has_a_bound() {
        let body = |count: usize| format!(r#"{{"prompt": "{}"}}"#, "ä".repeat(count));
        assert!(parse(&body(MAX_PROMPT)).is_ok() && parse(&body(MAX_PROMPT + 1)).is_err());
    }
}
