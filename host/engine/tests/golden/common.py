"""What the generators of golden fixtures share: tiny random networks, and a recorder of all that diffusers makes of them.

Each folder `<out>/<pipeline>/` is a diffusers folder with `golden.json` (what was asked) and `golden.safetensors` (what
diffusers made: `<case>/<stage>`). New seeds and sizes need no change to the Rust side.
"""

import argparse
import functools
import inspect
import json
import pathlib

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SCHEDULES = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"use_karras_sigmas": False}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
# Over the noise levels of arXiv 2206.00364, which have no betas.
EDM_SCHEDULES = {
    "edm_euler": (EDMEulerScheduler, {}),
    "edm_dpmpp_2m": (EDMDPMSolverMultistepScheduler, {}),
}
CORPUS = [
    "a photo of a cat sitting on the mat, highly detailed, 35mm, golden hour",
    "an oil painting of two red apples and one green pear on a table in the morning light",
    "the quick brown fox jumps over the lazy dog while it's raining and we're watching",
]
TEXTS = [
    "",
    " ",
    "a photo of a cat",
    "A  PHOTO\tof\n a Cat",
    "it's we're they'll don't i'd i've i'm",
    "hello, world!!! (really?) [yes] {no} #1 @you & co. 100% $5 50€",
    "naïve café Ünïcödé ÀÉÎ straße İstanbul ǅ",
    "cafe\u0301 decomposed and \u00a0 no-break space",
    "日本語のテキスト 漢字 한국어 العربية हिन्दी",
    "emoji 🐱‍👤 👩🏽‍🚀 ❤️ ☃ 𝔘𝔫𝔦",
    "numbers 3.14159 2026 1st ²³ ½ Ⅷ ٣",
    "<|startoftext|>inner<|endoftext|> tokens < | > <|other|>",
    "under_score-dash—em…ellipsis \"quotes\" 'single' `back` ''",
    "control\x00char\x07 zero\u200bwidth \ufeffbom",
    "z" * 200,
    "!!!! ! a!b",
    " ".join(CORPUS) * 3,
]


def tokenizer(folder, pad, max_length, as_files, name="tokenizer"):
    """A byte-level BPE like CLIP's, small: every byte with and without the end of a word, and a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=640, end_of_word_suffix="</w>", initial_alphabet=alphabet)
    words.train_from_iterator([word for line in CORPUS for word in line.split()], trainer)
    trained = json.loads(words.to_str())["model"]
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in trained["merges"]]
    tokens += [token for merge in merges if (token := merge.replace(" ", "")) not in tokens]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    made = CLIPTokenizer(vocab=vocab, merges=[tuple(m.split(" ")) for m in merges], pad_token=pad, model_max_length=max_length)
    made.save_pretrained(folder / name)
    if as_files:
        # the layout of Stable Diffusion 1: vocabulary and merges, no tokenizer.json
        (folder / name / "tokenizer.json").unlink()
        (folder / name / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
        (folder / name / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad}
        (folder / name / "special_tokens_map.json").write_text(json.dumps(special))
    return made


def text_encoder(tokenizer, act, heads, old_eos, width=16, projection=None):
    eos = 2 if old_eos else tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=32, num_hidden_layers=3, num_attention_heads=heads,
        max_position_embeddings=77, hidden_act=act, bos_token_id=0, eos_token_id=eos, pad_token_id=1,
        **({} if projection is None else {"projection_dim": projection}),
    )
    encoder = (CLIPTextModel if projection is None else CLIPTextModelWithProjection)(config).eval()
    # a norm that does nothing leaves states of mean 0, by which one rule of emphasis divides
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    with torch.no_grad():
        norm.weight.normal_(1.0, 0.2), norm.bias.normal_(0.3, 0.2)
    return encoder


def unet(**changes):
    config = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16, "norm_num_groups": 2, "attention_head_dim": 2,
    }
    return UNet2DConditionModel(**{**config, **changes}).eval()


def vae_kl(**changes):
    config = {
        "block_out_channels": (4, 8), "in_channels": 3, "sample_size": 16, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    return AutoencoderKL(**{**config, **changes}).eval()


def vae_tiny():
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1), latent_channels=4,
    ).eval()


def scheduler(**changes):
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False}
    return DDIMScheduler(**{**config, **changes, "set_alpha_to_one": False})


def strengthen(denoiser):
    """Random weights as they come say little: larger ones let a mistake show."""
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.mul_(1.2)


def source_picture(height, width, seed):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)


def mask_of(pixels):
    """White where a picture is painted anew."""
    height, width, _ = pixels.shape
    mask = np.zeros_like(pixels)
    mask[height // 3 :, : width // 2 + 1] = 255
    return mask


def as_tensor(pixels):
    """(h, w, 3) of bytes to (1, 3, h, w) within 0 to 1."""
    return torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]


def source_tensor(case, keep):
    """What an image-to-image case starts from, once per image."""
    pixels = source_picture(case["height"], case["width"], case["seeds"][0])
    keep("source", torch.from_numpy(pixels))
    picture = as_tensor(pixels) * 2 - 1
    return picture.repeat(len(case["seeds"]) if case["image_guidance"] is None else 1, 1, 1, 1)


# a prompt with brackets, and what they mean in the web UI's syntax
EMPHASIZED = "a (red:1.4) ball, [blurry] BREAK ((detailed))"
PIECES = [[("a ", 1.0), ("red", 1.4), (" ball, ", 1.0), ("blurry", 1 / 1.1)], [("detailed", 1.1 * 1.1)]]


def emphasized(tokens, encode, rule):
    """States of `PIECES`, a row each, by one of the three rules; `encode` takes rows of ids. Returns (ids, states)."""
    rows, weights = [], []
    for pieces in PIECES:
        chunk = [(id, weight) for text, weight in pieces for id in tokens(text, add_special_tokens=False).input_ids]
        row = [(tokens.bos_token_id, 1.0), *chunk, (tokens.eos_token_id, 1.0)]
        row += [(tokens.pad_token_id, 1.0)] * (tokens.model_max_length - len(row))
        rows.append([id for id, _ in row]), weights.append([weight for _, weight in row])
    rows, weights = torch.tensor(rows), torch.tensor(weights)[..., None]
    states, empty = encode(rows), encode(chunk_rows(tokens, ""))
    weighted = states * weights
    if rule == "a1111":
        weighted = weighted * (states.mean((1, 2), keepdim=True) / weighted.mean((1, 2), keepdim=True))
    elif rule == "comfy":
        weighted = (states - empty) * weights + empty
    return rows, weighted.flatten(0, 1)[None]


def chunk_rows(tokens, prompt, count=1):
    """Windows of the tokenizer's length; the rule of our own that diffusers lacks."""
    window = tokens.model_max_length - 2
    ids = tokens(prompt, add_special_tokens=False).input_ids
    chunks = [ids[i : i + window] for i in range(0, len(ids), window)] or [[]]
    chunks += [[]] * (count - len(chunks))
    rows = [[tokens.bos_token_id, *chunk, tokens.eos_token_id] for chunk in chunks]
    return torch.tensor([row + [tokens.pad_token_id] * (tokens.model_max_length - len(row)) for row in rows])


