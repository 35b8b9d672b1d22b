"""Trains text encoder and UNet together on latents of the bank, with fresh prompts at every step.

    python train_text_to_image.py --work WORK --until 08:35        (or --seconds 5400)
Velocity prediction down to zero signal-to-noise, loss weight capped as in min-SNR, one prompt in ten
empty, exponential moving average.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import nn
from transformers import CLIPTokenizer

from bank import scene_at
from encode_bank import load_latents
from model import new_scheduler, new_text_encoder, new_unet
from pretrain_text import Naming, load_lesson, tokenize
from prompts import prompt_for
from train_vae import device_of_choice
from training import Run, arguments
from world import labels

LOOK_EVERY, EMPTY, CAP = 90.0, 0.10, 5.0


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

    def draw(self, latents, lean=1.0):
        """Noisy latents, times (spread evenly over the batch, below 1: leaning to noise), target velocities and weights."""
        n = len(latents)
        share = (torch.arange(n, device=latents.device) + torch.rand(n, device=latents.device)) / n
        t = (1000 * share ** lean).long().clamp(max=999)
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


def train(args, device):
    tokenizer = CLIPTokenizer.from_pretrained(Path(args.work) / "tokenizer")
    run = Run(Learner(tokenizer).to(device, memory_format=torch.channels_last).train(), args, args.work, device)
    run.restore(lambda learner: load_lesson(learner, args.work))
    bank, noise = Bank(Path(args.work) / "latents", device), Noise(device)
    run.learn(lambda rng: losses(run.learner, noise, tokenizer, *bank.batch(args.batch, rng)), args)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    arguments(parser, 32, 1.1e-3)
    args = parser.parse_args()
    train(args, device_of_choice())


if __name__ == "__main__":
    main()
