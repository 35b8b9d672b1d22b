"""What happens to a drawn picture afterwards: watercolour paper and pigment, or pixel blocks."""

import numpy as np
from PIL import Image, ImageFilter

from palette import PAPER

BLOCK = 8


def _noise(rng, cells, size):
    """Smooth noise between -1 and 1."""
    grid = np.frombuffer(rng.randbytes(cells * cells), np.uint8).reshape(cells, cells)
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 127.5 - 1


def _wash_mask(size, wobble):
    """How much paint reaches each point: all inside, none on the ragged paper margin."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    rim = np.minimum(np.minimum(x, size - 1 - x), np.minimum(y, size - 1 - y))
    return np.clip((rim - 6.0 + 2.6 * wobble) / 2.5, 0, 1)


def watercolor(image, rng):
    """Soft wandering edges, pigment that pools, a paper margin and a little grain."""
    size = image.width
    dx, dy = _noise(rng, 16, size) * 1.7, _noise(rng, 16, size) * 1.7
    y, x = np.mgrid[0:size, 0:size]
    xs = np.clip(np.rint(x + dx), 0, size - 1).astype(int)
    ys = np.clip(np.rint(y + dy), 0, size - 1).astype(int)
    soft = Image.fromarray(np.asarray(image)[ys, xs]).filter(ImageFilter.GaussianBlur(.9))
    a = np.asarray(soft, np.float32)
    pooled = np.asarray(soft.filter(ImageFilter.GaussianBlur(4)), np.float32)
    a = a + np.clip(a - pooled, -40, 12) * .45
    pigment = .5 * _noise(rng, 7, size) + .5 * _noise(rng, 24, size)
    strength = np.clip(.86 + .13 * pigment, .6, 1)[..., None] * _wash_mask(size, _noise(rng, 20, size))[..., None]
    paper = np.array(PAPER, np.float32) + 3 * _noise(rng, 64, size)[..., None]
    out = paper + (a - paper) * strength
    return Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))


def pixel(image):
    """Sixteen by sixteen blocks in a small palette, on the grid of the latents, so that they stay sharp."""
    small = image.reduce(BLOCK // 2).resize((image.width // BLOCK,) * 2, Image.Resampling.NEAREST).quantize(24, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return small.resize(image.size, Image.Resampling.NEAREST)
