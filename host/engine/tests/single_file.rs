//! Single-file checkpoints against diffusers' own conversion, for every kind (`golden/make_single_file.py` makes the
//! values; `ATELIER_GOLDEN_DIR` names others): the components' names, shapes and values, and the configurations. Then what
//! only we do: writing such files, and refusing what cannot be told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use atelier_engine::models::unet::{UNet, UNetConfig};
use atelier_engine::tokenizer::ClipTokenizer;
use atelier_engine::weights::Weights;
use atelier_engine::{
    CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec, PredictionType,
    write_single_file,
};
use atelier_inference::{Engine, ImageOrder, ImageRequest, Pixels, StepState};
use candle_core::{Device, Tensor};
use half::f16;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One kind of checkpoint, and what diffusers makes of it.
#[derive(Deserialize)]
struct Kind {
    /// Shapes by the original names.
    file: BTreeMap<String, Vec<usize>>,
    /// Shapes and digests of the values by component and diffusers' names.
    components: BTreeMap<String, BTreeMap<String, (Vec<usize>, u64)>>,
    /// Of each component, what is not its class's default.
    configs: BTreeMap<String, Map<String, Value>>,
}

/// A text and its ids, those around it included.
#[derive(Deserialize)]
struct Tokens {
    text: String,
    ids: Vec<u32>,
}

/// What `make_single_file.py` wrote.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/single_file");
    std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from)
}

fn kinds() -> Vec<(String, Kind)> {
    let root = root();
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with("tokens.json"));
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no fixtures; run make_single_file.py", root.display());
    let read = |path: PathBuf| {
        let kind = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), kind)
    };
    paths.into_iter().map(read).collect()
}

fn kind(name: &str) -> Kind {
    kinds().into_iter().find(|(found, _)| found == name).unwrap().1
}

/// The script's `zlib.crc32`.
fn crc32(text: &str) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !text.bytes().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// The script's `fill`, in half precision.
fn fill(name: &str, count: usize) -> Vec<u8> {
    let start = u64::from(crc32(name));
    let value = |index: usize| f16::from_f32(((start + 7 * index as u64) % 1021) as f32);
    (0..count).flat_map(|index| value(index).to_le_bytes()).collect()
}

/// The script's `digest`.
fn digest(tensor: &Tensor) -> u64 {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let places = values.iter().enumerate().map(|(index, value)| *value as u64 * (index as u64 % 8191 + 1));
    places.sum::<u64>() % (1 << 52)
}

/// Writes a file of these shapes; values by `fill`, or none but zeros, which take no space.
fn write(path: &Path, shapes: &BTreeMap<String, Vec<usize>>, fill: Option<fn(&str, usize) -> Vec<u8>>) {
    let mut at = 0;
    let mut header = Map::new();
    for (name, shape) in shapes {
        let (dtype, size) = if name == "global_step" { ("I64", 8) } else { ("F16", 2) };
        let bytes = size * shape.iter().product::<usize>();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]});
        header.insert(name.clone(), entry);
        at += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    for (name, shape) in shapes.iter().take(if fill.is_some() { usize::MAX } else { 0 }) {
        file.write_all(&fill.unwrap()(name, shape.iter().product())).unwrap();
    }
    file.into_inner().unwrap().set_len((8 + header.len() + at) as u64).unwrap();
}

/// Files of one checkpoint in a folder that goes with the guard.
fn checkpoint(
    shapes: &BTreeMap<String, Vec<usize>>,
    prediction: Option<PredictionType>,
) -> (tempfile::TempDir, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, shapes, None);
    (folder, ModelFiles::single_file(path, prediction))
}

/// What the file is refused with.
fn refused(shapes: &BTreeMap<String, Vec<usize>>) -> String {
    let (_folder, files) = checkpoint(shapes, Some(PredictionType::Epsilon));
    files.text("unet/config.json").unwrap_err().to_string()
}

fn json(files: &ModelFiles, name: &str) -> Value {
    serde_json::from_str(&files.text(name).unwrap()).unwrap()
}

/// Equal, where a list of one value is that value.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(list), single) | (single, Value::Array(list)) if !single.is_array() => {
            list.iter().all(|value| same(value, single))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        _ => ours == theirs,
    }
}

