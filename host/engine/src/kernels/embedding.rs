//! Tables of vectors, one for each token id, in the precision in which their file has them.

use candle_core::{Device, Result, Tensor};

use super::Blocks;
use crate::weights::Builder;

/// A table (ids, width).
#[derive(Debug)]
pub struct Embedding {
    table: Table,
    device: Device,
}

#[derive(Debug)]
enum Table {
    Plain(Tensor),
    Blocks(Blocks),
}

impl Embedding {
    /// Takes `weight`.
    pub fn load(ids: usize, width: usize, builder: Builder) -> Result<Self> {
        let device = builder.device().clone();
        let table = match builder.is_compact("weight") && device.is_cpu() {
            true => Table::Blocks(Blocks::of(&builder.get_quantized((ids, width), "weight")?)?),
            false => Table::Plain(builder.get((ids, width), "weight")?),
        };
        Ok(Self { table, device })
    }

    /// The vectors of some ids, in f32: (ids, width).
    ///
    /// # Errors
    /// An id that is not in the table.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        match &self.table {
            Table::Plain(table) => table.index_select(&Tensor::new(ids, &self.device)?, 0),
            Table::Blocks(table) => table.select(ids, &self.device),
        }
    }
}
