//! Pixels to tensors and back, as diffusers' `VaeImageProcessor` does it. One thing is ours: what is transparent is
//! laid over white, where diffusers drops alpha and shows whatever colour lies below it.

use atelier_inference::Pixels;
use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// A picture as (1, 3, h, w) within -1 to 1. What is transparent is laid over white.
pub(super) fn to_tensor(pixels: &Pixels, device: &Device) -> Result<Tensor> {
    let (height, width) = (pixels.height() as usize, pixels.width() as usize);
    let (pixels, _) = pixels.rgba().as_chunks::<4>();
    let channel = |index: usize| pixels.iter().map(move |[rgb @ .., alpha]| over_white(rgb[index], *alpha));
    let values: Vec<f32> = (0..3).flat_map(channel).map(|value| value / 255.0 * 2.0 - 1.0).collect();
    Ok(Tensor::from_vec(values, (1, 3, height, width), device)?)
}

/// A channel over white, 0 to 255 and not rounded, because the tensor holds fractions as well.
fn over_white(value: u8, alpha: u8) -> f32 {
    match alpha {
        u8::MAX => f32::from(value),
        _ => 255.0 + (f32::from(value) - 255.0) * f32::from(alpha) / 255.0,
    }
}

/// One picture (3, h, w) within about -1 to 1, as opaque pixels: half and even are rounded as numpy does.
pub(super) fn to_pixels(picture: &Tensor) -> Result<Pixels> {
    let (_, height, width) = picture.dims3()?;
    let values = ((picture / 2.0)? + 0.5)?.clamp(0f32, 1f32)?.permute((1, 2, 0))?.flatten_all()?;
    let bytes = values.to_vec1::<f32>()?.into_iter().map(|value| (value * 255.0).round_ties_even() as u8);
    let bytes: Vec<u8> = bytes.collect();
    let (rgb, _) = bytes.as_chunks::<3>();
    let rgba: Vec<u8> = rgb.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, u8::MAX]).collect();
    Pixels::new(width as u32, height as u32, rgba)
        .map_err(|error| Error::Invalid { field: "size", reason: error.to_string() })
}

/// Whether no value is NaN or infinite.
pub(super) fn is_finite(x: &Tensor) -> Result<bool> {
    // one infinite or NaN value makes the sum so; the small factor keeps a sum of large values within range
    Ok((x * 1e-6)?.sum_all()?.to_scalar::<f32>()?.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_way_to_a_tensor_and_back() {
        let rgba: Vec<u8> = (0..=255u8).flat_map(|value| [value, 255 - value, value / 2, 255]).collect();
        let pixels = Pixels::new(16, 16, rgba).unwrap();
        let tensor = to_tensor(&pixels, &Device::Cpu).unwrap();
        assert_eq!(to_pixels(&tensor.squeeze(0).unwrap()).unwrap(), pixels);
    }

    #[test]
    fn what_is_transparent_is_laid_over_white() {
        let pixels = Pixels::new(1, 2, vec![0, 0, 0, 0, 255, 0, 0, 128]).unwrap();
        let tensor = to_tensor(&pixels, &Device::Cpu).unwrap().squeeze(0).unwrap();
        assert_eq!(to_pixels(&tensor).unwrap().rgba(), [255, 255, 255, 255, 255, 127, 127, 255]);
    }

    #[test]
    fn a_nan_or_an_infinity_is_found() {
        for (value, expected) in [(f32::NAN, false), (f32::INFINITY, false), (f32::MAX, true), (1.0, true)] {
            let x = Tensor::new(&[0.0, value, -1.0], &Device::Cpu).unwrap();
            assert_eq!(is_finite(&x).unwrap(), expected);
        }
    }
}
