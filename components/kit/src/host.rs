//! The host's capabilities as plain types behind one trait. `wasm::host` implements it on the bindings; tests
//! implement it with a fake. The fields mean what `wit/*.wit` says of the items of the same name.

use std::fmt;

use crate::http::Headers;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A model that the route may use (`types.model-info`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/types.wit")]
pub struct Model {
    pub id: String,
    pub family: String,
    pub source: String,
    pub description: String,
    pub text_to_image: bool,
    pub image_to_image: bool,
    pub negative_prompt: bool,
    pub edit: bool,
    pub inpaint: bool,
    pub framing: bool,
    pub guidance: bool,
    pub clip_skip: bool,
    pub emphasis: bool,
    pub native_size: Size,
    pub min_side: u32,
    pub max_side: u32,
    pub side_multiple: u32,
    pub sizes: Vec<Size>,
    pub default_steps: u32,
    pub default_guidance: f64,
    pub default_strength: f64,
    pub default_image_guidance: f64,
    pub schedules: Vec<String>,
    pub adapters: Vec<String>,
    pub controls: Vec<String>,
    pub words: Vec<String>,
    pub refiners: Vec<String>,
    pub default_refiner: Option<String>,
    pub step_cache: StepCacheKind,
    pub loaded: bool,
    pub memory_bytes: Option<u64>,
    pub device: String,
}

/// The step cache that fits a model (`types.step-cache-kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepCacheKind {
    /// DeepCache; the branch is below this.
    Deep(u32),
    /// First-block cache.
    FirstBlock,
}

impl Model {
    /// Whether the model can make pictures of this size.
    pub fn allows(&self, size: Size) -> bool {
        if self.sizes.is_empty() { self.sides().allow(size) } else { self.sizes.contains(&size) }
    }

    /// The size nearest to a picture's that the model can draw: the picture's own where it can, or else about as many pixels
    /// as its native size has, in the picture's shape as far as its sides allow; of a model with few sizes the one of the most
    /// similar shape.
    pub fn nearest(&self, size: Size) -> Size {
        if !self.sizes.is_empty() {
            return most_similar(size, &self.sizes).unwrap_or(self.native_size);
        }
        let found = if self.allows(size) { size } else { self.sides().nearest(size, self.native_size) };
        if self.allows(found) { found } else { self.native_size }
    }

    fn sides(&self) -> Sides {
        Sides { min: self.min_side, max: self.max_side, multiple: self.side_multiple.max(1) }
    }

    /// Whether `name` means this model: its id, its source, or its source without scheme or revision.
    /// Clients of the original service send hub names, which carry neither scheme nor revision.
    pub fn is_called(&self, name: &str) -> bool {
        is_called(name, &self.id, &self.source)
    }
}

fn is_called(name: &str, id: &str, source: &str) -> bool {
    let bare = source.split_once(':').map_or(source, |(_, rest)| rest);
    let unpinned = bare.split_once('@').map_or(bare, |(name, _)| name);
    [id, source, bare, unpinned].contains(&name)
}

/// The size itself where it is one of them, or else the first of those whose shape is the most similar.
fn most_similar(size: Size, sizes: &[Size]) -> Option<Size> {
    let shape = |size: &Size| (f64::from(size.width.max(1)) / f64::from(size.height.max(1))).ln();
    let apart = |other: &&Size| (shape(other) - shape(&size)).abs();
    let own = sizes.iter().find(|known| **known == size);
    own.or_else(|| sizes.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)))).copied()
}

/// The sides that a model can draw, in pixels; the multiple is at least 1.
struct Sides {
    min: u32,
    max: u32,
    multiple: u32,
}

impl Sides {
    fn allow(&self, size: Size) -> bool {
        let fits = |side: u32| side >= self.min && side <= self.max && side.is_multiple_of(self.multiple);
        fits(size.width) && fits(size.height)
    }

    fn nearest(&self, size: Size, native: Size) -> Size {
        let area = |size: Size| f64::from(size.width) * f64::from(size.height);
        let scale = (area(native) / area(size).max(1.0)).sqrt();
        // the least side is rounded up to a whole multiple, the most down
        let (least, most) = (self.min.div_ceil(self.multiple), self.max / self.multiple);
        let side = |pixels: u32| {
            let multiples = (f64::from(pixels) * scale / f64::from(self.multiple)).round() as u32;
            multiples.min(most).max(least).saturating_mul(self.multiple)
        };
        Size { width: side(size.width), height: side(size.height) }
    }
}

/// A model that is granted and cannot be used yet (`models.absent-model`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/models.wit")]
pub struct AbsentModel {
    pub id: String,
    pub source: String,
    pub fix: String,
}