@torch.no_grad()
def run(pipeline, base, case, keep, texts):
    """One case of `pipeline`, whose class fits the case; `keep(stage, tensor)` takes what is made on the way and
    `texts(pipeline, case)` gives the arguments that say what to show."""
    class_, changes = (SCHEDULES | EDM_SCHEDULES)[case["schedule"]]
    pipeline.scheduler = class_.from_config(base, **changes)
    pipeline.set_progress_bar_config(disable=True)
    # it insists on multiples of 8, whatever the autoencoder; odd latents are what we want to see
    pipeline.check_inputs = lambda *args, **kwargs: None
    images = len(case["seeds"])
    call = {
        "num_inference_steps": case["steps"], "guidance_scale": case["guidance"], "output_type": "latent",
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in case["seeds"]],
        "num_images_per_prompt": images, **texts(pipeline, case, keep),
    }
    if case["rescale"]:
        call["guidance_rescale"] = case["rescale"]
    if case["framing"]:
        left, top = case["framing"]["crop"].values()
        call |= {
            "original_size": tuple(case["framing"]["original"].values())[::-1], "crops_coords_top_left": (top, left),
            "target_size": tuple(case["framing"]["target"].values())[::-1],
        }
    if case["inpaint"]:
        pixels = source_picture(case["height"], case["width"], case["seeds"][0])
        mask = mask_of(pixels)
        keep("source", torch.from_numpy(pixels)), keep("mask", torch.from_numpy(mask))
        picture = as_tensor(pixels)
        call |= {
            "image": (picture * 2 - 1).repeat(images, 1, 1, 1), "mask_image": torch.from_numpy(mask[None, None, :, :, 0] / 255.0).float(),
            "strength": 1.0 if case["strength"] is None else case["strength"], "height": case["height"], "width": case["width"],
        }
    elif case["strength"] is None and case["image_guidance"] is None:
        call |= {"height": case["height"], "width": case["width"]}
    else:
        call["image"] = source_tensor(case, keep)
        if case["strength"] is not None:
            call["strength"] = case["strength"]
        else:
            call["image_guidance_scale"] = case["image_guidance"]
            # XL's does not look at the picture's own size
            if "height" in inspect.signature(pipeline.__call__).parameters:
                call |= {"height": case["height"], "width": case["width"]}
    record(pipeline, call, keep)


