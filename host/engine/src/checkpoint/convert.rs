//! A folder of diffusers as a single file, for tools that want one. The reverse of reading such a file, by the same table
//! of names: precision and values stay as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::names::{self, Change, Names};
use super::{CLIP, OPEN_CLIP, Part, PredictionType, REFINER_OPEN_CLIP, UNET, VAE, XL_CLIP, XL_OPEN_CLIP};
use crate::files::ModelFiles;
use crate::models::{OneOrMany, same};
use crate::weights::{Reader, Stored, open_component};
use crate::{Error, Result};

/// What is needed of each component's `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    down_block_types: Vec<String>,
    block_out_channels: Vec<usize>,
    layers_per_block: Option<OneOrMany>,
    num_hidden_layers: usize,
    hidden_act: String,
}

/// A tensor of the file to be, and those of the folder that it is made of: one, or the thirds of a fused projection.
struct Entry {
    shape: Vec<usize>,
    /// Which component's reader has them.
    component: usize,
    sources: Vec<(Change, Stored)>,
}

/// What a single file does not hold, by component: whoever reads one takes what the family has.
const UNTOLD: [(&str, &[&str]); 4] = [
    (
        "unet",
        &["attention_head_dim", "norm_num_groups", "norm_eps", "act_fn", "flip_sin_to_cos", "freq_shift"],
    ),
    ("vae", &["norm_num_groups", "scaling_factor", "act_fn"]),
    ("text_encoder", &["hidden_act", "num_attention_heads", "layer_norm_eps"]),
    ("text_encoder_2", &["hidden_act", "num_attention_heads", "layer_norm_eps"]),
];

/// Writes the model of `files` to `target` as a single file.
///
/// # Errors
/// [`Error::Malformed`] names a tensor that single files have no place for, or a configuration's key whose value would be
/// lost; [`Error::Read`] and [`Error::Write`] name the file.
pub fn write_single_file(files: &ModelFiles, target: &Path) -> Result<()> {
    write(files, target)?;
    let told = check_told(files, target);
    if told.is_err() {
        // nobody should take it for the model
        std::fs::remove_file(target).map_err(|source| Error::Write { path: target.into(), source })?;
    }
    told
}

/// Holds what a reader of the file will believe against the folder.
fn check_told(files: &ModelFiles, target: &Path) -> Result<()> {
    let schedule: Value = files.json("scheduler/scheduler_config.json")?;
    let prediction = match schedule["prediction_type"].as_str() {
        Some("v_prediction") => PredictionType::Velocity,
        _ => PredictionType::Epsilon,
    };
    let single = ModelFiles::single_file(target, Some(prediction));
    for (component, keys) in UNTOLD {
        let name = format!("{component}/config.json");
        if !files.contains(&name) {
            continue;
        }
        let (ours, theirs): (Value, Value) = (files.json(&name)?, single.json(&name)?);
        let differs = |key: &&&str| ours.get(**key).is_some_and(|value| !same(value, &theirs[**key]));
        if let Some(key) = keys.iter().find(differs) {
            let reason = format!(
                "{key} = {}: a single file cannot say this, and stands for {}",
                ours[*key], theirs[*key]
            );
            return Err(files.malformed(&name, reason));
        }
    }
    Ok(())
}

fn write(files: &ModelFiles, target: &Path) -> Result<()> {
    let mut readers = Vec::new();
    let mut entries = BTreeMap::new();
    for (part, names, stem) in parts(files)? {
        let reader = open_component(files, part.folder, stem)?;
        for tensor in reader.tensors() {
            add(&mut entries, tensor, readers.len(), part, &names)
                .map_err(|reason| files.malformed(&format!("{}/config.json", part.folder), reason))?;
        }
        readers.push(reader);
    }
    let failed = |source| Error::Write { path: target.into(), source };
    let mut file = BufWriter::new(File::create(target).map_err(failed)?);
    let mut header = header(&entries).to_string();
    // tensors begin at a multiple of eight bytes
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    file.write_all(header.as_bytes()).map_err(failed)?;
    for entry in entries.values() {
        for (change, source) in &entry.sources {
            let bytes = bytes(&mut readers[entry.component], source, *change)?;
            file.write_all(&bytes).map_err(failed)?;
        }
    }
    file.flush().map_err(failed)
}

