"""Makes the golden fixtures of tests/golden.rs for Stable Diffusion 1 and 2, LCM, InstructPix2Pix and inpainting.

    python make_stable_diffusion.py --out fixtures                      # the committed ones
    python make_stable_diffusion.py --out other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test golden
"""

import functools

import torch
from diffusers import (
    LatentConsistencyModelImg2ImgPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)

import common
from common import CORPUS, SCHEDULES, scheduler, text_encoder, tokenizer, unet, vae_kl, vae_tiny


def build(name, folder):
    """The pipelines: what differs is what the checkpoints of that family differ in."""
    kind = StableDiffusionPipeline
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
    elif name == "instruct":
        kind, tokens = StableDiffusionInstructPix2PixPipeline, tokenizer(folder, "<|endoftext|>", 77, as_files=True)
        parts = text_encoder(tokens, "quick_gelu", 2, old_eos=True), unet(in_channels=8), vae_kl(), scheduler()
    elif name == "inpaint":
        kind, tokens = StableDiffusionInpaintPipeline, tokenizer(folder, "<|endoftext|>", 77, as_files=True)
        parts = text_encoder(tokens, "quick_gelu", 2, old_eos=True), unet(in_channels=9), vae_kl(), scheduler()
    encoder, denoiser, vae, plan = parts
    return kind(
        vae=vae, text_encoder=encoder, tokenizer=tokens, unet=denoiser, scheduler=plan,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def cases(name, arguments):
    """What is asked of each pipeline."""
    case, seed = functools.partial(common.case, arguments), arguments.seed
    pair = [seed, seed + 1]
    if name == "lcm":
        case = functools.partial(case, schedule="lcm", guidance=8.5)
        return {"t2i-lcm": case(), "i2i-lcm": case(strength=0.6, seeds=pair)}
    if name == "instruct":
        case = functools.partial(case, image_guidance=1.5)
        return {
            "edit-ddim": case(), "edit-euler_ancestral": case(schedule="euler_ancestral", negative_prompt="blurry, bad"),
            "batch": case(seeds=pair, schedule="dpmpp_2m"), "unguided": case(image_guidance=0.5), "plain": case(guidance=1.0),
            "odd-size": case(height=arguments.height + 2, width=arguments.width + 6),
        }
    painted = {
        "inpaint": case(inpaint=True), "inpaint-strength": case(inpaint=True, strength=0.6, steps=5, schedule="euler"),
        "inpaint-batch": case(inpaint=True, seeds=pair, schedule="euler_ancestral", negative_prompt="blurry, bad"),
        "inpaint-2m": case(inpaint=True, schedule="dpmpp_2m", strength=0.75),
    }
    if name == "inpaint":
        return painted
    asked = dict(painted) if name == "sd1" else {}
    for schedule in SCHEDULES:
        asked[f"t2i-{schedule}"] = case(schedule=schedule)
        # diffusers cuts an LCM schedule in two ways; ours is the one of its LCM pipelines, which need a distilled model
        if schedule != "lcm":
            asked[f"i2i-{schedule}"] = case(schedule=schedule, strength=0.6, steps=5)
    asked["batch"] = case(seeds=pair, schedule="euler_ancestral", negative_prompt="blurry, bad")
    asked["batch-i2i"] = case(seeds=pair, strength=0.75)
    asked["clip-skip"] = case(clip_skip=2, negative_prompt="a dog")
    asked["unguided"] = case(guidance=1.0)
    asked["rescale"] = case(rescale=0.7)
    for rule in ("a1111", "a1111-no-norm", "comfy"):
        asked[f"emphasis-{rule}"] = case(prompt=common.EMPHASIZED, emphasis=rule, steps=1)
    asked["long"] = case(prompt=" ".join(CORPUS), negative_prompt="ugly")
    asked["odd-size"] = case(height=arguments.height + 2, width=arguments.width + 6)
    return asked


def texts(pipeline, case, keep):
    """The texts themselves where diffusers reads them whole, else what our rule of chunks makes of them."""
    tokens = pipeline.tokenizer
    if case["emphasis"] != "none":
        encode = lambda rows: pipeline.text_encoder(rows)[0]
        ids, states = common.emphasized(tokens, encode, case["emphasis"])
        keep("ids", ids)
        negative = encode(common.chunk_rows(tokens, case["negative_prompt"], len(ids))).flatten(0, 1)[None]
        return {"prompt_embeds": states, "negative_prompt_embeds": negative}
    rows = [common.chunk_rows(tokens, case[key]) for key in ("prompt", "negative_prompt")]
    keep("ids", rows[0])
    count = max(len(rows[0]), len(rows[1]))
    if count == 1 and not case["clip_skip"]:
        return {"prompt": case["prompt"], "negative_prompt": case["negative_prompt"]}

    def encode(text, skip):
        encoded = pipeline.text_encoder(common.chunk_rows(tokens, text, count), output_hidden_states=True)
        # what diffusers means by `clip_skip`; its own code does not find the norm in newer transformers
        norm = getattr(pipeline.text_encoder, "text_model", pipeline.text_encoder).final_layer_norm
        return norm(encoded.hidden_states[-(skip + 1)]).flatten(0, 1)[None]

    return {
        "prompt_embeds": encode(case["prompt"], case["clip_skip"]), "negative_prompt_embeds": encode(case["negative_prompt"], 0),
    }


def run(pipeline, base, case, keep):
    if case["inpaint"]:
        pipeline = StableDiffusionInpaintPipeline(**pipeline.components, requires_safety_checker=False)
    elif case["strength"] is not None:
        is_distilled = pipeline.unet.config.time_cond_proj_dim is not None
        kind = LatentConsistencyModelImg2ImgPipeline if is_distilled else StableDiffusionImg2ImgPipeline
        pipeline = kind(**pipeline.components, requires_safety_checker=False)
    with torch.no_grad():
        common.run(pipeline, base, case, keep, texts)


if __name__ == "__main__":
    names = ["sd1", "sd2", "nano", "lcm", "instruct", "inpaint"]
    common.main(__doc__, {name: (functools.partial(build, name), functools.partial(cases, name), run) for name in names})