def record(pipeline, call, keep):
    inputs, outputs, latents, visited = [], [], [], []
    forward, step = pipeline.unet.forward, pipeline.scheduler.step

    def recording_forward(sample, timestep, encoder_hidden_states, *args, **kwargs):
        if not inputs:
            keep("context", encoder_hidden_states)
            for name, value in (kwargs.get("added_cond_kwargs") or {}).items():
                keep({"text_embeds": "pooled", "time_ids": "numbers"}[name], value)
        result = forward(sample, timestep, encoder_hidden_states, *args, **kwargs)
        inputs.append(sample), outputs.append(result[0]), visited.append(timestep)
        return result

    # pipelines look at the signature before they pass a generator
    @functools.wraps(step)
    def recording_step(output, timestep, sample, *args, **kwargs):
        if not latents:
            latents.append(sample)
        result = step(output, timestep, sample, *args, **kwargs)
        if "mask_image" not in call:
            latents.append(result[0])
        return result

    # between two steps an inpainting pipeline puts back what it keeps
    def after_step(pipeline, index, timestep, values):
        latents.append(values["latents"])
        return {}

    if "mask_image" in call:
        call["callback_on_step_end"] = after_step

    pipeline.unet.forward, pipeline.scheduler.step = recording_forward, recording_step
    try:
        final = pipeline(**call).images
    finally:
        pipeline.unet.forward, pipeline.scheduler.step = forward, step
    steps = len(outputs)
    keep("timesteps", torch.stack(visited).to(torch.float64))
    if hasattr(pipeline.scheduler, "sigmas"):
        keep("sigmas", pipeline.scheduler.sigmas[-steps - 1 :].to(torch.float64))
    keep("inputs", torch.stack(inputs)), keep("outputs", torch.stack(outputs)), keep("latents", torch.stack(latents))
    image = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample
    keep("image", image)
    pixels = pipeline.image_processor.postprocess(image, output_type="np")
    keep("pixels", torch.from_numpy((pixels * 255).round().astype("uint8")))
    return final


@torch.no_grad()
def tile(vae, keep):
    """Latents of several tiles, the last of them narrower; the side of a tile is that of the configuration."""
    side = vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1)
    latents = torch.randn(1, vae.config.latent_channels, 2 * side + 3, side + side // 2)
    vae.enable_tiling()
    shift = vae.config.shift_factor or 0.0
    keep("latents", latents), keep("image", vae.decode(latents / vae.config.scaling_factor + shift).sample)
    vae.disable_tiling()


def case(arguments, **changes):
    """What is asked unless a case says otherwise."""
    base = {
        "prompt": "a photo of a cat", "negative_prompt": "", "height": arguments.height, "width": arguments.width, "steps": 4,
        "guidance": 7.5, "seeds": [arguments.seed], "schedule": "ddim", "clip_skip": 0, "strength": None,
        "image_guidance": None, "rescale": 0.0, "framing": None, "emphasis": "none",
        "inpaint": False,
    }
    return base | changes


def main(description, families):
    """`families`: a name to `(build(folder) -> pipeline, cases(arguments) -> dict, run(pipeline, base, case, keep))`, and
    where its folder has more than diffusers writes `files(pipeline, folder, arguments)`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the weights, and of the first image")
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    for name, (build, cases, run, *files) in families.items():
        torch.manual_seed(arguments.seed)
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        pipeline = build(folder)
        if "unet" in pipeline.components:
            strengthen(pipeline.unet)
        pipeline.save_pretrained(folder, safe_serialization=True)
        for write in files:
            write(pipeline, folder, arguments)
        if getattr(pipeline, "is_cosxl_edit", False):
            # diffusers saves it nowhere: those who load such a folder have to say it
            index = json.loads((folder / "model_index.json").read_text())
            (folder / "model_index.json").write_text(json.dumps(index | {"is_cosxl_edit": True}, indent=2) + "\n")
        # from the file: a config in memory also knows which values were defaults, and drops those for another class
        base = type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
        asked, tensors = cases(arguments), {}
        for key in asked:
            run(pipeline, base, asked[key], lambda stage, value: tensors.__setitem__(f"{key}/{stage}", value.contiguous()))
        if isinstance(pipeline.vae, AutoencoderKL):
            tile(pipeline.vae, lambda stage, value: tensors.__setitem__(f"tiled/{stage}", value.contiguous()))
        tokens = pipeline.tokenizer or pipeline.tokenizer_2
        texts = [{"text": text, "ids": tokens(text).input_ids} for text in TEXTS]
        save_file(tensors, folder / "golden.safetensors")
        golden = {"cases": asked, "texts": texts}
        (folder / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")
    return arguments
