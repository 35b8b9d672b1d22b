//! peft's word on how strong an adapter is: `adapter_config.json`, or the same keys in the header of a file that diffusers
//! wrote. Files of other tools say it by a tensor beside each layer.
//!
//! Training's own keys are left alone; every other key must hold a value that changes nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Component;

/// Keys without effect on the result. Ranks follow from the tensors.
const OF_TRAINING: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
];
/// Keys that may hold this value besides those that say nothing.
const NEUTRAL: [(&str, &str); 3] =
    [("bias", "none"), ("peft_type", "LORA"), ("megatron_core", "megatron.core")];
/// Of peft's `LoraConfig`.
const DEFAULT_ALPHA: f64 = 8.0;
/// Under which diffusers writes the configuration into a file's header.
const HEADER_KEY: &str = "lora_adapter_metadata";

/// One network's configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scales {
    alpha: f64,
    /// Layers, or ends of their names, with an alpha of their own.
    patterns: BTreeMap<String, f64>,
    /// Whether alpha is divided by the root of the rank (rsLoRA, arXiv 2312.03732).
    by_root: bool,
}

impl Scales {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The key that asks for something else than low-rank pairs, with its value.
    pub(super) fn read(mut config: Map<String, Value>) -> Result<Self, String> {
        let number = |value: &Value| value.as_f64().filter(|alpha| alpha.is_finite());
        let alpha = config.remove("lora_alpha").unwrap_or(Value::Null);
        let patterns = config.remove("alpha_pattern").unwrap_or(Value::Null);
        let by_root = config.remove("use_rslora").unwrap_or(Value::Null);
        if let Some((key, value)) = config.iter().find(|(key, value)| !is_neutral(key, value)) {
            return Err(format!("{key} = {value} is not supported"));
        }
        let alpha = if alpha.is_null() { Some(DEFAULT_ALPHA) } else { number(&alpha) };
        let patterns = match patterns {
            Value::Null => Some(BTreeMap::new()),
            Value::Object(patterns) => {
                patterns.iter().map(|(name, alpha)| Some((name.clone(), number(alpha)?))).collect()
            }
            _ => None,
        };
        let alpha = alpha.ok_or("lora_alpha must be a number")?;
        let patterns = patterns.ok_or("alpha_pattern must be an object of numbers")?;
        // they are regular expressions to peft; files that are written by tools name layers
        let is_name = |name: &String| name.chars().all(|c| c.is_alphanumeric() || "_.^".contains(c));
        match patterns.keys().find(|name| !is_name(name)) {
            Some(name) => Err(format!("alpha_pattern `{name}` must be a layer's name, or the end of one")),
            None => Ok(Self { alpha, patterns, by_root: by_root == Value::Bool(true) }),
        }
    }

    /// By what the addition to a layer is multiplied.
    ///
    /// # Errors
    /// Two patterns that fit the layer and disagree.
    pub(super) fn scale(&self, layer: &str, rank: usize) -> Result<f64, String> {
        let fits = |pattern: &str| match pattern.strip_prefix('^') {
            Some(whole) => whole == layer,
            None => layer.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        };
        let mut fitting = self.patterns.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, alpha)| *alpha);
        let alpha = fitting.next().unwrap_or(self.alpha);
        if fitting.any(|other| other != alpha) {
            return Err(format!("alpha_pattern gives layer `{layer}` two values"));
        }
        let rank = rank as f64;
        Ok(alpha / if self.by_root { rank.sqrt() } else { rank })
    }
}

/// Whether a key is training's own or says nothing.
fn is_neutral(key: &str, value: &Value) -> bool {
    let says_nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::String(text) => NEUTRAL.contains(&(key, text)),
        Value::Bool(true) | Value::Number(_) => false,
    };
    says_nothing || OF_TRAINING.contains(&key)
}

/// The configurations in a file's header, by component.
///
/// # Errors
/// The key of the header, or the one inside that is not supported.
pub(super) fn of_header(metadata: &BTreeMap<String, String>) -> Result<BTreeMap<Component, Scales>, String> {
    let Some(text) = metadata.get(HEADER_KEY) else { return Ok(BTreeMap::new()) };
    let all: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("{HEADER_KEY}: {error}"))?;
    let mut configs: BTreeMap<Component, Map<String, Value>> = BTreeMap::new();
    for (key, value) in all {
        let found = key
            .split_once('.')
            .and_then(|(name, rest)| Some((Component::of_folder(name)?, rest.to_string())));
        let (component, rest) = found.ok_or_else(|| format!("{HEADER_KEY}: `{key}` names no component"))?;
        configs.entry(component).or_default().insert(rest, value);
    }
    let read = |(component, config)| {
        let scales = Scales::read(config).map_err(|reason| format!("{HEADER_KEY}: {reason}"))?;
        Ok((component, scales))
    };
    configs.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> Result<Scales, String> {
        Scales::read(config.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn a_layer_takes_its_patterns_alpha_and_the_root_of_the_rank_where_that_is_asked_for() {
        let scales =
            read(json!({"lora_alpha": 4, "alpha_pattern": {"mid.conv1": 8.0, "^conv1": 2}, "r": 4})).unwrap();
        assert_eq!(scales.scale("up.mid.conv1", 4), Ok(2.0));
        assert_eq!(scales.scale("pyramid.conv1", 4), Ok(1.0));
        assert_eq!(scales.scale("conv1", 4), Ok(0.5));
        assert_eq!(read(json!({"use_rslora": true})).unwrap().scale("x", 4), Ok(4.0));
        let scales = read(json!({"alpha_pattern": {"conv1": 1, "mid.conv1": 2}})).unwrap();
        assert!(scales.scale("mid.conv1", 4).unwrap_err().contains("mid.conv1"));
    }

    #[test]
    fn what_would_change_the_result_is_refused_by_key() {
        for (config, named) in [
            (json!({"use_dora": true}), "use_dora"),
            (json!({"bias": "all"}), "bias"),
            (json!({"modules_to_save": ["conv_in"]}), "modules_to_save"),
            (json!({"peft_type": "LOHA"}), "peft_type"),
            (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
            (json!({"invented": 1}), "invented"),
            (json!({"lora_alpha": "much"}), "lora_alpha"),
            (json!({"alpha_pattern": {"conv.*": 1}}), "conv.*"),
            (json!({"alpha_pattern": {"conv1": null}}), "alpha_pattern"),
        ] {
            let error = read(config).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        read(json!({"peft_type": "LORA", "bias": "none", "modules_to_save": null, "target_modules": ["to_q"], "use_dora": false})).unwrap();
    }
}
