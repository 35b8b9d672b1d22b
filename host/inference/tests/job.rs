//! Every field of a request at its limit and just past it.

mod scripted;

use atelier_inference::{
    Adapted, CacheKind, Control, Crop, Emphasis, Error, Framing, ImageModel, ImageOrder, ImageRequest, Job,
    Pixels, Size, Source, StepCache, Task,
};
use scripted::{model, order, pixels};

fn size(width: u32, height: u32) -> Option<Size> {
    Some(Size { width, height })
}

fn source(width: u32, height: u32, strength: Option<f64>) -> Option<Source> {
    Some(Source::Start { pixels: pixels(width, height, 1), strength })
}

fn to_edit(guidance: Option<f64>) -> Option<Source> {
    Some(Source::Edit { pixels: pixels(16, 16, 1), guidance })
}

fn refused_by(request: ImageRequest, model: &ImageModel) -> (&'static str, String) {
    match order(request, model) {
        Err(Error::Invalid { field, reason }) => (field, reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn refused(request: ImageRequest) -> (&'static str, String) {
    refused_by(request, &model())
}

fn taken(request: ImageRequest) -> ImageOrder {
    order(request, &model()).unwrap()
}

#[test]
fn an_empty_request_takes_the_models_defaults() {
    let job = taken(ImageRequest::default());
    assert_eq!((job.size.width, job.size.height, job.steps, job.guidance), (64, 32, 4, 7.5));
    assert_eq!((job.schedule.as_str(), job.clip_skip, job.seeds.len()), ("ddim", 0, 1));
    assert!(
        job.preview_every.is_none()
            && matches!(job.task, Task::TextToImage)
            && job.negative_prompt.is_empty()
    );
    assert!(job.seeds[0] <= u64::from(u32::MAX), "torch's generator ignores more");
}

#[test]
fn a_prompt_of_32_kib_is_taken_and_one_byte_more_is_not() {
    taken(ImageRequest { prompt: "p".repeat(32 * 1024), ..ImageRequest::default() });
    let too_long = "p".repeat(32 * 1024 + 1);
    let (field, reason) = refused(ImageRequest { prompt: too_long.clone(), ..ImageRequest::default() });
    assert_eq!((field, reason.as_str()), ("prompt", "has 32769 bytes; at most 32768"));
    let (field, _) = refused(ImageRequest { negative_prompt: Some(too_long), ..ImageRequest::default() });
    assert_eq!(field, "negative-prompt");
}

#[test]
fn a_negative_prompt_is_refused_by_a_model_that_would_ignore_it() {
    let mut model = model();
    model.features.negative_prompt = false;
    let (field, _) =
        refused_by(ImageRequest { negative_prompt: Some("x".into()), ..ImageRequest::default() }, &model);
    assert_eq!(field, "negative-prompt");
    order(ImageRequest { negative_prompt: Some(String::new()), ..ImageRequest::default() }, &model).unwrap();
}

#[test]
fn what_a_model_would_ignore_is_refused_by_name_and_what_asks_for_nothing_is_taken() {
    let mut model = model();
    let features = &mut model.features;
    (features.guidance, features.clip_skip, features.emphasis) = (false, false, false);
    features.negative_prompt = false;
    model.default_guidance = 0.0;
    let nothing = ImageRequest {
        guidance: Some(1.0),
        guidance_rescale: Some(0.0),
        clip_skip: Some(0),
        emphasis: Emphasis::None,
        ..ImageRequest::default()
    };
    assert_eq!(order(nothing.clone(), &model).unwrap().guidance, 1.0);
    for (named, asked) in [
        ("guidance", ImageRequest { guidance: Some(1.1), ..nothing.clone() }),
        ("guidance-rescale", ImageRequest { guidance_rescale: Some(0.5), ..nothing.clone() }),
        ("clip-skip", ImageRequest { clip_skip: Some(1), ..nothing.clone() }),
        ("emphasis", ImageRequest { emphasis: Emphasis::Comfy, ..nothing }),
    ] {
        assert_eq!(refused_by(asked.clone(), &model).0, named);
        taken(asked);
    }
}

#[test]
fn sides_outside_the_models_range_or_off_its_grid_are_refused() {
    taken(ImageRequest { size: size(8, 64), ..ImageRequest::default() });
    for wrong in
        [size(0, 32), size(32, 0), size(7, 32), size(72, 32), size(32, 72), size(36, 32), size(u32::MAX, 8)]
    {
        let (field, reason) = refused(ImageRequest { size: wrong, ..ImageRequest::default() });
        assert_eq!(field, "size");
        assert!(reason.ends_with("sides are multiples of 8 from 8 to 64"), "{reason}");
    }
}

#[test]
fn steps_run_from_1_to_150() {
    for steps in [1, 150] {
        assert_eq!(taken(ImageRequest { steps: Some(steps), ..ImageRequest::default() }).steps, steps);
    }
    for steps in [0, 151] {
        let (field, reason) = refused(ImageRequest { steps: Some(steps), ..ImageRequest::default() });
        assert_eq!((field, reason), ("steps", format!("{steps} is not within 1 to 150")));
    }
}

#[test]
fn guidance_runs_from_0_to_50_and_is_a_number() {
    for guidance in [0.0, 50.0] {
        taken(ImageRequest { guidance: Some(guidance), ..ImageRequest::default() });
    }
    for guidance in [-0.001, 50.001, f64::NAN, f64::INFINITY] {
        assert_eq!(
            refused(ImageRequest { guidance: Some(guidance), ..ImageRequest::default() }).0,
            "guidance"
        );
    }
}

#[test]
fn one_to_eight_pictures_have_seeds_in_a_row_that_wrap() {
    assert_eq!(taken(ImageRequest { count: Some(8), ..ImageRequest::default() }).seeds.len(), 8);
    for count in [0, 9] {
        assert_eq!(refused(ImageRequest { count: Some(count), ..ImageRequest::default() }).0, "count");
    }
    let job = taken(ImageRequest { seed: Some(u64::MAX), count: Some(2), ..ImageRequest::default() });
    assert_eq!(job.seeds, [u64::MAX, 0]);
}

#[test]
fn a_schedule_that_the_model_does_not_list_is_refused() {
    assert_eq!(
        taken(ImageRequest { schedule: Some("euler".into()), ..ImageRequest::default() }).schedule,
        "euler"
    );
    let (field, reason) = refused(ImageRequest { schedule: Some("Euler".into()), ..ImageRequest::default() });
    assert_eq!((field, reason.as_str()), ("schedule", "`Euler` is not one of ddim, euler"));
}

#[test]
fn clip_skip_and_preview_every_are_bounded() {
    taken(ImageRequest { clip_skip: Some(11), preview_every: Some(1), ..ImageRequest::default() });
    assert_eq!(refused(ImageRequest { clip_skip: Some(12), ..ImageRequest::default() }).0, "clip-skip");
    assert_eq!(
        refused(ImageRequest { preview_every: Some(0), ..ImageRequest::default() }).0,
        "preview-every"
    );
}

#[test]
fn a_source_gives_its_size_and_must_have_the_size_that_is_asked_for() {
    let job = taken(ImageRequest { source: source(16, 24, None), ..ImageRequest::default() });
    assert_eq!((job.size.width, job.size.height), (16, 24));
    assert_eq!(job.task.strength(), 0.8, "the default strength");
    let (field, _) =
        refused(ImageRequest { source: source(16, 24, None), size: size(16, 32), ..ImageRequest::default() });
    assert_eq!(field, "source");
}

#[test]
fn strength_is_over_0_and_at_most_1() {
    for strength in [0.25, 1.0] {
        taken(ImageRequest { source: source(16, 16, Some(strength)), ..ImageRequest::default() });
    }
    for strength in [0.0, -0.1, 1.001, f64::NAN] {
        assert_eq!(
            refused(ImageRequest { source: source(16, 16, Some(strength)), ..ImageRequest::default() }).0,
            "strength"
        );
    }
}

#[test]
fn a_strength_leaves_a_step_of_schedules_that_round_down() {
    let request = |schedule: &str, strength| ImageRequest {
        source: source(16, 16, Some(strength)),
        steps: Some(25),
        schedule: Some(schedule.into()),
        ..ImageRequest::default()
    };
    let of = |schedule: &str| ImageModel { schedules: vec![schedule.into()], ..model() };
    for schedule in ["ddim", "euler"] {
        let (field, reason) = refused_by(request(schedule, 0.03), &of(schedule));
        let expected = "0.03 of 25 steps leaves none to run; raise it to 0.04 or more";
        assert_eq!((field, reason.as_str()), ("strength", expected));
        assert!(order(request(schedule, 0.04), &of(schedule)).is_ok(), "one step is left");
    }
    for schedule in ["lcm", "flow_match_euler", "flow_match_euler_karras"] {
        assert!(order(request(schedule, 0.03), &of(schedule)).is_ok(), "{schedule} always runs a step");
    }
    let (pixels, mask) = (pixels(16, 16, 1), Some(pixels(16, 16, 255)));
    let inpaint = Some(Source::Inpaint { pixels, mask, strength: Some(0.03) });
    let request = ImageRequest { source: inpaint, steps: Some(25), ..ImageRequest::default() };
    let (field, reason) = refused(request);
    assert!(field == "strength" && reason.contains("leaves none"), "{field}: {reason}");
}

#[test]
fn a_source_must_fit_what_the_model_can_do() {
    let mut model = model();
    model.features.image_to_image = false;
    let (field, reason) =
        refused_by(ImageRequest { source: source(16, 16, None), ..ImageRequest::default() }, &model);
    assert_eq!(
        (field, reason.as_str()),
        (
            "source",
            "model `scripted` does not start from pictures; it changes pictures as a prompt says: ask for an edit"
        )
    );
    model.features.edit = false;
    let (_, reason) =
        refused_by(ImageRequest { source: source(16, 16, None), ..ImageRequest::default() }, &model);
    assert_eq!(reason, "model `scripted` does not start from pictures");
    let (_, reason) = refused_by(ImageRequest { source: to_edit(None), ..ImageRequest::default() }, &model);
    assert!(reason.contains("was not trained to change pictures"), "{reason}");
    model.features.text_to_image = false;
    model.features.image_to_image = true;
    assert_eq!(refused_by(ImageRequest::default(), &model).0, "source");
}

#[test]
fn an_edit_keeps_to_its_picture_as_the_model_or_the_request_says() {
    let guidance =
        |given| match taken(ImageRequest { source: to_edit(given), ..ImageRequest::default() }).task {
            Task::Edit { guidance, .. } => guidance,
            other => panic!("{other:?}"),
        };
    assert_eq!((guidance(None), guidance(Some(0.0)), guidance(Some(50.0))), (1.5, 0.0, 50.0));
    for wrong in [-0.1, 50.1, f64::NAN] {
        let request = ImageRequest { source: to_edit(Some(wrong)), ..ImageRequest::default() };
        assert_eq!(refused(request).0, "image-guidance");
    }
}

fn masked(alpha: u8, mask: Option<[u8; 4]>) -> Option<Source> {
    let filled = |pixel: [u8; 4]| Pixels::new(16, 16, pixel.repeat(16 * 16)).unwrap();
    Some(Source::Inpaint { pixels: filled([9, 9, 9, alpha]), mask: mask.map(filled), strength: None })
}

#[test]
fn a_mask_is_white_or_transparent_where_pixels_are_painted_anew() {
    let anew = |source| match taken(ImageRequest { source, ..ImageRequest::default() }).task {
        Task::Inpaint { mask, strength, .. } => {
            assert_eq!(strength, 1.0, "all of the schedule");
            mask.pixels().iter().all(|is_new| *is_new)
        }
        other => panic!("{other:?}"),
    };
    for source in [masked(255, Some([255; 4])), masked(255, Some([0, 0, 0, 0])), masked(0, None)] {
        assert!(anew(source));
    }
    for (source, named) in [
        (masked(255, None), "nowhere transparent"),
        (masked(255, Some([127, 127, 127, 255])), "nothing to paint"),
        (masked(255, Some([255, 255, 255, 200])), "nothing to paint"),
    ] {
        let (field, reason) = refused(ImageRequest { source, ..ImageRequest::default() });
        assert!(field == "mask" && reason.contains(named), "{field}: {reason}");
    }
    let small = Some(pixels(8, 8, 1));
    let source = Some(Source::Inpaint { pixels: pixels(16, 16, 1), mask: small, strength: None });
    assert_eq!(refused(ImageRequest { source, ..ImageRequest::default() }).0, "mask");
}

#[test]
fn rescale_is_within_0_and_1() {
    taken(ImageRequest { guidance_rescale: Some(1.0), ..ImageRequest::default() });
    for wrong in [-0.1, 1.1, f64::NAN] {
        let request = ImageRequest { guidance_rescale: Some(wrong), ..ImageRequest::default() };
        assert_eq!(refused(request).0, "guidance-rescale");
    }
}

#[test]
fn adapters_are_those_of_the_model_each_once_and_within_their_range() {
    let adapted = |id: &str, weight| Adapted { id: id.into(), weight };
    let both = vec![adapted("ink", -10.0), adapted("wash", 10.0)];
    assert_eq!(taken(ImageRequest { adapters: both.clone(), ..ImageRequest::default() }).adapters, both);
    for (adapters, named) in [
        (vec![adapted("other", 1.0)], "it has ink, wash"),
        (vec![adapted("ink", 1.0), adapted("ink", 0.5)], "twice"),
        (vec![adapted("ink", 10.1)], "-10 to 10"),
        (vec![adapted("ink", f64::NAN)], "-10 to 10"),
        (vec![adapted("ink", 1.0); 17], "at most 16"),
    ] {
        let (field, reason) = refused(ImageRequest { adapters, ..ImageRequest::default() });
        assert!(field == "adapters" && reason.contains(named), "{field}: {reason}");
    }
}

#[test]
fn controls_are_those_of_the_model_each_once_within_its_range_and_of_the_jobs_size() {
    let control = |id: &str| Control::new(id, pixels(16, 8, 1));
    let asked =
        |controls: Vec<Control>| ImageRequest { controls, size: size(16, 8), ..ImageRequest::default() };
    let strong = Control { scale: 10.0, start: 0.25, end: 0.5, ..control("depth") };
    assert_eq!(taken(asked(vec![control("edges"), strong])).controls.len(), 2);
    for (controls, named) in [
        (vec![control("other")], "it has edges, depth"),
        (vec![control("edges"), control("edges")], "twice"),
        (vec![Control::new("edges", pixels(8, 8, 1))], "8x8, not 16x8"),
        (vec![Control { scale: 10.1, ..control("edges") }], "0 to 10"),
        (vec![Control { scale: -0.1, ..control("edges") }], "0 to 10"),
        (vec![Control { scale: f64::NAN, ..control("edges") }], "0 to 10"),
        (vec![Control { start: 0.5, end: 0.5, ..control("edges") }], "in this order"),
        (vec![Control { start: -0.1, ..control("edges") }], "from -0.1 to 1"),
        (vec![Control { end: 1.1, ..control("edges") }], "from 0 to 1.1"),
        (vec![Control { start: f64::NAN, ..control("edges") }], "in this order"),
        (vec![control("edges"); 5], "at most 4"),
    ] {
        let (field, reason) = refused(asked(controls));
        assert!(field == "controls" && reason.contains(named), "{field}: {reason}");
    }
    let edit = ImageRequest {
        source: to_edit(None),
        controls: vec![Control::new("edges", pixels(16, 16, 1))],
        ..ImageRequest::default()
    };
    assert!(refused(edit).1.contains("edits"));
}

#[test]
fn a_step_cache_is_of_the_models_kind_and_within_its_range() {
    let asked = |cache: StepCache| ImageRequest { step_cache: Some(cache), ..ImageRequest::default() };
    let deep = |interval, branch| asked(StepCache::Deep { interval, branch });
    let first = |threshold| asked(StepCache::FirstBlock { threshold });
    let flux = ImageModel { step_cache: CacheKind::FirstBlock, ..model() };
    assert_eq!(taken(ImageRequest::default()).step_cache, None);
    for (request, model) in [(deep(1, 0), model()), (deep(10, 8), model())] {
        assert!(order(request, &model).unwrap().step_cache.is_some());
    }
    for threshold in [0.0, 1.0] {
        order(first(threshold), &flux).unwrap();
    }
    for (request, model, named) in [
        (deep(0, 0), model(), "an interval of 0 is not within 1 to 10"),
        (deep(11, 0), model(), "an interval of 11 is not within 1 to 10"),
        (deep(2, 9), model(), "branch 9 is not below 9"),
        (first(0.1), model(), "takes deep:INTERVAL, not first-block:0.1"),
        (deep(2, 0), flux.clone(), "takes first-block:THRESHOLD, not deep:2"),
        (first(1.1), flux.clone(), "1.1 is not within 0 to 1"),
        (first(-0.1), flux.clone(), "-0.1 is not within 0 to 1"),
        (first(f64::NAN), flux.clone(), "NaN"),
    ] {
        let (field, reason) = refused_by(request, &model);
        assert!(field == "step-cache" && reason.contains(named), "{field}: {reason}");
    }
}

#[test]
fn framing_is_for_models_that_know_it_and_has_bounds() {
    let size = Size { width: 16, height: 24 };
    let framing = |side| Some(Framing { crop: Crop { left: side, top: 0 }, ..Framing::whole(size) });
    let job = taken(ImageRequest { size: Some(size), ..ImageRequest::default() });
    assert_eq!(job.framing, Framing::whole(size), "a whole picture of the job's size");
    taken(ImageRequest { framing: framing(16_384), ..ImageRequest::default() });
    assert_eq!(refused(ImageRequest { framing: framing(16_385), ..ImageRequest::default() }).0, "framing");
    let mut model = model();
    model.features.framing = false;
    assert_eq!(
        refused_by(ImageRequest { framing: framing(0), ..ImageRequest::default() }, &model).0,
        "framing"
    );
}

#[test]
fn work_counts_pixels_pictures_and_the_steps_that_are_run() {
    let request =
        ImageRequest { size: size(16, 8), steps: Some(10), count: Some(2), ..ImageRequest::default() };
    assert_eq!(taken(request.clone()).work(), 16 * 8 * 10 * 2);
    assert_eq!(taken(ImageRequest { source: source(16, 8, Some(0.3)), ..request }).work(), 16 * 8 * 3 * 2);
}

#[test]
fn pixels_have_sides_of_1_to_4096_and_four_bytes_each() {
    Pixels::new(4096, 1, vec![0; 4096 * 4]).unwrap();
    for (width, height) in [(0, 1), (1, 0), (4097, 1), (1, 4097)] {
        let error = Pixels::new(width, height, vec![0; (width * height * 4) as usize]).unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "size", .. }), "{error}");
    }
    for bytes in [15, 17] {
        let error = Pixels::new(2, 2, vec![0; bytes]).unwrap_err();
        assert_eq!(error.to_string(), format!("rgba: {bytes} bytes; 2x2 takes 16"));
    }
}

#[test]
fn job_ids_are_long_and_differ() {
    let order = taken(ImageRequest::default());
    let (one, other) = (Job::new(order.clone()).id, Job::new(order).id);
    assert_eq!(one.as_str().len(), 32);
    assert_ne!(one, other);
}
