//! Low-rank adapters (LoRA, arXiv 2106.09685; LoCon for convolutions) beside a model's own weights: files in the
//! dialects of kohya's tools, peft and diffusers (`keys`, `scales`), found among the layers of a model by name (`names`),
//! and attached to their slots for the time of a run (`bind`).
//!
//! Comes from files on the operator's side, goes to the slots of networks. Knows no pipeline and no request: which
//! adapters a run takes, and how strong, is its caller's. Kinds that are no low-rank pairs are refused by name, and so
//! is every tensor without a place: half an adapter would be another picture, not an error.

mod bind;
mod keys;
mod names;
mod scales;

use std::collections::BTreeMap;
use std::path::Path;

use crate::files::ModelFiles;
use crate::weights::{Slots, TensorFile};
use crate::{Error, Result};
use keys::Part;
use scales::Scales;

pub use bind::{Attached, Bound};

/// A network of a pipeline that adapters can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The denoiser of Stable Diffusion and its relatives.
    UNet,
    /// The denoiser of FLUX.
    Transformer,
    /// The first text encoder.
    TextEncoder,
    /// The second one, of XL.
    TextEncoder2,
}

impl Component {
    const ALL: [Component; 4] = [Self::UNet, Self::Transformer, Self::TextEncoder, Self::TextEncoder2];

    /// Its folder in diffusers' layout.
    pub fn folder(self) -> &'static str {
        match self {
            Self::UNet => "unet",
            Self::Transformer => "transformer",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }

    /// The network of a folder.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.folder() == name)
    }
}

/// The layers of a loaded model that adapters can change.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<Component, Slots>);

impl Places {
    /// With the layers of one more network. Names are diffusers'; those of a text encoder begin below `text_model`.
    #[must_use]
    pub fn with(mut self, component: Component, slots: &Slots) -> Self {
        self.0.insert(component, slots.clone());
        self
    }
}

/// An adapter's files, their headers checked and no tensor read.
pub struct Adapter {
    sources: Vec<Source>,
}

/// One of the files.
struct Source {
    file: TensorFile,
    /// Where the folder says whose all of it is.
    component: Option<Component>,
    scales: ScalesOf,
    /// By the layer's name in the file.
    pairs: BTreeMap<String, Pair>,
}

/// Where a file's scales come from beside its own alphas.
enum ScalesOf {
    /// Configuration of everything in the file.
    All(Scales),
    /// By component; empty where the header says nothing.
    Each(BTreeMap<Component, Scales>),
}

/// The tensors of one layer.
struct Pair {
    down: Entry,
    up: Entry,
    middle: Option<Entry>,
    alpha: Option<Entry>,
}

/// A tensor's name and shape.
#[derive(Debug, Clone)]
struct Entry {
    key: String,
    shape: Vec<usize>,
}

/// diffusers' own name for an adapter's only file.
const DIFFUSERS_FILE: &str = "pytorch_lora_weights.safetensors";
/// peft's, with the configuration beside it, without which nobody knows how strong the adapter is.
const PEFT_FILE: &str = "adapter_model.safetensors";
const PEFT_CONFIG: &str = "adapter_config.json";

impl Adapter {
    /// Opens a file, or a folder that diffusers or peft wrote.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file and the tensor or key; [`Error::Unsupported`] names the
    /// kind of an adapter that is not made of low-rank pairs.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_folder(&ModelFiles::folder(path));
        }
        let files = ModelFiles::folder(path.parent().unwrap_or(Path::new("")));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::of_file(&files, &name)
    }

    fn of_file(files: &ModelFiles, name: &str) -> Result<Self> {
        Ok(Self { sources: vec![Source::open(files, "", name, None)?] })
    }

    fn open_folder(files: &ModelFiles) -> Result<Self> {
        if files.contains(DIFFUSERS_FILE) {
            return Self::of_file(files, DIFFUSERS_FILE);
        }
        let of_components =
            Component::ALL.map(|component| (format!("{}/", component.folder()), Some(component)));
        let folders = [(String::new(), None)].into_iter().chain(of_components);
        let there = folders.filter(|(folder, _)| files.contains(&format!("{folder}{PEFT_FILE}")));
        let sources: Vec<_> = there
            .map(|(folder, component)| Source::open(files, &folder, PEFT_FILE, component))
            .collect::<Result<_>>()?;
        if sources.is_empty() {
            let reason = format!(
                "holds neither {DIFFUSERS_FILE} nor {PEFT_FILE} (here or below unet, transformer, text_encoder or \
                 text_encoder_2); name a .safetensors file"
            );
            return Err(files.malformed("", reason));
        }
        Ok(Self { sources })
    }

    /// Bytes that it takes in memory (f32) once it is bound, from the headers alone.
    pub fn memory_bytes(&self) -> u64 {
        let values =
            self.sources.iter().flat_map(|source| source.pairs.values()).map(Pair::values).sum::<u64>();
        4 * values
    }
}

