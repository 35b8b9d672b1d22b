//! Pictures: a request (`order.rs`) is checked against a model (`model.rs`) and becomes an [`ImageOrder`]: from nothing or
//! from a picture (`task.rs`), steered by others (`control.rs`), sometimes by two models (`refiner.rs`) or faster than
//! whole passes allow (`step_cache.rs`). Where another server has the model it is a [`ProvidedImageOrder`] (`provided.rs`).

mod control;
mod model;
mod order;
mod provided;
mod refiner;
mod step_cache;
mod task;

pub use control::{Control, MAX_CONTROL_SCALE, MAX_CONTROLS};
pub use model::{Features, ImageModel};
pub use order::{
    Adapted, Crop, Decoder, Emphasis, Framing, ImageOrder, ImageRequest, MAX_ADAPTER_WEIGHT, MAX_ADAPTERS,
    MAX_CLIP_SKIP, MAX_FRAMING_SIDE, MAX_GUIDANCE, MAX_PICTURES, MAX_PROMPT_BYTES, MAX_STEPS, SeedProfile,
    Size,
};
pub use provided::{ProvidedImageOptions, ProvidedImageOrder};
pub use refiner::{DEFAULT_REFINER_SHARE, DefaultRefiner, Refine, Refiner};
pub use step_cache::{CacheKind, MAX_CACHE_INTERVAL, StepCache};
pub use task::{Mask, Source, Task, no_steps_left, steps_run};

pub(crate) use order::within;
