//! The form that is sent with a command: one table of fields, from which parser, error texts and OpenAPI come.

use atelier_kit::Request;
use atelier_kit::fields::{Choice, Field, Reader, Table, Text};
use atelier_kit::multipart::Form;

use crate::failure::Failure;
use crate::modes::{self, Mode};

/// The most characters of a command in writing: those that an `intent` plugin takes (`wit/intent.wit`).
pub(crate) const TEXT_CHARS: usize = 1_000;
/// The form's parts that are files.
const FILES: &[&str] = &["audio"];

static TEXT: Field<Text> =
    Field::optional("text", Text { min: 1, max: TEXT_CHARS }, "The command in writing, in place of `audio`.");
/// The language of a recording.
pub(crate) static LANGUAGE: Field<Choice> = Field::with_default(
    "language",
    Choice(&["auto", "en", "fi"]),
    "auto",
    "What language is spoken; recognised with `auto`.",
);
static MODE: Field<Choice> =
    Field::with_default("mode", Choice(modes::NAMES), "local_fast", "Which models work.");
static IMAGE: Field<Text> = Field::optional(
    "image",
    Text { min: 1, max: 100 },
    "The picture of the gallery to work on; the present one when left out.",
);

/// The fields of `POST process_command`, besides the file.
pub(crate) const COMMAND: Table = &[&TEXT, &LANGUAGE, &MODE, &IMAGE];

/// Where a command comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A recording as it was sent, its format not yet looked at.
    Audio(Vec<u8>),
    /// Text.
    Written(String),
}

/// A request in which nothing can be wrong any more, except for the models', the recording's or the gallery's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) source: Source,
    /// Of a recording; recognised where there is none.
    pub(crate) language: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) image: Option<String>,
}

impl Command {
    /// Parses the same fields as JSON, without a recording.
    pub(crate) fn written(body: &[u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body, COMMAND).map_err(Failure::invalid)?;
        let written = reader.option(&TEXT);
        if !reader.gives(TEXT.name()) {
            reader.fault_of("text", "a command is wanted: send a `text`");
        }
        Self::read(reader, Source::Written(written.unwrap_or_default()))
    }

    /// Parses a form, or what is said to be JSON.
    pub(crate) async fn parse(request: Request) -> Result<Self, Failure> {
        if request.is_of("application/json") {
            return Self::written(&request.body);
        }
        let mut form = Form::read(request, FILES).await.map_err(Failure::invalid)?;
        let mut recordings = form.files("audio");
        let mut reader = form.reader(COMMAND, FILES);
        let written = reader.option(&TEXT);
        if recordings.len() + usize::from(reader.gives(TEXT.name())) != 1 {
            reader.fault_of("audio", "one command is wanted: send one `audio`, or a `text`");
        }
        let source = match recordings.pop() {
            Some(bytes) => Source::Audio(bytes),
            None => Source::Written(written.unwrap_or_default()),
        };
        Self::read(reader, source)
    }

    /// Reads what is left of the fields.
    fn read(mut reader: Reader, source: Source) -> Result<Self, Failure> {
        let language = reader.value(&LANGUAGE);
        let command = Self {
            source,
            language: (language != "auto").then(|| language.to_owned()),
            // after a fault, any: the request goes no further
            mode: Mode::named(reader.value(&MODE)).unwrap_or(Mode::LocalFast),
            image: reader.option(&IMAGE),
        };
        reader.check(command).map_err(Failure::from)
    }
}
