"""Makes the golden fixtures of tests/golden.rs for Stable Diffusion XL: base, refiner, LCM and CosXL-Edit; and, beside
the refiner, those of tests/handover.rs, where it ends what the base begins.

    python make_xl.py --out fixtures                      # the committed ones
    python make_xl.py --out other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test golden --test handover
"""

import functools
import json

import torch
from diffusers import (
    DPMSolverSinglestepScheduler,
    EDMEulerScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
)

import common
from common import CORPUS, SCHEDULES, scheduler, text_encoder, tokenizer, unet, vae_kl

WIDTHS, POOLED, EMBED = (16, 24), 20, 8


def xl_unet(numbers, context, **changes):
    return unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2], attention_head_dim=[1, 2], use_linear_projection=True, cross_attention_dim=context,
        addition_embed_type="text_time", addition_time_embed_dim=EMBED, projection_class_embeddings_input_dim=POOLED + numbers * EMBED,
        **changes,
    )


def build(name, folder):
    second_tokens = tokenizer(folder, "!", 77, as_files=True, name="tokenizer_2")
    second = text_encoder(second_tokens, "gelu", 4, old_eos=True, width=WIDTHS[1], projection=POOLED)
    both, plan = sum(WIDTHS), scheduler(timestep_spacing="leading")
    if name == "xl-refiner":
        return StableDiffusionXLImg2ImgPipeline(
            vae=vae_kl(scaling_factor=0.13025), text_encoder=None, tokenizer=None, text_encoder_2=second, tokenizer_2=second_tokens,
            unet=xl_unet(5, WIDTHS[1]), scheduler=plan, requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
        )
    kind, changes, options = StableDiffusionXLPipeline, {}, {}
    if name == "xl-lcm":
        changes, plan = {"time_cond_proj_dim": 8}, LCMScheduler.from_config(plan.config)
    if name == "xl-edit":
        # CosXL-Edit's own
        plan = EDMEulerScheduler(sigma_max=120.0, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction")
        kind, changes, options = StableDiffusionXLInstructPix2PixPipeline, {"in_channels": 8}, {"is_cosxl_edit": True}
    tokens = tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    return kind(
        vae=vae_kl(scaling_factor=0.13025), text_encoder=text_encoder(tokens, "quick_gelu", 2, old_eos=True, width=WIDTHS[0]), tokenizer=tokens,
        text_encoder_2=second, tokenizer_2=second_tokens, unet=xl_unet(6, both, **changes), scheduler=plan, add_watermarker=False, **options,
    )


def cases(name, arguments):
    case, seed = functools.partial(common.case, arguments, guidance=5.0), arguments.seed
    pair, negative = [seed, seed + 1], "blurry, bad"
    if name == "xl-lcm":
        return {"t2i-lcm": case(schedule="lcm", guidance=8.0)}
    if name == "xl-refiner":
        case = functools.partial(case, strength=0.5)
        return {
            "i2i-ddim": case(), "i2i-negative": case(negative_prompt=negative, schedule="euler"),
            "batch": case(seeds=pair, schedule="dpmpp_2m_karras"), "unguided": case(guidance=1.0),
        }
    if name == "xl-edit":
        case = functools.partial(case, image_guidance=1.5, schedule="edm_euler")
        return {
            "edit-edm": case(), "edit-negative": case(negative_prompt=negative, schedule="edm_dpmpp_2m"), "rescale": case(rescale=0.5),
            "batch": case(seeds=pair), "unguided": case(image_guidance=0.9),
        }
    asked = {f"t2i-{schedule}": case(schedule=schedule) for schedule in SCHEDULES if schedule != "lcm"}
    size = {"width": arguments.width, "height": arguments.height}
    framing = {"original": {"width": 640, "height": 480}, "crop": {"left": 32, "top": 16}, "target": size}
    return asked | {
        "i2i-euler": case(schedule="euler", strength=0.6, steps=5), "negative": case(negative_prompt=negative),
        "batch": case(seeds=pair, schedule="euler_ancestral", negative_prompt=negative), "clip-skip": case(clip_skip=1, negative_prompt=negative),
        "unguided": case(guidance=0.0), "rescale": case(rescale=0.7, negative_prompt=negative), "framing": case(framing=framing),
        "long": case(prompt=" ".join(CORPUS)), "emphasis": case(prompt=common.EMPHASIZED, emphasis="a1111", steps=1), "odd-size": case(height=arguments.height + 2, width=arguments.width + 6),
    }


def texts(pipeline, case, keep):
    """The texts themselves where diffusers reads them whole, else what our rule of chunks makes of them."""
    if case["emphasis"] == "none" and len(common.chunk_rows(pipeline.tokenizer_2, case["prompt"])) == 1:
        skip = {"clip_skip": case["clip_skip"]} if case["clip_skip"] else {}
        return {"prompt": case["prompt"], "negative_prompt": case["negative_prompt"] or None, **skip}
    pairs = [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]
    states = []
    for tokens, encoder in pairs:
        encode = lambda rows: encoder(rows, output_hidden_states=True).hidden_states[-2]
        rows = common.chunk_rows(tokens, case["prompt"])
        if case["emphasis"] == "none":
            states.append(encode(rows).flatten(0, 1)[None])
        else:
            rows, weighted = common.emphasized(tokens, encode, case["emphasis"])
            states.append(weighted)
    # the whole text is pooled where it begins
    states, pooled = torch.cat(states, -1), encoder(rows).text_embeds[:1]
    return {
        "prompt_embeds": states, "pooled_prompt_embeds": pooled,
        "negative_prompt_embeds": torch.zeros_like(states), "negative_pooled_prompt_embeds": torch.zeros_like(pooled),
    }


def run(pipeline, base, case, keep):
    if case["strength"] is not None and not pipeline.config.get("requires_aesthetics_score"):
        pipeline = StableDiffusionXLImg2ImgPipeline(**pipeline.components, add_watermarker=False)
    with torch.no_grad():
        common.run(pipeline, base, case, keep, texts)


TWO_MODELS = SCHEDULES | {
    "heun": (HeunDiscreteScheduler, {}), "lms": (LMSDiscreteScheduler, {}), "dpmpp_2s": (DPMSolverSinglestepScheduler, {}),
}

KEPT = ("timesteps", "latents", "outputs", "image")


def handover_cases(arguments):
    case, seed = functools.partial(common.case, arguments, guidance=5.0, steps=6, share=0.6), arguments.seed
    asked = {f"t2i-{schedule}": case(schedule=schedule) for schedule in TWO_MODELS}
    return asked | {
        "usual": case(schedule="euler", share=0.8, steps=10), "early": case(share=0.25), "late": case(schedule="heun", share=0.9, steps=10),
        "negative": case(negative_prompt="blurry, bad", schedule="dpmpp_2m"), "unguided": case(guidance=1.0),
        "batch": case(seeds=[seed, seed + 1], schedule="euler_ancestral"), "i2i": case(strength=0.75, schedule="euler"),
        "odd-size": case(height=arguments.height + 2, width=arguments.width + 6),
    }


@torch.no_grad()
def hand_over(arguments):
    """Each case's base up to the share and refiner from there, with the same generators."""
    base = StableDiffusionXLPipeline.from_pretrained(arguments.out / "xl", add_watermarker=False)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(arguments.out / "xl-refiner", add_watermarker=False)
    plans = [pipeline.scheduler.config for pipeline in (base, refiner)]
    asked, tensors = handover_cases(arguments), {}
    for name, case in asked.items():
        kind, changes = TWO_MODELS[case["schedule"]]
        keep = lambda stage, value: tensors.__setitem__(f"{name}/{stage}", value.contiguous())
        first = base if case["strength"] is None else StableDiffusionXLImg2ImgPipeline(**base.components, add_watermarker=False)
        common_call = {
            "prompt": case["prompt"], "negative_prompt": case["negative_prompt"] or None, "num_inference_steps": case["steps"],
            "guidance_scale": case["guidance"], "num_images_per_prompt": len(case["seeds"]), "output_type": "latent",
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in case["seeds"]],
        }
        call = common_call | {"denoising_end": case["share"]}
        if case["strength"] is None:
            call |= {"height": case["height"], "width": case["width"]}
        else:
            call |= {"strength": case["strength"], "image": common.source_tensor(case, keep)}
        latents = None
        for part, pipeline, plan in (("base", first, plans[0]), ("refiner", refiner, plans[1])):
            pipeline.scheduler = kind.from_config(plan, **changes)
            pipeline.set_progress_bar_config(disable=True)
            pipeline.check_inputs = lambda *args, **kwargs: None
            if latents is not None:
                call = common_call | {"denoising_start": case["share"], "image": latents}
            latents = common.record(pipeline, call, lambda stage, value: stage in KEPT and keep(f"{part}/{stage}", value))
    folder = arguments.out / "xl-refiner"
    common.save_file(tensors, folder / "handover.safetensors")
    (folder / "handover.json").write_text(json.dumps(asked, indent=1) + "\n")


if __name__ == "__main__":
    names = ["xl", "xl-refiner", "xl-lcm", "xl-edit"]
    families = {name: (functools.partial(build, name), functools.partial(cases, name), run) for name in names}
    hand_over(common.main(__doc__, families))
