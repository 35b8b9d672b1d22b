//! What the binary carries with it: first-party components and plugins, small models, and the manifest that runs when
//! no other is given. Bytes and names only; who uses them compiles, loads and parses them.

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// A model's files: paths relative to the model's folder, and contents.
pub type ModelFiles = &'static [(&'static str, &'static [u8])];

/// The manifest that runs when no other is given.
pub const DEFAULT_MANIFEST: &str = include_str!("../atelier.toml");

/// The component or plugin that a manifest calls `builtin:<name>`.
pub fn component(name: &str) -> Option<&'static [u8]> {
    embedded::COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The names that [`component`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    embedded::COMPONENTS.iter().map(|(name, _)| *name)
}

/// The files of the model that a manifest calls `builtin:<name>`.
pub fn model(name: &str) -> Option<ModelFiles> {
    embedded::MODELS.iter().find(|(known, _)| *known == name).map(|(_, files)| *files)
}

/// The names that [`model`] knows.
pub fn model_names() -> impl Iterator<Item = &'static str> {
    embedded::MODELS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of every component, by the binary format's layer and version fields.
    const COMPONENT_MAGIC: &[u8] = b"\0asm\x0d\0\x01\0";

    fn builtins(manifest: &str) -> Vec<&str> {
        let code = manifest.lines().filter(|line| !line.trim_start().starts_with('#'));
        code.flat_map(|line| line.split("builtin:").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn every_embedded_guest_is_a_component() {
        assert_eq!(names().count(), 15);
        for name in names() {
            assert!(component(name).is_some_and(|bytes| bytes.starts_with(COMPONENT_MAGIC)), "{name}");
        }
        assert!(component("nobody").is_none());
    }

    #[test]
    fn the_default_manifest_is_toml_and_names_only_components_that_are_embedded() {
        let manifest: toml::Table = DEFAULT_MANIFEST.parse().expect("toml");
        let models: Vec<_> = manifest["model"].as_array().expect("models").iter().collect();
        let named: Vec<_> = builtins(DEFAULT_MANIFEST);
        assert_eq!(named.len(), models.len() + 9, "{named:?}");
        for name in named.iter().skip(models.len()) {
            assert!(component(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_embedded_model_has_files() {
        for name in model_names() {
            assert!(model(name).is_some_and(|files| !files.is_empty()), "{name}");
        }
    }
}
