"""What diffusers makes of single-file checkpoints, for `single_file.rs`.

Every kind of checkpoint at a small width: the names and shapes of its tensors in the layout of the original training code, and
what diffusers' own conversion makes of them: names, shapes and a digest of the values of every component. Values are not
kept: both sides fill a tensor by its name (`fill`). Configurations are those that the tensors were made from, without what
is the class's default.

    python make_single_file.py --out FOLDER [--width 64]
"""

import argparse
import json
import pathlib
import re
import zlib

import numpy as np
import torch
from common import TEXTS
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

ACROSS, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
UP_ACROSS, UP = "CrossAttnUpBlock2D", "UpBlock2D"
# levels with attention, transformers in each level, width of each level, text encoders, channels of the input
KINDS = {
    "sd1": {"levels": [1, 1, 1, 0], "depth": 1, "widths": [1, 2, 4, 4], "heads": 8, "text": ["clip"], "channels": 4},
    "sd1-inpaint": {"levels": [1, 0], "depth": 1, "widths": [1, 2], "heads": 8, "text": ["clip"], "channels": 9},
    "sd1-edit": {"levels": [1, 0], "depth": 1, "widths": [1, 2], "heads": 8, "text": ["clip"], "channels": 8},
    "sd2": {"levels": [1, 1, 1, 0], "depth": 1, "widths": [1, 2, 4, 4], "heads": None, "text": ["open-clip"], "channels": 4},
    "xl": {"levels": [0, 1, 1], "depth": [1, 2, 3], "widths": [1, 2, 4], "heads": None, "text": ["clip", "open-clip"], "channels": 4},
    "xl-refiner": {"levels": [0, 1, 1, 0], "depth": [1, 4, 4, 4], "widths": [1, 2, 4, 4], "heads": None, "text": ["open-clip"], "channels": 4},
}
XL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}


def unet_config(kind, width):
    levels, widths = kind["levels"], [width * factor for factor in kind["widths"]]
    is_xl = "xl" in kind["name"]
    config = {
        "sample_size": {"sd2": 96}.get(kind["name"], 128 if is_xl else 64), "in_channels": kind["channels"],
        "block_out_channels": widths, "cross_attention_dim": width * 2 if is_xl else width,
        "down_block_types": [ACROSS if level else DOWN for level in levels],
        "up_block_types": [UP_ACROSS if level else UP for level in reversed(levels)],
        "transformer_layers_per_block": kind["depth"], "use_linear_projection": kind["heads"] is None,
        "attention_head_dim": kind["heads"] or [wide // 64 for wide in widths],
    }
    return config | (XL | {"projection_class_embeddings_input_dim": 6 * 256 + width} if is_xl else {})


def text_models(kind, width):
    """Component, model and the prefix of its tensors."""
    is_xl = "xl" in kind["name"]
    made = []
    for number, encoder in enumerate(kind["text"]):
        is_open = encoder == "open-clip"
        # diffusers knows that Stable Diffusion 2's checkpoints have a layer that the model does not use
        layers = 23 if is_open and not is_xl else 3
        config = CLIPTextConfig(
            vocab_size=130, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=width // 64, max_position_embeddings=77, projection_dim=width,
            hidden_act="gelu" if is_open else "quick_gelu", bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )
        class_ = CLIPTextModelWithProjection if is_open and is_xl else CLIPTextModel
        prefix = f"conditioner.embedders.{number}." if is_xl else "cond_stage_model."
        folder = "text_encoder_2" if is_open and is_xl else "text_encoder"
        made.append((folder, class_(config), prefix + ("model." if is_open else "transformer."), is_open))
    return made


def unet_names(config):
    """The original name of every tensor, by hand; diffusers' conversion below says whether it is right."""
    resnet = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
              "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    pairs = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
             "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
             "add_embedding.linear_2": "label_emb.0.2", "mid_block.attentions.0": "middle_block.1"}
    for new, old in resnet.items():
        pairs[f"mid_block.resnets.0.{new}"], pairs[f"mid_block.resnets.1.{new}"] = f"middle_block.0.{old}", f"middle_block.2.{old}"
    count = len(config["block_out_channels"])
    for block in range(count):
        for layer in range(3):
            down, up = 3 * block + layer + 1, 3 * block + layer
            pairs[f"down_blocks.{block}.attentions.{layer}"] = f"input_blocks.{down}.1"
            pairs[f"up_blocks.{block}.attentions.{layer}"] = f"output_blocks.{up}.1"
            for new, old in resnet.items():
                pairs[f"down_blocks.{block}.resnets.{layer}.{new}"] = f"input_blocks.{down}.0.{old}"
                pairs[f"up_blocks.{block}.resnets.{layer}.{new}"] = f"output_blocks.{up}.0.{old}"
        pairs[f"down_blocks.{block}.downsamplers.0.conv"] = f"input_blocks.{3 * block + 3}.0.op"
        place = 2 if config["up_block_types"][block] == UP_ACROSS else 1
        pairs[f"up_blocks.{block}.upsamplers.0.conv"] = f"output_blocks.{3 * block + 2}.{place}.conv"
    return pairs


