//! An engine without a model, for tests and examples only. Its pictures are flat colours made from prompt and seed, it
//! hears the seconds going by, says what it was told, and every answer says that it is fake. Compiled only with the feature `fake`.

mod talker;

use std::sync::Arc;
use std::time::Duration;

use crate::speech::{Language, Segment};
use crate::{
    CacheKind, Engine, Error, Estimate, Features, Finished, HandOver, ImageModel, ImageOrder, Made,
    ModelCard, ModelId, ModelInfo, Order, Pixels, Precision, Preview, Result, Run, Size, SpeechDelta,
    SpeechModel, SpeechOrder, StepState, Transcript,
};

use talker::Talking;

pub use talker::Read;

/// The note that every fake answer carries.
pub const NOTE: &str = "made by the fake engine: no model has seen this prompt";

/// What the model claims to take while it is loaded.
const MODEL_BYTES: u64 = 1 << 20;

/// Serves a model named `fake`, and others like it, each of which can refine what the rest begin; and models that listen
/// and talk.
#[derive(Debug, Clone, Default)]
pub struct FakeEngine {
    /// How long each step pretends to work.
    pub step: Duration,
    /// How long loading pretends to take.
    pub load: Duration,
    /// Names of further models that make pictures.
    pub others: &'static [&'static str],
    /// Names of models that write down speech.
    pub listeners: &'static [&'static str],
    /// Names of language models.
    pub talkers: &'static [&'static str],
    /// What the language models read last; empty at the start.
    pub read: Read,
}

impl Engine for FakeEngine {
    fn models(&self) -> Vec<ModelInfo> {
        let painters: Vec<ImageModel> = ["fake"].iter().chain(self.others).map(|id| painter(id)).collect();
        let refined = |model: &ImageModel| {
            let others =
                painters.iter().filter(|other| other.card.id != model.card.id).cloned().map(Arc::new);
            ModelInfo::from(ImageModel { refiners: others.collect(), ..model.clone() })
        };
        let listeners = self.listeners.iter().map(|id| ModelInfo::from(listener(id)));
        let talkers = self.talkers.iter().map(|id| ModelInfo::from(talker::model(id)));
        painters.iter().map(refined).chain(listeners).chain(talkers).collect()
    }

    fn memory_bytes(&self) -> u64 {
        1 << 30
    }

    fn estimate(&self) -> Estimate {
        Arc::new(|order| match order {
            Order::Image(order) => {
                let ImageOrder { size, seeds, .. } = order.as_ref();
                u64::from(size.width) * u64::from(size.height) * 4 * seeds.len() as u64
            }
            Order::Speech(order) => order.audio.len() as u64 * 4,
            Order::Chat(order) => u64::from(order.options.max_tokens),
        })
    }

    fn load(&mut self, _: &ModelId) -> Result<()> {
        std::thread::sleep(self.load);
        Ok(())
    }

    fn unload(&mut self, _: &ModelId) {}

    fn begin(&mut self, order: &Order) -> Result<Box<dyn Run>> {
        let step = self.step;
        Ok(match order {
            Order::Image(order) => {
                let share = order.refiner.as_ref().map_or(1.0, |refiner| refiner.share);
                let until = (f64::from(order.steps) * share).ceil() as u32;
                Box::new(FakeRun { order: order.as_ref().clone(), done: 0, until, step })
            }
            Order::Speech(order) => Box::new(Listening { order: order.clone(), heard: 0, step }),
            Order::Chat(order) => Box::new(Talking::new(order, &mut self.read, step)),
        })
    }

    fn take_over(&mut self, order: &ImageOrder, left: HandOver) -> Result<Box<dyn Run>> {
        let done = left.0.downcast::<u32>().map_or(0, |done| *done);
        Ok(Box::new(FakeRun { order: order.clone(), done, until: order.steps, step: self.step }))
    }
}

fn card(id: &str, description: &str) -> ModelCard {
    ModelCard {
        id: ModelId::new(id),
        family: "fake".into(),
        source: "fake".into(),
        description: description.into(),
        memory_bytes: MODEL_BYTES,
        device: "cpu".into(),
    }
}

