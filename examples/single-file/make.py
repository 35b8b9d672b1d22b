"""Writes into a folder what one would have downloaded: `checkpoint.safetensors`, a model in one file as Stable Diffusion 1 is
shared, and adapters (LoRA) for it, each in another dialect: `ink` (kohya), `wash` (peft), `lcm` (as LCM-LoRA is shared).
Tiny, with random weights, and nothing is installed or fetched for it.

    python3 make.py FOLDER
"""

import json
import math
import pathlib
import random
import struct
import sys
import zlib

# names and shapes of a small model; its denoiser has further channels for a mask, which this one does without
SHAPES = pathlib.Path(__file__).resolve().parents[2] / "host/engine/tests/golden/single_file/sd1-inpaint.json"
LATENTS, WORDS = 4, 49_408
RANK = 2
GENERATOR = random.Random(1)
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
NOISE = [GENERATOR.gauss(0, 1) for _ in range(1021)]


def values(name, shape):
    """Half precision: norms that change nothing, no biases, and noise that keeps the size of what goes through."""
    count, is_matrix = math.prod(shape), len(shape) > 1
    if not is_matrix:
        return struct.pack("<e", 1.0 if name.endswith(("weight", "alpha")) else 0.0) * count
    scale, start = math.prod(shape[1:]) ** -0.5, zlib.crc32(name.encode()) % len(NOISE)
    noise = [value * scale for value in NOISE[start:] + NOISE[:start]]
    table = struct.pack(f"<{len(noise)}e", *noise)
    return (table * (count // len(noise) + 1))[: 2 * count]


def write(path, shapes):
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            file.write(values(name, shape))


def checkpoint(model):
    shapes = dict(model["file"])
    for name, shape in shapes.items():
        if name.endswith("input_blocks.0.0.weight"):
            shapes[name] = [shape[0], LATENTS, *shape[2:]]
        if name.endswith("token_embedding.weight"):
            shapes[name] = [WORDS, shape[1]]
    return shapes


def layers(model, component, endings):
    """Names and shapes of the layers whose names end so."""
    named = ((name.removesuffix(".weight"), shape) for name, (shape, _) in model["components"][component].items())
    return [(name, shape) for name, shape in named if name.endswith(endings)]


def kohya(model, components, endings):
    shapes = {}
    for component, beginning in components.items():
        for name, (outputs, inputs, *kernel) in layers(model, component, endings):
            key = f"{beginning}_{name.replace('.', '_')}"
            shapes[f"{key}.lora_down.weight"] = [RANK, inputs, *kernel]
            shapes[f"{key}.lora_up.weight"] = [outputs, RANK, *[1] * len(kernel)]
            shapes[f"{key}.alpha"] = []
    return shapes


def peft(model, component, endings):
    shapes = {}
    for name, (outputs, inputs) in layers(model, component, endings):
        shapes |= {f"{component}.{name}.lora_A.weight": [RANK, inputs], f"{component}.{name}.lora_B.weight": [outputs, RANK]}
    return shapes


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = json.loads(SHAPES.read_text())
    write(folder / "checkpoint.safetensors", checkpoint(model))
    write(folder / "ink.safetensors", kohya(model, {"unet": "lora_unet", "text_encoder": "lora_te"}, ATTENTION))
    write(folder / "wash.safetensors", peft(model, "unet", ATTENTION))
    residual = ("conv1", "conv2", "time_emb_proj", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
    write(folder / "lcm.safetensors", kohya(model, {"unet": "lora_unet"}, ATTENTION + residual))


if __name__ == "__main__":
    main()
