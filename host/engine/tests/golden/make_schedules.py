"""Golden values for tests/schedule.rs: diffusers' schedulers over a dummy model.

    python make_schedules.py schedules.json [--seed 7] [--steps 1 2 5 10 30]
    ATELIER_GOLDEN_DIR=<its folder> cargo test --release -p atelier-engine --test schedule

Every case is built as `Scheduler.from_config(config)`, its timesteps are cut by strength as the image-to-image
pipelines do, and a whole loop is run over `model(x, t) = 0.3 x + (0.1 + t / 2000) c` on one latent of shape (1, 4, 4, 4).
Noise comes from one `torch.Generator("cpu")`: first `c`, then the image, then the first noise, then what the steps draw.
Of every `every`th sample the file keeps the Euclidean norm and the dot product with cos(0), cos(1), ..., which every
entry moves; of the last one also the first eight entries. Timesteps and sigmas are shared between cases that have the
same ones. Cases that diffusers itself refuses, or that are NaN there, have `refused` set instead.
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
import numpy  # noqa: E402
import torch  # noqa: E402
from diffusers.pipelines.flux.pipeline_flux import calculate_shift  # noqa: E402

SHAPE = (1, 4, 4, 4)
SDE = {"algorithm_type": "sde-dpmsolver++"}
ODE = {"algorithm_type": "dpmsolver++"}
# Each solver's class and what its name lays over the file.
SOLVERS = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "ddpm": (diffusers.DDPMScheduler, {}),
    "pndm": (diffusers.PNDMScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, ODE),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler, SDE),
    "dpmpp_2s": (diffusers.DPMSolverSinglestepScheduler, ODE),
    "dpmpp_sde": (diffusers.DPMSolverSinglestepScheduler, SDE),
    # not diffusers': see `sample_dpmpp_2s_ancestral`, over this class's noise levels
    "dpmpp_2s_ancestral": (diffusers.EulerDiscreteScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
    "tcd": (diffusers.TCDScheduler, {}),
    "edm_euler": (diffusers.EDMEulerScheduler, {}),
    "edm_dpmpp_2m": (diffusers.EDMDPMSolverMultistepScheduler, ODE),
    "edm_dpmpp_2m_sde": (diffusers.EDMDPMSolverMultistepScheduler, SDE),
    "flow_match_euler": (diffusers.FlowMatchEulerDiscreteScheduler, {}),
}
# What a name's ending lays over the file, as the table in diffusers' docs (api/schedulers/overview) has it.
ENDINGS = {
    "": {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
    "beta": {"use_beta_sigmas": True, "timestep_spacing": "linspace"},
    "lu": {"use_lu_lambdas": True},
    "trailing": {"timestep_spacing": "trailing"},
    "sgm_uniform": {"timestep_spacing": "trailing"},
}
CONVERTED = ["karras", "exponential", "beta"]
KNOW_CONVERSIONS = ["lms", "heun", "euler", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "dpmpp_sde", "dpmpp_2s_ancestral", "unipc"]
BASES = {
    "discrete": {
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
    },
    "edm": {"_class_name": "EDMEulerScheduler", "_diffusers_version": "0.42.1"},
    "flow": {"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.42.1"},
}
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SPACINGS = ["leading", "linspace", "trailing"]
# Beyond the product in `configs`: settings that only some classes know, and configs as they are published.
VELOCITY = {"prediction_type": "v_prediction"}
SIGMA_MIN = {"final_sigmas_type": "sigma_min"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
BOUNDS = {"sigma_min": 0.02, "sigma_max": 12.0}
FLUX = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
FLUX |= {"base_image_seq_len": 256, "max_image_seq_len": 4096}
SPECIAL = [
    ("euler_karras", BOUNDS),
    ("euler_beta", BOUNDS),
    ("lms_karras", BOUNDS),
    ("lms_exponential", BOUNDS),
    ("heun_karras", BOUNDS),
    ("dpmpp_2m_beta", BOUNDS),
    ("euler", SIGMA_MIN),
    ("euler", VELOCITY | {"timestep_type": "continuous"}),
    ("euler_karras", VELOCITY | BOUNDS | {"timestep_type": "continuous"}),
    ("unipc", {"solver_order": 1}),
    ("unipc", {"solver_order": 3}),
    ("unipc", {"solver_order": 3, "lower_order_final": False} | SIGMA_MIN),
    ("unipc", {"solver_type": "bh1"} | SIGMA_MIN),
    ("unipc", {"solver_type": "midpoint", "disable_corrector": [0, 1, 5]}),
    ("unipc", {"predict_x0": False} | SIGMA_MIN),
    ("unipc", {"predict_x0": False, "solver_order": 3, "solver_type": "bh1"} | SIGMA_MIN | VELOCITY),
    ("unipc_karras", COSINE | SIGMA_MIN),
    ("unipc_exponential", SIGMA_MIN),
    ("dpmpp_2m", {"solver_order": 1}),
    ("dpmpp_2m", {"euler_at_final": True} | SIGMA_MIN),
    ("dpmpp_2m", {"lower_order_final": False, "solver_type": "heun"} | SIGMA_MIN),
    ("dpmpp_2m", {"lambda_min_clipped": -5.1} | COSINE),
    ("dpmpp_2m", {"lambda_min_clipped": -math.inf, "solver_type": "logrho"}),
    ("dpmpp_2m_karras", COSINE),
    ("dpmpp_2m_karras", SIGMA_MIN),
    ("dpmpp_2m_sde", {"solver_type": "heun"}),
    ("dpmpp_2m_sde", {"solver_order": 1} | SIGMA_MIN),
    ("dpmpp_2m_sde_karras", SIGMA_MIN),
    ("dpmpp_2s", {"solver_type": "heun", "lower_order_final": True}),
    ("dpmpp_2s", {"lower_order_final": False} | SIGMA_MIN),
    ("dpmpp_2s", {"solver_order": 1, "lambda_min_clipped": -5.1} | COSINE),
    ("dpmpp_sde", {"solver_type": "heun"} | SIGMA_MIN),
    ("dpmpp_sde_karras", COSINE),
    ("ddim", {"clip_sample": True}),
    ("ddim", {"clip_sample": True, "clip_sample_range": 0.5, "prediction_type": "sample"}),
    ("ddim", {"set_alpha_to_one": True}),
    ("ddim", {"num_train_timesteps": 20, "trained_betas": [0.01 * (i + 1) for i in range(20)]}),
    ("ddpm", {"clip_sample": True, "clip_sample_range": 0.5}),
    ("ddpm", {"variance_type": "fixed_small_log"}),
    ("ddpm", {"variance_type": "fixed_large"}),
    # by trailing steps: at the lowest level f32 would show what clipping and dividing by σ make of it
    ("heun", {"clip_sample": True, "clip_sample_range": 0.5, "timestep_spacing": "trailing"}),
    ("pndm", {"skip_prk_steps": False}),
    ("pndm", {"skip_prk_steps": False, "timestep_spacing": "linspace"} | VELOCITY),
    ("pndm_trailing", {"skip_prk_steps": False, "set_alpha_to_one": True}),
    ("lcm", {"clip_sample": True, "original_inference_steps": 100, "timestep_scaling": 3.0}),
    ("tcd", {"original_inference_steps": 100}),
    ("edm_euler", {"sigma_max": 120.0, "sigma_data": 1.0, "sigma_schedule": "exponential"} | VELOCITY),
    ("edm_euler", {"rho": 5.0} | SIGMA_MIN),
    ("edm_dpmpp_2m", {"sigma_data": 1.0, "sigma_schedule": "exponential"} | SIGMA_MIN | VELOCITY),
    ("edm_dpmpp_2m", {"solver_type": "heun", "rho": 5.0, "lower_order_final": False}),
    ("edm_dpmpp_2m_sde", {"euler_at_final": True}),
    ("flow_match_euler", {}),
    ("flow_match_euler", {"shift": 3.0}),
    ("flow_match_euler", {"shift": 3.0, "shift_terminal": 0.1}),
    ("flow_match_euler", {"shift": 3.0, "stochastic_sampling": True}),
    ("flow_match_euler", {"image_tokens": 1024}),
    ("flow_match_euler", FLUX | {"image_tokens": 256}),
    ("flow_match_euler", FLUX | {"image_tokens": 4096}),
    ("flow_match_euler", FLUX | {"image_tokens": 6000, "time_shift_type": "linear", "shift_terminal": 0.02}),
    ("flow_match_euler_karras", FLUX | {"image_tokens": 1024}),
    ("flow_match_euler_exponential", FLUX | {"image_tokens": 1024}),
    ("flow_match_euler_beta", {"shift": 3.0}),
]


def configs(solver):
    """`(ending, settings)` for one solver: the product, then the special ones."""
    class_, _ = SOLVERS[solver]
    knows = inspect.signature(class_.__init__).parameters
    if solver.startswith("edm"):
        yield from (("", {"prediction_type": prediction}) for prediction in PREDICTIONS)
    elif not solver.startswith("flow"):
        spacings = SPACINGS if "timestep_spacing" in knows and solver != "tcd" else [None]
        for prediction, spacing in itertools.product(PREDICTIONS, spacings):
            settings = {"prediction_type": prediction} | ({"timestep_spacing": spacing} if spacing else {})
            yield "", settings
            if "rescale_betas_zero_snr" in knows:
                yield "", settings | {"rescale_betas_zero_snr": True}
        yield "", {"beta_schedule": "linear"}
        # its first step spans six orders of magnitude, of which the ancestral sampler's own subtraction leaves noise
        if solver != "dpmpp_2s_ancestral":
            yield "", COSINE
        if solver in KNOW_CONVERSIONS:
            for ending in CONVERTED:
                yield ending, {}
                yield ending, VELOCITY | {"timestep_spacing": "leading"}
        if "use_lu_lambdas" in knows:
            yield "lu", {}
        if spacings == SPACINGS and solver != "lcm":
            yield "sgm_uniform", VELOCITY
    for special, settings in SPECIAL:
        for ending in ENDINGS:
            if special == (f"{solver}_{ending}" if ending else solver):
                yield ending, settings


def set_timesteps(scheduler, solver, steps, strength, image_tokens):
    """As the image-to-image pipelines; the latent consistency one hands strength to the scheduler instead."""
    if solver == "lcm":
        scheduler.set_timesteps(steps, strength=1.0 if strength is None else strength)
        return scheduler.timesteps
    extra = {}
    if image_tokens is not None:
        config = scheduler.config
        seq_lens, shifts = (config.base_image_seq_len, config.max_image_seq_len), (config.base_shift, config.max_shift)
        extra = {"sigmas": numpy.linspace(1.0, 1 / steps, steps), "mu": calculate_shift(image_tokens, *seq_lens, *shifts)}
    scheduler.set_timesteps(steps, **extra)
    begin = 0
    if strength is not None and solver.startswith("flow"):
        begin = int(max(steps - min(steps * strength, steps), 0))
    elif strength is not None:
        begin = max(steps - min(int(steps * strength), steps), 0)
    begin *= scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    if len(timesteps) and timesteps[-1] < 0 and not solver.startswith("edm"):
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


def model(model_input, t, constant):
    return 0.3 * model_input + (0.1 + float(t) / 2000) * constant


def loop(scheduler, timesteps, sample, constant, generator):
    """diffusers' denoising loop: the sample before each call, and after the last."""
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    samples = [sample]
    for t in timesteps:
        model_input = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        extra = {"generator": generator} if takes_generator else {}
        sample = scheduler.step(model(model_input, t, constant), t, sample, **extra).prev_sample
        samples.append(sample)
    return samples