impl AbsentModel {
    /// Whether `name` means this model, as [`Model::is_called`] has it.
    pub fn is_called(&self, name: &str) -> bool {
        is_called(name, &self.id, &self.source)
    }
}

/// A prompt on its way to a model (`style.prompt`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/style.wit")]
pub struct Prompt {
    pub text: String,
    pub negative: Option<String>,
    pub model: Option<String>,
}

/// What is known of a request (`select.hints`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/select.wit")]
pub struct Hints {
    pub prompt: String,
    pub size: Option<Size>,
    pub has_source: bool,
    pub wanted: Option<String>,
}

/// A chosen model (`select.choice`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/select.wit")]
pub struct Choice {
    pub model: String,
    pub reason: String,
}

/// Why a stage did not do its work. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageError {
    /// What was asked for cannot be done.
    Refused(String),
    /// The route has no plugin for the stage; the text names the manifest key.
    NotConfigured(String),
    /// The plugin is broken.
    Failed(String),
}

/// Why a picture could not be read, made or written. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The bytes or an argument are not acceptable: the client's to mend.
    Refused(String),
    /// Anything else.
    Failed(String),
}

/// What passes through the denoiser take over from earlier ones (`generation.step-cache`).
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/generation.wit")]
pub enum StepCache {
    /// For models that a UNet draws.
    Deep { interval: u32, branch: u32 },
    /// For FLUX.
    FirstBlock { threshold: f64 },
}

/// Who ends the pictures (`generation.refining`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each case is documented in wit/generation.wit")]
pub enum Refine {
    Never,
    By { model: String, share: Option<f64> },
}

/// What to generate (`generation.request`).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/generation.wit")]
pub struct Order {
    pub model: String,
    pub prompt: String,
    pub negative_prompt: Option<String>,
    pub size: Option<Size>,
    pub steps: Option<u32>,
    pub guidance: Option<f64>,
    pub seed: Option<u64>,
    pub count: u32,
    pub schedule: Option<String>,
    pub preview_every: Option<u32>,
    /// Adapters of the model and their weights (`generation.adapted`).
    pub adapters: Vec<(String, f64)>,
    pub refine: Option<Refine>,
    pub step_cache: Option<StepCache>,
}

/// The picture that a job works on.
#[derive(Debug)]
pub enum Source<'a, I> {
    /// None: the prompt alone counts.
    None,
    /// To start from (`generation.image-to-image`).
    Start {
        /// The picture.
        picture: &'a I,
        /// How much of the schedule is run.
        strength: Option<f64>,
    },
    /// To change as the prompt says (`generation.edit`).
    Edit {
        /// The picture.
        picture: &'a I,
        /// How closely the result keeps to it.
        guidance: Option<f64>,
    },
    /// To paint a part of it anew (`generation.inpaint`).
    Inpaint {
        /// The picture.
        picture: &'a I,
        /// Which part; where the picture is transparent when `None`.
        mask: Option<&'a I>,
        /// How much of the schedule is run.
        strength: Option<f64>,
    },
}

/// Why a job was not taken or gave no picture (`generation.error`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each case is documented in wit/generation.wit")]
pub enum GenerationError {
    AccessDenied(String),
    UnknownModel(String),
    Invalid {
        field: String,
        reason: String,
    },
    Overloaded {
        reason: String,
        retry_after_ms: u64,
    },
    Cancelled,
    WorkerGone,
    Failed(String),
    /// A model that is served elsewhere is not to be had now.
    Unavailable {
        /// What happened.
        reason: String,
        /// When another attempt is sensible, where that was told.
        retry_after_ms: Option<u64>,
    },
    /// A model that is served elsewhere did not answer in time.
    TimedOut(String),
    Other(String),
}

/// What happens to a job (`generation.event`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each case is documented in wit/generation.wit")]
pub enum Event {
    Queued { position: u32, eta_ms: Option<u64> },
    Started,
    Step { step: u32, total: u32, elapsed_ms: u64 },
    Preview { index: u32, step: u32, png: Vec<u8> },
}

/// A finished job (`generation.outcome`).
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is documented in wit/generation.wit")]
pub struct Outcome<I> {
    pub pictures: Vec<(I, u64)>,
    pub model: String,
    pub size: Size,
    pub notes: Vec<String>,
}

/// A request to another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The method in capitals, such as `POST`.
    pub method: &'static str,
    /// The whole address, `http://…` or `https://…`.
    pub url: String,
    /// Headers beside `accept: application/json` and the body's length.
    pub headers: Headers,
    /// The body; nothing for a method that has none.
    pub body: Vec<u8>,
    /// The most bytes that are read of the answer.
    pub max_answer_bytes: usize,
    /// Milliseconds until the whole call is given up.
    pub timeout_ms: u64,
}

