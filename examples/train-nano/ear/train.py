"""Trains Whisper and the spelling beside it on recordings that are drawn anew at every step.

    python -m ear.train --work WORK/ear --until 18:00        (or --seconds 3600)
Most windows are as short as their recordings allow, which is quicker, and some whole. The lesson beside the text, to
spell what is heard, is what makes the encoder hear within minutes.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ear.bank import Bank
from ear.guide import Guide, spans_of
from ear.lesson import IGNORED, Lesson
from ear.listen import word_error_rates
from ear.model import Learner, spelling_loss
from ear.tokenizer import Words
from threads import quick_in_half
from training import Run, arguments

MODULES = {"whisper": 1.0, "spelling": 1.0}
WATCH_EVERY = 420.0
EASY = .2               # until this share of the time short commands come more often than long ones
CALM, QUIET = .75, .5   # from this share of the time on recordings are spoilt this much less often
LISTENING = 2.0         # what it costs to listen elsewhere, beside spelling


class Watch:
    """Listens to unseen voices with the averaged weights now and then."""

    def __init__(self, folder, words, count):
        self.bank, self.words, self.next = Bank(folder), words, time.time() + WATCH_EVERY
        self.rows = self.bank.rows[:count]

    def look(self, run):
        if time.time() < self.next:
            return
        learner = copy.deepcopy(run.learner).eval()
        learner.load_state_dict(run.average.shadow)
        print(f"watch after {run.step} steps: {word_error_rates(learner, self.words, self.bank, self.rows)}", flush=True)
        self.next = time.time() + WATCH_EVERY


def losses(learner, guide, batch):
    """Of the text, and of the lessons beside it: to spell, and where to listen."""
    with torch.autocast("cpu", torch.bfloat16, enabled=quick_in_half("cpu")):
        states = learner.hear(batch.mel)
        logits, spelling = learner.write(states, batch.tokens)[0], learner.spelling(states)
    text = F.cross_entropy(logits.float().flatten(0, 1), batch.wanted.flatten(), ignore_index=IGNORED)
    spans = spans_of(spelling, batch.lengths, batch.spellings, batch.letters)
    return text, spelling_loss(spelling, batch.lengths, batch.spellings) + LISTENING * guide.loss(spans)


def train(args):
    work = Path(args.work)
    words = Words(work / "tokenizer")
    run = Run(Learner(words).train(), args, work, torch.device("cpu"), MODULES, ("text", "lessons"))
    run.restore(lambda learner: None)
    guide = Guide(run.learner.whisper.model.decoder)
    lesson = Lesson(Bank(work / "bank"), words, np.random.default_rng(run.step + 11))
    watch = Watch(work / "validation", words, args.watch) if args.watch else None

    def step(_):
        if watch:
            watch.look(run)
        share = run.clock.share()
        return losses(run.learner, guide, lesson.batch(args.batch, min(1, share / EASY), QUIET if share > CALM else 1))
    run.learn(step, args)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--watch", type=int, default=0, help="validation utterances to hear every few minutes")
    arguments(parser, 24, 2e-3)
    parser.set_defaults(naming=.5)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
