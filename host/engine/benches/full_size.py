"""Models of full size with random weights, and the same run in diffusers, for benches/full_size.rs.

    python full_size.py make DIR NAME    # sd15, sdxl: a diffusers folder in f16; flux: networks in blocks of four bits
    python full_size.py run DIR NAME     # two steps at 512 x 512; prints one line of JSON: seconds and peak bytes

`run` also leaves beside the model what diffusers made of it, as tests/golden.rs reads it. FLUX's peer is its transformer alone:
transformers would hold its T5 in f32, which is more memory than most machines have.
"""

import functools
import json
import pathlib
import resource
import sys
import time
import types

import gguf
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FluxTransformer2DModel,
    GGUFQuantizationConfig,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/golden"))
import common  # noqa: E402
import make_flux  # noqa: E402
import make_stable_diffusion  # noqa: E402
import make_xl  # noqa: E402

SIDE, STEPS = 512, 2
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280}
T5 = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 32128}
FLUX_WIDTH, FLUX_DOUBLE, FLUX_SINGLE = 3072, 19, 38
Q4 = gguf.GGMLQuantizationType.Q4_0
F32 = gguf.GGMLQuantizationType.F32


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
    if folder.name == "flux":
        return make_quantized(folder)
    FAMILIES[folder.name][0](folder).to(torch.float16).save_pretrained(folder, safe_serialization=True)


def flux_layers():
    """Black Forest Labs' names, with outputs and inputs; no inputs for norms of heads."""
    width = FLUX_WIDTH
    yield from [
        ("img_in", width, 64), ("txt_in", width, 4096), ("time_in.in_layer", width, 256), ("time_in.out_layer", width, width),
        ("vector_in.in_layer", width, 768), ("vector_in.out_layer", width, width),
        ("final_layer.adaLN_modulation.1", 2 * width, width), ("final_layer.linear", 64, width),
    ]
    for block in (f"double_blocks.{index}" for index in range(FLUX_DOUBLE)):
        for stream in ("img", "txt"):
            yield from [
                (f"{block}.{stream}_mod.lin", 6 * width, width), (f"{block}.{stream}_attn.qkv", 3 * width, width),
                (f"{block}.{stream}_attn.proj", width, width), (f"{block}.{stream}_attn.norm.query_norm", 128, 0),
                (f"{block}.{stream}_attn.norm.key_norm", 128, 0), (f"{block}.{stream}_mlp.0", 4 * width, width),
                (f"{block}.{stream}_mlp.2", width, 4 * width),
            ]
    for block in (f"single_blocks.{index}" for index in range(FLUX_SINGLE)):
        yield from [
            (f"{block}.modulation.lin", 3 * width, width), (f"{block}.linear1", 7 * width, width),
            (f"{block}.linear2", width, 5 * width), (f"{block}.norm.query_norm", 128, 0), (f"{block}.norm.key_norm", 128, 0),
        ]


def t5_layers():
    """llama.cpp's names."""
    width, inner = T5["d_model"], T5["d_kv"] * T5["num_heads"]
    yield from [("token_embd", T5["vocab_size"], width), ("enc.output_norm", width, 0), ("enc.blk.0.attn_rel_b", 32, T5["num_heads"])]
    for block in (f"enc.blk.{index}" for index in range(T5["num_layers"])):
        yield from [(f"{block}.attn_{part}", inner, width) for part in "qkv"]
        yield from [
            (f"{block}.attn_o", width, inner), (f"{block}.attn_norm", width, 0), (f"{block}.ffn_norm", width, 0),
            (f"{block}.ffn_gate", T5["d_ff"], width), (f"{block}.ffn_up", T5["d_ff"], width), (f"{block}.ffn_down", width, T5["d_ff"]),
        ]


