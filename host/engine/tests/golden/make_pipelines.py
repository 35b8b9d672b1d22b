"""Makes the golden fixtures of tests/golden.rs: tiny random-weight pipelines and every stage of what diffusers makes of them.

    python make_pipelines.py --out fixtures                      # the committed ones
    python make_pipelines.py --out other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test golden

Each folder `<out>/<pipeline>/` is a diffusers folder with `golden.json` (what was asked) and `golden.safetensors` (what
diffusers made: `<case>/<stage>`). New seeds and sizes need no change to the Rust side.
"""

import argparse
import functools
import json
import pathlib

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SCHEDULES = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"use_karras_sigmas": False}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
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


def tokenizer(folder, pad, max_length, as_files):
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
    made.save_pretrained(folder / "tokenizer")
    if as_files:
        # the layout of Stable Diffusion 1: vocabulary and merges, no tokenizer.json
        (folder / "tokenizer/tokenizer.json").unlink()
        (folder / "tokenizer/vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
        (folder / "tokenizer/merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad}
        (folder / "tokenizer/special_tokens_map.json").write_text(json.dumps(special))
    return made


def text_encoder(tokenizer, act, heads, old_eos):
    eos = 2 if old_eos else tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=heads,
        max_position_embeddings=77, hidden_act=act, bos_token_id=0, eos_token_id=eos, pad_token_id=1,
    )
    return CLIPTextModel(config).eval()


def unet(**changes):
    config = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16, "norm_num_groups": 2, "attention_head_dim": 2,
    }
    return UNet2DConditionModel(**{**config, **changes}).eval()


