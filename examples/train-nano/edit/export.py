"""Writes the finished editor in diffusers' layout, half precision, from the averaged weights.

    python -m edit.export --sister FOLDER --work WORK/edit --out FOLDER
Codec and tokenizer are the sister's.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionInstructPix2PixPipeline
from transformers import CLIPTokenizer

from export import averaged, weigh, write
from model import new_scheduler, new_text_encoder, new_unet

CHANNELS = 8            # noisy latents, and the old picture's
DEFAULTS = {
    "name": "atelier-nano-edit", "width": 128, "height": 128, "min_side": 128, "max_side": 128, "steps": 20,
    "guidance": 2.0, "image_guidance": 2.0,
    "description": "Changes pictures of the little world of atelier-nano as it is told: colours, objects, places, times, styles.",
}


def pipeline_of(sister, weights):
    """The pipeline with averaged weights of a training."""
    tokenizer = CLIPTokenizer.from_pretrained(sister, subfolder="tokenizer")
    text, unet = new_text_encoder(tokenizer), new_unet(CHANNELS)
    text.load_state_dict(averaged(weights, "text"))
    unet.load_state_dict(averaged(weights, "unet"))
    codec = AutoencoderTiny.from_pretrained(sister, subfolder="vae")
    return StableDiffusionInstructPix2PixPipeline(
        vae=codec, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=new_scheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sister", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    sister, out = Path(args.sister), Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    state = torch.load(Path(args.work) / "state.pt", map_location="cpu")
    write(pipeline_of(sister, state["average"]), sister / "tokenizer", DEFAULTS | {"trained_steps": state["step"]}, out)
    print(f"{weigh(out):>10} bytes in all, after {state['step']} steps and {state['spent']:.0f} s")


if __name__ == "__main__":
    main()
