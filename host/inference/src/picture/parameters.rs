//! Everything needed to make a picture again, as it travels in a PNG file: JSON under the keyword `atelier`, and the
//! text that A1111-style tools read under `parameters`.

use std::io::Cursor;

use crate::{
    Adapted, Control, Decoder, Emphasis, Error, Framing, ImageOrder, Precision, Refiner, Result, SeedProfile,
    StepCache, Task,
};

/// PNG text keyword of the JSON form.
pub(crate) const JSON_KEYWORD: &str = "atelier";
/// PNG text keyword of the text form.
pub(crate) const TEXT_KEYWORD: &str = "parameters";
/// Most bytes of text that are read back from one file.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The model that ended a picture which another began.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RefinedBy {
    /// Its id.
    pub model: String,
    /// Where it comes from.
    pub model_source: String,
    /// The share of the schedule after which it took over.
    pub share: f64,
}

/// A picture that steered what was drawn.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SteeredBy {
    /// The ControlNet.
    pub id: String,
    /// BLAKE3 of the picture's pixels.
    pub picture_blake3: String,
    /// How strongly.
    pub scale: f64,
    /// The share of the steps after which it began.
    pub start: f64,
    /// The share of the steps after which it ended.
    pub end: f64,
}

impl From<&Control> for SteeredBy {
    fn from(Control { id, picture, scale, start, end }: &Control) -> Self {
        let picture_blake3 = blake3::hash(picture.rgba()).to_string();
        Self { id: id.clone(), picture_blake3, scale: *scale, start: *start, end: *end }
    }
}

impl From<&Refiner> for RefinedBy {
    fn from(Refiner { model, share }: &Refiner) -> Self {
        Self { model: model.card.id.to_string(), model_source: model.card.source.clone(), share: *share }
    }
}

/// The values that made a picture. Holds no time and no host name: the same request gives the same bytes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// The program and its version.
    pub software: String,
    /// The model's id.
    pub model: String,
    /// Where the model comes from.
    pub model_source: String,
    /// What to show.
    pub prompt: String,
    /// What not to show.
    pub negative_prompt: String,
    /// Width of the generated picture in pixels.
    pub width: u32,
    /// Height of the generated picture in pixels.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance: f64,
    /// The diffusion schedule.
    pub schedule: String,
    /// The seed that makes this very picture alone.
    pub seed: u64,
    /// Whose noise the seed stands for.
    pub rng: SeedProfile,
    /// What brackets in the texts did, where they did something.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emphasis: Option<Emphasis>,
    /// Text encoder layers skipped.
    pub clip_skip: u32,
    /// What turned latents into the picture, where that was not the model's own autoencoder.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decoder: Option<Decoder>,
    /// Adapters and their weights.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub adapters: Vec<Adapted>,
    /// Pictures that steered what was drawn.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub controls: Vec<SteeredBy>,
    /// Which model ended the picture, where that was another one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refiner: Option<RefinedBy>,
    /// What the denoiser multiplied, where that was not f32.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision: Option<Precision>,
    /// What passes through the denoiser took over from earlier ones, where they did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step_cache: Option<StepCache>,
    /// How much of the schedule ran, for a picture made from a picture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub strength: Option<f64>,
    /// How closely an edit kept to its picture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image_guidance: Option<f64>,
    /// How far guidance was brought back to the prompt's own deviation, where it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub guidance_rescale: Option<f64>,
    /// What the model was told of the picture's size, where that was not simply its size.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub framing: Option<Framing>,
    /// BLAKE3 of which pixels were painted anew, one byte each, for a part of a picture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mask_blake3: Option<String>,
    /// BLAKE3 of the pixels it was made from, for a picture made from a picture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_blake3: Option<String>,
    /// What the engine and the stages noted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

impl Parameters {
    /// The parameters of an order's picture `index`.
    pub(crate) fn of(order: &ImageOrder, index: usize, notes: &[String]) -> Self {
        let (strength, image_guidance) = match order.task {
            Task::TextToImage => (None, None),
            Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. } => (Some(strength), None),
            Task::Edit { guidance, .. } => (None, Some(guidance)),
        };
        Self {
            software: concat!("atelier ", env!("CARGO_PKG_VERSION")).into(),
            model: order.model.card.id.to_string(),
            model_source: order.model.card.source.clone(),
            prompt: order.prompt.clone(),
            negative_prompt: order.negative_prompt.clone(),
            width: order.size.width,
            height: order.size.height,
            steps: order.steps,
            guidance: order.guidance,
            schedule: order.schedule.clone(),
            seed: order.seeds.get(index).copied().unwrap_or_default(),
            rng: order.seed_profile,
            emphasis: Some(order.emphasis).filter(|emphasis| *emphasis != Emphasis::None),
            clip_skip: order.clip_skip,
            decoder: Some(order.decoder).filter(|decoder| *decoder != Decoder::Full),
            adapters: order.adapters.clone(),
            controls: order.controls.iter().map(SteeredBy::from).collect(),
            refiner: order.refiner.as_ref().map(RefinedBy::from),
            precision: Some(order.model.precision).filter(|precision| *precision != Precision::F32),
            step_cache: order.step_cache,
            strength,
            image_guidance,
            guidance_rescale: Some(order.guidance_rescale).filter(|rescale| *rescale > 0.0),
            framing: Some(order.framing).filter(|framing| *framing != Framing::whole(order.size)),
            mask_blake3: match &order.task {
                Task::Inpaint { mask, .. } => {
                    let bytes: Vec<u8> = mask.pixels().iter().map(|is_new| u8::from(*is_new)).collect();
                    Some(blake3::hash(&bytes).to_string())
                }
                _ => None,
            },
            source_blake3: order.task.picture().map(|pixels| blake3::hash(pixels.rgba()).to_string()),
            notes: notes.to_vec(),
        }
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The text form, in the order that A1111's reader expects.
    pub fn text(&self) -> String {
        let mut text = self.prompt.clone();
        if !self.negative_prompt.is_empty() {
            text.push_str("\nNegative prompt: ");
            text.push_str(&self.negative_prompt);
        }
        let refiner = self.refiner.as_ref().map_or(String::new(), |RefinedBy { model, share, .. }| {
            format!(", Refiner: {model}, Refiner switch at: {share}")
        });
        text.push_str(&format!(
            "\nSteps: {}, Sampler: {}, CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}, Clip skip: {}, RNG: {}\
             {refiner}, Version: {}",
            self.steps,
            self.schedule,
            self.guidance,
            self.seed,
            self.width,
            self.height,
            self.model,
            self.clip_skip + 1,
            // as that reader names where noise comes from
            if self.rng == SeedProfile::A1111 { "NV" } else { "CPU" },
            self.software,
        ));
        text
    }
}

/// Reads the parameters out of a PNG file that Atelier wrote; `None` when it carries none. Decodes no pixels.
pub fn read_parameters(png: &[u8]) -> Result<Option<Parameters>> {
    let invalid = |error: png::DecodingError| Error::invalid("png", error.to_string());
    let decoder = png::Decoder::new_with_limits(Cursor::new(png), png::Limits { bytes: MAX_TEXT_BYTES });
    // reads all chunks before the first pixels; the header alone has no text
    let reader = decoder.read_info().map_err(invalid)?;
    let chunk = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == JSON_KEYWORD);
    let Some(mut chunk) = chunk.cloned() else { return Ok(None) };
    chunk.decompress_text_with_limit(MAX_TEXT_BYTES).map_err(invalid)?;
    let text = chunk.get_text().map_err(invalid)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::invalid("png", format!("its parameters: {error}")))
}