def vae_names(levels):
    pairs = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ["encoder", "decoder"]:
        pairs |= {f"{half}.conv_in": f"{half}.conv_in", f"{half}.conv_norm_out": f"{half}.norm_out", f"{half}.conv_out": f"{half}.conv_out"}
        parts = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        pairs |= {f"{half}.mid_block.attentions.0.{new}": f"{half}.mid.attn_1.{old}" for new, old in parts.items()}
        blocks, sizes = ("down_blocks", "down") if half == "encoder" else ("up_blocks", "up")
        for level in range(levels):
            old = level if half == "encoder" else levels - 1 - level
            pairs[f"{half}.{blocks}.{level}.{sizes}samplers.0.conv"] = f"{half}.{sizes}.{old}.{sizes}sample.conv"
            for layer in range(3):
                for part in ["norm1", "conv1", "norm2", "conv2"]:
                    pairs[f"{half}.{blocks}.{level}.resnets.{layer}.{part}"] = f"{half}.{sizes}.{old}.block.{layer}.{part}"
                pairs[f"{half}.{blocks}.{level}.resnets.{layer}.conv_shortcut"] = f"{half}.{sizes}.{old}.block.{layer}.nin_shortcut"
        for index in range(2):
            for part in ["norm1", "conv1", "norm2", "conv2"]:
                pairs[f"{half}.mid_block.resnets.{index}.{part}"] = f"{half}.mid.block_{index + 1}.{part}"
    return pairs


def renamed(model, pairs):
    """Original names and shapes of a model's tensors."""
    found = {}
    for name, tensor in model.state_dict().items():
        start = next(start for start in (name.rsplit(".", cut)[0] for cut in range(1, name.count(".") + 1)) if start in pairs)
        shape = list(tensor.shape)
        if ".mid_block.attentions." in name and len(shape) == 2 and start.startswith(("encoder", "decoder")):
            shape += [1, 1]
        found[pairs[start] + name[len(start) :]] = shape
    return found


def open_clip_shapes(model, config, is_second):
    """OpenCLIP's names: projections in one tensor, and one layer more than Stable Diffusion 2 uses."""
    wide, shapes = config.hidden_size, {}
    for layer in range(config.num_hidden_layers + (0 if is_second else 1)):
        block = f"transformer.resblocks.{layer}."
        shapes |= {f"{block}ln_{index}.{kind}": [wide] for index in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"{block}attn.in_proj_weight": [3 * wide, wide], f"{block}attn.in_proj_bias": [3 * wide]}
        shapes |= {f"{block}attn.out_proj.weight": [wide, wide], f"{block}attn.out_proj.bias": [wide]}
        shapes |= {f"{block}mlp.c_fc.weight": [4 * wide, wide], f"{block}mlp.c_fc.bias": [4 * wide]}
        shapes |= {f"{block}mlp.c_proj.weight": [wide, 4 * wide], f"{block}mlp.c_proj.bias": [wide]}
    shapes |= {"positional_embedding": [77, wide], "token_embedding.weight": [config.vocab_size, wide]}
    return shapes | {"ln_final.weight": [wide], "ln_final.bias": [wide], "text_projection": [wide, wide], "logit_scale": []}


def fill(name, shape):
    """Values that say which tensor, and which of its values, they are; exact in f16."""
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(((zlib.crc32(name.encode()) + 7 * np.arange(count, dtype=np.int64)) % 1021).astype(np.float32)).reshape(shape)


def digest(tensor):
    """Every value counts with its place."""
    values = tensor.flatten().to(torch.float64).numpy().astype(np.int64)
    return int((values * (np.arange(values.size, dtype=np.int64) % 8191 + 1)).sum() % (1 << 52))


