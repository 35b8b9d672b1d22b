//! What was asked of a pipeline whose values lie beside it, and the engine that is asked the same.

use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::{
    Control, Engine, ImageOrder, ImageRequest, ModelInfo, Pixels, Size, Source, StepCache,
};
use serde::Deserialize;

use super::beside::{Beside, files, root};

/// The ControlNets that lie beside some.
pub(crate) const CONTROLS: [&str; 2] = ["edges", "depth"];

/// What was asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    prompt: String,
    negative_prompt: String,
    height: u32,
    width: u32,
    pub(crate) steps: u32,
    guidance: f64,
    pub(crate) seeds: Vec<u64>,
    pub(crate) schedule: String,
    pub(crate) strength: Option<f64>,
    inpaint: bool,
    #[serde(default)]
    controls: Vec<Asked>,
    step_cache: Option<StepCache>,
}

/// A control, whose picture is a tensor of its name.
#[derive(Debug, Clone, Deserialize)]
struct Asked {
    id: String,
    scale: f64,
    start: f64,
    end: f64,
}

/// The ControlNets beside a pipeline.
pub(crate) fn extras(model: &str) -> Extras {
    let control = |id: &str| (id.to_owned(), root().join(model).join("controls").join(id));
    let controls = CONTROLS.map(control).into_iter().filter(|(_, folder)| folder.is_dir());
    Extras { controls: controls.collect(), ..Extras::default() }
}

pub(crate) fn engine(files: ModelFiles, extras: Extras) -> Result<CandleEngine, String> {
    let (id, source) = ("tiny".into(), "test".into());
    let models = vec![ModelSpec { id, source, files, description: None, extras }];
    let config =
        EngineConfig { device: DeviceChoice::Cpu, models, memory_bytes: None, ..EngineConfig::default() };
    CandleEngine::new(config).map_err(|error| error.to_string())
}

pub(crate) fn info(model: &str) -> ModelInfo {
    engine(files(model), extras(model)).unwrap().models().remove(0)
}

pub(crate) fn job(golden: &Beside<Case>, name: &str, case: &Case, model: &ModelInfo) -> ImageOrder {
    ImageOrder::new(case.request(|stage| golden.picture(name, stage)), model).unwrap()
}

impl Case {
    /// The same in our words; `picture` gives those that lie beside.
    pub(crate) fn request(&self, picture: impl Fn(&str) -> Pixels) -> ImageRequest {
        let source = match (self.inpaint, self.strength) {
            (true, strength) => {
                Some(Source::Inpaint { pixels: picture("source"), mask: Some(picture("mask")), strength })
            }
            (false, Some(strength)) => {
                Some(Source::Start { pixels: picture("source"), strength: Some(strength) })
            }
            (false, None) => None,
        };
        let control = |Asked { id, scale, start, end }: &Asked| Control {
            scale: *scale,
            start: *start,
            end: *end,
            ..Control::new(id, picture(id))
        };
        ImageRequest {
            prompt: self.prompt.clone(),
            negative_prompt: Some(self.negative_prompt.clone()),
            size: Some(Size { width: self.width, height: self.height }),
            steps: Some(self.steps),
            guidance: Some(self.guidance),
            seed: Some(self.seeds[0]),
            count: Some(self.seeds.len() as u32),
            schedule: Some(self.schedule.clone()),
            controls: self.controls.iter().map(control).collect(),
            step_cache: self.step_cache,
            source,
            ..ImageRequest::default()
        }
    }
}
