"""Trains text encoder and UNet together on pairs of latents, with fresh instructions at every step.

    python -m edit.train --sister FOLDER --work WORK/edit --until 15:00        (or --seconds 5400)
As in InstructPix2Pix (arXiv 2211.09800): the old picture's latents are further channels of the UNet's input, and
instruction and picture are left away at times, so that both can be guided. Begins with the model that paints,
its first layer widened. Places that change weigh more, since most of a picture stays as it is.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from edit.bank import VARIANTS, family_at, pairs_of
from edit.edits import ANSWER_SIZES, answers
from edit.evaluate import draw_pairs, trial
from edit.export import CHANNELS, DEFAULTS, pipeline_of
from edit.instructions import instruction
from edit.judge import trained_judge
from edit.views import KINDS
from encode_bank import load_latents
from model import new_text_encoder, new_unet
from pretrain_text import Naming, load_lesson, tokenize
from threads import quick_in_half
from train_text_to_image import LOOK_EVERY, Noise
from train_vae import device_of_choice
from training import Run, arguments

FAMILY, WATCH_EVERY = VARIANTS + 1, 900.0
WITHOUT = .05           # each of: no instruction, no picture, neither
LEAN = .65              # what changes, and where, is decided in the noise
CHANGED, CLEAR = 2.0, .5    # how much more a changed place weighs, and the difference in latents that is a whole change


class Learner(nn.Module):
    """Everything that learns, as one module."""

    def __init__(self, tokenizer):
        super().__init__()
        self.text, self.unet, self.naming = new_text_encoder(tokenizer), new_unet(CHANNELS), Naming(ANSWER_SIZES)


def widened(weights):
    """A painting UNet's weights with a first layer that does not look at the old picture yet."""
    first = weights["conv_in.weight"]
    return weights | {"conv_in.weight": torch.cat([first, torch.zeros_like(first)], 1)}


class Pairs:
    """Pairs of latents by kind of edit; grows while the encoder is still at work."""

    def __init__(self, folder, seed, scale, device):
        self.folder, self.seed, self.scale, self.device = folder, seed, scale, device
        self.by_kind, self.latents, self.families, self.seen = {k: [] for k in KINDS}, None, 0, 0.0
        self.look()

    def look(self):
        if time.time() - self.seen < LOOK_EVERY:
            return
        self.seen = time.time()
        latents = load_latents(self.folder)
        while (self.families + 1) * FAMILY <= len(latents):
            family = family_at(self.families, self.seed)
            for a, b, edit in pairs_of(family):
                self.by_kind[edit.kind].append((self.families * FAMILY + a, self.families * FAMILY + b, edit, len(family[a].things)))
            self.families += 1
        if self.latents is None or len(latents) > len(self.latents):
            self.latents = latents.to(self.device)
            print(f"pairs: {sum(map(len, self.by_kind.values()))} of {self.families} families", flush=True)

    def batch(self, count, rng):
        """Latents before (as the encoder gives them) and after (scaled), instructions, and the lesson's answers."""
        self.look()
        kinds = rng.choices(list(KINDS), list(KINDS.values()), k=count)
        drawn = [rng.choice(self.by_kind[k]) for k in kinds]
        asked = [instruction(edit, objects, rng) for _, _, edit, objects in drawn]
        before, after = self.latents[[d[0] for d in drawn]] / self.scale, self.latents[[d[1] for d in drawn]]
        wanted = torch.tensor([answers(said) for _, said in asked], device=self.device)
        return before, after, [text for text, _ in asked], wanted


def leave_away(before, texts, rng):
    """The conditions with some of them missing."""
    lots = [rng.random() for _ in texts]
    texts = ["" if lot < 2 * WITHOUT else text for lot, text in zip(lots, texts)]
    there = torch.tensor([not WITHOUT <= lot < 3 * WITHOUT for lot in lots], device=before.device)
    return before * there.view(-1, 1, 1, 1), texts


def place_weights(before, after, scale):
    """How much every place counts, 1 in the mean over a picture that half changes."""
    change = ((before * scale - after).abs().mean(1, keepdim=True) / CLEAR).clamp(max=1)
    return (1 + CHANGED * change) / (1 + CHANGED / 2)


def losses(learner, noise, tokenizer, batch, scale, rng):
    """Denoising loss and naming loss of a batch."""
    before, after, texts, wanted = batch
    where = place_weights(before, after, scale)
    before, texts = leave_away(before, texts, rng)
    ids = tokenize(tokenizer, texts, after.device)
    noisy, t, target, weight = noise.draw(after, LEAN)
    half = quick_in_half(after.device.type)
    with torch.autocast(after.device.type, torch.bfloat16, enabled=half), sdpa_kernel(SDPBackend.MATH):
        hidden = learner.text(ids).last_hidden_state
        out = learner.unet(torch.cat([noisy, before], 1), t, hidden).sample
    denoise = (weight * (where * (out.float() - target).pow(2)).mean((1, 2, 3))).mean()
    said = torch.tensor([bool(text) for text in texts], device=after.device)
    name, _ = learner.naming(hidden.float()[said], ids[said], tokenizer.eos_token_id, wanted[said])
    return denoise, name


def begin(learner, args):
    """What a first start begins with: the sister's UNet and the text encoder after its lesson."""
    load_lesson(learner, args.work)
    sister = UNet2DConditionModel.from_pretrained(args.sister, subfolder="unet", torch_dtype=torch.float32)
    learner.unet.load_state_dict(widened(sister.state_dict()))


class Watch:
    """Now and then lets the averaged weights edit validation pairs, and says how many the judge finds right."""

    def __init__(self, args):
        self.args, self.pairs, self.next = args, draw_pairs(args.watch, "validation"), time.time() + WATCH_EVERY
        self.judging = trained_judge(args.sister, args.work, args.seed)

    def look(self, run):
        if time.time() < self.next:
            return
        pipeline = pipeline_of(self.args.sister, run.average.shadow)
        pipeline.set_progress_bar_config(disable=True)
        with torch.random.fork_rng():
            figures = trial(pipeline, DEFAULTS, self.judging, self.pairs, "validation")
        print(f"watch after {run.step} steps: {figures['all']} {figures['by_kind']}", flush=True)
        self.next = time.time() + WATCH_EVERY


def train(args, device):
    tokenizer = CLIPTokenizer.from_pretrained(args.sister, subfolder="tokenizer")
    scale = AutoencoderTiny.load_config(args.sister, subfolder="vae")["scaling_factor"]
    run = Run(Learner(tokenizer).to(device).train(), args, args.work, device)
    run.restore(lambda learner: begin(learner, args))
    pairs, noise = Pairs(Path(args.work) / "latents", args.seed, scale, device), Noise(device)
    watch = Watch(args) if args.watch else None

    def step(rng):
        if watch:
            watch.look(run)
        return losses(run.learner, noise, tokenizer, pairs.batch(args.batch, rng), scale, rng)
    run.learn(step, args)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sister", required=True, help="the exported model that paints")
    parser.add_argument("--work", required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the bank")
    parser.add_argument("--watch", type=int, default=0, help="validation pairs to edit every quarter of an hour")
    arguments(parser, 48, 1e-3)
    train(parser.parse_args(), device_of_choice())


if __name__ == "__main__":
    main()
