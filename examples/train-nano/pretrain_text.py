"""First lesson of the text encoder: name the parts of a scene from its prompt alone.

    python pretrain_text.py --tokenizer WORK/tokenizer --out WORK/text.pt --seconds 240
Linear heads on the end mark and on the padding after it must tell shapes, colours, background, style
and relation. This costs a fraction of denoising, and afterwards every padding token tells the UNet
the whole scene. The heads live on as a small side loss and are not part of the finished model.
"""

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTokenizer

from clock import Clock, rate, set_rate
from model import WIDTH, new_text_encoder
from muon import optimizer_for
from prompts import prompt_for, test_prompt_for
from train_vae import device_of_choice
from world import LABEL_NAMES, LABEL_SIZES, draw_test_scene, draw_training_scene, labels


class Naming(nn.Module):
    """Linear heads, one for every question."""

    def __init__(self, sizes=LABEL_SIZES):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(WIDTH, n) for n in sizes)

    def forward(self, hidden, ids, end, answers):
        """Loss, and which answers are right, read at the end mark, a random padding token and the last one."""
        rows = torch.arange(len(ids), device=ids.device)
        first = (ids == end).int().argmax(1)
        last = ids.shape[1] - 1
        between = first + ((last - first + 1) * torch.rand(len(ids), device=ids.device)).long().clamp(max=last)
        loss, right = 0.0, []
        for place in (first, between.clamp(max=last), torch.full_like(first, last)):
            seen = hidden[rows, place]
            logits = [head(seen) for head in self.heads]
            loss = loss + sum(F.cross_entropy(g, answers[:, k]) for k, g in enumerate(logits))
            right.append(torch.stack([g.argmax(1) == answers[:, k] for k, g in enumerate(logits)], 1))
        return loss / 3, torch.stack(right).float().mean(0)


def load_lesson(learner, folder):
    """Text encoder and heads as the lesson left them."""
    lesson = torch.load(Path(folder) / "text.pt", map_location="cpu")
    learner.text.load_state_dict(lesson["text"])
    learner.naming.load_state_dict(lesson["naming"])


def tokenize(tokenizer, texts, device):
    return tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length,
                     return_tensors="pt")["input_ids"].to(device)


def draw_batch(count, rng, test=False):
    """Prompts and the answers expected."""
    scenes = [(draw_test_scene if test else draw_training_scene)(rng) for _ in range(count)]
    texts = [(test_prompt_for if test else prompt_for)(s, rng) for s in scenes]
    return texts, torch.tensor([labels(s) for s in scenes])


def check(text, naming, tokenizer, drawn, names):
    """Share of right answers on held-out texts, `drawn` with their answers."""
    texts, answers = drawn
    ids = tokenize(tokenizer, texts, answers.device)
    with torch.no_grad():
        _, right = naming(text(ids).last_hidden_state, ids, tokenizer.eos_token_id, answers)
    return " ".join(f"{n} {v:.3f}" for n, v in zip(names, right.mean(0).tolist()))


def learn(text, naming, tokenizer, draw, args, device):
    """The lesson: `draw(count)` gives texts and answers. Saves both modules to `args.out` now and then and at the end."""
    weights = list(text.parameters()) + list(naming.parameters())
    optimizer = optimizer_for({"text": text, "naming": naming}, args.rate)
    clock, step = Clock(args.seconds), 0
    save = lambda: torch.save({"text": text.state_dict(), "naming": naming.state_dict()}, Path(args.out))
    while not clock.over():
        texts, answers = draw(args.batch)
        ids = tokenize(tokenizer, texts, device)
        loss, _ = naming(text(ids).last_hidden_state, ids, tokenizer.eos_token_id, answers.to(device))
        set_rate(optimizer, rate(args.rate, clock.share(), step, 50, hold=0.3))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"text step {step} {clock.spent():.0f}s loss {loss.item():.3f}", flush=True)
        if step % 200 == 0:
            save()
        step += 1
    save()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(2)
    device, rng = device_of_choice(), random.Random(2)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    text, naming = new_text_encoder(tokenizer).to(device), Naming().to(device)
    learn(text, naming, tokenizer, lambda count: draw_batch(count, rng), args, device)
    texts, answers = draw_batch(400, random.Random(99), test=True)
    print("held out: " + check(text, naming, tokenizer, (texts, answers.to(device)), LABEL_NAMES), flush=True)


if __name__ == "__main__":
    main()