def vae_kl(**changes):
    config = {
        "block_out_channels": (4, 8), "in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 2,
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


def build(name, out):
    """The pipelines: what differs is what the checkpoints of that family differ in."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "sd1":
        tokens = tokenizer(folder, "<|endoftext|>", 77, as_files=True)
        parts = text_encoder(tokens, "quick_gelu", 2, old_eos=True), unet(), vae_kl(), scheduler()
    elif name == "sd2":
        tokens = tokenizer(folder, "!", 77, as_files=False)
        net = unet(
            use_linear_projection=True, attention_head_dim=[1, 2, 4], layers_per_block=[1, 2, 1], block_out_channels=(8, 8, 16),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), upcast_attention=True,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), transformer_layers_per_block=[1, 2, 1],
        )
        parts = text_encoder(tokens, "gelu", 4, old_eos=False), net, vae_kl(), scheduler(prediction_type="v_prediction")
    elif name == "nano":
        tokens = tokenizer(folder, "<|endoftext|>", 24, as_files=False)
        net = unet(down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
        plan = scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
        parts = text_encoder(tokens, "quick_gelu", 2, old_eos=False), net, vae_tiny(), plan
    elif name == "lcm":
        tokens = tokenizer(folder, "<|endoftext|>", 77, as_files=True)
        plan = LCMScheduler.from_config(scheduler().config)
        parts = text_encoder(tokens, "quick_gelu", 2, old_eos=True), unet(time_cond_proj_dim=8), vae_kl(use_quant_conv=False, use_post_quant_conv=False), plan
    encoder, denoiser, vae, plan = parts
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokens, unet=denoiser, scheduler=plan,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )
    # random weights of this size say little: larger ones let a mistake show
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.mul_(1.2)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder, pipeline


def cases(name, height, width, seed):
    """What is asked of each pipeline."""
    base = {
        "prompt": "a photo of a cat", "negative_prompt": "", "height": height, "width": width, "steps": 4,
        "guidance": 7.5, "seeds": [seed], "schedule": "ddim", "clip_skip": 0, "strength": None,
    }
    if name == "lcm":
        base |= {"schedule": "lcm", "guidance": 8.5}
        return {"t2i-lcm": base, "i2i-lcm": base | {"strength": 0.6, "seeds": [seed, seed + 1]}}
    asked = {}
    for schedule in SCHEDULES:
        asked[f"t2i-{schedule}"] = base | {"schedule": schedule}
        # diffusers cuts an LCM schedule in two ways; ours is the one of its LCM pipelines, which need a distilled model
        if schedule != "lcm":
            asked[f"i2i-{schedule}"] = base | {"schedule": schedule, "strength": 0.6, "steps": 5}
    asked["batch"] = base | {"seeds": [seed, seed + 1], "schedule": "euler_ancestral", "negative_prompt": "blurry, bad"}
    asked["batch-i2i"] = base | {"seeds": [seed, seed + 1], "strength": 0.75}
    asked["clip-skip"] = base | {"clip_skip": 2, "negative_prompt": "a dog"}
    asked["unguided"] = base | {"guidance": 1.0}
    asked["long"] = base | {"prompt": " ".join(CORPUS), "negative_prompt": "ugly"}
    asked["odd-size"] = base | {"height": height + 2, "width": width + 6}
    return asked


def source_picture(height, width, seed):
    values = np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)
    return values


def encode_chunks(pipeline, prompt, count, skip):
    """Windows of the tokenizer's length, encoded alone and joined; the rule of our own that diffusers lacks."""
    tokens = pipeline.tokenizer
    window = tokens.model_max_length - 2
    ids = tokens(prompt, add_special_tokens=False).input_ids
    chunks = [ids[i : i + window] for i in range(0, len(ids), window)] or [[]]
    chunks += [[]] * (count - len(chunks))
    rows = [[tokens.bos_token_id, *chunk, tokens.eos_token_id] for chunk in chunks]
    rows = [row + [tokens.pad_token_id] * (tokens.model_max_length - len(row)) for row in rows]
    encoded = pipeline.text_encoder(torch.tensor(rows), output_hidden_states=True)
    hidden = encoded.last_hidden_state
    if skip:
        norm = getattr(pipeline.text_encoder, "text_model", pipeline.text_encoder).final_layer_norm
        hidden = norm(encoded.hidden_states[-(skip + 1)])
    return torch.tensor(rows, dtype=torch.int64), hidden.reshape(1, -1, hidden.shape[-1]), encoded.pooler_output, len(chunks)


@torch.no_grad()
def run(pipeline, base, case, keep):
    """One case; `keep(stage, tensor)` takes what is made on the way."""
    class_, changes = SCHEDULES[case["schedule"]]
    pipeline.scheduler = class_.from_config(base, **changes)
    if case["strength"] is not None:
        is_distilled = pipeline.unet.config.time_cond_proj_dim is not None
        kind = LatentConsistencyModelImg2ImgPipeline if is_distilled else StableDiffusionImg2ImgPipeline
        pipeline = kind(**pipeline.components, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
    # it insists on multiples of 8, whatever the autoencoder; odd latents are what we want to see
    pipeline.check_inputs = lambda *args, **kwargs: None
    *_, count = encode_chunks(pipeline, case["prompt"], 1, 0)
    *_, other = encode_chunks(pipeline, case["negative_prompt"], 1, 0)
    ids, prompt, pooled, _ = encode_chunks(pipeline, case["prompt"], max(count, other), case["clip_skip"])
    _, negative, _, _ = encode_chunks(pipeline, case["negative_prompt"], max(count, other), 0)
    keep("ids", ids), keep("prompt", prompt), keep("pooled", pooled), keep("negative", negative)
    images = len(case["seeds"])
    call = {
        "prompt_embeds": prompt.repeat(images, 1, 1), "negative_prompt_embeds": negative.repeat(images, 1, 1),
        "num_inference_steps": case["steps"], "guidance_scale": case["guidance"], "output_type": "latent",
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in case["seeds"]],
    }
    if case["strength"] is None:
        call |= {"height": case["height"], "width": case["width"]}
    else:
        pixels = source_picture(case["height"], case["width"], case["seeds"][0])
        keep("source", torch.from_numpy(pixels))
        picture = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
        call |= {"image": (picture * 2 - 1).repeat(images, 1, 1, 1), "strength": case["strength"]}
    outputs, latents = [], []
    forward, step = pipeline.unet.forward, pipeline.scheduler.step

    def recording_forward(sample, timestep, *args, **kwargs):
        result = forward(sample, timestep, *args, **kwargs)
        outputs.append(result[0])
        return result

    # pipelines look at the signature before they pass a generator
    @functools.wraps(step)
    def recording_step(output, timestep, sample, *args, **kwargs):
        if not latents:
            latents.append(sample)
        result = step(output, timestep, sample, *args, **kwargs)
        latents.append(result[0])
        return result

    pipeline.unet.forward, pipeline.scheduler.step = recording_forward, recording_step
    try:
        final = pipeline(**call).images
    finally:
        pipeline.unet.forward, pipeline.scheduler.step = forward, step
    steps = len(outputs)
    keep("timesteps", pipeline.scheduler.timesteps[-steps:].to(torch.float64))
    if hasattr(pipeline.scheduler, "sigmas"):
        keep("sigmas", pipeline.scheduler.sigmas[-steps - 1 :].to(torch.float64))
    keep("outputs", torch.stack(outputs)), keep("latents", torch.stack(latents))
    keep("image", pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample)
    keep("pixels", torch.from_numpy(to_bytes(pipeline, final)))


def to_bytes(pipeline, latents):
    image = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    image = pipeline.image_processor.postprocess(image, output_type="np")
    return (image * 255).round().astype("uint8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the weights, and of the first image")
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    for name in ["sd1", "sd2", "nano", "lcm"]:
        torch.manual_seed(arguments.seed)
        folder, pipeline = build(name, arguments.out)
        pipeline.set_progress_bar_config(disable=True)
        asked = cases(name, arguments.height, arguments.width, arguments.seed)
        # from the file: a config in memory also knows which values were defaults, and drops those for another class
        tensors, base = {}, type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
        for case in asked:
            run(pipeline, base, asked[case], lambda stage, value: tensors.__setitem__(f"{case}/{stage}", value.contiguous()))
        texts = [{"text": text, "ids": pipeline.tokenizer(text).input_ids} for text in TEXTS]
        save_file(tensors, folder / "golden.safetensors")
        golden = {"cases": asked, "texts": texts}
        (folder / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