/// The components that the folder has, with their tables of names and the stems of their weights.
fn parts(files: &ModelFiles) -> Result<Vec<(&'static Part, Names, &'static str)>> {
    const STEM: &str = "diffusion_pytorch_model";
    let config = |folder: &str| files.json::<Config>(&format!("{folder}/config.json"));
    let (unet, vae) = (config(UNET.folder)?, config(VAE.folder)?);
    let levels = unet.block_out_channels.len();
    let layers = unet.layers_per_block.as_ref().and_then(|layers| layers.per_block(levels));
    let layers = layers.unwrap_or_else(|| vec![2; levels]);
    let has_attention = unet.down_block_types.iter().map(|name| name.starts_with("CrossAttn"));
    let down: Vec<_> = layers.into_iter().zip(has_attention).collect();
    let vae_layers = match vae.layers_per_block {
        Some(OneOrMany::One(layers)) => layers,
        _ => 1,
    };
    let vae = names::vae(vae.block_out_channels.len(), vae_layers);
    let mut parts = vec![(&UNET, names::unet(&down), STEM), (&VAE, vae, STEM)];
    let [first, second] = ["text_encoder", "text_encoder_2"].map(|folder| {
        let has = files.contains(&format!("{folder}/config.json"));
        has.then(|| config(folder)).transpose()
    });
    let clip = |part| (part, names::clip(), "model");
    let open_clip = |part, config: &Config| (part, names::open_clip(config.num_hidden_layers), "model");
    match (first?, second?) {
        (Some(_), Some(second)) => parts.extend([clip(&XL_CLIP), open_clip(&XL_OPEN_CLIP, &second)]),
        (None, Some(second)) => parts.push(open_clip(&REFINER_OPEN_CLIP, &second)),
        // of the two encoders of one width it is OpenCLIP that was trained with the exact function
        (Some(first), None) if first.hidden_act == "gelu" => parts.push(open_clip(&OPEN_CLIP, &first)),
        _ => parts.push(clip(&CLIP)),
    }
    Ok(parts)
}

/// Adds a tensor of the folder to the file's. The error is the reason.
fn add(
    entries: &mut BTreeMap<String, Entry>,
    tensor: &Stored,
    component: usize,
    part: &Part,
    names: &Names,
) -> std::result::Result<(), String> {
    let name = tensor.name.as_str();
    // transformers 5 leaves the outer name out, which single files have
    let wrapped = format!("text_model.{name}");
    let found = names.to_checkpoint(name).or_else(|| names.to_checkpoint(&wrapped));
    let (name, change) = found.ok_or_else(|| format!("tensor `{name}` has no place in a single file"))?;
    let shape = match (change, tensor.shape.as_slice()) {
        (Change::Transposed, [rows, columns]) => vec![*columns, *rows],
        (Change::Third(_), [rows, rest @ ..]) => [&[3 * rows], rest].concat(),
        (Change::Linear, [outputs, inputs]) => vec![*outputs, *inputs, 1, 1],
        (_, shape) => shape.to_vec(),
    };
    let new = || Entry { shape, component, sources: Vec::new() };
    let entry = entries.entry(format!("{}{name}", part.prefix)).or_insert_with(new);
    entry.sources.push((change, tensor.clone()));
    // thirds in their order
    entry.sources.sort_by_key(|(change, _)| if let Change::Third(third) = change { *third } else { 0 });
    Ok(())
}

fn header(entries: &BTreeMap<String, Entry>) -> Value {
    let mut at = 0;
    let mut header = Map::from_iter([("__metadata__".to_string(), json!({"format": "pt"}))]);
    for (name, entry) in entries {
        let bytes: usize = entry.sources.iter().map(|(_, source)| source.bytes).sum();
        let dtype = entry.sources.first().map(|(_, source)| source.encoding.safetensors_name());
        let range = [at, at + bytes];
        header.insert(name.clone(), json!({"dtype": dtype, "shape": entry.shape, "data_offsets": range}));
        at += bytes;
    }
    Value::Object(header)
}

/// A tensor's bytes, rows and columns exchanged where they are in the other form.
fn bytes(reader: &mut Reader, source: &Stored, change: Change) -> Result<Vec<u8>> {
    let bytes = reader.bytes(source)?;
    let (Change::Transposed, [rows, columns], false) =
        (change, source.shape.as_slice(), source.is_transposed)
    else {
        return Ok(bytes.into_owned());
    };
    let size = source.bytes / (rows * columns).max(1);
    let value = |row: usize, column: usize| &bytes[(row * columns + column) * size..][..size];
    let columns = (0..*columns).flat_map(|column| (0..*rows).map(move |row| (row, column)));
    Ok(columns.flat_map(|(row, column)| value(row, column)).copied().collect())
}
