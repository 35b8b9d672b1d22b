"""The training that painter and editor have in common: one loop on a time budget, saved states, averaged weights.

The state is saved every few minutes and when the process is asked to end; a second start goes on from it.
"""

import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clock import Clock, rate, seconds_until, set_rate
from muon import optimizer_for
from threads import Threads
from train_vae import Average

SAVE_EVERY = 240.0


def arguments(parser, batch, peak):
    """What a training may be told on the command line."""
    parser.add_argument("--until", help="stop at HH:MM")
    parser.add_argument("--seconds", type=float, default=5400)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=peak)
    parser.add_argument("--hold", type=float, default=0.45, help="share of the time at full learning rate")
    parser.add_argument("--naming", type=float, default=0.03, help="weight of the side loss")
    parser.add_argument("--average", type=float, default=0.997, help="how slowly the averaged weights follow")


class Stop:
    """Turns a polite end (SIGTERM) into a saved state."""

    def __init__(self):
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_):
        self.asked = True


# the learner's modules, with factors on the learning rate, and what its two losses are called
PAINTING = {"unet": 1.0, "text": 0.3, "naming": 0.3}, ("denoise", "naming")


class Run:
    """A learner, its optimizer and averaged weights, and the file of its state."""

    def __init__(self, learner, args, folder, device, modules=PAINTING[0], names=PAINTING[1]):
        self.learner, self.device, self.path, self.names = learner, device, Path(folder) / "state.pt", names
        self.optimizer = optimizer_for({name: getattr(learner, name) for name in modules}, args.rate, modules)
        self.average, self.step, self.spent = Average(learner, args.average), 0, 0.0

    def restore(self, begin):
        """Takes up an earlier run, or else what `begin` loads into the learner."""
        if not self.path.exists():
            begin(self.learner)
            self.average.shadow = {k: v.detach().clone() for k, v in self.learner.state_dict().items()}
            return
        state = torch.load(self.path, map_location=self.device)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.shadow, self.step, self.spent = state["average"], state["step"], state["spent"]

    def save(self, spent):
        part = self.path.with_suffix(".part")
        torch.save({"learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict(),
                    "average": self.average.shadow, "step": self.step, "spent": spent}, part)
        part.rename(self.path)

    def learn(self, losses, args):
        """Steps until the time is over. `losses(rng)` draws a batch and gives its loss and that of the lesson beside."""
        rng, threads, recent = random.Random(self.step + 11), Threads(), []
        torch.manual_seed(self.step + 11)
        self.clock = clock = Clock(seconds_until(args.until) if args.until else args.seconds, self.spent)
        saved, stop = time.time(), Stop()
        while not clock.over() and not stop.asked:
            set_rate(self.optimizer, rate(args.rate, clock.share(), self.step, 60, hold=args.hold))
            main, beside = losses(rng)
            self.optimizer.zero_grad(set_to_none=True)
            (main + args.naming * beside).backward()
            nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
            self.optimizer.step()
            self.average.update(self.learner, self.step)
            threads.tick()
            recent = recent[-19:] + [(main.item(), beside.item())]
            self.step += 1
            if self.step % 20 == 0:
                first, second = np.mean(recent, 0)
                print(f"step {self.step} {clock.spent():.0f}s {self.names[0]} {first:.4f} {self.names[1]} {second:.3f} "
                      f"rate {self.optimizer.param_groups[0]['lr']:.2e}", flush=True)
            if time.time() - saved > SAVE_EVERY:
                self.save(clock.spent())
                saved = time.time()
        self.save(clock.spent())
        print(f"finished after {self.step} steps and {clock.spent():.0f} s", flush=True)
