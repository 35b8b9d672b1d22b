//! Pictures that a generator kept as it gave them to diffusers.

use atelier_inference::Pixels;
use candle_core::Tensor;

/// Of bytes (h, w, 3).
pub(crate) fn pixels(picture: &Tensor) -> Pixels {
    let (height, width, _) = picture.dims3().unwrap();
    let rgb = picture.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let rgba: Vec<u8> = rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
    Pixels::new(width as u32, height as u32, rgba).unwrap()
}