const STEMS: [(&str, &str); 4] = [
    ("unet", "diffusion_pytorch_model"),
    ("vae", "diffusion_pytorch_model"),
    ("text_encoder", "model"),
    ("text_encoder_2", "model"),
];

#[test]
fn every_tensor_of_every_kind_is_what_diffusers_makes_of_it() {
    for (name, kind) in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &kind.file, Some(fill));
        let files = ModelFiles::single_file(&path, Some(PredictionType::Epsilon));
        for (component, expected) in &kind.components {
            let stem = STEMS.iter().find(|(folder, _)| folder == component).unwrap().1;
            let weights = Weights::load(&files, component, stem, &Device::Cpu).unwrap();
            let shapes: BTreeMap<String, Vec<usize>> =
                weights.tensors().map(|(name, shape)| (name.into(), shape.to_vec())).collect();
            let theirs: BTreeMap<_, _> =
                expected.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect();
            assert_eq!(shapes, theirs, "{name}/{component}");
            let compared = weights.build(|builder| {
                for (tensor, (shape, digested)) in expected {
                    let ours = builder.get(shape.as_slice(), tensor)?;
                    assert_eq!(digest(&ours), *digested, "{name}/{component}/{tensor}");
                }
                Ok(())
            });
            compared.unwrap();
        }
    }
}

#[test]
fn configurations_are_those_that_the_tensors_were_made_from() {
    for (name, kind) in kinds() {
        let (_folder, files) = checkpoint(&kind.file, Some(PredictionType::Velocity));
        for (component, theirs) in &kind.configs {
            let ours = json(&files, &format!("{component}/config.json"));
            for (key, theirs) in theirs {
                let ours = &ours[key];
                assert!(same(ours, theirs), "{name}/{component}: {key} is {ours}, not {theirs}");
            }
        }
    }
}

#[test]
fn the_pipeline_and_its_schedule_follow_from_the_kind() {
    let velocity = Some(PredictionType::Velocity);
    for (name, prediction, class, scheduler, predicts) in [
        ("sd1", None, "StableDiffusionPipeline", "PNDMScheduler", "epsilon"),
        ("sd1", velocity, "StableDiffusionPipeline", "PNDMScheduler", "v_prediction"),
        ("sd1-inpaint", None, "StableDiffusionInpaintPipeline", "PNDMScheduler", "epsilon"),
        (
            "sd1-edit",
            None,
            "StableDiffusionInstructPix2PixPipeline",
            "EulerAncestralDiscreteScheduler",
            "epsilon",
        ),
        ("sd2", velocity, "StableDiffusionPipeline", "DDIMScheduler", "v_prediction"),
        ("xl", None, "StableDiffusionXLPipeline", "EulerDiscreteScheduler", "epsilon"),
        ("xl-refiner", None, "StableDiffusionXLImg2ImgPipeline", "EulerDiscreteScheduler", "epsilon"),
    ] {
        let (_folder, files) = checkpoint(&kind(name).file, prediction);
        let (index, schedule) =
            (json(&files, "model_index.json"), json(&files, "scheduler/scheduler_config.json"));
        assert_eq!(index["_class_name"], class, "{name}");
        assert_eq!(index["scheduler"][1], scheduler, "{name}");
        assert_eq!(
            (&schedule["_class_name"], &schedule["prediction_type"]),
            (&json!(scheduler), &json!(predicts))
        );
    }
}

#[test]
fn texts_have_the_ids_of_clip_though_the_file_has_no_vocabulary() {
    let (_folder, files) = checkpoint(&kind("sd1").file, None);
    let tokenizer = ClipTokenizer::open(&files, "tokenizer").unwrap();
    let expected = std::fs::read_to_string(root().join("tokens.json")).unwrap();
    for Tokens { text, ids } in serde_json::from_str::<Vec<Tokens>>(&expected).unwrap() {
        let ours = [&[tokenizer.bos], tokenizer.ids(&text).unwrap().as_slice(), &[tokenizer.eos]].concat();
        assert_eq!(ours, ids, "{text:?}");
    }
}

