//! Pixels by value, and the two plain operations on them: cropping and copying the nearest pixel.

/// Channels of a pixel: red, green, blue and alpha, not premultiplied.
pub(crate) const CHANNELS: usize = 4;

/// A picture: 8 bits a channel, row by row from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// `width * height * 4` bytes.
    pub rgba: Vec<u8>,
}

impl Picture {
    /// A picture whose every pixel is given by its place.
    pub fn from_fn(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; CHANNELS]) -> Self {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self { width, height, rgba: places.flat_map(|(x, y)| pixel(x, y)).collect() }
    }

    /// The pixel at a place inside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; CHANNELS] {
        let at = (y * self.width + x) * CHANNELS;
        std::array::from_fn(|channel| self.rgba[at + channel])
    }

    /// The largest middle part that has the shape of `width` by `height`.
    pub(crate) fn cropped_to_shape(&self, width: usize, height: usize) -> Self {
        // one of the two stays whole; rounding up keeps a thin picture from losing its last line
        let wide = (self.height * width).div_ceil(height).clamp(1, self.width);
        let high = (self.width * height).div_ceil(width).clamp(1, self.height);
        if (wide, high) == (self.width, self.height) {
            return self.clone();
        }
        let (left, top) = ((self.width - wide) / 2, (self.height - high) / 2);
        Self::from_fn(wide, high, |x, y| self.pixel(left + x, top + y))
    }

    /// A scaled copy in which every pixel is one of the source's.
    pub(crate) fn nearest(&self, width: usize, height: usize) -> Self {
        // the source pixel under the centre of a destination pixel, in whole numbers and thus alike on every machine
        let place = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
        Self::from_fn(width, height, |x, y| {
            self.pixel(place(x, self.width, width), place(y, self.height, height))
        })
    }
}
