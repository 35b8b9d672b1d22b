"""Makes the golden values of tests/step_cache.rs: what pipelines that make_stable_diffusion.py, make_xl.py, make_flux.py and
make_steered.py wrote draw with a step cache, and which passes were shortened. Written beside those:
`<models>/<pipeline>/cached.*`.

    python make_step_cache.py --models fixtures                   # the committed ones
    python make_step_cache.py --models other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test step_cache

FLUX's cache is diffusers' own. DeepCache (arXiv 2312.00858) is no part of diffusers: here layers below the branch are wrapped,
as its authors do it in their `uniform` mode, so that they give back what they gave in the last whole pass.
"""

import argparse
import functools
import json
import pathlib

import diffusers
import torch
from diffusers import ControlNetModel, FirstBlockCacheConfig, FluxPipeline, HeunDiscreteScheduler

import common
import make_flux
import make_steered

UNETS = {
    "sd1": "StableDiffusionPipeline", "sd2": "StableDiffusionPipeline", "inpaint": "StableDiffusionInpaintPipeline",
    "xl": "StableDiffusionXLPipeline",
}
FLUX = "flux-dev"
THRESHOLDS = [hundredths / 100 for hundredths in range(95, 0, -5)]
KEPT = ("timesteps", "latents", "outputs", "image", "source", "mask", "shortened", *make_steered.CONTROLS)
common.SCHEDULES["heun"] = (HeunDiscreteScheduler, {})


class DeepCache:
    """`shortened` says of each pass whether it was."""

    def __init__(self, unet, interval, branch):
        self.unet, self.interval, self.branch, self.shortened, self.wrapped = unet, interval, branch, [], []
        self.wrap(unet, self.counted)
        skip = 0
        for block in unet.down_blocks:
            for layer, resnet in enumerate(block.resnets):
                skip += 1
                self.freeze(skip, resnet, *self.attention(block, layer))
            for sampler in block.downsamplers or []:
                skip += 1
                self.freeze(skip, sampler)
        self.freeze(skip + 1, unet.mid_block)
        for block in unet.up_blocks:
            for layer, resnet in enumerate(block.resnets):
                self.freeze(skip, resnet, *self.attention(block, layer))
                skip -= 1
            # it goes on from the layer of the skip before
            self.freeze(skip + 1, *(block.upsamplers or []))
        assert skip == -1, "every skip is taken once"

    def attention(self, block, layer):
        return [block.attentions[layer]] if hasattr(block, "attentions") else []

    def freeze(self, skip, *modules):
        for module in modules if skip > self.branch else []:
            self.wrap(module, self.kept)

    def wrap(self, module, how):
        module.forward = how(module.forward)
        self.wrapped.append(module)

    def counted(self, forward):
        def counted(*args, **kwargs):
            self.shortened.append(len(self.shortened) % self.interval > 0)
            return forward(*args, **kwargs)

        return counted

    def kept(self, forward):
        last = []

        def kept(*args, **kwargs):
            if not self.shortened[-1]:
                last[:] = [forward(*args, **kwargs)]
            return last[0]

        return kept

    def remove(self):
        for module in self.wrapped:
            del module.forward


def unet_cases(name, arguments):
    case, seed = functools.partial(common.case, arguments, guidance=5.0, controls=[], steps=5), arguments.seed
    edges, depth = {"id": "edges", "scale": 0.8, "start": 0.0, "end": 1.0}, {"id": "depth", "scale": 1.3, "start": 0.3, "end": 1.0}
    if name == "inpaint":
        return {
            "inpaint": case(inpaint=True, step_cache="deep:2"),
            "inpaint-steered": case(inpaint=True, strength=0.8, schedule="euler", controls=[edges, depth], step_cache="deep:3:1"),
        }
    deepest = {"sd1": 3, "sd2": 6, "xl": 3}[name]
    cases = {
        "fastest": case(step_cache="deep:3", negative_prompt="blurry, bad"), "branch": case(step_cache="deep:2:1", schedule="euler"),
        "below-a-block": case(step_cache="deep:2:2"), "middle-alone": case(step_cache=f"deep:2:{deepest}", schedule="dpmpp_2m"),
        "batch": case(step_cache="deep:2", seeds=[seed, seed + 1], schedule="euler_ancestral"), "unguided": case(step_cache="deep:4", guidance=1.0),
        "i2i": case(step_cache="deep:2", strength=0.7, steps=6, schedule="euler"), "two-calls": case(step_cache="deep:3", schedule="heun", steps=4),
        "odd-size": case(step_cache="deep:2:1", height=arguments.height + 2, width=arguments.width + 6),
    }
    if name == "sd2":
        return cases
    return cases | {"steered": case(controls=[edges, depth], step_cache="deep:2:1"), "steered-i2i": case(controls=[depth], strength=0.6, steps=6, step_cache="deep:2")}


