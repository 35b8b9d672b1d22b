"""Makes the golden values of tests/steered.rs: ControlNets for pipelines that make_stable_diffusion.py and make_xl.py wrote,
and what diffusers draws under them. Written beside those: `<models>/<pipeline>/controls/` and `steered.*`.

    python make_steered.py --models fixtures                      # the committed ones
    python make_steered.py --models other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test steered
"""

import argparse
import functools
import json
import pathlib

import diffusers
import torch
from diffusers import ControlNetModel

import common

PIPELINES = {"sd1": "StableDiffusionPipeline", "inpaint": "StableDiffusionInpaintPipeline", "xl": "StableDiffusionXLPipeline"}
CONTROLS = ["edges", "depth"]
KEPT = ("timesteps", "latents", "outputs", "image", "source", "mask")


def controls_for(pipeline, folder, latents):
    """A ControlNet's outputs begin as zeros; only other weights say anything."""
    nets = {}
    for index, name in enumerate(CONTROLS):
        unet = pipeline.unet
        if unet.config.in_channels != latents:
            unet = diffusers.UNet2DConditionModel.from_config({**unet.config, "in_channels": latents})
        order = ["rgb", "bgr"][index]
        net = ControlNetModel.from_unet(unet, controlnet_conditioning_channel_order=order, conditioning_embedding_out_channels=(4, 6)).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        net.save_pretrained(folder / "controls" / name)
        nets[name] = net
    return nets


def cases(name, arguments):
    case, seed = functools.partial(common.case, arguments, guidance=5.0), arguments.seed
    edges, depth = {"id": "edges", "scale": 0.8, "start": 0.0, "end": 1.0}, {"id": "depth", "scale": 1.3, "start": 0.0, "end": 1.0}
    pair, negative = [seed, seed + 1], "blurry, bad"
    painted = {
        "inpaint": case(inpaint=True, controls=[edges]),
        "inpaint-strength": case(inpaint=True, strength=0.6, steps=5, schedule="euler", controls=[edges, depth]),
    }
    if name == "inpaint":
        return painted
    return painted | {
        "one": case(controls=[edges]), "other": case(controls=[depth], schedule="euler"), "both": case(controls=[edges, depth], negative_prompt=negative),
        "part": case(controls=[edges | {"start": 0.2, "end": 0.7}, depth | {"start": 0.5}], steps=6, schedule="dpmpp_2m"),
        "batch": case(controls=[depth], seeds=pair, schedule="euler_ancestral"), "unguided": case(controls=[edges], guidance=1.0),
        "i2i": case(controls=[edges, depth | {"end": 0.6}], strength=0.7, steps=6, schedule="euler"),
        "odd-size": case(controls=[edges], height=arguments.height + 2, width=arguments.width + 6),
    }


def run(pipeline, base, nets, case, keep):
    kind = "Inpaint" if case["inpaint"] else "" if case["strength"] is None else "Img2Img"
    is_xl = hasattr(pipeline, "text_encoder_2")
    components = {key: value for key, value in pipeline.components.items() if key != "image_encoder"}
    extra = {"add_watermarker": False} if is_xl else {"requires_safety_checker": False}
    class_ = getattr(diffusers, f"StableDiffusion{'XL' if is_xl else ''}ControlNet{kind}Pipeline")
    controls = case["controls"]
    chosen = [nets[control["id"]] for control in controls]
    made = class_(**components, controlnet=chosen[0] if len(chosen) == 1 else chosen, **extra)
    pictures = []
    for control in controls:
        pixels = common.source_picture(case["height"], case["width"], CONTROLS.index(control["id"]) + 50)
        keep(control["id"], torch.from_numpy(pixels))
        pictures.append(common.as_tensor(pixels))
    one = (lambda values: values[0] if len(values) == 1 else values)
    call = {
        "image" if kind == "" else "control_image": one(pictures), "controlnet_conditioning_scale": one([c["scale"] for c in controls]),
        "control_guidance_start": [c["start"] for c in controls], "control_guidance_end": [c["end"] for c in controls],
    }
    if kind == "":
        # it takes the size of its picture
        call |= {"height": case["height"], "width": case["width"]}

    def texts(pipeline, case, keep):
        return {"prompt": case["prompt"], "negative_prompt": case["negative_prompt"] or None, **call}

    common.run(made, base, case, keep, texts)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the ControlNets' weights, and of the first image")
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    for name, kind in PIPELINES.items():
        torch.manual_seed(arguments.seed)
        folder = arguments.models / name
        extra = {"add_watermarker": False} if "XL" in kind else {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = getattr(diffusers, kind).from_pretrained(folder, **extra)
        base = type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
        nets = controls_for(pipeline, folder, pipeline.vae.config.latent_channels)
        asked, tensors = cases(name, arguments), {}
        for case in asked:
            def keep(stage, value, case=case):
                if stage in KEPT or stage in CONTROLS:
                    tensors[f"{case}/{stage}"] = value.contiguous()
            run(pipeline, base, nets, asked[case], keep)
        common.save_file(tensors, folder / "steered.safetensors")
        (folder / "steered.json").write_text(json.dumps(asked, indent=1) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
