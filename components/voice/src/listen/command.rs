//! The form that is sent with a command: one table of fields, from which parser, error texts and OpenAPI come.

use atelier_kit::Request;
use atelier_kit::fields::{Boolean, Field, Integer, Table, Text};
use atelier_kit::multipart::Form;

use crate::failure::Failure;

/// The form's parts that are files.
const FILES: &[&str] = &["audio", "picture"];

/// The most pictures of a conversation that are sent along.
pub(crate) const MAX_PICTURES: usize = 64;

/// The largest seed: what every JSON client writes exactly, 2^53 - 1.
const MAX_SEED: u64 = (1 << 53) - 1;

static COMMAND: Field<Text> =
    Field::optional("command", Text { min: 1, max: 4096 }, "The command in writing, in place of `audio`.");
static LANGUAGE: Field<Text> = Field::optional(
    "language",
    Text { min: 0, max: 40 },
    "What language is spoken in `audio`, as a code or an English name; recognised when left out.",
);
static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: MAX_SEED },
    "The picture's seed; chosen, and told, when left out. The same command with the same seed gives the same bytes.",
);
static STEPS: Field<Integer> =
    Field::optional("steps", Integer { min: 1, max: 150 }, "Denoising steps; the model's own when left out.");
static ENHANCE: Field<Boolean> = Field::with_default(
    "enhance",
    Boolean,
    false,
    "Whether the route's style plugins may add to what a new picture is to show.",
);

/// The fields of `POST /listen`, besides the files.
pub(crate) const LISTENING: Table = &[&COMMAND, &LANGUAGE, &SEED, &STEPS, &ENHANCE];

/// Where a command comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A recording as it was sent, its format not yet looked at.
    Audio(Vec<u8>),
    /// Text.
    Written(String),
}

/// A request in which nothing can be wrong any more, except for the models', the recording's or the pictures' sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) source: Source,
    /// Only with a recording.
    pub(crate) language: Option<String>,
    pub(crate) wish: Wish,
}

/// What is told of the picture, besides the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Files as they were sent, the oldest first; the last is the present picture.
    pub(crate) pictures: Vec<Vec<u8>>,
    pub(crate) seed: Option<u64>,
    pub(crate) steps: Option<u32>,
    pub(crate) is_enhanced: bool,
}

impl Command {
    /// Parses a form.
    pub(crate) async fn parse(request: Request) -> Result<Self, Failure> {
        let mut form = Form::read(request, FILES).await.map_err(Failure::invalid)?;
        let (mut recordings, pictures) = (form.files("audio"), form.files("picture"));
        let mut reader = form.reader(LISTENING, FILES);
        let written = reader.option(&COMMAND);
        let language = reader.option(&LANGUAGE).filter(|text| !text.is_empty());
        if recordings.len() + usize::from(reader.has(COMMAND.name())) != 1 {
            reader.fault_of("audio", "one command is wanted: send one `audio`, or a `command` in writing");
        }
        if language.is_some() && recordings.is_empty() {
            reader.fault_of(LANGUAGE.name(), "`language` is that of `audio`; leave it out with a `command`");
        }
        if pictures.len() > MAX_PICTURES {
            let text = format!("`picture` is given {} times; send the newest {MAX_PICTURES}", pictures.len());
            reader.fault_of("picture", text);
        }
        let command = Self {
            source: match recordings.pop() {
                Some(bytes) => Source::Audio(bytes),
                None => Source::Written(written.unwrap_or_default()),
            },
            language,
            wish: Wish {
                pictures,
                seed: reader.option(&SEED),
                steps: reader.option(&STEPS).map(|steps| steps as u32),
                is_enhanced: reader.value(&ENHANCE),
            },
        };
        reader.check(command).map_err(Failure::from)
    }
}
