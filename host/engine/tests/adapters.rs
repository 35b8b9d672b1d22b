//! Adapters and learned words against diffusers and peft, with the fixtures of `golden/make_adapters.py`;
//! `ATELIER_GOLDEN_DIR` names a folder with others in `adapters`.

#[path = "golden/folder.rs"]
mod folder;
#[path = "golden/worst.rs"]
#[expect(dead_code, reason = "tables are compared by other golden tests")]
mod worst;

use std::collections::BTreeMap;
use std::path::Path;

use atelier_engine::ModelFiles;
use atelier_engine::adapters::{Adapter, Attached, Bound, Component, Places};
use atelier_engine::models::clip::{ClipTextEncoder, States};
use atelier_engine::models::unet::{Input, UNet};
use atelier_engine::textual_inversion::{Inversion, teach};
use atelier_engine::tokenizer::ClipTokenizer;
use atelier_engine::weights::{Builder, Slots};
use atelier_inference::Precision;
use candle_core::Device;
use folder::Folder;
use serde::Deserialize;
use worst::Worst;

const WEIGHTS: f64 = 1e-5;
const ENCODERS: f64 = 1e-5;
const DENOISER: f64 = 1e-4;

/// A file by its stem, or a folder.
fn adapter(fixture: &Folder, name: &str) -> Adapter {
    let file = fixture.path.join(format!("{name}.safetensors"));
    let path: &Path = if file.is_file() { &file } else { &fixture.path.join(name) };
    Adapter::open(path).unwrap()
}

#[test]
fn every_dialect_alone_and_together_draws_what_diffusers_draws() {
    #[derive(Deserialize)]
    struct Golden {
        cases: BTreeMap<String, Vec<(String, f64)>>,
    }
    let fixture = Folder::open("adapters", "stable-diffusion");
    let encoder = ClipTextEncoder::open(&fixture.files(), "text_encoder", &Device::Cpu).unwrap();
    let unet = UNet::open(&fixture.files(), &Device::Cpu, Precision::F32).unwrap();
    let places =
        Places::default().with(Component::UNet, unet.slots()).with(Component::TextEncoder, encoder.slots());
    let cases = fixture.json::<Golden>().cases;
    let names = cases.values().flatten().map(|(name, _)| name);
    let bind = |name: &String| (name.clone(), adapter(&fixture, name).bind(&places, &Device::Cpu).unwrap());
    let bound: BTreeMap<String, Bound> = names.map(bind).collect();
    let mut states = Worst::new("text encoder with adapters", ENCODERS);
    let mut outputs = Worst::new("denoiser with adapters", DENOISER);
    // the plain case last: nothing may be left behind
    for (case, chosen) in cases.iter().filter(|(name, _)| *name != "none").chain(cases.get_key_value("none"))
    {
        let chosen: Vec<_> = chosen.iter().map(|(name, weight)| (&bound[name], *weight)).collect();
        let attached = Attached::new(&chosen).unwrap();
        let hidden = encoder.forward(&fixture.ids("ids"), States::Normed(0)).unwrap().hidden;
        states.compare(case, &hidden, &fixture.tensor(&format!("{case}/states")));
        let output = unet.forward(&Input {
            x: &fixture.tensor("sample"),
            timesteps: &fixture.tensor("timesteps"),
            context: &fixture.tensor(&format!("{case}/states")),
            guidance: None,
            added: None,
        });
        outputs.compare(case, &output.unwrap(), &fixture.tensor(&format!("{case}/output")));
        drop(attached);
    }
}

/// What adapters of a family add to each weight, against diffusers, for networks that are known by their layers alone.
fn additions_equal_diffusers(name: &str) {
    #[derive(Deserialize)]
    struct Golden {
        layers: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
        files: Vec<String>,
    }
    let fixture = Folder::open("adapters", name);
    let golden: Golden = fixture.json();
    let mut places = Places::default();
    for component in
        [Component::UNet, Component::Transformer, Component::TextEncoder, Component::TextEncoder2]
    {
        let Some(layers) = golden.layers.get(component.folder()) else { continue };
        let builder = Builder::zeros(&Device::Cpu);
        let slot = |(name, shape): (&String, &Vec<usize>)| {
            let name = name.trim_start_matches("text_model.");
            builder.pp(name).get(shape.as_slice(), "weight").unwrap();
            (name.to_string(), builder.pp(name).slot())
        };
        places = places.with(component, &layers.iter().map(slot).collect::<Slots>());
    }
    let mut worst = Worst::new("additions to weights", WEIGHTS);
    for file in &golden.files {
        let bound = adapter(&fixture, file).bind(&places, &Device::Cpu).unwrap();
        let mut expected: BTreeMap<_, _> = fixture
            .tensors
            .iter()
            .filter_map(|(key, tensor)| Some((key.strip_prefix(&format!("{file}/"))?, tensor)))
            .collect();
        for (component, layer, addition) in bound.additions() {
            let names = [
                format!("{}/{layer}", component.folder()),
                format!("{}/text_model.{layer}", component.folder()),
            ];
            let Some(theirs) = names.iter().find_map(|name| expected.remove(name.as_str())) else {
                panic!("{file}: diffusers adds nothing to {}", names[0])
            };
            let down = addition.down.flatten_from(1).unwrap();
            let ours = (addition.up.matmul(&down).unwrap() * addition.scale).unwrap();
            worst.compare(format!("{file}/{}", names[0]), &ours.reshape(theirs.dims()).unwrap(), theirs);
        }
        assert!(expected.is_empty(), "{file}: we add nothing to {:?}", expected.keys());
    }
}