def get_ancestral_step(sigma_from, sigma_to):
    sigma_up = min(sigma_to, (sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2) ** 0.5)
    return (sigma_to**2 - sigma_up**2) ** 0.5, sigma_up


def sample_dpmpp_2s_ancestral(denoise, x, sigmas, noise_sampler):
    """k-diffusion 0.1.1 (Katherine Crowson, MIT), `k_diffusion/sampling.py`, with eta and s_noise of 1."""
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i])
        sigma_down, sigma_up = get_ancestral_step(sigmas[i], sigmas[i + 1])
        if sigma_down == 0:
            x = x + (x - denoised) / sigmas[i] * (sigma_down - sigmas[i])
        else:
            t, t_next = sigmas[i].log().neg(), sigma_down.log().neg()
            h = t_next - t
            s = t + h / 2
            x_2 = (s.neg().exp() / t.neg().exp()) * x - (-h / 2).expm1() * denoised
            denoised_2 = denoise(x_2, s.neg().exp())
            x = (t_next.neg().exp() / t.neg().exp()) * x - (-h).expm1() * denoised_2
        if sigmas[i + 1] > 0:
            x = x + noise_sampler() * sigma_up
    return x


def ancestral_loop(scheduler, timesteps, sample, constant, generator):
    """The same for the sampler above, with the timesteps and sigmas of its model calls. Its noise levels are in f64: in f32
    the difference that they are found by loses the ones after a large step."""
    sigmas = scheduler.sigmas[len(scheduler.timesteps) - len(timesteps) :].double()
    whole = dict(zip(sigmas.tolist(), timesteps.tolist()))
    samples, calls = [], []

    def denoise(x, sigma):
        # its second calls are at the next level, but for the last digit
        t = whole[min(whole, key=lambda known: abs(known - float(sigma)))]
        samples.append(x)
        calls.append((t, float(sigma)))
        alpha = 1 / (sigma**2 + 1).sqrt()
        output = model(x * alpha, t, constant)
        prediction = scheduler.config.prediction_type
        if prediction == "epsilon":
            return x - sigma * output
        return output if prediction == "sample" else output * (-sigma * alpha) + x * alpha**2

    last = sample_dpmpp_2s_ancestral(denoise, sample, sigmas, lambda: torch.randn(SHAPE, generator=generator))
    return samples + [last], [t for t, _ in calls], [sigma for _, sigma in calls] + [0.0]


