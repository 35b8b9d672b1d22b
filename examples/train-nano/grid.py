"""A labelled sheet of pictures painted by the exported model.

    python grid.py --model FOLDER --out grid.png
"""

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from paint import load, paint

PROMPTS = (
    "a red boat on the sea at sunset", "a black cat in the snow", "a yellow star in the night sky, pixel art",
    "a watercolor of a pink flower in a meadow", "a crimson heart on a plain white background", "a line drawing of a blue fish on a yellow background",
    "a little white cottage in a snowy landscape at night", "an orange kitten in a meadow, watercolour", "a purple mountain at dusk",
    "pixel art of a green tree in a meadow", "a sailing boat on the ocean at dusk", "a white cloud in a clear sky",
    "a golden crescent moon at midnight", "a red square on a plain blue background, as an outline", "an orange fish in the sea, 8-bit",
    "a brown house at sunset as a line drawing", "a yellow sun over the ocean", "a purple circle on a plain green background",
    "a red cat on a blue square", "a yellow moon above a green tree at night", "a pink flower beside a white house in a meadow",
    "a blue triangle on an orange background, watercolor", "a white star above a brown mountain, pixel art", "an ink drawing of a red tree in the snow",
)
COLUMNS, CELL, GAP, LABEL = 6, 128, 14, 34
GROUND, TEXT = (250, 248, 244), (70, 66, 78)


def rounded(size, radius=8):
    big = Image.new("L", (size * 4, size * 4), 0)
    ImageDraw.Draw(big).rounded_rectangle((0, 0, size * 4 - 1, size * 4 - 1), radius * 4, fill=255)
    return big.resize((size, size), Image.Resampling.LANCZOS)


def sheet(pictures, labels):
    """Pictures in rows with their prompts below."""
    rows = -(-len(pictures) // COLUMNS)
    out = Image.new("RGB", (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + GAP + LABEL) + GAP), GROUND)
    draw, font, mask = ImageDraw.Draw(out), ImageFont.load_default(11), rounded(CELL)
    for k, (picture, label) in enumerate(zip(pictures, labels)):
        x, y = GAP + k % COLUMNS * (CELL + GAP), GAP + k // COLUMNS * (CELL + GAP + LABEL)
        out.paste(picture, (x, y), mask)
        for n, line in enumerate(textwrap.wrap(label, 24)[:3]):
            draw.text((x + CELL / 2, y + CELL + 4 + n * 12), line, TEXT, font, anchor="mt")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    args = parser.parse_args()
    pipeline, defaults = load(args.model)
    out = sheet(paint(pipeline, defaults, list(PROMPTS), args.seed, 12, args.steps, args.guidance), PROMPTS)
    out.save(args.out, optimize=True)
    if Path(args.out).stat().st_size > 600_000:
        out.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
