//! Pictures of another size.

use fast_image_resize::images::{Image as Canvas, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Pixels;
use crate::{Error, Result, Size};

/// How new pixels are made of old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The closest one; keeps the edges of pixel art.
    Nearest,
    /// Weighted by distance.
    Bilinear,
    /// A windowed sinc over three pixels; the sharpest.
    Lanczos3,
}

/// New pixels of another size, each colour weighted by its alpha; the same ones when the size is theirs. Takes time: not
/// for threads that serve.
pub fn resized(pixels: &Pixels, size: Size, filter: Filter) -> Result<Pixels> {
    if pixels.size() == size {
        return Ok(pixels.clone());
    }
    super::check_size(size)?;
    let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("cannot scale to {size}: {error}"));
    let source = ImageRef::new(pixels.width(), pixels.height(), pixels.rgba(), PixelType::U8x4);
    let source = source.map_err(|error| failed(&error))?;
    let mut canvas = Canvas::new(size.width, size.height, PixelType::U8x4);
    let options = ResizeOptions::new().resize_alg(match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
    });
    Resizer::new().resize(&source, &mut canvas, &options).map_err(|error| failed(&error))?;
    Pixels::new(size.width, size.height, canvas.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [Filter; 3] = [Filter::Nearest, Filter::Bilinear, Filter::Lanczos3];

    #[test]
    fn scaling_down_a_flat_colour_keeps_it() {
        let pixels = Pixels::new(8, 8, [10, 20, 30, 255].repeat(64)).unwrap();
        for filter in FILTERS {
            let small = resized(&pixels, Size { width: 4, height: 2 }, filter).unwrap();
            assert_eq!(small.rgba(), [10, 20, 30, 255].repeat(8));
        }
    }

    #[test]
    fn a_size_past_the_limit_is_refused_before_anything_is_made() {
        let pixels = Pixels::new(1, 1, [0; 4]).unwrap();
        for size in [Size { width: 4_097, height: 1 }, Size { width: 0, height: 1 }] {
            let error = resized(&pixels, size, Filter::Bilinear).unwrap_err().to_string();
            assert!(error.contains("sides are 1 to 4096"), "{error}");
        }
    }
}
