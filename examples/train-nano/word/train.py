"""Trains atelier-nano-word: both tasks at every step, on lessons that are drawn afresh, the loss on the replies alone.

    python -m word.train --work WORK/word --seconds 1800
Saves its state every few minutes and goes on from it; whatever is in the test is never trained on.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from clock import Clock, rate, set_rate
from muon import optimizer_for
from threads import quick_in_half
from training import SAVE_EVERY, Stop
from word.batches import IGNORED, Batches, opening_ids
from word.evaluate import answers, judged, test_set
from word.lessons import TASKS, Lessons
from word.network import Decoder, Size
from word.wording import load

SHARES = {"intent": .8, "enhance": .2}
WATCH_EVERY = 600.0


def losses(decoder, tokenizer, batches):
    """The mean loss of every reply token, over both tasks."""
    total, count = 0.0, 0
    for task, source in batches.items():
        _, past = decoder.read(opening_ids(tokenizer, task))
        ids, wanted = source.next()
        states, _ = decoder.read(ids, past)
        replies = wanted != IGNORED
        total = total + F.cross_entropy(decoder.likelihood(states[replies]).float(), wanted[replies], reduction="sum")
        count += int(replies.sum())
    return total / count


def watch(decoder, tokenizer, questions):
    """Shares of right answers on validation questions."""
    decoder.eval()
    right = {}
    for (task, language), asked in questions.items():
        found = judged(partial(answers, decoder, tokenizer), task, asked)
        right[f"{task} {language}"] = round(sum(ok for ok, *_ in found) / len(found), 3)
    decoder.train()
    return right


class Run:
    """The decoder, its optimizer, and the file that both are kept in."""

    def __init__(self, args, tokenizer):
        torch.manual_seed(args.seed)
        self.size = Size(tokenizer.get_vocab_size(), width=args.width, layers=args.layers, heads=args.width // 32,
                         kv_heads=args.width // 64, inner=args.inner)
        self.decoder, self.step, self.spent = Decoder(self.size), 0, 0.0
        self.optimizer = optimizer_for({"word": self.decoder}, args.rate)
        self.path = Path(args.work) / "state.pt"
        if self.path.exists():
            state = torch.load(self.path, weights_only=False)
            self.decoder.load_state_dict(state["decoder"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent = state["step"], state["spent"]

    def save(self, spent):
        part = self.path.with_suffix(".part")
        torch.save({"decoder": self.decoder.state_dict(), "optimizer": self.optimizer.state_dict(), "size": self.size,
                    "step": self.step, "spent": spent}, part)
        part.rename(self.path)


def learn(run, tokenizer, args):
    lessons = Lessons(f"{args.seed} {run.step}", avoid=test_set(args.test))
    batches = {task: Batches(lessons, tokenizer, task, max(1, int(args.batch * SHARES[task]))) for task in TASKS}
    validation = test_set(args.watch, "validation", by_task=True)
    half = quick_in_half("cpu")
    clock, stop, recent = Clock(args.seconds, run.spent), Stop(), []
    saved = watched = time.time()
    while not clock.over() and not stop.asked:
        set_rate(run.optimizer, rate(args.rate, clock.share(), run.step, 60, hold=args.hold))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = losses(run.decoder, tokenizer, batches)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.decoder.parameters(), 1.0)
        run.optimizer.step()
        run.step, recent = run.step + 1, recent[-49:] + [loss.item()]
        if run.step % 50 == 0:
            print(f"step {run.step} {clock.spent():.0f}s loss {sum(recent) / len(recent):.4f}", flush=True)
        if args.watch and time.time() - watched > WATCH_EVERY:
            print(f"watch after {run.step} steps: {watch(run.decoder, tokenizer, validation)}", flush=True)
            watched = time.time()
        if time.time() - saved > SAVE_EVERY:
            run.save(clock.spent())
            saved = time.time()
    run.save(clock.spent())
    print(f"finished after {run.step} steps and {clock.spent():.0f} s: {watch(run.decoder, tokenizer, validation) if args.watch else ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--batch", type=int, default=80)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--hold", type=float, default=0.3, help="share of the time at full learning rate")
    parser.add_argument("--width", type=int, default=192, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--inner", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", type=int, default=1000, help="test questions of each task and language, which are never trained on")
    parser.add_argument("--watch", type=int, default=40, help="validation questions of each, answered every ten minutes")
    args = parser.parse_args()
    tokenizer = load(Path(args.work) / "tokenizer.json")
    run = Run(args, tokenizer)
    print(f"{sum(p.numel() for p in run.decoder.parameters()):,} parameters", flush=True)
    learn(run, tokenizer, args)


if __name__ == "__main__":
    main()