def described(tensors):
    return {name: [list(tensor.shape), digest(tensor)] for name, tensor in tensors.items()}


def different(config, class_):
    """Without the defaults of the class, which a written configuration may leave out."""
    defaults = dict(class_().config)
    return {key: value for key, value in config.items() if not key.startswith("_") and defaults.get(key) != value}


def make(kind, width):
    config = unet_config(kind, width)
    # the width of the states is what the denoiser looks at, whatever encoders make it in a model of this size
    unet = UNet2DConditionModel(**config)
    vae_config = {"block_out_channels": [32, 64, 64, 64], "down_block_types": ["DownEncoderBlock2D"] * 4, "layers_per_block": 2,
                  "up_block_types": ["UpDecoderBlock2D"] * 4, "latent_channels": 4,
                  "scaling_factor": 0.13025 if "xl" in kind["name"] else 0.18215}
    vae = AutoencoderKL(**vae_config)
    file = {f"model.diffusion_model.{name}": shape for name, shape in renamed(unet, unet_names(config)).items()}
    file |= {f"first_stage_model.{name}": shape for name, shape in renamed(vae, vae_names(4)).items()}
    texts = text_models(kind, width)
    for folder, model, prefix, is_open in texts:
        names = open_clip_shapes(model, model.config, "xl" in kind["name"]) if is_open else {
            name if name.startswith("text_model.") else f"text_model.{name}": list(tensor.shape) for name, tensor in model.state_dict().items()
        }
        file |= {prefix + name: shape for name, shape in names.items()}
        if not is_open:
            file[f"{prefix}text_model.embeddings.position_ids"] = [1, 77]
    file |= {"betas": [1000], "model_ema.decay": []}
    values = {name: fill(name, shape) for name, shape in file.items()}
    made = {"unet": convert_ldm_unet_checkpoint(dict(values), dict(unet.config)), "vae": convert_ldm_vae_checkpoint(dict(values), dict(vae.config))}
    configs = {"unet": different(dict(unet.config), UNet2DConditionModel), "vae": different(dict(vae.config), AutoencoderKL)}
    # a default that no checkpoint has
    configs["unet"] |= {"cross_attention_dim": config["cross_attention_dim"]}
    for folder, model, prefix, is_open in texts:
        if is_open:
            made[folder] = convert_open_clip_checkpoint(model, dict(values), prefix=prefix)
        else:
            kept = {name: tensor for name, tensor in values.items() if not name.endswith("position_ids")}
            made[folder] = convert_ldm_clip_checkpoint(kept)
        if not isinstance(model, CLIPTextModelWithProjection):
            made[folder].pop("text_projection.weight", None)
        keys = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "hidden_act",
                "max_position_embeddings", "eos_token_id", "architectures"]
        configs[folder] = {key: model.config.to_dict().get(key) for key in keys} | {"architectures": [type(model).__name__]}
        check(model, made[folder])
    check(unet, made["unet"]), check(vae, made["vae"])
    return {"file": file, "configs": configs,
            "components": {folder: described(tensors) for folder, tensors in made.items()}}


def tokens():
    """Ids that transformers gives with CLIP's vocabulary, which single files leave out and we bring."""
    merges = (pathlib.Path(__file__).parents[2] / "src/checkpoint/clip/merges.txt").read_text().splitlines()[1:]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(256 - len(printable))]
    words = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    made = CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges], pad_token="<|endoftext|>")
    return [{"text": text, "ids": made(text).input_ids} for text in TEXTS]


def check(model, tensors):
    """The reference must have understood every tensor, or the names above are wrong."""
    bare = lambda name: re.sub("^text_model\\.", "", name)
    expected = {bare(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {bare(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    assert expected == found, (sorted(set(expected) ^ set(found))[:8], type(model))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--width", type=int, default=64, help="of the smallest level; a multiple of 64")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "tokens.json").write_text(json.dumps(tokens(), ensure_ascii=False, indent=0) + "\n")
    for name, kind in KINDS.items():
        made = make(kind | {"name": name}, arguments.width)
        text = json.dumps(made, separators=(",", ":")).replace('],"', '],\n"')
        (arguments.out / f"{name}.json").write_text(text + "\n")
        print(name, len(made["file"]), "tensors,", len(text) // 1024, "KiB")


if __name__ == "__main__":
    main()
