//! A request for pictures of a model that is served elsewhere. What is asked is checked like any request, but nothing is decided
//! that was not asked: defaults are the server's own. What only models of this host know is refused by name.

use super::{Decoder, Emphasis, ImageModel, ImageOrder, ImageRequest, Refine, SeedProfile, Size, Source};
use crate::picture::MAX_SIDE;
use crate::{CacheKind, Error, Features, ModelCard, ModelInfo, Precision, Result};

/// Pictures that are wanted from elsewhere.
#[derive(Debug, Clone)]
pub struct ProvidedImageOrder {
    /// The whole order. What nobody asked for is 0 or empty in it, as are schedules, whoever draws.
    pub order: ImageOrder,
    /// What was asked.
    pub options: ProvidedImageOptions,
}

/// How pictures are to be made, as far as it was asked; see [`ImageRequest`] and [`Source`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is that of `ImageRequest` or `Source`, where it is described")]
pub struct ProvidedImageOptions {
    pub negative_prompt: Option<String>,
    pub steps: Option<u32>,
    pub guidance: Option<f64>,
    pub seed: Option<u64>,
    pub strength: Option<f64>,
    pub image_guidance: Option<f64>,
}

impl ProvidedImageOrder {
    /// Checks what is asked against a model.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] names the field and the fix.
    pub fn new(request: ImageRequest, model: &ModelInfo) -> Result<Self> {
        let model = model.image()?;
        check_known(&request, model)?;
        let (strength, image_guidance) = match &request.source {
            Some(Source::Start { strength, .. } | Source::Inpaint { strength, .. }) => (*strength, None),
            Some(Source::Edit { guidance, .. }) => (None, *guidance),
            None => (None, None),
        };
        let options = ProvidedImageOptions {
            negative_prompt: request.negative_prompt.clone().filter(|text| !text.is_empty()),
            steps: request.steps,
            guidance: request.guidance,
            seed: request.seed,
            strength,
            image_guidance,
        };
        let mut order = ImageOrder::with(request, model)?;
        order.steps = options.steps.unwrap_or(0);
        order.guidance = options.guidance.unwrap_or(0.0);
        if options.seed.is_none() {
            order.seeds.fill(0);
        }
        Ok(Self { order, options })
    }
}

/// What nobody elsewhere is told of.
fn check_known(request: &ImageRequest, model: &ImageModel) -> Result<()> {
    let given = [
        ("schedule", request.schedule.is_some()),
        ("clip-skip", request.clip_skip.is_some_and(|layers| layers > 0)),
        ("guidance-rescale", request.guidance_rescale.is_some_and(|share| share > 0.0)),
        ("emphasis", request.emphasis != Emphasis::None),
        ("seed-profile", request.seed_profile != SeedProfile::Diffusers),
        ("decoder", request.decoder != Decoder::Full),
        ("adapters", !request.adapters.is_empty()),
        ("controls", !request.controls.is_empty()),
        ("framing", request.framing.is_some()),
        ("refine", matches!(request.refine, Refine::By { .. })),
        ("step-cache", request.step_cache.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => {
            let id = &model.card.id;
            Err(Error::invalid(
                field,
                format!("`{id}` is served elsewhere and knows no such thing; leave it out"),
            ))
        }
        None => Ok(()),
    }
}

impl ImageModel {
    /// A model that is served elsewhere and makes pictures of these sizes, the first of them unless another is asked for; of
    /// every size where there are none.
    pub fn elsewhere(card: ModelCard, features: Features, sizes: Vec<Size>) -> Self {
        let sides = || sizes.iter().flat_map(|size| [size.width, size.height]);
        Self {
            features,
            native_size: sizes.first().copied().unwrap_or(Size { width: 1_024, height: 1_024 }),
            min_side: sides().min().unwrap_or(1),
            max_side: sides().max().unwrap_or(MAX_SIDE),
            side_multiple: 1,
            // these stand for what the server chooses: nobody is told them
            default_steps: 1,
            default_guidance: 1.0,
            default_strength: 1.0,
            default_image_guidance: 1.0,
            schedules: Vec::new(),
            adapters: Vec::new(),
            controls: Vec::new(),
            words: Vec::new(),
            refiners: Vec::new(),
            refiner: None,
            step_cache: CacheKind::Deep { branches: 0 },
            precision: Precision::default(),
            sizes,
            card,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelId, Pixels, StepCache};

    const SIDE: Size = Size { width: 16, height: 16 };
    const WIDE: Size = Size { width: 24, height: 16 };

    fn model() -> ModelInfo {
        let card = ModelCard {
            id: ModelId::new("far"),
            family: "openai".into(),
            source: "provider:openai/gpt-image-1".into(),
            description: String::new(),
            memory_bytes: 0,
            device: "elsewhere".into(),
        };
        let features = Features { text_to_image: true, edit: true, ..Features::NONE };
        ImageModel::elsewhere(card, features, vec![SIDE, WIDE]).into()
    }

    fn field(request: ImageRequest) -> &'static str {
        match ProvidedImageOrder::new(request, &model()) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_not_asked_stays_open() {
        let made = ProvidedImageOrder::new(ImageRequest::default(), &model()).unwrap();
        assert_eq!((made.order.size, made.order.seeds, made.order.steps), (SIDE, vec![0], 0));
        let open = ProvidedImageOptions {
            negative_prompt: None,
            steps: None,
            guidance: None,
            seed: None,
            strength: None,
            image_guidance: None,
        };
        assert_eq!(made.options, open);
        let asked =
            ImageRequest { seed: Some(7), count: Some(2), size: Some(WIDE), ..ImageRequest::default() };
        let made = ProvidedImageOrder::new(asked, &model()).unwrap();
        assert_eq!((made.order.size, made.order.seeds, made.options.seed), (WIDE, vec![7, 8], Some(7)));
    }

    #[test]
    fn a_size_that_is_none_of_the_models_is_refused_with_those_that_are() {
        let size = Some(Size { width: 16, height: 24 });
        let error = ProvidedImageOrder::new(ImageRequest { size, ..ImageRequest::default() }, &model());
        assert!(error.unwrap_err().to_string().contains("its sizes are 16x16, 24x16"));
    }

    #[test]
    fn what_only_this_host_knows_and_what_the_model_cannot_do_is_refused_by_name() {
        let plain = ImageRequest::default;
        assert_eq!(field(ImageRequest { schedule: Some("ddim".into()), ..plain() }), "schedule");
        assert_eq!(field(ImageRequest { decoder: Decoder::Tiny, ..plain() }), "decoder");
        let step_cache = Some(StepCache::FirstBlock { threshold: 0.1 });
        assert_eq!(field(ImageRequest { step_cache, ..plain() }), "step-cache");
        assert_eq!(field(ImageRequest { guidance: Some(4.0), ..plain() }), "guidance");
        assert_eq!(field(ImageRequest { negative_prompt: Some("fog".into()), ..plain() }), "negative-prompt");
        let pixels = Pixels::new(16, 16, vec![0; 16 * 16 * 4]).unwrap();
        let source = Some(Source::Start { pixels: pixels.clone(), strength: None });
        assert_eq!(field(ImageRequest { source, ..plain() }), "source");
        let source = Some(Source::Edit { pixels, guidance: Some(2.0) });
        let made = ProvidedImageOrder::new(ImageRequest { source, ..plain() }, &model()).unwrap();
        assert_eq!(made.options.image_guidance, Some(2.0));
    }
}