#[test]
fn marks_that_trainers_leave_are_understood() {
    let mut file = kind("xl").file;
    file.insert("v_pred".into(), vec![0]);
    file.insert("ztsnr".into(), vec![0]);
    let schedule = json(&checkpoint(&file, None).1, "scheduler/scheduler_config.json");
    assert_eq!(schedule["prediction_type"], "v_prediction");
    assert_eq!(schedule["rescale_betas_zero_snr"], true);
    let mut file = kind("xl").file;
    file.insert("edm_vpred.sigma_min".into(), vec![]);
    file.insert("edm_vpred.sigma_max".into(), vec![]);
    let (_folder, files) = checkpoint(&file, None);
    assert_eq!(json(&files, "scheduler/scheduler_config.json")["_class_name"], "EDMEulerScheduler");
}

#[test]
fn what_a_file_cannot_tell_is_asked_for_by_the_manifests_key() {
    let mut file = kind("sd2").file;
    let (_folder, files) = checkpoint(&file, None);
    let error = files.text("model_index.json").unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors") && error.contains("prediction = \"v_prediction\""),
        "{error}"
    );
    // the base models' files hold the number of their last step
    file.insert("global_step".into(), vec![]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    write(
        &path,
        &file,
        Some(|name, count| match name {
            "global_step" => 875_000u64.to_le_bytes().to_vec(),
            _ => vec![0; 2 * count],
        }),
    );
    let schedule = json(&ModelFiles::single_file(&path, None), "scheduler/scheduler_config.json");
    assert_eq!(schedule["prediction_type"], "epsilon");
    // without an autoencoder
    let mut file = kind("sd1").file;
    file.retain(|name, _| !name.starts_with("first_stage_model."));
    let (_folder, files) = checkpoint(&file, None);
    let error = files.text("vae/config.json").unwrap_err().to_string();
    assert!(error.contains("vae = \"path\""), "{error}");
    assert!(files.text("unet/config.json").is_ok());
}

#[test]
fn what_is_no_checkpoint_is_refused_by_name() {
    let sd1 = kind("sd1-inpaint").file;
    let without = |start: &str| {
        let mut file = sd1.clone();
        file.retain(|name, _| !name.starts_with(start));
        refused(&file)
    };
    let with = |name: &str, shape: &[usize]| {
        let mut file = sd1.clone();
        file.insert(name.into(), shape.to_vec());
        refused(&file)
    };
    assert!(without("model.diffusion_model.").contains("no tensor below `model.diffusion_model.`"));
    assert!(without("model.diffusion_model.out.").contains("not those of a UNet"));
    assert!(without("cond_stage_model.").contains("no text encoder"));
    assert!(without("first_stage_model.decoder.conv_in").contains("not those of an autoencoder"));
    assert!(without("cond_stage_model.transformer.text_model.embeddings").contains("not those of a CLIP"));
    assert!(with("lora_te.alpha", &[1]).contains("tensor `lora_te.alpha` belongs to no part"));
    let stray = "model.diffusion_model.input_blocks.1.0.gate.weight";
    assert!(with(stray, &[1]).contains(&format!("tensor `{stray}` has no place in unet")));
    assert!(
        with("model.diffusion_model.input_blocks.0.0.weight", &[64, 5, 3, 3]).contains("takes 5 channels")
    );
    assert!(
        with("conditioner.embedders.1.model.positional_embedding", &[77, 64]).contains("not those of a CLIP")
    );
    let xl = {
        let mut file = kind("xl").file;
        file.insert(
            "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight".into(),
            vec![64, 64],
        );
        refused(&file)
    };
    assert!(xl.contains("attn.in_proj_weight` of [64, 64] is no"), "{xl}");
}

#[test]
fn leftovers_of_training_are_passed_over() {
    let mut file = kind("sd1-inpaint").file;
    for name in
        ["alphas_cumprod", "model_ema.diffusion_modelout2bias", "first_stage_model.loss.logvar", "epoch"]
    {
        file.insert(name.into(), vec![3]);
    }
    file.insert("cond_stage_model.transformer.text_projection.weight".into(), vec![64, 64]);
    let (_folder, files) = checkpoint(&file, None);
    assert!(files.text("model_index.json").is_ok());
}

#[test]
fn old_names_of_the_text_encoder_are_understood() {
    let kind = kind("sd1-inpaint");
    let short = |(name, shape): (&String, &Vec<usize>)| {
        (
            name.replace("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
            shape.clone(),
        )
    };
    let (_folder, files) = checkpoint(&kind.file.iter().map(short).collect(), None);
    let weights = Weights::load(&files, "text_encoder", "model", &Device::Cpu).unwrap();
    let names: Vec<_> = weights.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, kind.components["text_encoder"].keys().collect::<Vec<_>>());
}

