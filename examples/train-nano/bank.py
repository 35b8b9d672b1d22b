"""The bank of rendered scenes: drawn by lot, painted in several processes, kept as bytes on disk.

    python bank.py --out WORK/bank --count 40000 --jobs 2
Scene `i` of a bank depends on the bank's seed and `i` alone, so that it need not be stored.
A finished chunk is marked by a file, so that a trainer may start on the first chunks.
"""

import argparse
import random
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from render import SIZE, as_array
from world import draw_scene, draw_training_scene

CHUNK = 1000


def scene_at(index, seed=0):
    """Scene number `index` of the training bank."""
    return draw_training_scene(random.Random(f"{seed}/{index}"))


def any_scene_at(index, seed):
    """The same without leaving the held-out combinations away (for the checker)."""
    return draw_scene(random.Random(f"{seed}/{index}"))


def _paint_chunk(job):
    folder, chunk, seed, everything = job
    path = Path(folder) / f"{chunk:04d}.npy"
    if path.exists():
        return
    pick = any_scene_at if everything else scene_at
    numbers = range(chunk * CHUNK, (chunk + 1) * CHUNK)
    pictures = np.stack([as_array(pick(i, seed), f"{seed}/{i}/paint") for i in numbers])
    part = path.with_suffix(".part")
    with open(part, "wb") as f:
        np.save(f, pictures)
    part.rename(path)


def load_bank(folder, limit=None):
    """Pictures of all finished chunks from the start, as one array of bytes."""
    parts, chunk = [], 0
    while (path := Path(folder) / f"{chunk:04d}.npy").exists() and (limit is None or chunk * CHUNK < limit):
        parts.append(np.load(path))
        chunk += 1
    return np.concatenate(parts) if parts else np.zeros((0, SIZE, SIZE, 3), np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--everything", action="store_true", help="held-out combinations too (for the checker)")
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    jobs = [(args.out, c, args.seed, args.everything) for c in range(-(-args.count // CHUNK))]
    with Pool(args.jobs) as pool:
        for done, _ in enumerate(pool.imap(_paint_chunk, jobs), 1):
            print(f"{done * CHUNK} of {args.count}", flush=True)


if __name__ == "__main__":
    main()
