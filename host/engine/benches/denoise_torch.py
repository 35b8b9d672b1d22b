"""One denoise step of a Stable Diffusion 1.5 denoiser with random weights in diffusers, for benches/denoise.rs.

Prints one line of JSON: seconds (the best of a few) by side in pixels and precision.
"""

import json
import sys
import time

import torch
from diffusers import UNet2DConditionModel

SIDES = [int(side) for side in sys.argv[1:]]
RUNS = 3
# where a processor has no bf16 arithmetic, torch takes minutes for one step: the first run is then the figure
LONG_SECONDS = 30


@torch.inference_mode()
def seconds(unet, side, dtype):
    sample = torch.randn(2, 4, side // 8, side // 8, dtype=dtype)
    context = torch.randn(2, 77, 768, dtype=dtype)
    timestep = torch.tensor([500, 500])

    def once():
        began = time.perf_counter()
        unet(sample, timestep, encoder_hidden_states=context)
        return time.perf_counter() - began

    first = once()
    return first if first > LONG_SECONDS else min(once() for _ in range(RUNS))


def main():
    unet = UNet2DConditionModel(cross_attention_dim=768, sample_size=64).eval()
    times = {str(side): {} for side in SIDES}
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        unet = unet.to(dtype)
        for side in SIDES:
            times[str(side)][name] = seconds(unet, side, dtype)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "seconds": times}))


if __name__ == "__main__":
    main()