def run(solver, ending, settings, steps, strength, seed):
    class_, of_name = SOLVERS[solver]
    of_ending = ENDINGS[ending]
    if ending in CONVERTED and settings.get(next(iter(of_ending))):
        of_ending = {}
    image_tokens = settings.get("image_tokens")
    config = BASES[base_of(solver)] | {key: value for key, value in settings.items() if key != "image_tokens"}
    scheduler = class_.from_config(config | of_name | of_ending)
    timesteps = set_timesteps(scheduler, solver, steps, strength, image_tokens)
    draw = lambda g: torch.randn(SHAPE, generator=g)  # noqa: E731
    generator = torch.Generator("cpu").manual_seed(seed)
    constant, image, noise = draw(generator), draw(generator), draw(generator)
    init_noise_sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))
    if strength is None:
        sample = noise * init_noise_sigma
    elif solver.startswith("flow"):
        sample = scheduler.scale_noise(image, timesteps[:1], noise)
    else:
        sample = scheduler.add_noise(image, noise, timesteps[:1])
    case = {"init_noise_sigma": init_noise_sigma}
    if solver == "dpmpp_2s_ancestral":
        samples, case["timesteps"], case["sigmas"] = ancestral_loop(scheduler, timesteps, sample, constant, generator)
    else:
        samples = loop(scheduler, timesteps, sample, constant, generator)
        case["timesteps"] = timesteps.tolist()
        if hasattr(scheduler, "sigmas"):
            case["sigmas"] = scheduler.sigmas[len(scheduler.timesteps) - len(timesteps) :].tolist()
    case["every"] = 1 + len(samples) // 12
    case["samples"] = [probe(sample) for sample in samples[:: case["every"]]]
    case["last"] = samples[-1].flatten()[:8].tolist()
    if not all(math.isfinite(value) for value in case["last"]):
        raise ValueError("not finite")
    return case


