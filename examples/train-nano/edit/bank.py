"""The bank of families: a view and views one edit away from it, painted by one hand.

    python -m edit.bank --out WORK/edit/bank --count 8000 --jobs 2
Family `i` depends on the bank's seed and `i` alone, so that only pictures are stored. A finished chunk is
marked by a file, so that a trainer may start on the first chunks.
"""

import argparse
import random
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from edit.edits import difference
from edit.picture import Hand
from edit.views import draw_variants, draw_view
from world import held_out

FAMILIES, VARIANTS = 200, 5


def family_at(index, seed):
    """The views of a family, the one it begins with first."""
    rng = random.Random(f"{seed}/{index}")
    first = draw_view(rng)
    return [first] + draw_variants(first, rng, VARIANTS)


def pairs_of(family):
    """(number before, number after, edit) for every pair of views that one edit joins, held-out scenes left away."""
    views = [(k, v) for k, v in enumerate(family) if not held_out(v.scene)]
    found = ((a, b, difference(v, w)) for a, v in views for b, w in views)
    return [pair for pair in found if pair[2] is not None]


def paint_family(index, seed):
    """Pictures of a family, in order."""
    family = family_at(index, seed)
    hand = Hand(f"{seed}/{index}", family[0])
    return np.stack([hand.paint(view) for view in family])


def _paint_chunk(chunk, folder, seed):
    path = Path(folder) / f"{chunk:04d}.npy"
    if path.exists():
        return
    numbers = range(chunk * FAMILIES, (chunk + 1) * FAMILIES)
    pictures = np.concatenate([paint_family(i, seed) for i in numbers])
    part = path.with_suffix(".part")
    with open(part, "wb") as f:
        np.save(f, pictures)
    part.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=8000, help="families")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    chunks = -(-args.count // FAMILIES)
    with Pool(args.jobs) as pool:
        for done, _ in enumerate(pool.imap(partial(_paint_chunk, folder=args.out, seed=args.seed), range(chunks)), 1):
            print(f"{done * FAMILIES} of {args.count} families", flush=True)


if __name__ == "__main__":
    main()