#[test]
fn a_file_of_another_model_in_the_place_of_the_old_is_noticed() {
    let (folder, files) = checkpoint(&kind("sd1").file, None);
    files.text("model_index.json").unwrap();
    write(&folder.path().join("model.safetensors"), &kind("sd1-edit").file, None);
    let error = Weights::load(&files, "unet", "diffusion_pytorch_model", &Device::Cpu).err().unwrap();
    assert!(error.to_string().contains("another model than when the host started"), "{error}");
}

#[test]
fn an_autoencoder_may_come_from_its_own_file_or_folder_with_the_models_scale() {
    for (model, scale) in [("sd1", 0.18215), ("xl", 0.13025)] {
        let mut file = kind(model).file;
        let (_folder, _) = checkpoint(&file, None);
        file.retain(|name, _| !name.starts_with("first_stage_model."));
        let (_folder, files) = checkpoint(&file, None);
        // the scale is the model's, even where it has no autoencoder of its own
        for prefix in ["first_stage_model.", ""] {
            let lone = kind("sd1").file.into_iter().filter_map(|(name, shape)| {
                Some((format!("{prefix}{}", name.strip_prefix("first_stage_model.")?), shape))
            });
            let (_vae_folder, vae) = checkpoint(&lone.collect(), None);
            let files = files.clone().with_vae(vae);
            assert_eq!(json(&files, "vae/config.json")["scaling_factor"], scale);
            assert!(Weights::load(&files, "vae", "diffusion_pytorch_model", &Device::Cpu).is_ok());
        }
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    // FLUX also shifts its latents
    let lone = kind("sd1").file.into_iter().filter(|(name, _)| name.starts_with("first_stage_model."));
    let (_vae_folder, vae) = checkpoint(&lone.collect(), None);
    let config = json(&ModelFiles::folder(fixtures.join("flux-dev")).with_vae(vae), "vae/config.json");
    assert_eq!((&config["scaling_factor"], &config["shift_factor"]), (&0.3611.into(), &0.1159.into()));
    let model = ModelFiles::folder(fixtures.join("sd1"));
    for folder in ["nano/vae", "nano"] {
        let files = model.clone().with_vae(ModelFiles::folder(fixtures.join(folder)));
        assert_eq!(json(&files, "vae/config.json")["_class_name"], "AutoencoderTiny");
        assert!(Weights::load(&files, "vae", "diffusion_pytorch_model", &Device::Cpu).is_ok());
        let error =
            files.clone().with_vae(ModelFiles::folder("/nowhere")).text("vae/config.json").unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.json"), "{error}");
    }
}

/// A folder of diffusers whose weights are small and always the same; its tokenizer is CLIP's own.
fn folder(root: &Path, kind: &Kind) {
    let (_folder, files) = checkpoint(&kind.file, None);
    let names = ["model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json"];
    let more =
        ["tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "unet/config.json", "vae/config.json"];
    for name in names.into_iter().chain(more) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, files.text(name).unwrap()).unwrap();
    }
    let mut text = json(&files, "text_encoder/config.json");
    text["vocab_size"] = json!(49_408);
    std::fs::create_dir_all(root.join("text_encoder")).unwrap();
    std::fs::write(root.join("text_encoder/config.json"), text.to_string()).unwrap();
    for (component, stem) in &STEMS[..3] {
        let weights = Weights::load(&files, component, stem, &Device::Cpu).unwrap();
        let mut shapes: BTreeMap<String, Vec<usize>> =
            weights.tensors().map(|(name, shape)| (name.into(), shape.to_vec())).collect();
        let table = shapes.iter_mut().find(|(name, _)| name.ends_with("token_embedding.weight"));
        table.into_iter().for_each(|(_, shape)| shape[0] = 49_408);
        let small = |name: &str, count: usize| {
            let value = |index: usize| (crc32(name) as usize + 7 * index) % 1021;
            let scaled = |index: usize| f16::from_f32((value(index) as f32 / 510.0 - 1.0) * 0.08);
            (0..count).flat_map(|index| scaled(index).to_le_bytes()).collect()
        };
        write(&root.join(format!("{component}/{stem}.safetensors")), &shapes, Some(small));
    }
}

