//! What a task asks for, parsed: fields of the request become a wish in which nothing can be wrong any more, or faults by their names.
//! What a model allows is not known here.

use atelier_kit::Request;
use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Fault, Faults, Reader};
use atelier_kit::host::Size;
use atelier_kit::jobs::Priority;
use atelier_kit::multipart::Form;

use crate::models::{DRAWERS, Drawer, Make};

mod fields;

pub(crate) use fields::{
    BATCHED, CACHE_SECONDS, CHANGING, CHANGING_VIEW, DRAWING, DRAWING_VIEW, FILES, WEBHOOK_URL,
};
use fields::{
    CHANGE, GUIDANCE, HEIGHT, MODEL, NEGATIVE_PROMPT, PRIORITY, PROMPT, SEED, STEPS, STRENGTH, VIEW, VIEWS,
    WIDTH,
};

/// How closely a prompt is to be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Guidance {
    pub(crate) scale: f64,
    /// Whether the task says so itself: a default is for the models that can follow it.
    pub(crate) is_named: bool,
}

/// A task in which nothing can be wrong any more, except for the model's or the picture's sake.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wish {
    /// What is drawn, the view included. Empty only where an image is changed.
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    /// None where an image is changed.
    pub(crate) size: Option<Size>,
    pub(crate) steps: u32,
    pub(crate) guidance: Guidance,
    /// Over 0 to 1; none where nothing is changed.
    pub(crate) strength: Option<f64>,
    pub(crate) seed: Option<u64>,
    pub(crate) priority: Priority,
    /// Who is told of the task's end.
    pub(crate) webhook_url: Option<String>,
    /// How old another picture of the same task may be to do as well; only there with a seed.
    pub(crate) cache_seconds: Option<u32>,
    /// A picture file as it was sent, its format not yet looked at.
    pub(crate) image: Option<Vec<u8>>,
}

impl Wish {
    /// Parses the body of a task.
    pub(crate) async fn parse(request: Request, drawer: &Drawer, make: Make) -> Result<Self, Failure> {
        match make {
            Make::FromText => {
                let table = if drawer.view { DRAWING_VIEW } else { DRAWING };
                let reader = Reader::new(&request.body, table).map_err(Failure::unreadable)?;
                Ok(Self::of_text(reader, drawer)?)
            }
            Make::FromImage => Self::of_form(request, drawer).await,
        }
    }

    /// Parses a task of a batch, and says whose it is.
    pub(crate) fn of_batch(task: &[u8]) -> Result<(&'static Drawer, Self), Faults> {
        let mut reader = Reader::new(task, BATCHED).map_err(|text| vec![Fault::invalid(None, text)])?;
        // where the name is none, that is on the reader's list, and the other fields are read all the same
        let drawer = Drawer::named(reader.value(&MODEL)).unwrap_or(&DRAWERS[0]);
        if !drawer.view && reader.has(VIEW.name()) {
            reader.fault_of(VIEW.name(), format!("`view` is not for `{}`; leave it out", drawer.name));
        }
        Self::of_text(reader, drawer).map(|wish| (drawer, wish))
    }

    fn of_text(mut reader: Reader, drawer: &Drawer) -> Result<Self, Faults> {
        let prompt = reader.value(&PROMPT);
        let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
        let wish = Self {
            negative_prompt: reader.option(&NEGATIVE_PROMPT).filter(|text| !text.is_empty()),
            size: Some(Size { width: side(reader.value(&WIDTH)), height: side(reader.value(&HEIGHT)) }),
            cache_seconds: reader.option(&CACHE_SECONDS).and_then(|seconds| u32::try_from(seconds).ok()),
            ..Self::common(&mut reader, prompt, drawer)
        };
        if wish.cache_seconds.is_some() && wish.seed.is_none() {
            let text = "`cache_seconds` is given without `seed`; give one, or each picture would be another";
            reader.fault_of(CACHE_SECONDS.name(), text);
        }
        reader.check(wish)
    }

    async fn of_form(request: Request, drawer: &Drawer) -> Result<Self, Failure> {
        let mut form = Form::read(request, FILES).await.map_err(Failure::unreadable)?.without_empty_texts();
        let mut images = form.files("image");
        let mut reader = form.reader(if drawer.view { CHANGING_VIEW } else { CHANGING }, FILES);
        match images.len() {
            0 => reader.missing("image", "a picture, as a file of the form"),
            1 => {}
            count => {
                reader.fault_of("image", format!("`image` is given {count} times; send one picture"));
            }
        }
        let prompt = reader.option(&CHANGE).unwrap_or_default();
        let strength = Some(reader.value(&STRENGTH));
        let wish = Self { strength, image: images.pop(), ..Self::common(&mut reader, prompt, drawer) };
        let wish = reader.check(wish)?;
        match wish.image.as_ref().is_some_and(Vec::is_empty) {
            true => Err(Failure::new(400, "`image` is empty; send a picture")),
            false => Ok(wish),
        }
    }

    /// What every task may say.
    fn common(reader: &mut Reader, prompt: String, drawer: &Drawer) -> Self {
        let is_named = reader.has(GUIDANCE.name());
        let view = drawer.view.then(|| words(reader.value(&VIEW)));
        Self {
            prompt: view.map_or_else(|| prompt.clone(), |view| seen(&prompt, view)),
            steps: u32::try_from(reader.value(&STEPS)).unwrap_or(u32::MAX),
            guidance: Guidance { scale: reader.value(&GUIDANCE), is_named },
            seed: reader.option(&SEED),
            priority: match reader.value(&PRIORITY) {
                "low" => Priority::Low,
                "high" => Priority::High,
                _ => Priority::Normal,
            },
            webhook_url: reader.option(&WEBHOOK_URL),
            ..Self::default()
        }
    }
}

/// A view in words; none for what is no view, which the reader has put on its list.
fn words(view: &str) -> &'static str {
    VIEWS.iter().find(|(name, _)| *name == view).map_or("", |(_, words)| words)
}

fn seen(prompt: &str, view: &str) -> String {
    if prompt.is_empty() { view.to_owned() } else { format!("{prompt}, {view}") }
}