def flux_cases(arguments):
    case = functools.partial(common.case, arguments, schedule="flow_match_euler", guidance=3.5, steps=8)
    return {
        "first": case(), "other-seed": case(seeds=[arguments.seed + 1]), "i2i": case(strength=0.7),
        "odd-size": case(height=arguments.height + 4, width=arguments.width + 12),
    }


def run_unet(pipeline, base, nets, case, keep):
    deep = DeepCache(pipeline.unet, *[int(number) for number in f"{case['step_cache']}:0".split(":")[1:3]])
    try:
        if case["controls"]:
            make_steered.run(pipeline, base, nets, case, keep)
        else:
            run_plain(pipeline, base, case, keep)
    finally:
        deep.remove()
    keep("shortened", torch.tensor(deep.shortened, dtype=torch.float64))


def run_plain(pipeline, base, case, keep):
    class_ = type(pipeline)
    if case["strength"] is not None and not case["inpaint"]:
        class_ = getattr(diffusers, class_.__name__.replace("Pipeline", "Img2ImgPipeline"))
    extra = {"add_watermarker": False} if hasattr(pipeline, "text_encoder_2") else {"requires_safety_checker": False}
    components = {key: value for key, value in pipeline.components.items() if key in class_.__init__.__annotations__}

    def texts(pipeline, case, keep):
        return {"prompt": case["prompt"], "negative_prompt": case["negative_prompt"] or None}

    common.run(class_(**components, **extra), base, case, keep, texts)


def run_flux(pipeline, base, case, keep):
    """With the largest threshold under which a pass is whole after shortened ones: which that is depends on seed and shape."""
    for threshold in THRESHOLDS:
        case["step_cache"], stages = f"first-block:{threshold}", {}
        run_first_block(pipeline, base, case, threshold, stages.__setitem__)
        if stages["shortened"].diff().lt(0).any():
            return [keep(stage, value) for stage, value in stages.items()]
    raise SystemExit(f"no threshold shortens some passes of {case}: it would test nothing; take another seed or size")


def run_first_block(pipeline, base, case, threshold, keep):
    network, shortened = pipeline.transformer, []
    network.enable_cache(FirstBlockCacheConfig(threshold))
    forward = network.forward
    # its norm is asked where the last block is
    hook = network.single_transformer_blocks[-1].norm.register_forward_hook(lambda *_: shortened.__setitem__(-1, False))

    def counted(*args, **kwargs):
        shortened.append(True)
        # not all of the pipelines name one
        with network.cache_context("cond"):
            return forward(*args, **kwargs)

    network.forward = counted
    try:
        make_flux.run(pipeline, base, case, keep)
    finally:
        del network.forward
        hook.remove(), network.disable_cache()
    keep("shortened", torch.tensor(shortened, dtype=torch.float64))


def write(folder, cases, run):
    tensors = {}
    for name, case in cases.items():
        def keep(stage, value, name=name):
            if stage in KEPT:
                tensors[f"{name}/{stage}"] = value.contiguous()
        run(case, keep)
        print(f"{folder.name}/{name} {case['step_cache']}:", "".join(".#"[int(s)] for s in tensors[f"{name}/shortened"]))
    common.save_file(tensors, folder / "cached.safetensors")
    (folder / "cached.json").write_text(json.dumps(cases, indent=1) + "\n")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the first image")
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    for name, kind in UNETS.items():
        folder = arguments.models / name
        extra = {"add_watermarker": False} if "XL" in kind else {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = getattr(diffusers, kind).from_pretrained(folder, **extra)
        base = type(pipeline.scheduler).from_pretrained(folder / "scheduler").config
        nets = {path.name: ControlNetModel.from_pretrained(path) for path in folder.glob("controls/*")}
        write(folder, unet_cases(name, arguments), functools.partial(run_unet, pipeline, base, nets))
    pipeline = FluxPipeline.from_pretrained(arguments.models / FLUX)
    write(arguments.models / FLUX, flux_cases(arguments), functools.partial(run_flux, pipeline, None))


if __name__ == "__main__":
    main()
