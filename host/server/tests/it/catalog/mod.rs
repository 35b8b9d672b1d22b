//! Public models by name: each is pulled from stand-ins for its repositories, takes exactly the files that are read, and is
//! then served without a hub, as its entry says and refusing what it cannot do.

mod repositories;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use atelier::app::{self, Located};
use atelier::catalog::{self, Entry};
use atelier::config::{Config, HubRepo, Variables};
use atelier_inference::{Engine, ImageModel, ImageOrder, ImageRequest, Pixels, Size, Source, StepState};

use crate::hub::{Standin, hub};
use repositories::{DECOY, repository};

/// An entry's family and what it can do.
struct Expected {
    name: &'static str,
    family: &'static str,
    does: &'static [&'static str],
}

const fn expected(name: &'static str, family: &'static str, does: &'static [&'static str]) -> Expected {
    Expected { name, family, does }
}

const SD: &str = "stable-diffusion";
const XL: &str = "stable-diffusion-xl";
const FLUX: &str = "flux";
const ALL: &[&str] = &["text", "start", "inpaint", "negative"];
const UNGUIDED: &[&str] = &["text", "start", "inpaint"];
const ALL_XL: &[&str] = &["text", "start", "inpaint", "negative", "framing"];
const UNGUIDED_XL: &[&str] = &["text", "start", "inpaint", "framing"];

const FIRST: [Expected; 7] = [
    expected("sd15", SD, ALL),
    expected("sd21", SD, ALL),
    expected("dreamshaper-8", SD, ALL),
    expected("realistic-vision", SD, ALL),
    expected("lcm-lora-sd15", SD, ALL),
    expected("lcm-dreamshaper-7", SD, UNGUIDED),
    expected("instruct-pix2pix", SD, &["edit", "negative"]),
];
const LARGE: [Expected; 18] = [
    expected("sdxl", XL, ALL_XL),
    expected("sdxl-refiner", "stable-diffusion-xl-refiner", &["start", "inpaint", "negative", "framing"]),
    expected("sdxl-turbo", XL, UNGUIDED_XL),
    expected("sdxl-lightning-2step", XL, UNGUIDED_XL),
    expected("sdxl-lightning", XL, UNGUIDED_XL),
    expected("sdxl-lightning-8step", XL, UNGUIDED_XL),
    expected("sdxl-lightning-2step-lora", XL, UNGUIDED_XL),
    expected("sdxl-lightning-lora", XL, UNGUIDED_XL),
    expected("sdxl-lightning-8step-lora", XL, UNGUIDED_XL),
    expected("lcm-sdxl", XL, UNGUIDED_XL),
    expected("lcm-lora-sdxl", XL, ALL_XL),
    expected("cosxl-edit", XL, &["edit", "negative", "framing"]),
    expected("flux-dev", FLUX, UNGUIDED),
    expected("flux-dev-q8", FLUX, UNGUIDED),
    expected("flux-dev-q4", FLUX, UNGUIDED),
    expected("flux-schnell", FLUX, UNGUIDED),
    expected("flux-schnell-q8", FLUX, UNGUIDED),
    expected("flux-schnell-q4", FLUX, UNGUIDED),
];

/// The model of a manifest that says no more than its name, looked for in this cache.
async fn locate(name: &str, cache: &Path) -> (Config, Vec<Located>) {
    let manifest = format!("[[model]]\nid = \"{name}\"\n");
    let (variables, builtins) = (Variables::default(), app::builtins());
    let config = Config::parse(&manifest, "atelier.toml", cache, &variables, &builtins).unwrap();
    let located = app::locate_in(Some(&hub("http://127.0.0.1:1", cache, true)), &config.models).await;
    (config, located)
}

/// A hub with the repositories of an entry.
pub(crate) fn standin(entry: &Entry) -> Standin {
    let name = |repo: catalog::Repo| format!("{}/{}", repo.owner, repo.name);
    let names: BTreeSet<String> = entry.repos().map(name).collect();
    Standin::with(names.into_iter().map(|name| (name.clone(), repository(&name))))
}

