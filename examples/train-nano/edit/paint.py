"""Loads an exported editor and edits pictures in batches. Also a small command line.

    python -m edit.paint --model FOLDER --picture boat.png --out night.png "make it night"
"""

import argparse

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

from paint import load

PIPELINE = StableDiffusionInstructPix2PixPipeline


def edit(pipeline, defaults, pictures, texts, seed=0, batch=25, **other):
    """The pictures after their instructions; picture k depends on both and on seed + k alone. `other`: over the defaults."""
    use, out = defaults | other, []
    for at in range(0, len(texts), batch):
        group = texts[at:at + batch]
        dice = [torch.Generator().manual_seed(seed + at + k) for k in range(len(group))]
        out += pipeline(group, image=pictures[at:at + batch], generator=dice, num_inference_steps=use["steps"],
                        guidance_scale=use["guidance"], image_guidance_scale=use["image_guidance"]).images
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--picture", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("instruction")
    args = parser.parse_args()
    pipeline, defaults = load(args.model, PIPELINE)
    picture = Image.open(args.picture).convert("RGB").resize((defaults["width"], defaults["height"]))
    edit(pipeline, defaults, [picture], [args.instruction], args.seed)[0].save(args.out)


if __name__ == "__main__":
    main()
