"""Models of full size with random weights, and the same run in diffusers, for benches/full_size.rs.

    python full_size.py make DIR NAME    # sd15 or sdxl: a diffusers folder in f16
    python full_size.py run DIR NAME     # two steps at 512 x 512; prints one line of JSON: seconds and peak bytes

`run` also leaves beside the model what diffusers made of it, as tests/golden.rs reads it.
"""

import functools
import json
import pathlib
import resource
import sys
import time
import types

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/golden"))
import common  # noqa: E402
import make_stable_diffusion  # noqa: E402
import make_xl  # noqa: E402

SIDE, STEPS, GUIDANCE = 512, 2, 5.0
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280}


def clip(kind, **config):
    return kind(CLIPTextConfig(bos_token_id=0, eos_token_id=2, pad_token_id=1, **config)).eval()


def autoencoder(**changes):
    config = {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": SIDE,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return AutoencoderKL(**{**config, **changes}).eval()


def sd15(folder):
    tokens = common.tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip(CLIPTextModel, **CLIP_L), tokenizer=tokens, scheduler=common.scheduler(),
        unet=UNet2DConditionModel(cross_attention_dim=768, sample_size=64).eval(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def sdxl(folder):
    tokens = common.tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    second = common.tokenizer(folder, "!", 77, as_files=True, name="tokenizer_2")
    unet = UNet2DConditionModel(
        sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10], use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder(sample_size=1024, scaling_factor=0.13025), text_encoder=clip(CLIPTextModel, **CLIP_L), tokenizer=tokens,
        text_encoder_2=clip(CLIPTextModelWithProjection, **CLIP_G), tokenizer_2=second, unet=unet.eval(),
        scheduler=common.scheduler(timestep_spacing="leading"), add_watermarker=False,
    )


# how each is built, and how tests/golden writes a case of its family
FAMILIES = {"sd15": (sd15, StableDiffusionPipeline, make_stable_diffusion), "sdxl": (sdxl, StableDiffusionXLPipeline, make_xl)}


def make(folder):
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    FAMILIES[folder.name][0](folder).to(torch.float16).save_pretrained(folder, safe_serialization=True)


def timed(network):
    """Records how long each pass of a network takes."""
    forward, times = network.forward, []

    @functools.wraps(forward)
    def recording(*args, **kwargs):
        began = time.perf_counter()
        result = forward(*args, **kwargs)
        times.append(time.perf_counter() - began)
        return result

    network.forward = recording
    return times


def run(folder):
    began = time.perf_counter()
    _, kind, family = FAMILIES[folder.name]
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
    load, times = time.perf_counter() - began, timed(pipeline.unet)
    case, tensors = common.case(types.SimpleNamespace(height=SIDE, width=SIDE, seed=0), steps=STEPS, guidance=GUIDANCE), {}
    base = type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
    family.run(pipeline, base, case, lambda stage, value: tensors.__setitem__(f"t2i/{stage}", value.contiguous()))
    common.save_file(tensors, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps({"cases": {"t2i": case}, "texts": []}, indent=1) + "\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"load": load, "step": min(times), "peak": peak}))


if __name__ == "__main__":
    verb, root, name = sys.argv[1:]
    {"make": make, "run": run}[verb](pathlib.Path(root) / name)
