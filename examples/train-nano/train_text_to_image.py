"""Trains text encoder and UNet together on latents of the bank, with fresh prompts at every step.

    python train_text_to_image.py --work WORK --until 08:35        (or --seconds 5400)
Velocity prediction down to zero signal-to-noise, loss weight capped as in min-SNR, one prompt in ten
empty, exponential moving average. The state is saved every few minutes and when the process is asked to end;
a second start goes on from it.
"""

import argparse
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTokenizer

from bank import scene_at
from clock import Clock, rate, seconds_until, set_rate
from encode_bank import load_latents
from model import new_scheduler, new_text_encoder, new_unet
from muon import optimizer_for
from pretrain_text import Naming, tokenize
from prompts import prompt_for
from threads import Threads
from train_vae import Average, device_of_choice
from world import labels

SAVE_EVERY, LOOK_EVERY, EMPTY, CAP = 240.0, 90.0, 0.10, 5.0


class Learner(nn.Module):
    """Everything that learns, as one module."""

    def __init__(self, tokenizer):
        super().__init__()
        self.text, self.unet, self.naming = new_text_encoder(tokenizer), new_unet(), Naming()


class Noise:
    """Forward diffusion and its loss weights."""

    def __init__(self, device):
        bars = new_scheduler().alphas_cumprod.to(device)
        self.signal, self.noise = bars.sqrt(), (1 - bars).sqrt()
        snr = bars / (1 - bars).clamp(min=1e-8)
        self.weight = (snr + 1).clamp(max=CAP) / (snr + 1)

    def draw(self, latents):
        """Noisy latents, times (spread evenly over the batch), target velocities and weights."""
        n = len(latents)
        t = ((torch.arange(n, device=latents.device) + torch.rand(n, device=latents.device)) * (1000 / n)).long().clamp(max=999)
        eps = torch.randn_like(latents)
        a, b = self.signal[t].view(-1, 1, 1, 1), self.noise[t].view(-1, 1, 1, 1)
        return a * latents + b * eps, t, a * eps - b * latents, self.weight[t]


class Bank:
    """Latents and the scenes they show; grows while the encoder is still at work."""

    def __init__(self, folder, device):
        self.folder, self.device, self.scenes, self.latents, self.seen = folder, device, [], None, 0.0
        self.look()

    def look(self):
        if time.time() - self.seen < LOOK_EVERY:
            return
        self.seen = time.time()
        latents = load_latents(self.folder)
        if self.latents is None or len(latents) > len(self.latents):
            self.scenes += [scene_at(i) for i in range(len(self.scenes), len(latents))]
            self.latents = latents.to(self.device)
            print(f"bank: {len(latents)} scenes", flush=True)

    def batch(self, count, rng):
        """Latents, prompts (some empty) and answers for the side loss."""
        self.look()
        numbers = [rng.randrange(len(self.scenes)) for _ in range(count)]
        scenes = [self.scenes[i] for i in numbers]
        texts = ["" if rng.random() < EMPTY else prompt_for(s, rng) for s in scenes]
        return self.latents[numbers], texts, torch.tensor([labels(s) for s in scenes], device=self.device)


def losses(learner, noise, tokenizer, latents, texts, answers):
    """Denoising loss and naming loss of a batch."""
    ids = tokenize(tokenizer, texts, latents.device)
    hidden = learner.text(ids).last_hidden_state
    noisy, t, target, weight = noise.draw(latents)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    out = learner.unet(noisy, t, hidden).sample
    denoise = (weight * (out - target).pow(2).mean((1, 2, 3))).mean()
    said = torch.tensor([bool(text) for text in texts], device=latents.device)
    name, _ = learner.naming(hidden[said], ids[said], tokenizer.eos_token_id, answers[said])
    return denoise, name


class Stop:
    """Turns a polite end (SIGTERM) into a saved state."""

    def __init__(self):
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_):
        self.asked = True


def save_state(path, learner, optimizer, average, step, spent):
    part = path.with_suffix(".part")
    torch.save({"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "average": average.shadow,
                "step": step, "spent": spent}, part)
    part.rename(path)


def restore(args, learner, optimizer, average, device):
    """Step and time spent of an earlier run, or the pretrained text encoder to begin with."""
    path = Path(args.work) / "state.pt"
    if path.exists():
        state = torch.load(path, map_location=device)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        average.shadow = state["average"]
        return state["step"], state["spent"]
    lesson = torch.load(Path(args.work) / "text.pt", map_location=device)
    learner.text.load_state_dict(lesson["text"])
    learner.naming.load_state_dict(lesson["naming"])
    average.shadow = {k: v.detach().clone() for k, v in learner.state_dict().items()}
    return 0, 0.0


def train(args, device):
    tokenizer = CLIPTokenizer.from_pretrained(Path(args.work) / "tokenizer")
    learner = Learner(tokenizer).to(device, memory_format=torch.channels_last).train()
    optimizer = optimizer_for({"unet": learner.unet, "text": learner.text, "naming": learner.naming}, args.rate,
                              {"text": 0.3, "naming": 0.3})
    average = Average(learner, 0.997)
    step, spent = restore(args, learner, optimizer, average, device)
    bank, noise, threads = Bank(Path(args.work) / "latents", device), Noise(device), Threads()
    rng = random.Random(step + 11)
    torch.manual_seed(step + 11)
    clock = Clock(seconds_until(args.until) if args.until else args.seconds, spent)
    path, saved, recent, stop = Path(args.work) / "state.pt", time.time(), [], Stop()
    while not clock.over() and not stop.asked:
        set_rate(optimizer, rate(args.rate, clock.share(), step, 60, hold=args.hold))
        denoise, name = losses(learner, noise, tokenizer, *bank.batch(args.batch, rng))
        optimizer.zero_grad(set_to_none=True)
        (denoise + args.naming * name).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        average.update(learner, step)
        threads.tick()
        recent.append((denoise.item(), name.item()))
        step += 1
        if step % 20 == 0:
            d, n = np.mean(recent[-20:], 0)
            print(f"step {step} {clock.spent():.0f}s denoise {d:.4f} naming {n:.3f} rate {optimizer.param_groups[0]['lr']:.2e}", flush=True)
        if time.time() - saved > SAVE_EVERY:
            save_state(path, learner, optimizer, average, step, clock.spent())
            saved = time.time()
    save_state(path, learner, optimizer, average, step, clock.spent())
    print(f"finished after {step} steps and {clock.spent():.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--until", help="stop at HH:MM")
    parser.add_argument("--seconds", type=float, default=5400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1.1e-3)
    parser.add_argument("--hold", type=float, default=0.45, help="share of the time at full learning rate")
    parser.add_argument("--naming", type=float, default=0.03, help="weight of the side loss")
    args = parser.parse_args()
    train(args, device_of_choice())


if __name__ == "__main__":
    main()
