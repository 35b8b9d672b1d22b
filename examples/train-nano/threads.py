"""How many threads to compute with on a machine that others use too, and in which precision.

Threads in step with each other wait for the slowest, so where builds run beside the training one thread is
much faster than two. One is the rule; all are tried, and kept if faster, only while the machine is calm.
"""

import os
import time
from functools import cache

import torch

EVERY, TRIAL = 60.0, 2


@cache
def quick_in_half(kind):
    """Whether products of bfloat16 matrices are quicker than others on this kind of device, as they are in newer ones."""
    if kind != "cpu":
        return True
    spent = {}
    for sort in (torch.float32, torch.bfloat16):
        a = torch.randn(512, 512).to(sort)
        for _ in range(4):      # the last one counts: the first ones warm up
            start = time.process_time()
            a @ a @ a
            spent[sort] = time.process_time() - start
    return spent[torch.bfloat16] < spent[torch.float32]


class Threads:
    """Call `tick` after every training step."""

    def __init__(self):
        allowed = len(os.sched_getaffinity(0))
        self.most = min(allowed, int(os.environ.get("OMP_NUM_THREADS") or allowed))
        self.next_trial, self.plan, self.times, self.last = time.time() + 20, [], {}, time.time()
        if not torch.cuda.is_available() and not self._calm():
            torch.set_num_threads(1)

    def _calm(self):
        return os.getloadavg()[0] < self.most + 1.5

    def tick(self):
        now = time.time()
        took, self.last = now - self.last, now
        if torch.cuda.is_available() or self.most == 1:
            return
        if self.plan:
            self._note(self.plan.pop(0), took)
        elif now > self.next_trial:
            self._begin(now)

    def _begin(self, now):
        self.next_trial = now + EVERY
        if not self._calm():
            torch.set_num_threads(1)
            return
        self.times = {}
        self.plan = [c for c in (1, self.most) for _ in range(TRIAL)]
        torch.set_num_threads(1)

    def _note(self, count, took):
        self.times.setdefault(count, []).append(took)
        if self.plan:
            torch.set_num_threads(self.plan[0])
            return
        mean = {c: sum(t) / len(t) for c, t in self.times.items()}
        best = min(mean, key=mean.get)
        torch.set_num_threads(best)
        print("threads: " + ", ".join(f"{c}: {s:.2f} s a step" for c, s in mean.items()) + f"; using {best}", flush=True)
