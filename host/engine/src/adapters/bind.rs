//! An adapter on the layers of one loaded model: every tensor finds its layer and fits it, or the adapter is refused.
//! Bound adapters are kept with the model; a run attaches those that its request names, each with its weight.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::names::{Index, Rows, Target};
use super::{Adapter, Component, Entry, Pair, Places, ScalesOf, Source, keys};
use crate::Result;
use crate::weights::{LowRank, Slot};

/// An adapter's additions to the layers of one model, in memory.
#[derive(Debug, Default)]
pub struct Bound {
    layers: BTreeMap<(Component, String), (Slot, LowRank)>,
}

/// Adapters on their layers, as long as this lives. One at a time for a model: what it detaches is everything.
#[derive(Debug, Default)]
pub struct Attached {
    slots: Vec<Slot>,
}

impl Attached {
    /// Attaches adapters, each multiplied by its weight. The order does not matter beyond rounding.
    ///
    /// # Errors
    /// None that binding has not ruled out; the slots' own check is passed on all the same.
    pub fn new(chosen: &[(&Bound, f64)]) -> Result<Self> {
        let mut additions: BTreeMap<_, (&Slot, Vec<LowRank>)> = BTreeMap::new();
        for (bound, weight) in chosen {
            for (layer, (slot, addition)) in &bound.layers {
                let weighted = LowRank { scale: addition.scale * weight, ..addition.clone() };
                additions.entry(layer).or_insert_with(|| (slot, Vec::new())).1.push(weighted);
            }
        }
        let mut attached = Self::default();
        for (slot, additions) in additions.into_values() {
            attached.slots.push(slot.clone());
            slot.set(additions)?;
        }
        Ok(attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.slots.iter().for_each(Slot::clear);
    }
}

impl Bound {
    /// What it adds, by component and layer, for tests against other implementations.
    #[doc(hidden)]
    pub fn additions(&self) -> impl Iterator<Item = (Component, &str, &LowRank)> {
        self.layers.iter().map(|((component, layer), (_, addition))| (*component, layer.as_str(), addition))
    }
}

impl Adapter {
    /// Reads the tensors and finds the layers that they belong to.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] names the file and the tensor that belongs to no layer of the model, does not fit it, or
    /// comes twice; [`crate::Error::Read`] for a file that fails meanwhile.
    pub fn bind(self, places: &Places, device: &Device) -> Result<Bound> {
        let index = Index::of(places);
        let mut bound = Bound::default();
        for source in self.sources {
            source.bind(&index, places, device, &mut bound)?;
        }
        Ok(bound)
    }
}

impl Source {
    fn bind(mut self, index: &Index, places: &Places, device: &Device, bound: &mut Bound) -> Result<()> {
        for (name, pair) in std::mem::take(&mut self.pairs) {
            let found = match &self.component {
                Some(component) => index.find(&[*component], &name),
                None => {
                    let (components, name) = keys::components(&name);
                    index.find(components, name)
                }
            };
            let Some((component, targets)) = found else {
                let reason = format!(
                    "tensor `{}` belongs to no layer of this model; is the adapter for another family?",
                    pair.down.key
                );
                return Err(self.file.malformed(reason));
            };
            let scale = self.scale(component, targets, &pair, device)?;
            let down = self.down(&pair, device)?;
            let up = self.read(&pair.up, device)?;
            self.place(&pair, component, targets, places, LowRank { down, up, scale }, bound)?;
        }
        Ok(())
    }