/// Pulls an entry into a new cache; nothing is fetched that nobody reads.
async fn pulled(name: &str) -> tempfile::TempDir {
    let entry = catalog::find(name).unwrap();
    let (endpoint, _) = standin(entry).start().await;
    let cache = tempfile::tempdir().unwrap();
    let (_, located) = locate(name, cache.path()).await;
    let fix = located[0].files.as_ref().err().unwrap();
    assert_eq!(fix, &format!("run `atelier models pull {name}`"));
    let pulled = hub(&endpoint, cache.path(), false).pull(&entry.wanted(), &|_| {}).await.unwrap();
    for (pulled, repo) in pulled.iter().zip(entry.repos()) {
        assert_eq!(pulled.repo, HubRepo::from(repo).to_string());
        assert!(repo.commit.is_none_or(|commit| pulled.folder.ends_with(commit)), "{}", pulled.repo);
        let files = files_below(&pulled.folder);
        assert_eq!(files.len(), pulled.files, "{name}: {files:?}");
        let decoy = files.iter().find(|file| std::fs::read(pulled.folder.join(file)).unwrap() == DECOY);
        assert_eq!(decoy, None, "{name}");
    }
    cache
}

fn files_below(root: &Path) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    files
}

async fn engine(name: &str, cache: &Path) -> (Box<dyn Engine>, Arc<ImageModel>) {
    let (config, located) = locate(name, cache).await;
    assert!(located[0].files.is_ok(), "{name} is not found where it was pulled to");
    let engine = app::engine(&config, &located).unwrap_or_else(|error| panic!("{error}"));
    let info = engine.models()[0].image().unwrap().clone();
    (engine, info)
}

/// The smallest picture that the model takes, with a source where it needs one.
fn small(info: &Arc<ImageModel>) -> ImageRequest {
    let side = info.min_side.next_multiple_of(info.side_multiple);
    let pixels = Pixels::new(side, side, vec![90; (side * side * 4) as usize]).unwrap();
    let source = match (info.features.edit, info.features.text_to_image) {
        (true, _) => Some(Source::Edit { pixels, guidance: None }),
        (false, true) => None,
        (false, false) => Some(Source::Start { pixels, strength: Some(0.6) }),
    };
    let size = Some(Size { width: side, height: side });
    ImageRequest { prompt: "a lighthouse".into(), size, seed: Some(5), source, ..ImageRequest::default() }
}

fn picture(engine: &mut dyn Engine, request: ImageRequest) -> Pixels {
    let order = ImageOrder::new(request, &engine.models()[0]).unwrap();
    engine.load(&order.model.card.id).unwrap();
    let mut run = engine.begin(&order.into()).unwrap();
    loop {
        if let StepState::Done(finished) = run.next_step().unwrap() {
            return finished.pictures()[0].clone();
        }
    }
}

/// What the catalog says, what requests get that say nothing, and what is refused.
fn check_entry(expected: &Expected, info: &Arc<ImageModel>) {
    let Expected { name, family, does } = expected;
    let entry = catalog::find(name).unwrap();
    let (features, usage) = (info.features, entry.usage);
    // an entry that is one repository is known by it, so that clients of other services may name it
    let source = match entry.only_repo() {
        Some(repo) => format!("hub:{repo}"),
        None => format!("catalog:{name}"),
    };
    assert_eq!((info.card.family.as_str(), &info.card.source), (*family, &source));
    assert_eq!(info.card.description, entry.about, "{name}");
    let found = [
        ("text", features.text_to_image),
        ("start", features.image_to_image),
        ("edit", features.edit),
        ("inpaint", features.inpaint),
        ("negative", features.negative_prompt),
        ("framing", features.framing),
    ];
    for (feature, has) in found {
        assert_eq!(has, does.contains(&feature), "{name}: {feature}");
    }
    let (width, height) = usage.size;
    let native = Size { width, height };
    assert_eq!((info.native_size, info.default_steps), (native, usage.steps), "{name}");
    assert_eq!(
        (info.default_guidance, info.schedules[0].as_str()),
        (usage.guidance, usage.schedule),
        "{name}"
    );
    let order = ImageOrder::with(ImageRequest { source: None, ..small(info) }, info);
    if features.text_to_image {
        let order = order.unwrap();
        assert_eq!(
            (order.steps, order.guidance, order.schedule.as_str()),
            (usage.steps, usage.guidance, usage.schedule)
        );
        let own = ImageOrder::with(ImageRequest { prompt: "a boat".into(), ..ImageRequest::default() }, info)
            .unwrap();
        assert_eq!(own.size, native, "{name}");
    } else {
        assert!(order.unwrap_err().to_string().contains("needs a picture to work on"), "{name}");
    }
}

