"""The bank of utterances: commands by lot, spoken by voices by lot, as samples of 16 bits.

    python -m ear.bank --out WORK/ear/bank --count 20000 --jobs 2 [--split test]
Chunk `i` depends on split, seed and `i` alone. A finished one is marked by its list, so that a trainer may start on the
first ones. English and Finnish take turns.
"""

import argparse
import json
import random
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from commands.bank import sentences
from ear.speak import RATE, speak
from ear.voices import draw_voice

CHUNK = 250
LANGUAGES = {"en": "english", "fi": "finnish"}
BEYOND = .15            # share of things from outside the little world: more words to listen for
LONGEST = 9.0           # seconds; a longer one would not fit into a window


def draw(number, split, seed):
    """Language, text and voice of a chunk's utterances, without end."""
    rng = random.Random(f"{split}/{seed}/{number}")
    streams = {code: sentences(split, name, seed * 1_000_003 + number, BEYOND) for code, name in LANGUAGES.items()}
    while True:
        for code, stream in streams.items():
            yield code, next(stream).text, draw_voice(code, split, rng)


def _fill(number, folder, split, seed):
    """Samples first, one utterance after another, then the list that makes them count."""
    path = Path(folder) / f"{number:04d}.json"
    if path.exists():
        return
    rows, said, begin = [], [], 0
    for language, text, voice in draw(number, split, seed):
        samples = speak(text, voice)
        if len(samples) <= LONGEST * RATE:
            rows.append({"language": language, "text": text, "voice": voice.name, "begin": begin, "length": len(samples)})
            said.append((samples * (0.9 / np.abs(samples).max()) * 32_767).astype(np.int16))
            begin += len(samples)
        if len(rows) == CHUNK:
            break
    np.save(path.with_suffix(".npy"), np.concatenate(said))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(rows, ensure_ascii=False))
    part.rename(path)


class Bank:
    """The utterances that are there; `look` again for more."""

    def __init__(self, folder):
        self.folder, self.rows, self.sounds = Path(folder), [], []
        self.look()

    def look(self):
        for path in sorted(self.folder.glob("*.json"))[len(self.sounds):]:
            number = len(self.sounds)
            self.sounds.append(np.load(path.with_suffix(".npy"), mmap_mode="r"))
            self.rows += [row | {"chunk": number} for row in json.loads(path.read_text())]

    def samples(self, row):
        """What is said in a row, in f32."""
        sound = self.sounds[row["chunk"]][row["begin"]:row["begin"] + row["length"]]
        return sound.astype(np.float32) / 32_768


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=20_000, help="utterances")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    chunks = -(-args.count // CHUNK)
    with Pool(args.jobs) as pool:
        for done, _ in enumerate(pool.imap(partial(_fill, folder=args.out, split=args.split, seed=args.seed), range(chunks)), 1):
            print(f"{args.split}: {done * CHUNK} of {args.count} utterances", flush=True)


if __name__ == "__main__":
    main()