    /// Gives every target its rows.
    fn place(
        &self,
        pair: &Pair,
        component: Component,
        targets: &[Target],
        places: &Places,
        addition: LowRank,
        bound: &mut Bound,
    ) -> Result<()> {
        let wrong = |reason: String| self.file.malformed(format!("tensor `{}`: {reason}", pair.up.key));
        let slots = places.0.get(&component);
        let mut from = 0;
        for target in targets {
            let Some(slot) = slots.and_then(|slots| slots.get(&target.layer)) else { continue };
            let outputs = slot.shape().first().copied().unwrap_or(0);
            let up =
                rows(&addition.up, target.rows, from, outputs).map_err(|error| wrong(error.to_string()))?;
            from += outputs;
            let fitted = slot.fit(&LowRank { up, ..addition.clone() });
            let fitted = fitted.map_err(|error| wrong(format!("layer `{}`: {error}", target.layer)))?;
            let place = (component, target.layer.clone());
            if bound.layers.insert(place, (slot.clone(), fitted)).is_some() {
                return Err(wrong(format!(
                    "layer `{}` has an addition by another name as well",
                    target.layer
                )));
            }
        }
        let all = addition.up.dims()[0];
        if targets.len() > 1 && from != all {
            return Err(wrong(format!("{all} rows, where the layers together have {from}")));
        }
        Ok(())
    }

    /// The layer's own alpha, or what the configuration says of it, by the rank; 1 where nothing is said.
    fn scale(
        &mut self,
        component: Component,
        targets: &[Target],
        pair: &Pair,
        device: &Device,
    ) -> Result<f64> {
        let config = match &self.scales {
            ScalesOf::All(scales) => Some(scales),
            ScalesOf::Each(scales) => scales.get(&component),
        };
        let layer = targets.first().map_or("", |target| target.layer.as_str());
        let config = config.map(|scales| scales.scale(layer, pair.rank()));
        match (&pair.alpha, config) {
            (None, None) => Ok(1.0),
            (None, Some(scale)) => scale.map_err(|reason| self.file.malformed(reason)),
            (Some(alpha), Some(_)) => {
                let reason =
                    format!("tensor `{}` and the configuration beside it are one too many", alpha.key);
                Err(self.file.malformed(reason))
            }
            (Some(alpha), None) => {
                let value = self.read(alpha, device)?.flatten_all()?.get(0)?.to_scalar::<f32>()?;
                match value.is_finite() {
                    true => Ok(f64::from(value) / pair.rank() as f64),
                    false => Err(self.file.malformed(format!("tensor `{}` is {value}", alpha.key))),
                }
            }
        }
    }

    /// The way down, with the kernel of a middle taken in: from the inputs to the rank in one convolution.
    fn down(&mut self, pair: &Pair, device: &Device) -> Result<Tensor> {
        let down = self.read(&pair.down, device)?;
        let Some(middle) = &pair.middle else { return Ok(down) };
        let (rank, inputs) = (pair.rank(), pair.down.shape[1]);
        let (height, width) = (middle.shape[2], middle.shape[3]);
        let middle = self.read(middle, device)?; // (rank, rank, h, w)
        let down = down.reshape((rank, inputs))?;
        let middle = middle.permute((0, 2, 3, 1))?.reshape((rank * height * width, rank))?;
        let joined = middle.matmul(&down)?.reshape((rank, height, width, inputs))?;
        Ok(joined.permute((0, 3, 1, 2))?.contiguous()?)
    }