fn check_refusals(expected: &Expected, info: &Arc<ImageModel>) {
    let Expected { name, does, .. } = expected;
    let refused =
        |request: ImageRequest| ImageOrder::with(request, info).err().map(|error| error.to_string());
    let named = |error: Option<String>, field: &str| {
        let error = error.unwrap_or_else(|| panic!("{name} takes {field}"));
        assert!(error.contains(field) && error.len() > field.len(), "{name}: {error}");
    };
    let pixels = match small(info).source {
        Some(Source::Edit { pixels, .. } | Source::Start { pixels, .. }) => pixels,
        _ => Pixels::new(64, 64, vec![255; 64 * 64 * 4]).unwrap(),
    };
    let size = Some(pixels.size());
    let with = |source| ImageRequest { source: Some(source), size, ..small(info) };
    if !does.contains(&"negative") {
        named(
            refused(ImageRequest { negative_prompt: Some("blur".into()), ..small(info) }),
            "negative-prompt",
        );
    }
    if !does.contains(&"edit") {
        named(refused(with(Source::Edit { pixels: pixels.clone(), guidance: None })), "source");
    }
    if !does.contains(&"start") {
        named(refused(with(Source::Start { pixels: pixels.clone(), strength: None })), "ask for an edit");
    }
    if !does.contains(&"framing") {
        let framing = atelier_inference::Framing::whole(pixels.size());
        named(refused(ImageRequest { framing: Some(framing), ..small(info) }), "framing");
    }
    let huge = Some(Size { width: 4_096, height: 4_096 });
    named(refused(ImageRequest { size: huge, ..small(info) }), "size");
    let foreign = if info.card.family == FLUX { "pndm" } else { "flow_match_euler" };
    named(refused(ImageRequest { schedule: Some(foreign.into()), ..small(info) }), "schedule");
    if !info.features.guidance {
        named(refused(ImageRequest { guidance: Some(3.0), ..small(info) }), "guidance");
    }
    let adapter = atelier_inference::Adapted { id: "lora".into(), weight: 1.0 };
    named(refused(ImageRequest { adapters: vec![adapter], ..small(info) }), "adapters");
}

async fn check(expected: &Expected) {
    let cache = pulled(expected.name).await;
    let (mut engine, info) = engine(expected.name, cache.path()).await;
    check_entry(expected, &info);
    check_refusals(expected, &info);
    let steps = Some(info.default_steps.min(4));
    let request = ImageRequest { steps, ..small(&info) };
    assert_eq!(picture(&mut *engine, request.clone()).size(), request.size.unwrap(), "{}", expected.name);
}

#[tokio::test]
async fn every_model_of_the_first_family_is_pulled_and_served_by_its_name() {
    for expected in &FIRST {
        check(expected).await;
    }
}

#[tokio::test]
async fn every_large_model_is_pulled_and_served_by_its_name() {
    for expected in &LARGE {
        check(expected).await;
    }
}

#[test]
fn no_entry_is_left_out_above() {
    let checked: BTreeSet<_> = FIRST.iter().chain(&LARGE).map(|expected| expected.name).collect();
    assert_eq!(checked, catalog::names().into_iter().collect());
}

#[tokio::test]
async fn an_adapter_that_is_part_of_a_model_is_in_every_picture() {
    let mut pictures = Vec::new();
    for name in ["sdxl", "sdxl-lightning-lora"] {
        let cache = pulled(name).await;
        let (mut engine, info) = engine(name, cache.path()).await;
        // everything else alike
        let request = ImageRequest {
            steps: Some(2),
            guidance: Some(0.0),
            schedule: Some("euler_trailing".into()),
            ..small(&info)
        };
        pictures.push(picture(&mut *engine, request));
    }
    assert_ne!(pictures[0], pictures[1]);
}

#[tokio::test]
async fn a_base_that_was_fetched_without_its_denoiser_is_not_taken_for_a_whole_one() {
    let cache = pulled("sdxl-lightning").await;
    for (name, is_there) in [("sdxl-lightning", true), ("sdxl", false), ("sdxl-lightning-lora", false)] {
        let (_, located) = locate(name, cache.path()).await;
        assert_eq!(located[0].files.is_ok(), is_there, "{name}");
    }
}
