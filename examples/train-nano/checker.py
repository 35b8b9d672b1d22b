"""The judge: a small CNN that says what a picture shows, trained on rendered truth only.

    python checker.py --bank WORK/bank --vae WORK/vae --out WORK/checker.pt --seconds 400
Heads: shape and colour of the first (upper, left or only) and of the second object, background and style.
Pictures are blurred, dimmed, shifted, made noisy or sent through the codec at random. Validated at the end on
freshly rendered scenes never trained on, among them the combinations held out from the image model.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import nn

from bank import any_scene_at, load_bank, scene_at
from clock import Clock, rate, set_rate
from muon import optimizer_for
from render import as_array
from threads import Threads
from train_vae import as_tensor, device_of_choice
from world import LABEL_NAMES, LABEL_SIZES, labels

HEADS = 6
FRESH_SEED = 77


def _conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class Checker(nn.Module):
    """From 128x128 pixels to the logits of six questions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.body = nn.Sequential(_conv(32, 48), _conv(48, 64, 2), _conv(64, 64), _conv(64, 128, 2), _conv(128, 128), nn.AvgPool2d(2))
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(128 * 16, 192), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(192, n) for n in LABEL_SIZES[:HEADS])

    def forward(self, x):
        seen = self.neck(self.body(self.stem(x)))
        return [head(seen) for head in self.heads]


def disturb(x, rng):
    """Small faults such as a generator makes."""
    if rng.random() < .5:
        x = torch.roll(x, tuple(int(v) for v in rng.integers(-4, 5, 2)), (2, 3))
    if rng.random() < .4:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    if rng.random() < .5:
        x = x + float(rng.uniform(0, .10)) * torch.randn_like(x)
    if rng.random() < .5:
        gain = 1 + .06 * torch.randn(len(x), 3, 1, 1, device=x.device)
        x = x * gain + .03 * torch.randn(len(x), 3, 1, 1, device=x.device)
    return x.clamp(-1, 1)


@torch.inference_mode()
def round_trip(vae, pictures, device, noise=.1):
    """Pictures as the codec gives them back, as bytes; `noise` is added to the latents."""
    codec = AutoencoderTiny.from_pretrained(vae).to(device).eval()
    out = []
    for k in range(0, len(pictures), 50):
        z = codec.encoder(as_tensor(pictures[k:k + 50], device))
        x = (codec.decoder(z + noise * torch.randn_like(z)) / 2 + .5).clamp(0, 1)
        out.append((x * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)


def training_set(args, device):
    """Pictures and answers: the bank, and the first of it once more through the codec."""
    pictures = load_bank(args.bank, args.count)
    answers = np.array([labels(scene_at(i))[:HEADS] for i in range(len(pictures))])
    if args.vae and args.through_codec:
        again = round_trip(args.vae, pictures[:args.through_codec], device)
        pictures, answers = np.concatenate([pictures, again]), np.concatenate([answers, answers[:len(again)]])
    if args.extra:
        more = load_bank(args.extra)
        pictures = np.concatenate([pictures, more])
        answers = np.concatenate([answers, [labels(any_scene_at(i, 5))[:HEADS] for i in range(len(more))]])
    return pictures, torch.from_numpy(answers)


def validate(checker, count, device):
    """Share of right answers per question on fresh renders."""
    right = []
    for k in range(0, count, 50):
        scenes = [any_scene_at(i, FRESH_SEED) for i in range(k, k + 50)]
        x = as_tensor(np.stack([as_array(s, f"fresh/{k + i}") for i, s in enumerate(scenes)]), device)
        with torch.inference_mode():
            said = torch.stack([g.argmax(1) for g in checker(x)], 1).cpu()
        right.append(said == torch.tensor([labels(s)[:HEADS] for s in scenes]))
    return dict(zip(LABEL_NAMES, (round(v, 4) for v in torch.cat(right).float().mean(0).tolist())))


def train(args, device):
    pictures, answers = training_set(args, device)
    checker = Checker().to(device, memory_format=torch.channels_last)
    optimizer = optimizer_for({"checker": checker}, 2e-3)
    clock, rng, step, threads = Clock(args.seconds), np.random.default_rng(3), 0, Threads()
    while not clock.over():
        numbers = rng.integers(0, len(pictures), args.batch)
        x, y = disturb(as_tensor(pictures[numbers], device), rng), answers[numbers].to(device)
        loss = sum(F.cross_entropy(g, y[:, k]) for k, g in enumerate(checker(x)))
        set_rate(optimizer, rate(2e-3, clock.share(), step, 30, hold=.3))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        threads.tick()
        if step % 50 == 0:
            print(f"checker step {step} {clock.spent():.0f}s loss {loss.item():.3f}", flush=True)
        step += 1
    return checker.eval()


def load_checker(path, device):
    checker = Checker()
    checker.load_state_dict(torch.load(path, map_location="cpu"))
    return checker.eval().to(device)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--extra", help="a second bank, of all combinations, with seed 5")
    parser.add_argument("--vae")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=24000)
    parser.add_argument("--through-codec", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(3)
    device = device_of_choice()
    checker = train(args, device)
    torch.save(checker.state_dict(), args.out)
    figures = validate(checker, 1000, device)
    Path(args.out).with_suffix(".json").write_text(json.dumps(figures, indent=2))
    print(figures, flush=True)


if __name__ == "__main__":
    main()