    fn read(&mut self, entry: &Entry, device: &Device) -> Result<Tensor> {
        self.file.read(&entry.key, &entry.shape, device)
    }
}

/// The rows of `up` that are a layer's with so many outputs; `from` is where its place begins.
fn rows(up: &Tensor, rows: Rows, from: usize, outputs: usize) -> candle_core::Result<Tensor> {
    match rows {
        Rows::All => Ok(up.clone()),
        Rows::Place(_) => up.narrow(0, from, outputs)?.contiguous(),
        Rows::HalvesSwapped => {
            let half = up.dim(0)? / 2;
            Tensor::cat(&[up.narrow(0, half, half)?, up.narrow(0, 0, half)?], 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;
    use crate::files::ModelFiles;
    use crate::kernels::{Conv2d, Linear, Window};
    use crate::weights::Builder;

    /// A model of one linear layer and one convolution.
    fn places() -> Places {
        let builder = Builder::zeros(&Device::Cpu);
        Linear::load(4, 6, builder.pp("time_embedding").pp("linear_1")).unwrap();
        Conv2d::load(4, 8, Window::SAME, builder.pp("conv_in")).unwrap();
        let slot = |name: &str| (name.to_string(), builder.pp(name).slot());
        let slots = [slot("time_embedding.linear_1"), slot("conv_in")];
        Places::default().with(Component::UNet, &slots.into())
    }

    /// A file of tensors that hold one value.
    fn adapter(tensors: &[(&str, &[usize])], value: f32) -> Result<Adapter> {
        let bytes = |shape: &[usize]| value.to_le_bytes().repeat(shape.iter().product());
        let data: Vec<_> =
            tensors.iter().map(|(name, shape)| (*name, shape.to_vec(), bytes(shape))).collect();
        let views = data
            .iter()
            .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let file: &'static [u8] = safetensors::serialize(views, None).unwrap().leak();
        let files = ModelFiles::embedded(vec![("ink.safetensors", file)].leak());
        Adapter::of_file(&files, "ink.safetensors")
    }

    fn bind(tensors: &[(&str, &[usize])]) -> Result<Bound> {
        adapter(tensors, 0.5)?.bind(&places(), &Device::Cpu)
    }

    const LINEAR: [(&str, &[usize]); 3] = [
        ("lora_unet_time_embedding_linear_1.lora_down.weight", &[2, 4]),
        ("lora_unet_time_embedding_linear_1.lora_up.weight", &[6, 2]),
        ("lora_unet_time_embedding_linear_1.alpha", &[]),
    ];
    const CONV: [(&str, &[usize]); 2] =
        [("unet.conv_in.lora_A.weight", &[2, 4, 3, 3]), ("unet.conv_in.lora_B.weight", &[8, 2, 1, 1])];

    #[test]
    fn dialects_may_be_mixed_and_memory_is_what_the_header_said() {
        let all = [LINEAR.as_slice(), &CONV].concat();
        assert_eq!(adapter(&all, 0.5).unwrap().memory_bytes(), 4 * (8 + 12 + 72 + 16));
        let bound = bind(&all).unwrap();
        let found: Vec<_> = bound.additions().map(|(_, layer, addition)| (layer, addition.scale)).collect();
        assert_eq!(found, [("conv_in", 1.0), ("time_embedding.linear_1", 0.25)]);
    }

    #[test]
    fn a_middle_is_counted_and_becomes_part_of_down() {
        let tensors: [(&str, &[usize]); 3] = [
            ("lora_unet_conv_in.lora_down.weight", &[2, 4, 1, 1]),
            ("lora_unet_conv_in.lora_mid.weight", &[2, 2, 3, 3]),
            ("lora_unet_conv_in.lora_up.weight", &[8, 2, 1, 1]),
        ];
        assert_eq!(adapter(&tensors, 0.5).unwrap().memory_bytes(), 4 * (72 + 16));
        let bound = bind(&tensors).unwrap();
        let (_, _, addition) = bound.additions().next().unwrap();
        assert_eq!(addition.down.dims(), [2, 4, 3, 3]);
        // over the two channels between
        assert_eq!(addition.down.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.5; 72]);
    }

    #[test]
    fn adapters_are_attached_with_their_weights_and_detached_by_dropping() {
        let places = places();
        let bind = |value| adapter(&LINEAR, value).unwrap().bind(&places, &Device::Cpu).unwrap();
        let (one, other) = (bind(0.5), bind(2.0));
        let slot = &places.0[&Component::UNet]["time_embedding.linear_1"];
        let attached = Attached::new(&[(&one, 0.5), (&other, -1.0)]).unwrap();
        let scales: Vec<_> = slot.attached().iter().map(|addition| addition.scale).collect();
        assert_eq!(scales, [0.125, -1.0]);
        drop(attached);
        assert!(slot.attached().is_empty());
        drop(Attached::new(&[]).unwrap());
    }

    #[test]
    fn what_has_no_place_or_does_not_fit_is_refused_with_file_and_tensor() {
        let [down, up, alpha] = LINEAR;
        let key = "lora_unet_time_embedding_linear_1";
        for (tensors, named) in [
            (
                vec![
                    ("lora_unet_conv_out.lora_down.weight", down.1),
                    ("lora_unet_conv_out.lora_up.weight", up.1),
                ],
                "`lora_unet_conv_out.lora_down.weight` belongs to no layer",
            ),
            (
                vec![("lora_te_x.lora_down.weight", down.1), ("lora_te_x.lora_up.weight", up.1)],
                "`lora_te_x.lora_down.weight`",
            ),
            (vec![(down.0, &[2, 5][..]), up], "do not fit a weight of [6, 4]"),
            (vec![down, (up.0, &[7, 2])], "do not fit a weight of [6, 4]"),
            (vec![(down.0, &[2, 4, 3, 3]), up], "do not fit a weight of [6, 4]"),
            (vec![down, (up.0, &[6, 3])], "rank"),
            (vec![(down.0, &[0, 4]), (up.0, &[6, 0])], "rank"),
            (vec![(down.0, &[2, 4, 1]), up], "2 or 4 dimensions"),
            (vec![down, (up.0, &[6, 2, 3, 3])], "one pixel"),
            (vec![down, up, (alpha.0, &[2])], "alpha is one number"),
            (vec![down], down.0),
            (vec![alpha], alpha.0),
            (
                vec![
                    down,
                    up,
                    ("unet.time_embedding.linear_1.lora_A.weight", down.1),
                    ("unet.time_embedding.linear_1.lora_B.weight", up.1),
                ],
                "by another name as well",
            ),
            (vec![down, up, ("lora_unet_time_embedding_linear_1.lora.down.weight", down.1)], "is there as"),
            (vec![down, up, ("conv_in.weight", &[1])], "`conv_in.weight` is not named"),
            (vec![], "no tensors"),
        ] {
            let error = bind(&tensors).map(drop).unwrap_err().to_string();
            assert!(error.contains("ink.safetensors") && error.contains(named), "{key}: {error}");
        }
    }

    #[test]
    fn an_alpha_that_is_no_number_is_refused() {
        let error = adapter(&LINEAR, f32::NAN).unwrap().bind(&places(), &Device::Cpu).map(drop);
        assert!(error.unwrap_err().to_string().contains(".alpha` is NaN"));
    }

    #[test]
    fn adapters_of_other_kinds_are_refused_by_name() {
        for (key, kind) in
            [("dora_scale", "DoRA"), ("hada_w1_a", "LoHa"), ("lokr_w1", "LoKr"), ("diff", "difference")]
        {
            let key = format!("lora_unet_conv_in.{key}");
            let error =
                bind(&[CONV.as_slice(), &[(key.as_str(), &[2])]].concat()).map(drop).unwrap_err().to_string();
            assert!(
                error.contains(kind) && error.contains(&key) && error.contains("ink.safetensors"),
                "{error}"
            );
        }
    }

    #[test]
    fn joined_layers_take_their_own_rows() {
        let builder = Builder::zeros(&Device::Cpu);
        let names = ["to_q", "to_k", "to_v"].map(|name| format!("transformer_blocks.0.attn.{name}"));
        let mut slots = crate::weights::Slots::new();
        for (width, name) in [3, 1, 2].into_iter().zip(&names) {
            Linear::load(4, width, builder.pp(name)).unwrap();
            slots.insert(name.clone(), builder.pp(name).slot());
        }
        let places = Places::default().with(Component::Transformer, &slots);
        let key = "lora_unet_double_blocks_0_img_attn_qkv";
        let (down, up) = (format!("{key}.lora_down.weight"), format!("{key}.lora_up.weight"));
        let bind = |rows| {
            let adapter = adapter(&[(&down, &[2, 4]), (&up, &[rows, 2])], 0.5).unwrap();
            adapter.bind(&places, &Device::Cpu)
        };
        let bound = bind(6).unwrap();
        let rows: Vec<_> = bound
            .additions()
            .map(|(_, layer, addition)| (layer.to_string(), addition.up.dims()[0]))
            .collect();
        assert_eq!(rows, [(names[1].clone(), 1), (names[0].clone(), 3), (names[2].clone(), 2)]);
        assert!(bind(7).unwrap_err().to_string().contains("7 rows, where the layers together have 6"));
        assert!(bind(5).unwrap_err().to_string().contains(&up));
    }
}
