//! Which files of a repository are read. Of a pipeline: configurations, tokenizer files and safetensors weights, in the
//! layout of diffusers (a folder per component, named in `model_index.json`) or flat. Half-precision weights are taken
//! where there are any: half the download, and the engine converts. Pickled weights are never taken: loading one runs
//! its code. Of other repositories, the files that somebody who knows them names.

use std::path::Path;

use serde_json::Value;

/// Components that the engine reads; repositories have others beside them, for other programs or as content filters.
const COMPONENTS: [&str; 9] = [
    "scheduler",
    "taesd",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "transformer",
    "unet",
    "vae",
];
/// Those among them that are nothing without weights.
const NETWORKS: [&str; 5] = ["text_encoder", "text_encoder_2", "transformer", "unet", "vae"];
/// Files beside the weights, by their last name.
const TEXT_FILES: [&str; 6] = [
    "chat_template.jinja",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
];
/// Stems of the weights that the engine looks for in a component.
const WEIGHT_STEMS: [&str; 2] = ["model", "diffusion_pytorch_model"];

/// Files of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// What a pipeline reads.
    Pipeline {
        /// Components whose weights come from elsewhere.
        without: Vec<&'static str>,
    },
    /// These, by their paths.
    Named(Vec<String>),
}

/// The files to take, out of all paths of a repository; the error says what is missing.
pub(super) fn choose<'a>(paths: &[&'a str], files: &Files) -> Result<Vec<&'a str>, String> {
    match files {
        Files::Pipeline { without } => choose_pipeline(paths, without),
        Files::Named(names) => {
            let find = |name: &String| {
                let found = paths.iter().find(|path| **path == name.as_str()).copied();
                found.ok_or_else(|| {
                    format!("holds no {name}; name a file that it does hold, or another repository")
                })
            };
            names.iter().map(find).collect()
        }
    }
}

