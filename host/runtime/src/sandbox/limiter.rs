//! The limit on memory: all linear memories of a store together, all tables together. Growing past it fails inside the
//! guest, as the WebAssembly specification has it; when the guest then traps, the meter knows why.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use super::meter::Meter;

/// Sums what a store's memories and tables hold.
pub(crate) struct Limiter {
    meter: Arc<Meter>,
    memory_bytes: usize,
    table_elements: usize,
}

impl Limiter {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, memory_bytes: 0, table_elements: 0 }
    }

    /// What all memories hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Another request is told of refusals from now on; what is held stays counted.
    pub(crate) fn turn_to(&mut self, meter: Arc<Meter>) {
        self.meter = meter;
    }
}

/// The sum after growing, when it is within the limit. A memory never shrinks, so what it holds is never subtracted.
fn grown(sum: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    sum.checked_add(desired.saturating_sub(current)).filter(|sum| *sum <= limit)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        match grown(self.memory_bytes, current, desired, self.meter.limits().memory_bytes) {
            Some(sum) => {
                self.memory_bytes = sum;
                self.meter.hold_memory(sum);
            }
            None => {
                self.meter.refuse_memory();
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let sum = grown(self.table_elements, current, desired, self.meter.limits().table_elements);
        self.table_elements = sum.unwrap_or(self.table_elements);
        Ok(sum.is_some())
    }

    fn instances(&self) -> usize {
        self.meter.limits().instances
    }

    fn tables(&self) -> usize {
        self.meter.limits().instances
    }

    fn memories(&self) -> usize {
        self.meter.limits().instances
    }
}

#[cfg(test)]
mod tests {
    use super::grown;

    #[test]
    fn growth_is_summed_over_all_memories_and_refused_just_past_the_limit() {
        assert_eq!(grown(64, 0, 64, 128), Some(128));
        assert_eq!(grown(128, 64, 65, 128), None);
        assert_eq!(grown(usize::MAX, 0, 1, usize::MAX), None);
    }
}
