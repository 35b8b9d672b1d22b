"""Loads an exported model and paints prompts in batches. Also a small command line.

    python paint.py --model FOLDER --out picture.png "a red boat on the sea at night"
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline


def load(folder, kind=StableDiffusionPipeline):
    """The pipeline in single precision and its defaults."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, json.loads((Path(folder) / "atelier.json").read_text())


def paint(pipeline, defaults, prompts, seed=0, batch=20, steps=None, guidance=None):
    """One picture for each prompt; picture k depends on its prompt and on seed + k alone."""
    pictures = []
    for at in range(0, len(prompts), batch):
        group = prompts[at:at + batch]
        dice = [torch.Generator().manual_seed(seed + at + k) for k in range(len(group))]
        pictures += pipeline(
            group, generator=dice, width=defaults["width"], height=defaults["height"],
            num_inference_steps=steps or defaults["steps"],
            guidance_scale=guidance or defaults["guidance"]).images
    return pictures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("prompt")
    args = parser.parse_args()
    pipeline, defaults = load(args.model)
    paint(pipeline, defaults, [args.prompt], args.seed)[0].save(args.out)


if __name__ == "__main__":
    main()
