"""Writes the finished model in diffusers' layout, half precision, from the averaged weights.

    python export.py --work WORK --out FOLDER
The folder appears at once and complete: it is written beside its place and then moved there.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from model import new_scheduler, new_text_encoder, new_unet

DEFAULTS = {
    "name": "atelier-nano", "width": 128, "height": 128, "min_side": 128, "max_side": 128, "steps": 25, "guidance": 4.0,
    "description": "Trained from scratch on pictures drawn by a program: fifteen objects, ten colours, settings and four styles.",
}


def averaged(weights, part):
    """The averaged weights of one part of the learner."""
    return {k[len(part) + 1:]: v for k, v in weights.items() if k.startswith(part + ".")}


def assemble(work):
    """The pipeline with averaged weights."""
    state = torch.load(work / "state.pt", map_location="cpu")
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    text, unet = new_text_encoder(tokenizer), new_unet()
    text.load_state_dict(averaged(state["average"], "text"))
    unet.load_state_dict(averaged(state["average"], "unet"))
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny.from_pretrained(work / "vae"), text_encoder=text, tokenizer=tokenizer, unet=unet,
        scheduler=new_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    return pipeline, state["step"], state["spent"]


def usual_names(folder):
    """Text encoder weights under the names every Stable Diffusion folder has."""
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    weights = {k if k.startswith("text_model.") else f"text_model.{k}": v.half() for k, v in weights.items()}
    save_file(weights, path, metadata={"format": "pt"})


def without_paths(folder):
    """Configurations say nothing about the machine that they were written on."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write(pipeline, tokenizer, defaults, out):
    """Writes pipeline, tokenizer files and `atelier.json`, all at once."""
    new = out.with_name(out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(new)
    usual_names(new)
    without_paths(new)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copy(tokenizer / name, new / "tokenizer" / name)
    (new / "atelier.json").write_text(json.dumps(defaults, indent=2) + "\n")
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def weigh(out):
    """Prints every file's size; the sum."""
    total = 0
    for file in sorted(p for p in out.rglob("*") if p.is_file()):
        total += file.stat().st_size
        print(f"{file.stat().st_size:>10} {file.relative_to(out)}")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    work, out = Path(args.work), Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    pipeline, step, spent = assemble(work)
    write(pipeline, work / "tokenizer", DEFAULTS | {"trained_steps": step}, out)
    print(f"{weigh(out):>10} bytes in all, after {step} steps and {spent:.0f} s")


if __name__ == "__main__":
    main()
