//! Pictures: pixels in memory, the parameters that made them, and files of them. Writes only; untrusted bytes are
//! decoded in a sandbox, never here.

mod encode;
mod parameters;
mod resize;

use std::sync::Arc;

use crate::{Error, Result, Size};

pub use encode::{Encoding, Format, encode};
pub use parameters::{Parameters, RefinedBy, SteeredBy, read_parameters};
pub use resize::{Filter, resized};

/// Longest side of a picture in memory, in pixels.
pub const MAX_SIDE: u32 = 4_096;

/// 8 bits each of red, green, blue and alpha (not premultiplied), row by row from the top. Cloning copies no pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    size: Size,
    rgba: Arc<[u8]>,
}

impl Pixels {
    /// Takes `width * height * 4` bytes; both sides are 1 to [`MAX_SIDE`].
    pub fn new(width: u32, height: u32, rgba: impl Into<Arc<[u8]>>) -> Result<Pixels> {
        let rgba = rgba.into();
        let size = Size { width, height };
        check_size(size)?;
        let expected = width as usize * height as usize * 4;
        if rgba.len() != expected {
            return Err(Error::invalid("rgba", format!("{} bytes; {size} takes {expected}", rgba.len())));
        }
        Ok(Pixels { size, rgba })
    }

    /// Pixels from left to right.
    pub fn width(&self) -> u32 {
        self.size.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> u32 {
        self.size.height
    }

    /// Width and height.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The bytes.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }

    /// Red, green and blue alone, for formats without alpha.
    pub fn rgb(&self) -> Vec<u8> {
        self.rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    }

    /// Whether no pixel is transparent.
    pub fn is_opaque(&self) -> bool {
        self.rgba.chunks_exact(4).all(|pixel| pixel[3] == u8::MAX)
    }
}

fn check_size(size: Size) -> Result<()> {
    match [size.width, size.height].into_iter().all(|side| (1..=MAX_SIDE).contains(&side)) {
        true => Ok(()),
        false => Err(Error::invalid("size", format!("{size}: sides are 1 to {MAX_SIDE} pixels"))),
    }
}

/// Pixels and, when they were generated here, how.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The pixels.
    pub pixels: Pixels,
    /// Everything needed to make it again.
    pub parameters: Option<Arc<Parameters>>,
}
