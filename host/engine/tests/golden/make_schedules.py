"""Golden values for tests/schedule.rs: diffusers' schedulers over a dummy model.

    python make_schedules.py schedules.json [--seed 7] [--steps 1 2 4 10 25 50]

Every case is built as `Scheduler.from_config(config)`, its timesteps are cut by strength as the image-to-image
pipelines do, and a whole loop is run over `model(x, t) = 0.3 x + (0.1 + t / 2000) c` on one latent of shape (1, 4, 4, 4).
Noise comes from one `torch.Generator("cpu")`: first `c`, then the image, then the first noise, then what the steps draw.
Of every sample the file keeps the Euclidean norm and the dot product with cos(0), cos(1), ..., which every entry moves;
of the last one also the first eight entries. Timesteps and sigmas are shared between cases that have the same ones.
Cases that diffusers itself refuses, or that are NaN there, have `refused` set instead.
"""

import argparse
import inspect
import itertools
import json
import math
import os
import warnings

os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402

SHAPE = (1, 4, 4, 4)
CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_karras": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "lcm": diffusers.LCMScheduler,
}
STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
STRENGTHS = [None, 0.3, 0.75]
# Beyond the product below: settings that only some classes know, and configs as they are published.
SPECIAL = [
    ("euler", {"use_karras_sigmas": True}),
    ("euler", {"use_karras_sigmas": True, "sigma_min": 0.02, "sigma_max": 12.0}),
    ("euler", {"final_sigmas_type": "sigma_min"}),
    ("unipc", {"use_karras_sigmas": True}),
    ("unipc", {"use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2", "final_sigmas_type": "sigma_min"}),
    ("unipc", {"solver_order": 1}),
    ("unipc", {"solver_order": 3}),
    ("unipc", {"solver_order": 3, "lower_order_final": False, "final_sigmas_type": "sigma_min"}),
    ("unipc", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    ("unipc", {"solver_type": "midpoint", "disable_corrector": [0, 1, 5]}),
    ("dpmpp_2m", {"solver_order": 1}),
    ("dpmpp_2m", {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
    ("dpmpp_2m", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}),
    ("dpmpp_2m", {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"}),
    ("dpmpp_2m", {"lambda_min_clipped": -math.inf, "solver_type": "logrho"}),
    ("dpmpp_2m_karras", {"beta_schedule": "squaredcos_cap_v2"}),
    ("dpmpp_2m_karras", {"final_sigmas_type": "sigma_min"}),
    ("ddim", {"clip_sample": True}),
    ("ddim", {"clip_sample": True, "clip_sample_range": 0.5, "prediction_type": "sample"}),
    ("ddim", {"set_alpha_to_one": True}),
    ("lcm", {"clip_sample": True, "original_inference_steps": 100, "timestep_scaling": 3.0}),
    ("ddim", {"num_train_timesteps": 20, "trained_betas": [0.01 * (i + 1) for i in range(20)]}),
]


def configs(name):
    """Settings to lay over a base, for one scheduler: the product, then the special ones."""
    predictions = ["epsilon", "v_prediction", "sample"]
    spacings = ["leading", "linspace", "trailing"]
    knows_zero_snr = "rescale_betas_zero_snr" in inspect.signature(CLASSES[name].__init__).parameters
    for prediction, spacing in itertools.product(predictions, spacings):
        yield {"prediction_type": prediction, "timestep_spacing": spacing}
        if knows_zero_snr:
            yield {"prediction_type": prediction, "timestep_spacing": spacing, "rescale_betas_zero_snr": True}
    yield {"beta_schedule": "linear"}
    yield {"beta_schedule": "squaredcos_cap_v2"}
    yield {"beta_schedule": "linear", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    yield from (settings for special, settings in SPECIAL if special == name)


def scheduler_of(name, config):
    config = dict(config)
    if name.startswith("dpmpp_2m"):
        config["use_karras_sigmas"] = name.endswith("karras")
    return CLASSES[name].from_config(config)


def set_timesteps(scheduler, name, steps, strength):
    """As the image-to-image pipelines; the latent consistency one hands strength to the scheduler instead."""
    if name == "lcm":
        scheduler.set_timesteps(steps, strength=1.0 if strength is None else strength)
        return scheduler.timesteps
    scheduler.set_timesteps(steps)
    begin = 0 if strength is None else max(steps - min(int(steps * strength), steps), 0)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    if len(timesteps) and timesteps[-1] < 0:
        raise NumpyGainedATimestep
    if len(timesteps) == 0:
        raise ValueError("strength leaves nothing to run")
    return timesteps


class NumpyGainedATimestep(Exception):
    """`arange` rounds up to one entry more for some counts with trailing spacing (61, 103, ...). diffusers then goes on
    to timestep -1; we deliberately do not."""


def probe(sample):
    values = sample.flatten().double()
    return [values.norm().item(), (values * torch.arange(len(values)).double().cos()).sum().item()]


def run(name, config, steps, strength, seed):
    scheduler = scheduler_of(name, config)
    timesteps = set_timesteps(scheduler, name, steps, strength)
    draw = lambda g: torch.randn(SHAPE, generator=g)  # noqa: E731
    generator = torch.Generator("cpu").manual_seed(seed)
    constant, image, noise = draw(generator), draw(generator), draw(generator)
    if strength is None:
        sample = noise * scheduler.init_noise_sigma
    else:
        sample = scheduler.add_noise(image, noise, timesteps[:1])
    case = {"timesteps": timesteps.tolist(), "init_noise_sigma": float(scheduler.init_noise_sigma)}
    if hasattr(scheduler, "sigmas"):
        case["sigmas"] = scheduler.sigmas[len(scheduler.timesteps) - len(timesteps) :].tolist()
    case["samples"] = [probe(sample)]
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    for t in timesteps:
        model_input = scheduler.scale_model_input(sample, t)
        output = 0.3 * model_input + (0.1 + float(t) / 2000) * constant
        extra = {"generator": generator} if takes_generator else {}
        sample = scheduler.step(output, t, sample, **extra).prev_sample
        case["samples"].append(probe(sample))
    case["last"] = sample.flatten()[:8].tolist()
    if not all(math.isfinite(value) for value in case["last"]):
        raise ValueError("not finite")
    return case


def rounded(value, digits=8):
    """Eight digits for tables, seven for samples: below every tolerance, and a third of the file."""
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item, 7 if key in ("samples", "last") else digits) for key, item in value.items()}
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def as_json(settings):
    """Python's infinity is not JSON."""
    return {key: "-Infinity" if value == -math.inf else value for key, value in settings.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, nargs="*", default=[1, 2, 4, 10, 25, 50])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases, tables = [], {}
    for name in CLASSES:
        for settings in configs(name):
            for steps, strength in itertools.product(arguments.steps, STRENGTHS):
                case = {"name": name, "settings": as_json(settings), "steps": steps, "strength": strength}
                try:
                    case |= rounded(run(name, STABLE_DIFFUSION | settings, steps, strength, arguments.seed))
                except NumpyGainedATimestep:
                    continue
                except (ValueError, IndexError, NotImplementedError) as error:
                    case["refused"] = str(error)[:60]
                for key in ["timesteps", "sigmas"]:
                    if key in case:
                        case[key] = tables.setdefault(json.dumps(case[key]), len(tables))
                cases.append(case)
    golden = {"diffusers": diffusers.__version__, "torch": torch.__version__, "seed": arguments.seed}
    golden |= {"config": STABLE_DIFFUSION, "tables": [json.loads(table) for table in tables]}
    golden |= {"cases": cases}
    with open(arguments.out, "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