impl Source {
    fn open(files: &ModelFiles, folder: &str, name: &str, component: Option<Component>) -> Result<Self> {
        let file = TensorFile::open(files, &format!("{folder}{name}"))?;
        let scales = if name == PEFT_FILE {
            let config = format!("{folder}{PEFT_CONFIG}");
            let scales = Scales::read(files.json(&config)?);
            ScalesOf::All(scales.map_err(|reason| files.malformed(&config, reason))?)
        } else {
            ScalesOf::Each(scales::of_header(file.metadata()).map_err(|reason| file.malformed(reason))?)
        };
        let pairs = pairs(&file)?;
        Ok(Self { file, component, scales, pairs })
    }
}

/// A file's tensors by layer.
fn pairs(file: &TensorFile) -> Result<BTreeMap<String, Pair>> {
    let mut layers: BTreeMap<String, BTreeMap<Part, Entry>> = BTreeMap::new();
    for (key, shape) in file.shapes() {
        if let Some(kind) = keys::other_kind(&key) {
            let value = format!("{kind} (tensor `{key}` of {})", file.path().display());
            let supported = "low-rank pairs of linear and convolutional layers (LoRA, LoCon)";
            return Err(Error::Unsupported { what: "adapter", value, supported });
        }
        let Some((layer, part)) = keys::split(&key) else {
            let reason = format!(
                "tensor `{key}` is not named as one of an adapter by kohya's tools, peft or diffusers"
            );
            return Err(file.malformed(reason));
        };
        let layer = layer.to_string();
        if let Some(other) = layers.entry(layer).or_default().insert(part, Entry { key: key.clone(), shape })
        {
            return Err(file.malformed(format!("tensor `{key}` is there as `{}` as well", other.key)));
        }
    }
    if layers.is_empty() {
        return Err(file.malformed("holds no tensors"));
    }
    layers.into_iter().map(|(layer, parts)| Ok((layer, Pair::of(parts, file)?))).collect()
}

impl Pair {
    /// Checks what needs no model: that both halves are there and meet at one rank.
    fn of(mut parts: BTreeMap<Part, Entry>, file: &TensorFile) -> Result<Self> {
        let middle = parts.remove(&Part::Middle);
        let alpha = parts.remove(&Part::Alpha);
        let pair = match (parts.remove(&Part::Down), parts.remove(&Part::Up)) {
            (Some(down), Some(up)) => Self { down, up, middle, alpha },
            (down, up) => {
                let lone = down.or(up).or(middle).or(alpha).map_or(String::new(), |entry| entry.key);
                return Err(file.malformed(format!("tensor `{lone}` is without its pair of down and up")));
            }
        };
        match pair.misfit() {
            None => Ok(pair),
            Some(reason) => {
                let entries = [Some(&pair.down), Some(&pair.up), pair.middle.as_ref(), pair.alpha.as_ref()];
                let shown = |entry: &Entry| format!("`{}` {:?}", entry.key, entry.shape);
                let shown: Vec<_> = entries.into_iter().flatten().map(shown).collect();
                Err(file.malformed(format!("{}: {reason}", shown.join(", "))))
            }
        }
    }

    /// Why its shapes are none of a pair.
    fn misfit(&self) -> Option<&'static str> {
        let (rank, up) = (self.rank(), &self.up.shape);
        if ![2, 4].contains(&self.down.shape.len()) || ![2, 4].contains(&up.len()) {
            return Some("down and up have 2 or 4 dimensions");
        }
        if rank == 0 || up[1] != rank {
            return Some("down's rows and up's columns are the rank, 1 or more");
        }
        if up[2..].iter().any(|side| *side != 1) {
            return Some("up has a kernel of one pixel");
        }
        let is_narrow = self.down.shape.len() == 4 && self.down.shape[2..] == [1, 1];
        match self.middle.as_ref().map(|middle| middle.shape.as_slice()) {
            None => {}
            Some([outputs, inputs, _, _]) if [*outputs, *inputs] == [rank, rank] && is_narrow => {}
            Some(_) => return Some("a middle is a convolution from rank to rank after a down of one pixel"),
        }
        let is_number = |entry: &Entry| entry.shape.iter().product::<usize>() == 1;
        self.alpha.as_ref().is_some_and(|alpha| !is_number(alpha)).then_some("alpha is one number")
    }

    fn rank(&self) -> usize {
        self.down.shape.first().copied().unwrap_or(0)
    }

    /// Values in memory: a middle becomes part of down.
    fn values(&self) -> u64 {
        let product = |shape: &[usize]| shape.iter().map(|side| *side as u64).product::<u64>();
        let window = self.middle.as_ref().map_or(1, |middle| product(&middle.shape[2..]));
        product(&self.down.shape).saturating_mul(window).saturating_add(product(&self.up.shape))
    }
}