#[test]
fn adapters_for_xl_add_what_diffusers_adds_whatever_they_call_a_layer() {
    additions_equal_diffusers("xl");
}

#[test]
fn adapters_for_flux_add_what_diffusers_adds_whatever_they_call_a_layer() {
    additions_equal_diffusers("flux");
}

#[test]
fn learned_words_become_the_ids_and_states_of_diffusers() {
    #[derive(Deserialize)]
    struct Case {
        component: String,
        files: Vec<(String, Option<String>)>,
        texts: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Golden {
        cases: BTreeMap<String, Case>,
    }
    let fixture = Folder::open("adapters", "textual-inversion");
    let mut worst = Worst::new("text encoder with learned words", ENCODERS);
    for (name, case) in fixture.json::<Golden>().cases {
        let mut tokenizer = ClipTokenizer::open(&fixture.files(), "tokenizer").unwrap();
        let files = ModelFiles::folder(fixture.path.join(&name));
        let mut encoder = ClipTextEncoder::open(&files, "text_encoder", &Device::Cpu).unwrap();
        let open = |(file, word): &(String, Option<String>)| {
            let path = fixture.path.join(format!("{file}.safetensors"));
            Inversion::open(&path, word.as_deref(), &Device::Cpu).unwrap()
        };
        let inversions: Vec<_> = case.files.iter().map(open).collect();
        let component =
            if case.component == "text_encoder_2" { Component::TextEncoder2 } else { Component::TextEncoder };
        teach(&inversions, component, &mut tokenizer, &mut encoder).unwrap();
        let expected = fixture.ids(&format!("{name}/ids"));
        assert_eq!(expected.len(), case.texts.len());
        for (text, expected) in case.texts.iter().zip(&expected) {
            let mut row = [&[tokenizer.bos], &tokenizer.ids(text).unwrap()[..], &[tokenizer.eos]].concat();
            row.resize(tokenizer.max_length, tokenizer.pad);
            assert_eq!(row, *expected, "{name}: {text:?}");
        }
        // where diffusers leaves all but a word's first vector out
        let [large, small] = ["<STYLE>", "<style>"].map(|text| tokenizer.ids(text).unwrap());
        assert_eq!(large, small, "{name}");
        assert_eq!(large.len() == 3, name == "first", "{name}: {large:?}");
        let hidden = encoder.forward(&expected, States::Normed(0)).unwrap().hidden;
        worst.compare(&name, &hidden, &fixture.tensor(&format!("{name}/states")));
        let error = teach(&inversions, component, &mut tokenizer, &mut encoder).unwrap_err().to_string();
        assert!(error.contains("knows `") && error.contains(".safetensors"), "{error}");
    }
}

#[test]
fn a_word_for_another_family_is_refused_with_its_file() {
    let fixture = Folder::open("adapters", "textual-inversion");
    let mut tokenizer = ClipTokenizer::open(&fixture.files(), "tokenizer").unwrap();
    let files = ModelFiles::folder(fixture.path.join("first"));
    let mut encoder = ClipTextEncoder::open(&files, "text_encoder", &Device::Cpu).unwrap();
    for (file, component, named) in [
        ("cat-toy", Component::TextEncoder2, "no vectors for text_encoder_2"),
        ("inkwash-xl", Component::TextEncoder2, "vectors of 12 values; text_encoder_2 has 8"),
    ] {
        let inversion =
            Inversion::open(&fixture.path.join(format!("{file}.safetensors")), None, &Device::Cpu).unwrap();
        let error = teach(&[inversion], component, &mut tokenizer, &mut encoder).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains(file), "{error}");
    }
}