fn picture(files: ModelFiles) -> Pixels {
    let spec = ModelSpec {
        id: "tiny".into(),
        source: "test".into(),
        files,
        description: None,
        extras: Extras::default(),
    };
    let mut engine = CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models: vec![spec],
        memory_bytes: None,
        ..EngineConfig::default()
    })
    .unwrap();
    let size = Some(atelier_inference::Size { width: 64, height: 64 });
    let request = ImageRequest {
        prompt: "a lighthouse at dusk, oil on canvas".into(),
        schedule: Some("ddim".into()),
        steps: Some(2),
        seed: Some(7),
        size,
        ..ImageRequest::default()
    };
    let job = ImageOrder::new(request, &engine.models()[0]).unwrap();
    engine.load(&job.model.card.id).unwrap();
    let mut run = engine.begin(&job.clone().into()).unwrap();
    loop {
        if let StepState::Done(finished) = run.next_step().unwrap() {
            return finished.pictures()[0].clone();
        }
    }
}

#[test]
fn a_folder_written_as_a_single_file_gives_the_same_picture_and_bytes() {
    let root = tempfile::tempdir().unwrap();
    let mut kind = kind("sd1-inpaint");
    kind.file.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap()[1] = 4;
    folder(root.path(), &kind);
    let files = ModelFiles::folder(root.path());
    let target = root.path().join("single.safetensors");
    write_single_file(&files, &target).unwrap();
    let single = ModelFiles::single_file(&target, None);
    assert_eq!(picture(single.clone()), picture(files));
    // and again from the single file itself
    let again = root.path().join("again.safetensors");
    write_single_file(&single, &again).unwrap();
    assert!(std::fs::read(&target).unwrap() == std::fs::read(&again).unwrap());
}

#[test]
fn a_folder_of_which_a_single_file_would_lose_something_is_not_written() {
    let root = tempfile::tempdir().unwrap();
    let mut kind = kind("sd1-inpaint");
    kind.file.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap()[1] = 4;
    folder(root.path(), &kind);
    let path = root.path().join("unet/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["attention_head_dim"] = json!(4);
    std::fs::write(path, config.to_string()).unwrap();
    let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/nano");
    let target = root.path().join("x.safetensors");
    for (folder, wrong) in [
        (
            root.path(),
            "unet/config.json: attention_head_dim = 4: a single file cannot say this, and stands for 8",
        ),
        (&nano, "vae/config.json: tensor `decoder.layers.0.bias` has no place in a single file"),
    ] {
        let error = write_single_file(&ModelFiles::folder(folder), &target).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
        assert!(!target.exists());
    }
}

#[test]
fn every_kind_survives_the_way_to_a_folder_and_back() {
    for (name, mut kind) in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let (path, back) = (folder.path().join("model.safetensors"), folder.path().join("back.safetensors"));
        // what diffusers leaves out is not there afterwards
        kind.file.retain(|name, _| {
            let left_out = [
                "position_ids",
                "logit_scale",
                "betas",
                "model_ema.",
                "resblocks.23.",
                "model.text_projection",
            ];
            !left_out.iter().any(|part| name.contains(part))
                || name.starts_with("conditioner.embedders") && name.ends_with("text_projection")
        });
        write(&path, &kind.file, Some(fill));
        let prediction = Some(PredictionType::Epsilon);
        write_single_file(&ModelFiles::single_file(&path, prediction), &back).unwrap();
        let read = |path: &Path| candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let (before, after) = (read(&path), read(&back));
        assert_eq!(before.len(), after.len(), "{name}");
        for (tensor, before) in before {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f16>().unwrap();
            assert_eq!(before.dims(), after[&tensor].dims(), "{name}/{tensor}");
            assert!(values(&before) == values(&after[&tensor]), "{name}/{tensor}");
        }
    }
}

#[test]
fn a_checkpoints_denoiser_takes_exactly_its_tensors() {
    for name in ["sd1", "sd2"] {
        let (_folder, files) = checkpoint(&kind(name).file, Some(PredictionType::Velocity));
        let config = UNetConfig::read(&files).unwrap();
        let weights = Weights::load(&files, "unet", "diffusion_pytorch_model", &Device::Cpu).unwrap();
        weights.build(|builder| UNet::load(&config, builder)).unwrap();
    }
}
