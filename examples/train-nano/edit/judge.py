"""The judge of edits: says what stands in every cell of a picture, and its background and style.

    python -m edit.judge --sister FOLDER --work WORK/edit --seconds 600
It sees pictures through the codec's encoder, whose latents of the bank are there already, so that it learns in a
minute. Trained on rendered truth only, with noise and small shifts. Validated on fresh families, held-out scenes
among them: as rendered, and as the codec gives them back.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import nn

from checker import round_trip
from clock import Clock, rate, set_rate
from edit.bank import VARIANTS, family_at, paint_family
from edit.views import CELLS
from encode_bank import encode, load_latents
from muon import optimizer_for
from threads import quick_in_half
from train_vae import device_of_choice
from world import BACKGROUNDS, COLOURS, SHAPES, STYLES

FRESH_SEED, BATCH, PEAK = 77, 96, 2e-3
SIZES = (len(SHAPES) + 1, len(COLOURS) + 1) * len(CELLS) + (len(BACKGROUNDS), len(STYLES))
FAMILY = VARIANTS + 1


def view_labels(view):
    """Class numbers: shape and colour in every cell (last class: nothing), background, style.

    Nothing on a plain background looks the same flat and in pixels, and is called flat.
    """
    there = dict(zip(view.cells, view.things))
    out = []
    for cell in CELLS:
        thing = there.get(cell)
        out += [SHAPES.index(thing.shape), COLOURS.index(thing.colour)] if thing else [len(SHAPES), len(COLOURS)]
    style = "flat" if (view.things, view.scene.place, view.scene.style) == ((), "plain", "pixel") else view.scene.style
    return out + [BACKGROUNDS.index(view.scene.background), STYLES.index(style)]


def _conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


WINDOWS = {"left": (5, 0), "right": (5, 8), "top": (0, 4), "bottom": (8, 4)}   # first row and column, of 16 by 16
WINDOW = 8


class Judge(nn.Module):
    """From scaled latents, 4 by 16 by 16, to the logits of twelve questions.

    What stands in a small cell is told from a window around it and from the whole, by the same weights for all four.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(_conv(4, 64), _conv(64, 96))
        self.whole = nn.Sequential(_conv(96, 128, 2), _conv(128, 160, 2), nn.Flatten(), nn.Linear(160 * 16, 256), nn.ReLU())
        self.window = nn.Sequential(_conv(96, 128, 2), nn.Flatten())
        self.neck = nn.Sequential(nn.Linear(128 * 16 + 256, 192), nn.ReLU())
        self.small = nn.ModuleList(nn.Linear(192, n) for n in SIZES[:2])
        self.large = nn.ModuleList(nn.Linear(256, n) for n in SIZES[:2] + SIZES[-2:])

    def forward(self, z):
        seen = self.stem(z)
        whole = self.whole(seen)
        shape, colour, background, style = (head(whole) for head in self.large)
        out = [shape, colour]
        parts = [seen[..., y:y + WINDOW, x:x + WINDOW] for y, x in WINDOWS.values()]
        near = self.window(torch.cat(parts))
        neck = self.neck(torch.cat([near, whole.repeat(len(parts), 1)], 1))
        for part in neck.split(len(z)):
            out += [head(part) for head in self.small]
        return [*out, background, style]


def _disturb(z, rng):
    """Small faults such as an editor makes."""
    z = z + float(rng.uniform(0, .25)) * torch.randn_like(z)
    if rng.random() < .3:
        z = z * (1 + .05 * torch.randn(len(z), z.shape[1], 1, 1))
    if rng.random() < .2:
        z = torch.lerp(z, F.avg_pool2d(F.pad(z, (1, 1, 1, 1), mode="replicate"), 3, 1), .4)
    return z


def learn(folder, seed, seconds):
    """The judge after so many seconds on the latents of a bank."""
    latents = load_latents(folder)
    answers = torch.tensor([view_labels(v) for i in range(len(latents) // FAMILY) for v in family_at(i, seed)])
    network, rng, clock, step = Judge().train(), np.random.default_rng(3), Clock(seconds), 0
    optimizer, half = optimizer_for({"judge": network}, PEAK), quick_in_half("cpu")
    while not clock.over():
        numbers = torch.from_numpy(rng.integers(0, len(answers), BATCH))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            said = network(_disturb(latents[numbers], rng))
        loss = sum(F.cross_entropy(g.float(), answers[numbers, k]) for k, g in enumerate(said))
        set_rate(optimizer, rate(PEAK, clock.share(), step, 30, hold=.3))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"judge step {step} {clock.spent():.0f}s loss {loss.item():.3f}", flush=True)
        step += 1
    return network.eval()


class Judging:
    """A trained judge with the codec it sees through."""

    def __init__(self, network, sister):
        self.network = network
        self.codec = AutoencoderTiny.from_pretrained(sister, subfolder="vae").eval()

    @torch.inference_mode()
    def seen(self, pictures):
        """Class numbers seen in pictures given as bytes, a row for each."""
        z = torch.from_numpy(encode(self.codec, pictures, "cpu")).float()
        return torch.cat([torch.stack([g.argmax(1) for g in self.network(part)], 1) for part in z.split(100)]).numpy()


def load_judge(path, sister):
    network = Judge()
    network.load_state_dict(torch.load(path, map_location="cpu"))
    return Judging(network.eval(), sister)


def shares(right):
    """Share of right answers: objects (all cells), background, style, everything."""
    table = {"objects": right[:, :-2].all(1), "background": right[:, -2], "style": right[:, -1], "everything": right.all(1)}
    return {name: round(float(v.mean()), 4) for name, v in table.items()}


def validate(judging, sister, families):
    """The shares on fresh pictures, and on the same ones as the codec gives them back."""
    wanted = np.array([view_labels(v) for i in range(families) for v in family_at(i, FRESH_SEED)])
    pictures = np.concatenate([paint_family(i, FRESH_SEED) for i in range(families)])
    through = round_trip(Path(sister) / "vae", pictures, device_of_choice(), noise=0)
    return {"pictures": len(pictures), "fresh": shares(judging.seen(pictures) == wanted),
            "through_codec": shares(judging.seen(through) == wanted)}


def trained_judge(sister, work, seed=0, seconds=240, families=100):
    """The judge of a working folder, which learns now if it has not yet."""
    path = Path(work) / "judge.pt"
    if not path.exists():
        torch.manual_seed(3)
        network = learn(Path(work) / "latents", seed, seconds)
        figures = validate(Judging(network, sister), sister, families)
        path.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
        print(f"judge: {figures}", flush=True)
        torch.save(network.state_dict(), path)
    return load_judge(path, sister)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sister", required=True, help="the exported model whose codec is used")
    parser.add_argument("--work", required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the bank")
    parser.add_argument("--families", type=int, default=170, help="to validate on")
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()
    trained_judge(args.sister, args.work, args.seed, args.seconds, args.families)


if __name__ == "__main__":
    main()