impl Call {
    /// Reads something. Limits are the caller's to set.
    pub fn get(url: String) -> Self {
        Self { method: "GET", url, ..Self::default() }
    }

    /// Posts a body of a type. Limits are the caller's to set.
    pub fn post(url: String, content_type: &str, body: Vec<u8>) -> Self {
        let headers = [("content-type", content_type)].into_iter().collect();
        Self { method: "POST", url, headers, body, ..Self::default() }
    }
}

/// Why another server gave no answer; safe to show, names no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError(
    /// The reason.
    pub String,
);

/// A job in the host. Dropping it cancels the work before its next step.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Job {
    /// The host's pictures.
    type Image;
    /// The next event; none when the job has ended.
    async fn next_event(&mut self) -> Option<Event>;
    /// Waits for the end.
    async fn outcome(self) -> Result<Outcome<Self::Image>, GenerationError>;
}

/// Everything that a first-party handler asks of its host.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Host {
    /// A handle to a picture whose pixels stay in the host.
    type Image;
    /// A running job.
    type Job: Job<Image = Self::Image>;

    /// The configuration of the route, `wasi:config/store`.
    fn config(&self, key: &str) -> Option<String>;
    /// Seconds since 1970.
    fn unix_seconds(&self) -> u64;
    /// Waits.
    async fn sleep_ms(&self, ms: u64);
    /// The models granted to the route.
    async fn models(&self) -> Vec<Model>;
    /// Models granted to the route whose files are not on the host.
    async fn absent_models(&self) -> Vec<AbsentModel>;
    /// Runs the style stage.
    async fn style(&self, prompt: Prompt) -> Result<Prompt, StageError>;
    /// Runs the select stage.
    async fn select(&self, hints: Hints, candidates: &[Model]) -> Result<Choice, StageError>;
    /// Runs the finish stage.
    async fn finish(
        &self,
        picture: Self::Image,
        prompt: &str,
        target: Option<Size>,
    ) -> Result<Self::Image, StageError>;
    /// Reads an untrusted picture.
    async fn decode(&self, bytes: Vec<u8>) -> Result<Self::Image, ImageError>;
    /// A picture's size.
    fn size(&self, picture: &Self::Image) -> Size;
    /// Another handle to the same picture.
    fn share(&self, picture: &Self::Image) -> Self::Image;
    /// A scaled copy.
    async fn resize(&self, picture: &Self::Image, size: Size) -> Result<Self::Image, ImageError>;
    /// The picture as a PNG file that carries its parameters.
    async fn png(&self, picture: &Self::Image) -> Result<Vec<u8>, ImageError>;
    /// Queues a job.
    async fn generate(
        &self,
        order: Order,
        source: Source<'_, Self::Image>,
    ) -> Result<Self::Job, GenerationError>;
    /// Asks another server that the route may reach, and gives status and body.
    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), CallError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similar(width: u32, height: u32) -> (u32, u32) {
        let sizes = [(1024, 1024), (1536, 1024), (1024, 1536)].map(|(width, height)| Size { width, height });
        let size = most_similar(Size { width, height }, &sizes).expect("there are some");
        (size.width, size.height)
    }

    #[test]
    fn of_few_sizes_the_most_similar_shape_is_taken() {
        assert_eq!(similar(1536, 1024), (1536, 1024));
        assert_eq!(similar(128, 128), (1024, 1024));
        assert_eq!(similar(3000, 2000), (1536, 1024));
        assert_eq!(similar(0, 4_000_000_000), (1024, 1536));
    }

    fn nearest(sides: (u32, u32), native: u32, width: u32, height: u32) -> (u32, u32) {
        let sides = Sides { min: sides.0, max: sides.1, multiple: 8 };
        let size = sides.nearest(Size { width, height }, Size { width: native, height: native });
        assert!(sides.allow(size), "{size}");
        (size.width, size.height)
    }

    #[test]
    fn a_picture_keeps_its_shape_where_the_model_can_draw_it() {
        assert_eq!(nearest((256, 2048), 1024, 3000, 2000), (1256, 840));
        assert_eq!(nearest((256, 2048), 1024, 100, 100), (1024, 1024));
        assert_eq!(nearest((256, 2048), 1024, 60_000, 10), (2048, 256));
        assert_eq!(nearest((128, 128), 128, 3000, 2000), (128, 128));
        assert_eq!(nearest((60, 70), 64, 1, 4_000_000_000), (64, 64));
    }
}