fn choose_pipeline<'a>(paths: &[&'a str], without: &[&str]) -> Result<Vec<&'a str>, String> {
    let is_pipeline = paths.contains(&"model_index.json");
    let (mut chosen, mut weights) = (Vec::new(), 0);
    let half: Vec<&str> =
        paths.iter().filter(|path| weight(path) == Some(true)).map(|path| folder(path)).collect();
    for path in paths.iter().copied().filter(|path| is_read(path, is_pipeline)) {
        match weight(path) {
            Some(_) if without.contains(&folder(path)) => continue,
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

/// How many of the files a snapshot's folder holds and their bytes; none where one is missing.
pub(super) fn present(root: &Path, files: &Files) -> Option<(usize, u64)> {
    if let Files::Pipeline { without } = files {
        is_complete(root, without).then_some(())?;
    }
    let paths = paths(root);
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let chosen = choose(&paths, files).ok()?;
    let length = |path: &&str| std::fs::metadata(root.join(path)).ok().map(|metadata| metadata.len());
    let bytes = chosen.iter().map(length).sum::<Option<u64>>()?;
    Some((chosen.len(), bytes))
}

/// Every file of a snapshot, as the hub names it; none is deeper than a component's folder.
fn paths(root: &Path) -> Vec<String> {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let below = |name: String| {
        let folder = root.join(&name);
        match folder.is_dir() {
            true => names(&folder).into_iter().map(|file| format!("{name}/{file}")).collect(),
            false => vec![name],
        }
    };
    names(root).into_iter().flat_map(below).collect()
}

/// Whether a snapshot's folder holds everything that its own indices name.
fn is_complete(folder: &Path, without: &[&str]) -> bool {
    let Some(index) = read_json(&folder.join("model_index.json")) else {
        // a network of its own
        return folder.join("config.json").is_file() && has_weights(folder) && has_its_shards(folder);
    };
    let used = |(name, value): (&String, &Value)| {
        let is_component = value.get(0).is_some_and(Value::is_string);
        (is_component && COMPONENTS.contains(&name.as_str())).then(|| name.clone())
    };
    let mut components = index.as_object().into_iter().flatten().filter_map(used);
    components.all(|name| is_whole(&folder.join(&name), &name, without))
}

/// Whether a component can be read: an interrupted pull of a commit leaves some of its files.
fn is_whole(component: &Path, name: &str, without: &[&str]) -> bool {
    let has = |file: &str| component.join(file).is_file();
    if NETWORKS.contains(&name) {
        let is_elsewhere = without.contains(&name);
        return has("config.json") && (is_elsewhere || has_weights(component) && has_its_shards(component));
    }
    match name {
        "scheduler" => has("scheduler_config.json"),
        _ => has("tokenizer.json") || has("spiece.model") || has("vocab.json") && has("merges.txt"),
    }
}

/// Whether a component has weights, or the index of those in shards.
fn has_weights(component: &Path) -> bool {
    let entries = std::fs::read_dir(component).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        weight(&name).is_some() && !name.contains("-0") && path.is_file()
    })
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
        (true, folder) => COMPONENTS.contains(&folder),
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
    use super::{Files, choose, present};

    fn of_pipeline<'a>(paths: &[&'a str]) -> Result<Vec<&'a str>, String> {
        choose(paths, &Files::Pipeline { without: Vec::new() })
    }

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
            "vae_1_0/config.json",
            "vae_1_0/diffusion_pytorch_model.fp16.safetensors",
            "vae_decoder/config.json",
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
        assert_eq!(of_pipeline(&paths).unwrap(), expected);
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
        assert_eq!(of_pipeline(&paths).unwrap(), expected);
        let full = [&paths[..1], &paths[1..4]].concat();
        assert_eq!(of_pipeline(&full).unwrap(), full);
    }

    #[test]
    fn a_flat_repository_gives_its_root_and_one_without_safetensors_nothing() {
        let flat =
            ["config.json", "model.safetensors", "tokenizer.json", "onnx/model.onnx", "flax_model.msgpack"];
        assert_eq!(of_pipeline(&flat).unwrap(), ["config.json", "model.safetensors", "tokenizer.json"]);
        assert!(of_pipeline(&["config.json", "pytorch_model.bin"]).unwrap_err().contains("no safetensors"));
    }

    #[test]
    fn a_language_model_gives_its_root_with_template_and_shards_and_nothing_for_other_programs() {
        let paths = [
            ".gitattributes",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "consolidated.safetensors",
            "generation_config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "original/consolidated.00.pth",
            "original/params.json",
            "pytorch_model.bin.index.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
        ];
        let expected = [
            &paths[2..4],
            &["generation_config.json"],
            &paths[6..9],
            &["special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"],
        ];
        assert_eq!(of_pipeline(&paths).unwrap(), expected.concat());
    }

    #[test]
    fn a_network_of_its_own_is_here_with_all_of_its_shards() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let is_here = || present(folder.path(), &Files::Pipeline { without: Vec::new() }).is_some();
        write("config.json", "{}");
        assert!(!is_here(), "without weights");
        write("model.safetensors.index.json", r#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#);
        assert!(!is_here(), "without its shard");
        write("model-00001-of-00001.safetensors", "");
        assert!(is_here());
    }

    #[test]
    fn weights_that_come_from_elsewhere_are_left_out_and_named_files_must_be_there() {
        let paths = [
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "extra.safetensors",
        ];
        let without = Files::Pipeline { without: vec!["unet"] };
        assert_eq!(choose(&paths, &without).unwrap(), [paths[0], paths[1], paths[3]]);
        assert_eq!(choose(&paths, &Files::Named(vec!["extra.safetensors".into()])).unwrap(), [paths[4]]);
        let error = choose(&paths, &Files::Named(vec!["other.safetensors".into()])).unwrap_err();
        assert!(error.contains("no other.safetensors"), "{error}");
    }
}
