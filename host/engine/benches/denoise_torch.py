"""One denoise step of a Stable Diffusion 1.5 denoiser with random weights in diffusers, for benches/denoise.rs.

Prints one line of JSON: seconds (the best of a few) by side in pixels and precision, and whether torch has bf16 kernels for
the processor. Where it has none it computes bf16 all the same, in minutes: one step is measured then, in CPU time for each
thread, so that whatever else runs in those minutes does not count.
"""

import json
import os
import sys
import time
import timeit

import torch
from diffusers import UNet2DConditionModel

SIDES = [int(side) for side in sys.argv[1:]]
RUNS = 3


@torch.inference_mode()
def seconds(unet, side, dtype, is_fast):
    sample = torch.randn(2, 4, side // 8, side // 8, dtype=dtype)
    context = torch.randn(2, 77, 768, dtype=dtype)
    timestep = torch.tensor([500, 500])

    def once():
        unet(sample, timestep, encoder_hidden_states=context)

    def by_thread():
        return time.process_time() / torch.get_num_threads()

    if not is_fast:
        return timeit.timeit(once, timer=by_thread, number=1)
    once()
    clock = by_thread if os.environ.get("ATELIER_CLOCK") == "cpu" else time.perf_counter
    return min(timeit.repeat(once, timer=clock, number=1, repeat=RUNS))


def main():
    unet = UNet2DConditionModel(cross_attention_dim=768, sample_size=64).eval()
    times = {str(side): {} for side in SIDES}
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for name, dtype, is_fast in [("f32", torch.float32, True), ("bf16", torch.bfloat16, fast)]:
        unet = unet.to(dtype)
        for side in SIDES:
            times[str(side)][name] = seconds(unet, side, dtype, is_fast)
    print(json.dumps({"torch": torch.__version__, "bf16_kernels": fast, "seconds": times}))


if __name__ == "__main__":
    main()
