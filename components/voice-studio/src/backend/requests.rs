//! What the backend's endpoints take, as JSON or as a form (multipart/form-data): one table of fields for each, from which
//! parser, error texts and OpenAPI come.

use atelier_kit::Request;
use atelier_kit::fields::{Choice, Field, Integer, Reader, Table, Text};
use atelier_kit::multipart::Form;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::BODY_LIMIT;
use crate::command::{LANGUAGE, TEXT_CHARS};
use crate::failure::Failure;
use crate::modes::Mode;

static TEXT: Field<Text> =
    Field::optional("text", Text { min: 1, max: TEXT_CHARS }, "What a user said or wrote, in any language.");
static PROMPT_OF_LLM: Field<Text> =
    Field::optional("prompt", Text { min: 1, max: TEXT_CHARS }, "The same as `text`; one of them is wanted.");
static PROMPT: Field<Text> = Field::required(
    "prompt",
    Text { min: 1, max: 4096 },
    "What the picture should show, or what is to change in it.",
);
static MODE: Field<Choice> = Field::with_default(
    "mode",
    Choice(&["local_fast", "local_quality"]),
    "local_fast",
    "Which models work, and in how many steps.",
);
static SEED: Field<Integer> = Field::optional(
    "seed",
    Integer { min: 0, max: i64::MAX as u64 },
    "The same seed gives the same picture; a random one when left out.",
);
static LEASE_S: Field<Integer> = Field::optional(
    "lease_s",
    Integer { min: 5, max: 3_600 },
    "The task is called off when nobody asks how it stands for so many seconds; never, when left out.",
);
static IMAGE: Field<Text> = Field::optional(
    "image",
    Text { min: 1, max: BODY_LIMIT },
    "The picture to change: a file of the form, or in JSON its bytes in base64, as a `data:` address or without.",
);
static WAIT_MS: Field<Integer> = Field::with_default(
    "wait_ms",
    Integer { min: 0, max: 20_000 },
    0,
    "Milliseconds for which the answer may wait for the end of the task.",
);
static PREVIEW_AFTER: Field<Integer> = Field::optional(
    "preview_after",
    Integer { min: 0, max: u32::MAX as u64 },
    "Previews of this step and before are known: they are left out, and a later one is worth an answer at once.",
);

/// The fields of `POST /transcribe`, besides the file.
pub(super) const RECORDING: Table = &[&LANGUAGE];
/// The fields of `POST /llm`.
pub(super) const COMMAND: Table = &[&TEXT, &PROMPT_OF_LLM];
/// The fields of `POST /generate_image`, and of `POST /edit_image` besides the file.
pub(super) const PICTURE: Table = &[&PROMPT, &MODE, &SEED, &LEASE_S];
/// The fields of `POST /edit_image` in JSON.
pub(super) const EDIT: Table = &[&IMAGE, &PROMPT, &MODE, &SEED, &LEASE_S];
/// The query of `GET /task_status/{task_id}`.
pub(super) const LOOK: Table = &[&WAIT_MS, &PREVIEW_AFTER];

/// `POST /transcribe`.
pub(super) struct Recording {
    pub(super) audio: Vec<u8>,
    /// Recognised where there is none.
    pub(super) language: Option<String>,
}

impl Recording {
    pub(super) async fn parse(request: Request) -> Result<Self, Failure> {
        let (mut reader, files) = form(request, RECORDING, &["audio"]).await?;
        let audio = one(&mut reader, "audio", files, "the recording as a file of the form");
        let language = reader.value(&LANGUAGE);
        let language = (language != "auto").then(|| language.to_owned());
        Ok(reader.check(Self { audio, language })?)
    }
}

/// `POST /llm`.
pub(super) struct Command {
    pub(super) text: String,
}

