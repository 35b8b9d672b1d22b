"""A training clock: how much of the time budget is gone, and the learning rate that follows from it.

Schedules follow time, not steps, so that a slow or busy machine still ends properly annealed.
"""

import math
import time
from datetime import datetime, timedelta


def seconds_until(clock_time):
    """Seconds from now to the next HH:MM."""
    hour, minute = map(int, clock_time.split(":"))
    now = datetime.now()
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then - now + (timedelta(days=1) if then <= now else timedelta())).total_seconds()


class Clock:
    """Time used, against a budget in seconds. `spent` is time already used by an earlier run."""

    def __init__(self, budget, spent=0.0):
        self.budget, self.start = budget + spent, time.time() - spent

    def spent(self):
        return time.time() - self.start

    def share(self):
        return min(1.0, self.spent() / self.budget)

    def over(self):
        return self.spent() >= self.budget


def rate(peak, share, step, warm_steps=100, hold=0.0):
    """Warm up by steps, hold `peak` for the first part of the time, then fall to zero as a cosine."""
    fallen = max(0.0, min(1.0, share) - hold) / (1 - hold)
    return peak * min(1.0, (step + 1) / warm_steps) * 0.5 * (1 + math.cos(math.pi * fallen))


def set_rate(optimizer, value):
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("scale", 1.0)
