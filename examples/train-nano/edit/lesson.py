"""First lesson of the editor's text encoder: name the parts of a change from the instruction alone.

    python -m edit.lesson --sister FOLDER --out WORK/edit/text.pt --seconds 240
Begins with the text encoder of the model that paints, which knows the nouns and colours already.
"""

import argparse
import random

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from edit.bank import family_at, pairs_of
from edit.edits import ANSWER_NAMES, ANSWER_SIZES, answers
from edit.instructions import instruction
from edit.views import KINDS
from pretrain_text import Naming, check, learn
from train_vae import device_of_choice

LESSON_SEED, CHECK_SEED, FAMILIES = 31, 32, 3000


class Instructions:
    """Edits of families that are never painted, and instructions for them."""

    def __init__(self, seed, families, test=False):
        self.rng, self.test, self.by_kind = random.Random(seed), test, {k: [] for k in KINDS}
        for i in range(families):
            family = family_at(i, seed)
            for a, _, edit in pairs_of(family):
                self.by_kind[edit.kind].append((edit, len(family[a].things)))

    def draw(self, count):
        """Texts and their answers."""
        kinds = self.rng.choices(list(KINDS), list(KINDS.values()), k=count)
        drawn = [instruction(*self.rng.choice(self.by_kind[k]), self.rng, self.test) for k in kinds]
        return [text for text, _ in drawn], torch.tensor([answers(said) for _, said in drawn])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sister", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    torch.manual_seed(2)
    device = device_of_choice()
    tokenizer = CLIPTokenizer.from_pretrained(args.sister, subfolder="tokenizer")
    text = CLIPTextModel.from_pretrained(args.sister, subfolder="text_encoder", dtype=torch.float32).to(device)
    naming = Naming(ANSWER_SIZES).to(device)
    learn(text, naming, tokenizer, Instructions(LESSON_SEED, FAMILIES).draw, args, device)
    texts, wanted = Instructions(CHECK_SEED, 100, test=True).draw(400)
    print("held-out frames: " + check(text, naming, tokenizer, (texts, wanted.to(device)), ANSWER_NAMES), flush=True)


if __name__ == "__main__":
    main()