@functools.cache
def random_blocks(outputs, inputs):
    """Random blocks of four bits whose values keep the size of what goes through them. One for all layers of a shape."""
    blocks = np.random.RandomState(inputs).randint(0, 256, (outputs, inputs // 32, 18), dtype=np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(1 / (4.6 * inputs**0.5)).tobytes(), np.uint8)
    return blocks.reshape(outputs, -1)


def write(path, architecture, layers, norm):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    for name, outputs, inputs in layers:
        if inputs == 0:
            writer.add_tensor(f"{name}.{norm}", np.ones(outputs, np.float32), raw_dtype=F32)
            continue
        if name.endswith("attn_rel_b"):
            writer.add_tensor(f"{name}.weight", np.zeros((outputs, inputs), np.float32), raw_dtype=F32)
            continue
        writer.add_tensor(f"{name}.weight", random_blocks(outputs, inputs), raw_dtype=Q4)
        if architecture == "flux":
            writer.add_tensor(f"{name}.bias", np.zeros(outputs, np.float32), raw_dtype=F32)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()


def make_quantized(folder):
    """FLUX.1 schnell, whose two large networks are files of few bits in the places of diffusers' own."""
    tokens = common.tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    make_flux.t5_tokenizer(folder, as_json=True)
    clip(CLIPTextModel, **CLIP_L).save_pretrained(folder / "text_encoder")
    vae = autoencoder(latent_channels=16, sample_size=1024, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)
    vae.save_pretrained(folder / "vae"), make_flux.scheduler(False).save_pretrained(folder / "scheduler")
    write(folder / "transformer/flux1.gguf", "flux", flux_layers(), "scale")
    with torch.device("meta"):
        FluxTransformer2DModel(guidance_embeds=False).save_config(folder / "transformer")
    write(folder / "text_encoder_2/t5-encoder.gguf", "t5encoder", t5_layers(), "weight")
    parts = {"transformer": "FluxTransformer2DModel", "scheduler": "FlowMatchEulerDiscreteScheduler", "vae": "AutoencoderKL"}
    theirs = {"text_encoder": "CLIPTextModel", "tokenizer": type(tokens).__name__, "text_encoder_2": "T5EncoderModel", "tokenizer_2": "T5TokenizerFast"}
    index = {name: ["diffusers", kind] for name, kind in parts.items()} | {name: ["transformers", kind] for name, kind in theirs.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"} | index, indent=2) + "\n")


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
    if folder.name == "flux":
        times, load = run_quantized(folder, began)
    else:
        _, kind, family = FAMILIES[folder.name]
        pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
        load, times = time.perf_counter() - began, timed(pipeline.unet)
        case = common.case(types.SimpleNamespace(height=SIDE, width=SIDE, seed=0), steps=STEPS, guidance=5.0)
        tensors = {}
        base = type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
        family.run(pipeline, base, case, lambda stage, value: tensors.__setitem__(f"t2i/{stage}", value.contiguous()))
        common.save_file(tensors, folder / "golden.safetensors")
        (folder / "golden.json").write_text(json.dumps({"cases": {"t2i": case}, "texts": []}, indent=1) + "\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"load": load, "step": min(times), "peak": peak}))


@torch.inference_mode()
def run_quantized(folder, began):
    network = FluxTransformer2DModel.from_single_file(
        str(folder / "transformer/flux1.gguf"), config=str(folder), subfolder="transformer", torch_dtype=torch.float32,
        quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
    )
    load, times = time.perf_counter() - began, timed(network)
    tokens = (SIDE // 16) ** 2
    network(
        hidden_states=torch.randn(1, tokens, 64), encoder_hidden_states=torch.randn(1, 256, T5["d_model"]), pooled_projections=torch.randn(1, 768),
        timestep=torch.ones(1), img_ids=torch.zeros(tokens, 3), txt_ids=torch.zeros(256, 3),
    )
    return times, load


if __name__ == "__main__":
    verb, root, name = sys.argv[1:]
    {"make": make, "run": run}[verb](pathlib.Path(root) / name)
