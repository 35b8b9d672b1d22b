//! Decoding in tiles that overlap and are blended, for pictures whose decoder would take too much memory at once. Follows
//! `AutoencoderKL.tiled_decode` of diffusers: the same tiles, the same blending, so the same picture.

use candle_core::{Result, Tensor};

/// The share of a tile that it has in common with the next.
const OVERLAP: f64 = 0.25;

/// How latents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Side of a tile, in latents.
    pub(crate) side: usize,
    /// Pixels per latent, along a side.
    pub(crate) factor: usize,
}

impl Tiling {
    /// Whether latents of this size have more than one tile.
    pub(crate) fn divides(&self, height: usize, width: usize) -> bool {
        height.max(width) > self.side
    }

    /// Latents (b, c, h, w) to (b, 3, h * factor, w * factor), `decode` for each tile.
    pub(crate) fn decode(
        &self,
        latents: &Tensor,
        decode: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (.., height, width) = latents.dims4()?;
        let stride = (self.side as f64 * (1.0 - OVERLAP)) as usize;
        let blended = (self.side as f64 * self.factor as f64 * OVERLAP) as usize;
        let kept = self.side * self.factor - blended;
        let (mut rows, mut above) = (Vec::new(), Vec::<Tensor>::new());
        for top in (0..height).step_by(stride.max(1)) {
            let mut row: Vec<Tensor> = Vec::new();
            for (column, left) in (0..width).step_by(stride.max(1)).enumerate() {
                let tile = latents.narrow(2, top, self.side.min(height - top))?;
                let tile = decode(&tile.narrow(3, left, self.side.min(width - left))?.contiguous()?)?;
                let tile =
                    above.get(column).map_or(Ok(tile.clone()), |above| blend(above, &tile, 2, blended))?;
                let tile = row.last().map_or(Ok(tile.clone()), |left| blend(left, &tile, 3, blended))?;
                row.push(tile);
            }
            let cut = row.iter().map(|tile| first(tile, 3, kept)).collect::<Result<Vec<_>>>()?;
            rows.push(first(&Tensor::cat(&cut, 3)?, 2, kept)?);
            above = row;
        }
        Tensor::cat(&rows, 2)
    }
}

/// At most so many of a dimension.
fn first(x: &Tensor, dim: usize, count: usize) -> Result<Tensor> {
    x.narrow(dim, 0, count.min(x.dim(dim)?))
}

/// `tile` with its first `extent` rows or columns fading in from the last of `before`.
fn blend(before: &Tensor, tile: &Tensor, dim: usize, extent: usize) -> Result<Tensor> {
    let (from, size) = (before.dim(dim)?, tile.dim(dim)?);
    let extent = extent.min(from).min(size);
    let shares: Vec<f32> = (0..extent).map(|index| index as f32 / extent as f32).collect();
    let shape = if dim == 2 { (1, 1, extent, 1) } else { (1, 1, 1, extent) };
    let shares = Tensor::from_vec(shares, shape, tile.device())?;
    let fading = before.narrow(dim, from - extent, extent)?.broadcast_mul(&shares.affine(-1.0, 1.0)?)?;
    let mixed = (fading + tile.narrow(dim, 0, extent)?.broadcast_mul(&shares)?)?;
    Tensor::cat(&[&mixed, &tile.narrow(dim, extent, size - extent)?], dim)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn tiles_of_a_decoder_that_looks_at_one_pixel_make_the_same_picture_as_the_whole() {
        let tiling = Tiling { side: 8, factor: 2 };
        let doubled = |x: &Tensor| x.upsample_nearest2d(2 * x.dim(2)?, 2 * x.dim(3)?);
        for (height, width) in [(8, 9), (20, 13), (6, 17), (31, 8)] {
            let latents = Tensor::arange(0f32, (3 * height * width) as f32, &Device::Cpu).unwrap();
            let latents = latents.reshape((1, 3, height, width)).unwrap();
            assert!(tiling.divides(height, width));
            let (tiled, whole) = (tiling.decode(&latents, doubled).unwrap(), doubled(&latents).unwrap());
            let values = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(tiled.dims(), whole.dims());
            assert!(values(tiled).iter().zip(values(whole)).all(|(a, b)| (a - b).abs() <= 1e-3 * b.abs()));
        }
        assert!(!tiling.divides(8, 8));
    }
}