def base_of(solver):
    return solver.split("_")[0] if solver.startswith(("edm", "flow")) else "discrete"


def runs(steps, solver, settings):
    """`(steps, strength)` of the cases of one config."""
    for index, count in enumerate(steps):
        # of two steps the second divides what f32 left of the first by the lowest sigma, and enlarges it 500 times
        if solver == "heun" and count == 2:
            continue
        yield count, None
        # diffusers' Runge-Kutta steps go wrong when they are cut; we refuse that
        if count > 2 and not (solver == "pndm" and settings.get("skip_prk_steps") is False):
            yield count, (0.3, 0.75)[index % 2]


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
    parser.add_argument("--steps", type=int, nargs="*", default=[1, 2, 5, 10, 30])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    configs_of_cases, tables = [], {}
    for solver in SOLVERS:
        for ending, settings in configs(solver):
            name = f"{solver}_{ending}" if ending else solver
            cases = []
            for steps, strength in runs(arguments.steps, solver, settings):
                case = {"steps": steps, "strength": strength}
                try:
                    case |= rounded(run(solver, ending, settings, steps, strength, arguments.seed))
                except NumpyGainedATimestep:
                    continue
                except (ValueError, IndexError, NotImplementedError) as error:
                    case["refused"] = str(error)[:60]
                for key in ["timesteps", "sigmas"]:
                    if key in case:
                        case[key] = tables.setdefault(json.dumps(case[key]), len(tables))
                cases.append(case)
            of_config = {"name": name, "base": base_of(solver), "settings": as_json(settings), "cases": cases}
            configs_of_cases.append(of_config)
    golden = {"diffusers": diffusers.__version__, "torch": torch.__version__, "seed": arguments.seed}
    golden |= {"bases": BASES, "tables": [json.loads(table) for table in tables], "configs": configs_of_cases}
    with open(arguments.out, "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
