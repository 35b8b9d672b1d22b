//! Public models by name: which files of which repositories each is made of, under which licence, and how it was meant
//! to be used, so that `atelier models pull sdxl-lightning` is all that a user types. Plain data (`table.rs`) and the
//! questions that others ask of it. Knows neither the hub's protocol nor an engine: `hub` fetches what is named here,
//! the composition root makes a model of it.

mod table;

use crate::config::HubRepo;
use crate::hub::{Files, Wanted};

/// A public model.
#[derive(Debug)]
pub struct Entry {
    /// Its name in manifests and commands.
    pub name: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// The strictest licence of its parts, as the hub names it.
    pub licence: &'static str,
    /// What is fetched for it, in gigabytes, as last seen; for people to plan by.
    pub gigabytes: f64,
    /// What it is, but for what the overlays replace or add.
    pub base: Base,
    /// What lies over the base, in any order.
    pub overlays: &'static [Overlay],
    /// How it is meant to be used.
    pub usage: Usage,
}

/// A repository of the hub.
#[derive(Debug, Clone, Copy)]
pub struct Repo {
    /// Who publishes it.
    pub owner: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The commit whose files are taken; those of the main branch, whatever they are by then, when `None`.
    pub commit: Option<&'static str>,
    /// Whether the publisher wants terms to be accepted first.
    pub is_gated: bool,
}

/// A whole model.
#[derive(Debug, Clone, Copy)]
pub enum Base {
    /// A folder of diffusers.
    Pipeline(Repo),
    /// A single-file checkpoint, by the file's name.
    Checkpoint(Repo, &'static str),
}

/// A part of a model that another repository brings.
#[derive(Debug, Clone, Copy)]
pub enum Overlay {
    /// A pipeline's denoiser, in diffusers' names.
    Unet {
        /// Where it is.
        repo: Repo,
        /// Its weights.
        weights: &'static str,
        /// Its configuration; the base's own when `None`.
        config: Option<&'static str>,
    },
    /// A component's weights in few bits, as one GGUF file.
    Blocks {
        /// Where it is.
        repo: Repo,
        /// The component.
        of: Large,
        /// The file.
        weights: &'static str,
    },
    /// The autoencoder, as a file of its own.
    Vae(Repo, &'static str),
    /// A low-rank adapter that every run has.
    Adapter(Repo, &'static str),
}

/// A component that is published in few bits.
#[derive(Debug, Clone, Copy)]
pub enum Large {
    /// FLUX's denoiser.
    Transformer,
    /// Its T5.
    TextEncoder2,
}

/// What requests get that do not say.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Width and height.
    pub size: (u32, u32),
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; off at 1 or less.
    pub guidance: f64,
    /// How closely an edit keeps to its picture; the engine's own default when `None`.
    pub image_guidance: Option<f64>,
    /// The schedule's name.
    pub schedule: &'static str,
    /// Whether guidance, and with it a negative prompt, was distilled away.
    pub is_guidance_free: bool,
}

/// Every entry, in the order in which they are shown.
pub fn entries() -> &'static [Entry] {
    table::ENTRIES
}

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

/// Every entry's name.
pub fn names() -> Vec<&'static str> {
    entries().iter().map(|entry| entry.name).collect()
}

/// Entries are told apart by their names.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Entry {}

impl Entry {
    /// Which files of which repositories it needs: the base's first, then one for each overlay.
    pub fn wanted(&self) -> Vec<Wanted> {
        let base = match self.base {
            Base::Pipeline(repo) => {
                let replaced = self.overlays.iter().filter_map(Overlay::replaced).collect();
                Wanted { repo: repo.into(), files: Files::Pipeline { without: replaced } }
            }
            Base::Checkpoint(repo, file) => {
                Wanted { repo: repo.into(), files: Files::Named(vec![file.to_owned()]) }
            }
        };
        [base].into_iter().chain(self.overlays.iter().map(Overlay::wanted)).collect()
    }

    /// Its repositories, the base's first.
    pub fn repos(&self) -> impl Iterator<Item = Repo> {
        let (Base::Pipeline(base) | Base::Checkpoint(base, _)) = self.base;
        std::iter::once(base).chain(self.overlays.iter().map(Overlay::repo))
    }

    /// The repository that is the whole model, where one is: nothing is laid over it, and no file of it is chosen.
    pub fn only_repo(&self) -> Option<HubRepo> {
        match self.base {
            Base::Pipeline(repo) if self.overlays.is_empty() => Some(repo.into()),
            _ => None,
        }
    }

    /// Whether a publisher wants terms to be accepted first.
    pub fn is_gated(&self) -> bool {
        self.repos().any(|repo| repo.is_gated)
    }
}

impl Overlay {
    fn repo(&self) -> Repo {
        match *self {
            Self::Unet { repo, .. } | Self::Blocks { repo, .. } => repo,
            Self::Vae(repo, _) | Self::Adapter(repo, _) => repo,
        }
    }

    fn wanted(&self) -> Wanted {
        let files = match *self {
            Self::Unet { weights, config, .. } => {
                config.into_iter().chain([weights]).map(Into::into).collect()
            }
            Self::Blocks { weights: file, .. } | Self::Vae(_, file) | Self::Adapter(_, file) => {
                vec![file.to_owned()]
            }
        };
        Wanted { repo: self.repo().into(), files: Files::Named(files) }
    }

    /// The component whose weights need not be fetched with the base.
    fn replaced(&self) -> Option<&'static str> {
        match self {
            Self::Unet { .. } => Some("unet"),
            Self::Blocks { of: Large::Transformer, .. } => Some("transformer"),
            Self::Blocks { of: Large::TextEncoder2, .. } => Some("text_encoder_2"),
            Self::Vae(..) => Some("vae"),
            Self::Adapter(..) => None,
        }
    }
}

impl From<Repo> for HubRepo {
    fn from(repo: Repo) -> HubRepo {
        let revision = repo.commit.map(str::to_owned);
        HubRepo { owner: repo.owner.into(), name: repo.name.into(), revision }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_every_repository_is_one() {
        let distinct: BTreeSet<_> = names().into_iter().collect();
        assert_eq!(distinct.len(), entries().len());
        for entry in entries() {
            for repo in entry.repos().map(HubRepo::from) {
                assert_eq!(HubRepo::parse(&format!("hub:{repo}")).as_ref(), Ok(&repo), "{}", entry.name);
                let is_commit = |commit: &String| {
                    commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
                };
                assert!(repo.revision.as_ref().is_none_or(is_commit), "{}: {repo}", entry.name);
            }
        }
    }

    #[test]
    fn an_entry_that_is_one_repository_is_known_by_it() {
        let repo = find("sd15").unwrap().only_repo().unwrap();
        assert_eq!(
            (repo.owner.as_str(), repo.name.as_str()),
            ("stable-diffusion-v1-5", "stable-diffusion-v1-5")
        );
        assert!(find("sdxl-lightning").unwrap().only_repo().is_none());
    }

    #[test]
    fn what_an_overlay_replaces_is_not_fetched_with_the_base() {
        let lightning = find("sdxl-lightning").unwrap().wanted();
        assert_eq!(lightning[0].files, Files::Pipeline { without: vec!["unet"] });
        assert_eq!(
            lightning[1].files,
            Files::Named(vec!["sdxl_lightning_4step_unet.safetensors".to_owned()])
        );
        let lora = find("sdxl-lightning-lora").unwrap().wanted();
        assert_eq!(lora[0].files, Files::Pipeline { without: vec![] });
    }
}
