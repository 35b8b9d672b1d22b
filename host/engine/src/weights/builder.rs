//! What a network takes its tensors from while it is built: names below a prefix, each tensor once. Where they come
//! from (files, zeros, a function) only this module knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use atelier_inference::Precision;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Result, Shape, Tensor};

use super::slot::{Slot, Slots};
use super::stored::{Reader, Stored};
use crate::Error;

/// Takes tensors of one component by name, below a prefix; every tensor is taken exactly once. Clones share what is
/// left.
#[derive(Clone)]
pub struct Builder {
    state: Rc<RefCell<State>>,
    device: Device,
    /// What layers multiply.
    precision: Precision,
    /// With a dot at its end, or empty.
    prefix: String,
}

/// What all builders of a component share.
struct State {
    source: Source,
    /// Of what was taken, by name.
    shapes: BTreeMap<String, Shape>,
    slots: Slots,
    /// Why a file could not be read: a typed error that candle's results have no place for.
    failure: Option<Error>,
}

/// Gives the tensor of a name and shape.
type Make = dyn FnMut(&str, &Shape) -> Result<Tensor>;

enum Source {
    /// The files' tensors that nobody took yet.
    Files(Reader),
    /// Every tensor that is asked for.
    Made(Box<Make>),
}

/// What is left when a network has been built.
pub(super) struct Rest {
    /// Names that nobody took.
    pub(super) names: Vec<String>,
    pub(super) slots: Slots,
    pub(super) failure: Option<Error>,
}

impl Builder {
    pub(super) fn of_files(reader: Reader, device: &Device) -> Self {
        Self::new(Source::Files(reader), device)
    }

    /// Zeros in every shape.
    pub fn zeros(device: &Device) -> Self {
        let target = device.clone();
        Self::from_fn(device, move |_, shape| Tensor::zeros(shape, DType::F32, &target))
    }

    /// What `make` gives for each name and shape.
    pub fn from_fn(device: &Device, make: impl FnMut(&str, &Shape) -> Result<Tensor> + 'static) -> Self {
        Self::new(Source::Made(Box::new(make)), device)
    }

    fn new(source: Source, device: &Device) -> Self {
        let state = State { source, shapes: BTreeMap::new(), slots: Slots::new(), failure: None };
        let (state, precision) = (Rc::new(RefCell::new(state)), Precision::F32);
        Self { state, device: device.clone(), precision, prefix: String::new() }
    }

    /// For layers that multiply in this precision, which the caller knows the device to have kernels for.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// What layers multiply.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The same tensors, for names below one more level.
    pub fn pp(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// Takes a tensor of this shape, in f32 and on the device.
    ///
    /// # Errors
    /// A tensor that is not there, was taken before, or has another shape, by its name.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let read = |reader: &mut Reader, stored: &Stored| reader.read(stored, &self.device);
        self.take(shape.into(), name, read, Ok)
    }

    /// Takes a tensor as its file has it, quantized or not, for layers that compute with it so.
    ///
    /// # Errors
    /// As [`Builder::get`].
    pub fn get_quantized(&self, shape: impl Into<Shape>, name: &str) -> Result<QTensor> {
        let read = |reader: &mut Reader, stored: &Stored| reader.read_quantized(stored, &self.device);
        self.take(shape.into(), name, read, |tensor| QTensor::quantize(&tensor, GgmlDType::F32))
    }

    /// Takes a tensor by `read`, or what `convert` makes of one that comes from no file.
    fn take<T>(
        &self,
        shape: Shape,
        name: &str,
        read: impl FnOnce(&mut Reader, &Stored) -> crate::Result<T>,
        convert: impl FnOnce(Tensor) -> Result<T>,
    ) -> Result<T> {
        let name = self.full(name);
        let State { source, shapes, failure, .. } = &mut *self.state.borrow_mut();
        let tensor = match source {
            Source::Made(make) => convert(make(&name, &shape)?)?,
            Source::Files(reader) => {
                let stored = reader.take(&name, &shape)?;
                read(reader, &stored).map_err(|error| {
                    let text = error.to_string();
                    *failure = Some(error);
                    candle_core::Error::Msg(text)
                })?
            }
        };
        shapes.insert(name, shape);
        Ok(tensor)
    }

    /// Whether there is such a tensor that nobody took yet.
    pub fn contains(&self, name: &str) -> bool {
        match &self.state.borrow().source {
            Source::Files(reader) => reader.contains(&self.full(name)),
            Source::Made(_) => true,
        }
    }

    /// Whether a layer should take this matrix by [`Builder::get_quantized`], because its file has it in few bits.
    pub fn is_compact(&self, name: &str) -> bool {
        match &self.state.borrow().source {
            Source::Files(reader) => reader.is_compact(&self.full(name)),
            Source::Made(_) => false,
        }
    }

    /// Where the tensors go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where adapters of the layer at this prefix are attached. Asked for after its `weight` was taken, whose shape says
    /// what fits.
    pub fn slot(&self) -> Slot {
        let State { shapes, slots, .. } = &mut *self.state.borrow_mut();
        let shape = shapes.get(&self.full("weight"));
        let slot = || Slot::new(shape.map_or(&[], Shape::dims));
        slots.entry(self.prefix.trim_end_matches('.').into()).or_insert_with(slot).clone()
    }

    /// Ends the building.
    pub(super) fn finish(self) -> Rest {
        let State { source, slots, failure, .. } = &mut *self.state.borrow_mut();
        let names = match source {
            Source::Files(reader) => reader.names().map(String::from).collect(),
            Source::Made(_) => Vec::new(),
        };
        Rest { names, slots: std::mem::take(slots), failure: failure.take() }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_join_with_dots_and_slots_have_the_layers_name_and_shape() {
        let builder = Builder::from_fn(&Device::Cpu, |name, shape| match name {
            "blocks.0.to_q.weight" => Tensor::ones(shape, DType::F32, &Device::Cpu),
            other => candle_core::bail!("asked for {other}"),
        });
        let layer = builder.pp("blocks").pp(0).pp("to_q");
        assert_eq!(layer.get((2, 3), "weight").unwrap().dims(), [2, 3]);
        assert_eq!(layer.slot().shape(), [2, 3]);
        assert!(layer.get(2, "bias").unwrap_err().to_string().contains("blocks.0.to_q.bias"));
        let Rest { names, slots, .. } = builder.finish();
        assert!(names.is_empty());
        assert_eq!(slots.keys().collect::<Vec<_>>(), ["blocks.0.to_q"]);
    }

    #[test]
    fn a_layers_slot_is_one_however_often_it_is_asked_for() {
        let builder = Builder::zeros(&Device::Cpu);
        builder.get((2, 3), "weight").unwrap();
        let addition = super::super::LowRank {
            down: Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap(),
            up: Tensor::zeros((2, 1), DType::F32, &Device::Cpu).unwrap(),
            scale: 1.0,
        };
        builder.slot().set(vec![addition]).unwrap();
        assert_eq!(builder.slot().attached().len(), 1);
    }
}