fn painter(id: &str) -> ImageModel {
    ImageModel {
        card: card(id, "flat colours for tests; no model at all"),
        features: Features::ALL,
        native_size: Size { width: 64, height: 64 },
        min_side: 8,
        max_side: 1_024,
        side_multiple: 8,
        sizes: Vec::new(),
        default_steps: 4,
        default_guidance: 3.0,
        default_strength: 0.8,
        default_image_guidance: 1.5,
        schedules: vec!["ddim".into(), "euler".into()],
        adapters: vec!["ink".into(), "wash".into()],
        controls: vec!["edges".into(), "depth".into()],
        words: Vec::new(),
        refiners: Vec::new(),
        refiner: None,
        step_cache: CacheKind::Deep { branches: 4 },
        precision: Precision::F32,
    }
}

fn listener(id: &str) -> SpeechModel {
    let card = card(id, "counts seconds for tests; no model at all");
    SpeechModel { card, languages: vec!["en", "fi"], window_seconds: 30.0, vocabulary: 1_000 }
}

/// Says a word for every second that was begun.
struct Listening {
    order: Arc<SpeechOrder>,
    heard: usize,
    step: Duration,
}

impl Listening {
    /// The word of second `index`, from 0.
    fn word(&self, index: usize) -> Segment {
        Segment {
            start: index as f64,
            end: (index as f64 + 1.0).min(self.order.seconds()),
            text: format!(" second {}.", index + 1),
            tokens: vec![index as u32],
            avg_logprob: -0.1,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
            temperature: 0.0,
            words: Vec::new(),
        }
    }
}

impl Run for Listening {
    fn next_step(&mut self) -> Result<StepState> {
        let seconds = self.order.seconds();
        if self.heard as f64 >= seconds {
            let segments: Vec<Segment> = (0..self.heard).map(|index| self.word(index)).collect();
            let text = segments.iter().map(|segment| segment.text.as_str()).collect();
            let probability = self.order.language.is_none().then_some(1.0);
            let language = Some(Language { code: self.order.language.unwrap_or("en"), probability });
            let made = Made::Transcript(Transcript { text, language, segments });
            return Ok(StepState::Done(Finished { made, notes: vec![NOTE.into()] }));
        }
        std::thread::sleep(self.step);
        let segment = self.word(self.heard);
        self.heard += 1;
        Ok(StepState::Heard(SpeechDelta {
            text: segment.text.clone(),
            heard_seconds: segment.end,
            segments: vec![segment],
            pending: String::new(),
            total_seconds: seconds,
        }))
    }
}

struct FakeRun {
    order: ImageOrder,
    done: u32,
    /// Steps after which this model's share is done.
    until: u32,
    step: Duration,
}

impl Run for FakeRun {
    fn next_step(&mut self) -> Result<StepState> {
        if self.order.prompt.contains("please fail") {
            return Err(Error::Failed("the fake engine was asked to fail".into()));
        }
        if self.done == self.order.steps {
            let pictures = (0..self.order.seeds.len()).map(|index| self.flat(index, self.order.size));
            let pictures = pictures.collect::<Result<_>>()?;
            return Ok(StepState::Done(Finished {
                made: Made::Pictures(pictures),
                notes: vec![NOTE.into()],
            }));
        }
        if self.done == self.until {
            return Ok(StepState::HandOver);
        }
        std::thread::sleep(self.step);
        self.done += 1;
        let due = self.order.preview_every.is_some_and(|every| self.done % every == 0);
        let previews = if due { self.previews()? } else { Vec::new() };
        Ok(StepState::Step { step: self.done, total: self.order.steps, previews })
    }

    fn hand_over(self: Box<Self>) -> Result<HandOver> {
        Ok(HandOver(Box::new(self.done)))
    }
}

impl FakeRun {
    fn previews(&self) -> Result<Vec<Preview>> {
        let small = Size { width: 16, height: 16 };
        let preview =
            |index| Ok(Preview { index: index as u32, step: self.done, pixels: self.flat(index, small)? });
        (0..self.order.seeds.len()).map(preview).collect()
    }

    fn flat(&self, index: usize, size: Size) -> Result<Pixels> {
        let seed = self.order.seeds.get(index).copied().unwrap_or_default();
        let hash = blake3::hash(format!("{seed} {}", self.order.prompt).as_bytes());
        let [red, green, blue, ..] = *hash.as_bytes();
        let count = size.width as usize * size.height as usize;
        Pixels::new(size.width, size.height, [red, green, blue, u8::MAX].repeat(count))
    }
}
