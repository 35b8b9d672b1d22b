//! Which files of a repository a pipeline reads: configurations, tokenizer files and safetensors weights, in the layout of
//! diffusers (a folder per component, named in `model_index.json`) or flat. Half-precision weights are taken where there
//! are any: half the download, and the engine converts. Pickled weights are never taken: loading one runs its code.

use std::path::Path;

use serde_json::Value;

/// Components that a host without a content filter does not run.
const UNUSED_COMPONENTS: [&str; 2] = ["safety_checker", "feature_extractor"];
/// Files beside the weights, by their last name.
const TEXT_FILES: [&str; 5] =
    ["merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"];
/// Stems of the weights that the engine looks for in a component.
const WEIGHT_STEMS: [&str; 2] = ["model", "diffusion_pytorch_model"];

/// The files to take, out of all paths of a repository; the error says what is missing.
pub(super) fn choose<'a>(paths: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let is_pipeline = paths.contains(&"model_index.json");
    let (mut chosen, mut weights) = (Vec::new(), 0);
    let half: Vec<&str> =
        paths.iter().filter(|path| weight(path) == Some(true)).map(|path| folder(path)).collect();
    for path in paths.iter().copied().filter(|path| is_read(path, is_pipeline)) {
        match weight(path) {
            Some(is_half) if is_half == half.contains(&folder(path)) => weights += 1,
            None if is_text(path) => {}
            _ => continue,
        }
        chosen.push(path);
    }
    if weights == 0 {
        return Err("holds no safetensors weights; convert it, or name another repository".into());
    }
    Ok(chosen)
}

/// Whether a snapshot's folder holds everything that its own indices name.
pub(super) fn is_complete(folder: &Path) -> bool {
    let Some(index) = read_json(&folder.join("model_index.json")) else {
        return folder.join("config.json").is_file();
    };
    let used = |(name, value): (&String, &Value)| {
        let is_component = value.get(0).is_some_and(Value::is_string);
        (is_component && !UNUSED_COMPONENTS.contains(&name.as_str())).then(|| folder.join(name))
    };
    let mut components = index.as_object().into_iter().flatten().filter_map(used);
    components.all(|component| component.is_dir() && has_its_shards(&component))
}

fn has_its_shards(component: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(component) else { return false };
    let indices = entries.flatten().map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains(".safetensors.index"))
    });
    let shards = |index: Value| index["weight_map"].as_object().cloned().unwrap_or_default();
    let there = |name: Value| name.as_str().is_some_and(|name| component.join(name).is_file());
    indices
        .filter_map(|path| read_json(&path))
        .all(|index| shards(index).into_iter().all(|(_, name)| there(name)))
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Whether anybody reads the file's folder.
fn is_read(path: &str, is_pipeline: bool) -> bool {
    match (is_pipeline, folder(path)) {
        (true, "") => path == "model_index.json",
        (true, folder) => !folder.contains('/') && !UNUSED_COMPONENTS.contains(&folder),
        (false, folder) => folder.is_empty(),
    }
}

fn is_text(path: &str) -> bool {
    let name = name(path);
    // an index belongs to the weights of its variant, which decide by themselves
    name.ends_with(".json") && !name.contains(".index") && !name.starts_with('.')
        || TEXT_FILES.contains(&name)
}

/// Whether the file is a weight, shard or index that the engine would look for, and then whether of half precision.
fn weight(path: &str) -> Option<bool> {
    let name = name(path);
    let (stem, rest) = name.split_once(".safetensors").or_else(|| Some((name.split_once(".fp16")?.0, "")))?;
    let (stem, is_half) = match stem.split_once(".fp16") {
        Some((stem, _)) => (stem, true),
        None => (stem.split_once("-0").map_or(stem, |(stem, _)| stem), rest.contains(".fp16")),
    };
    let is_weight = name.ends_with(".safetensors") || rest.starts_with(".index") && rest.ends_with(".json");
    (is_weight && WEIGHT_STEMS.contains(&stem)).then_some(is_half)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn a_pipeline_gives_its_components_in_half_precision_and_no_pickles() {
        let paths = [
            ".gitattributes",
            "README.md",
            "model_index.json",
            "v1-5-pruned-emaonly.safetensors",
            "v1-5-pruned.ckpt",
            "feature_extractor/preprocessor_config.json",
            "safety_checker/config.json",
            "safety_checker/model.fp16.safetensors",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "text_encoder/pytorch_model.bin",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.onnx",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let expected = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.fp16.safetensors",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        assert_eq!(choose(&paths).unwrap(), expected);
    }

    #[test]
    fn shards_come_with_the_index_of_their_own_precision() {
        let paths = [
            "model_index.json",
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.json",
            "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        ];
        let expected = [
            "model_index.json",
            "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        ];
        assert_eq!(choose(&paths).unwrap(), expected);
        let full = [&paths[..1], &paths[1..4]].concat();
        assert_eq!(choose(&full).unwrap(), full);
    }

    #[test]
    fn a_flat_repository_gives_its_root_and_one_without_safetensors_nothing() {
        let flat =
            ["config.json", "model.safetensors", "tokenizer.json", "onnx/model.onnx", "flax_model.msgpack"];
        assert_eq!(choose(&flat).unwrap(), ["config.json", "model.safetensors", "tokenizer.json"]);
        assert!(choose(&["config.json", "pytorch_model.bin"]).unwrap_err().contains("no safetensors"));
    }
}
