//! The two forms that are sent with a recording to be written down: one table of fields each, from which parser, error texts
//! and OpenAPI come. Names, defaults and meanings are OpenAI's; what a model can do is not known here.

use atelier_kit::Request;
use atelier_kit::fields::{Boolean, Choice, Field, Number, Reader, Rule, Table, Text};
use atelier_kit::multipart::Form;
use atelier_kit::speech::{SpeechOrder, Task, Timestamps};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The form's part that is a file.
pub(crate) const FILES: &[&str] = &["file"];

static MODEL: Field<Text> = Field::optional(
    "model",
    Text { min: 1, max: 200 },
    "A model of speech of this route, or a name that its configuration gives one; the first when left out.",
);
static LANGUAGE: Field<Text> = Field::optional(
    "language",
    Text { min: 0, max: 40 },
    "What language is spoken, as a code or an English name; recognised when left out.",
);
static PROMPT: Field<Text> = Field::optional(
    "prompt",
    Text { min: 0, max: 8192 },
    "Text that might come before the recording: names, spelling, style.",
);
static RESPONSE_FORMAT: Field<Choice> = Field::with_default(
    "response_format",
    Choice(&["json", "text", "srt", "verbose_json", "vtt"]),
    "json",
    "The answer's form.",
);
static TEMPERATURE: Field<Number> = Field::optional(
    "temperature",
    Number { min: 0.0, max: 1.0, above_min: false },
    "What text is drawn with. 0, as when left out, takes the likeliest, and tries higher temperatures where that is no good; \
     another is the only one that is tried.",
);
static GRANULARITIES: Field<Granularities> = Field::with_default(
    "timestamp_granularities[]",
    Granularities,
    Granularity { segments: true, words: false },
    "Which times a `verbose_json` has: `segment`, `word`, or both.",
);
static STREAM: Field<Boolean> = Field::with_default(
    "stream",
    Boolean,
    false,
    "Whether text is sent as it comes, as server-sent events, for the formats json and text.",
);

/// The fields of `POST /v1/audio/transcriptions`, besides the file.
pub(crate) const TRANSCRIPTION: Table =
    &[&MODEL, &LANGUAGE, &PROMPT, &RESPONSE_FORMAT, &TEMPERATURE, &GRANULARITIES, &STREAM];

/// The fields of `POST /v1/audio/translations`, besides the file.
pub(crate) const TRANSLATION: Table = &[&MODEL, &PROMPT, &RESPONSE_FORMAT, &TEMPERATURE];

/// A request in which nothing can be wrong any more, except for the model's or the recording's sake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transcription {
    /// As it was sent, its format not yet looked at.
    pub(crate) file: Vec<u8>,
    /// By id or another name; may name no model at all.
    pub(crate) model: Option<String>,
    /// Everything of the job but its model.
    pub(crate) order: SpeechOrder,
    /// One of the words of `response_format`.
    pub(crate) format: &'static str,
    pub(crate) times: Granularity,
    pub(crate) is_streamed: bool,
}

impl Transcription {
    /// Parses a form.
    pub(crate) async fn parse(request: Request, task: Task) -> Result<Self, Failure> {
        let mut form = Form::read(request, FILES).await.map_err(Failure::invalid)?;
        let mut files = form.files("file").into_iter();
        let (file, another) = (files.next(), files.next());
        let mut reader =
            form.reader(if task == Task::Translate { TRANSLATION } else { TRANSCRIPTION }, FILES);
        if file.is_none() || another.is_some() {
            reader.fault_of("file", "`file` is wanted once; send one recording");
        }
        let format = reader.value(&RESPONSE_FORMAT);
        let times = times(&mut reader, format);
        let request = Self {
            file: file.unwrap_or_default(),
            model: reader.option(&MODEL),
            order: SpeechOrder {
                model: String::new(),
                language: reader.option(&LANGUAGE).filter(|text| !text.is_empty()),
                task,
                timestamps: if times.words { Timestamps::Words } else { Timestamps::Segments },
                temperatures: reader.option(&TEMPERATURE).into_iter().filter(|value| *value > 0.0).collect(),
                initial_prompt: reader.option(&PROMPT).filter(|text| !text.is_empty()),
            },
            format,
            times,
            is_streamed: reader.value(&STREAM),
        };
        if request.is_streamed && !["json", "text"].contains(&format) {
            let text =
                format!("`stream` sends text as it comes, and `{format}` is made at the end; take json");
            reader.fault_of("stream", text);
        }
        reader.check(request).map_err(Failure::from)
    }
}

/// The times that are asked for; a fault where the format has no place for them.
fn times(reader: &mut Reader, format: &str) -> Granularity {
    let name = GRANULARITIES.name();
    let is_given = reader.has(name);
    if is_given && format != "verbose_json" {
        let text = format!(
            "`{name}` is for the format verbose_json; give that as `response_format`, or leave it out"
        );
        reader.fault_of(name, text);
    }
    reader.value(&GRANULARITIES)
}

/// Which times are in a `verbose_json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granularity {
    pub(crate) segments: bool,
    pub(crate) words: bool,
}

/// A list of `segment` and `word`.
struct Granularities;

impl Rule for Granularities {
    type Value = Granularity;

    fn read(&self, value: &Value) -> Result<Granularity, String> {
        let words: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(other) = words.iter().find(|word| !["segment", "word"].contains(*word)) {
            let shown: String = other.chars().take(40).collect();
            return Err(format!("is \"{shown}\"; give {}", self.wanted()));
        }
        Ok(Granularity { segments: words.contains(&"segment"), words: words.contains(&"word") })
    }

    fn wanted(&self) -> String {
        "segment or word, once for each".into()
    }

    fn schema(&self) -> Value {
        json!({"type": "array", "items": {"type": "string", "enum": ["segment", "word"]}})
    }

    fn written(&self, value: &Granularity) -> Value {
        let words = [("segment", value.segments), ("word", value.words)].into_iter();
        words.filter(|(_, is_wanted)| *is_wanted).map(|(word, _)| word).collect()
    }
}
