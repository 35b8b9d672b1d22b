"""The bank of commands: what people say to a picture studio, in English and Finnish, and what they ask for.

    from commands.bank import sentences
    python -m commands.bank --language finnish --split test --count 20
A hash of the command without its courtesies says which split it belongs to, so no command of the test is ever trained
on, not even with another "please" around it.
"""

import argparse
import random
import zlib
from collections.abc import Iterator

from commands import english, finnish, further
from commands.intention import Sentence, compact

LANGUAGES = {"english": english, "finnish": finnish}
SPLITS = ("train", "validation", "test")
PARTS = 20
# how often people ask for what, of a hundred
SHARES = {"create": 38, "edit": 44, "undo": 8, "none": 10}


def split_of(core):
    """One command in twenty is for the test, one for validation, the others for training."""
    part = zlib.crc32(core.encode()) % PARTS
    return {0: "test", 1: "validation"}.get(part, "train")


def core(speak, rng: random.Random, beyond=0.0):
    """A command without courtesies, and what it asks for. `beyond`: the share of objects from outside the nano world."""
    (action,) = rng.choices(tuple(SHARES), tuple(SHARES.values()))
    return speak.MAKERS[action](rng, beyond)


def cores(split: str, language: str, rng: random.Random, beyond=0.0):
    """Commands without courtesies, with what they ask for, without end."""
    speak = LANGUAGES[language]
    while True:
        # nothing more is drawn where nothing lies beyond, so that the same seed gives the same sentences
        is_further = beyond and rng.random() < beyond
        text, intention = further.core(rng, language) if is_further else core(speak, rng, beyond)
        if split_of(text) == split:
            yield text, intention


def sentences(split: str, language: str, seed: int, beyond: float = 0.0) -> Iterator[Sentence]:
    """Commands by lot, without end; the same seed gives the same ones. `beyond`: the share of objects from
    outside the nano world, and of commands that ask for more than it has."""
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}, not {split}")
    rng = random.Random(f"{split} {language} {seed}")
    for text, intention in cores(split, language, rng, beyond):
        yield Sentence(language, LANGUAGES[language].courteous(rng, text), intention)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", choices=list(LANGUAGES), default="english")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beyond", type=float, default=0.0)
    args = parser.parse_args()
    for _, sentence in zip(range(args.count), sentences(args.split, args.language, args.seed, args.beyond)):
        print(f"{sentence.text}\n    {compact(sentence.intention)}")


if __name__ == "__main__":
    main()