impl Command {
    pub(super) async fn parse(request: Request) -> Result<Self, Failure> {
        let (mut reader, _) = either(request, COMMAND, COMMAND, &[]).await?;
        let (text, prompt) = (reader.option(&TEXT), reader.option(&PROMPT_OF_LLM));
        if reader.gives(TEXT.name()) == reader.gives(PROMPT_OF_LLM.name()) {
            reader.fault_of(TEXT.name(), "one command is wanted: send it as `text`, or as `prompt`");
        }
        Ok(reader.check(Self { text: text.or(prompt).unwrap_or_default() })?)
    }
}

/// `POST /generate_image` and `POST /edit_image`.
pub(super) struct Picture {
    pub(super) prompt: String,
    pub(super) mode: Mode,
    pub(super) seed: Option<u64>,
    /// Seconds for which nobody has to ask.
    pub(super) lease: Option<u64>,
    /// The file of the picture to change.
    pub(super) image: Option<Vec<u8>>,
    /// Under which the same request is the same task.
    pub(super) key: Option<String>,
}

impl Picture {
    pub(super) async fn parse(request: Request, is_edit: bool) -> Result<Self, Failure> {
        let key = request.headers.get("idempotency-key").map(str::to_owned);
        let (json, files): (Table, &[&'static str]) =
            if is_edit { (EDIT, &["image"]) } else { (PICTURE, &[]) };
        let (mut reader, mut found) = either(request, PICTURE, json, files).await?;
        let image = is_edit.then(|| {
            let written = reader.option(&IMAGE).map(|text| decoded(&mut reader, &text));
            found.extend(written);
            one(&mut reader, "image", found, "the picture to change")
        });
        let picture = Self {
            prompt: reader.value(&PROMPT),
            // after a fault, any: the request goes no further
            mode: Mode::named(reader.value(&MODE)).unwrap_or(Mode::LocalFast),
            seed: reader.option(&SEED),
            lease: reader.option(&LEASE_S),
            image,
            key,
        };
        Ok(reader.check(picture)?)
    }
}

/// `GET /task_status/{task_id}`.
#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) wait_ms: u64,
    /// The step of the preview that is known.
    pub(super) preview_after: Option<u64>,
}

impl Look {
    pub(super) fn parse(request: &Request) -> Result<Self, Failure> {
        let query = request.query.as_deref().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        // both are numbers, in which nothing is escaped
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let texts = pairs.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mut reader = Reader::of_form(texts.collect(), LOOK, &[]);
        let look = Self { wait_ms: reader.value(&WAIT_MS), preview_after: reader.option(&PREVIEW_AFTER) };
        Ok(reader.check(look)?)
    }
}

/// A body in JSON or as a form, and the form's files.
async fn either(
    request: Request,
    of_form: Table,
    of_json: Table,
    files: &[&'static str],
) -> Result<(Reader, Vec<Vec<u8>>), Failure> {
    let kind = request.headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("multipart/") {
        return form(request, of_form, files).await;
    }
    Ok((Reader::new(&request.body, of_json).map_err(Failure::invalid)?, Vec::new()))
}

async fn form(
    request: Request,
    table: Table,
    files: &[&'static str],
) -> Result<(Reader, Vec<Vec<u8>>), Failure> {
    let mut form = Form::read(request, files).await.map_err(Failure::invalid)?;
    let found = files.iter().flat_map(|name| form.files(name)).collect();
    Ok((form.reader(table, files), found))
}

/// The one file of a name; none, with a fault, where there is none or there are several.
fn one(reader: &mut Reader, name: &str, mut files: Vec<Vec<u8>>, wanted: &str) -> Vec<u8> {
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => file,
        (Some(_), false) => {
            reader.fault_of(name, format!("`{name}` is given twice; give it once"));
            Vec::new()
        }
        (None, _) => {
            reader.missing(name, wanted);
            Vec::new()
        }
    }
}

/// A file that was written in base64.
fn decoded(reader: &mut Reader, text: &str) -> Vec<u8> {
    let data =
        if text.starts_with("data:") { text.split_once(',').map_or("", |(_, data)| data) } else { text };
    STANDARD.decode(data.trim()).unwrap_or_else(|_| {
        reader.fault_of("image", "`image` is no base64; give the picture's bytes in base64, or send a form");
        Vec::new()
    })
}
