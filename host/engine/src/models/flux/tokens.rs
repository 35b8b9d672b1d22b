//! Latents as tokens and back (`FluxPipeline._pack_latents`, `_unpack_latents`, `_prepare_latent_image_ids`).

use candle_core::{Result, Tensor};

use super::config::PATCH;

/// (b, c, h, w) to (b, h/2 * w/2, 4 c): squares of four pixels, row by row. A square's values lie channel by channel.
pub(super) fn pack(latents: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = latents.dims4()?;
    if !height.is_multiple_of(PATCH) || !width.is_multiple_of(PATCH) {
        candle_core::bail!("latents of {height} x {width}: both sides must be even");
    }
    let (rows, columns) = (height / PATCH, width / PATCH);
    let squares = latents.reshape(&[batch, channels, rows, PATCH, columns, PATCH][..])?;
    squares.permute(vec![0, 2, 4, 1, 3, 5])?.reshape((batch, rows * columns, channels * PATCH * PATCH))
}

/// The way back, to latents of `height` by `width`.
pub(super) fn unpack(tokens: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, _, values) = tokens.dims3()?;
    let (rows, columns, channels) = (height / PATCH, width / PATCH, values / (PATCH * PATCH));
    let squares = tokens.reshape(&[batch, rows, columns, channels, PATCH, PATCH][..])?;
    squares.permute(vec![0, 3, 1, 4, 2, 5])?.reshape((batch, channels, height, width))
}

/// Where tokens stand: those of the text all at the origin, those of the image by row and column. The first axis is
/// the same for all.
pub(super) fn positions(text: usize, height: usize, width: usize) -> Vec<[f64; 3]> {
    let image = (0..height / PATCH)
        .flat_map(|row| (0..width / PATCH).map(move |column| [0.0, row as f64, column as f64]));
    std::iter::repeat_n([0.0; 3], text).chain(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn packed_latents_unpack_to_themselves() {
        let latents = ramp((2, 3, 4, 6), 1);
        let tokens = pack(&latents).unwrap();
        assert_eq!(tokens.dims(), [2, 6, 12]);
        assert_close(&unpack(&tokens, 4, 6).unwrap(), &latents, 0.0);
        assert!(pack(&ramp((1, 4, 3, 4), 1)).is_err());
    }

    #[test]
    fn a_token_holds_its_square_channel_by_channel() {
        let latents =
            Tensor::arange(0f32, 16.0, &candle_core::Device::Cpu).unwrap().reshape((1, 2, 2, 4)).unwrap();
        let tokens = pack(&latents).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(tokens[0][1], [2.0, 3.0, 6.0, 7.0, 10.0, 11.0, 14.0, 15.0]);
    }

    #[test]
    fn text_stands_at_the_origin_and_the_image_on_a_grid() {
        let positions = positions(2, 4, 6);
        assert_eq!(positions.len(), 2 + 6);
        assert_eq!(positions[..3], [[0.0; 3]; 3]);
        assert_eq!(positions[6], [0.0, 1.0, 1.0]);
    }
}
