"""Edits unseen pictures with the exported model and has the judge say whether the results are right.

    python -m edit.evaluate --model FOLDER --judge WORK/edit/judge.pt --out results.json
The test: pictures never trained on, edits that lead to combinations never trained on, half of the instructions in
frames never trained on. Choices are made with `--validation`: fresh pictures and nothing that is held out.
A result is right if the judge sees in it exactly what the rendered truth shows: what stands where in which
colour, the background and the style.
"""

import argparse
import json
import random
import time

import numpy as np
from PIL import Image

from edit.bank import family_at
from edit.edits import difference
from edit.instructions import instruction
from edit.judge import SIZES, load_judge, view_labels
from edit.paint import PIPELINE, edit
from edit.picture import Hand
from edit.views import CELLS, KINDS
from paint import load
from world import SHAPES, held_out

SEEDS = {"test": 2024, "validation": 3035}


def _candidates(family, kind, test):
    """Pairs of a family of this kind whose new scene is held out; for validation, neither is."""
    for before in family:
        for after in family:
            change = difference(before, after)
            if change is not None and change.kind == kind and held_out(after.scene) == test and (test or not held_out(before.scene)):
                yield before, after, change


def draw_pairs(count, which):
    """(picture before, view before, view after, instruction, kind), always the same ones, no instruction twice."""
    seed, test = SEEDS[which], which == "test"
    rng, found, texts, number = random.Random(seed), [], set(), 0
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    while len(found) < count:
        family = family_at(number, seed)
        fitting = list(_candidates(family, kind, test))
        if fitting:
            before, after, change = rng.choice(fitting)
            text, _ = instruction(change, len(before.things), rng, test)
            if text not in texts:
                texts.add(text)
                picture = Hand(f"{seed}/{number}", family[0]).paint(before)
                found.append((picture, before, after, text, kind))
                kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        number += 1
    return found


def things_seen(rows):
    """What stands there in reading order, whatever the cell: the painter's definition of right."""
    cells = rows[:, :-2].reshape(len(rows), len(CELLS), 2)
    return [[tuple(c) for c in row if c[0] < len(SHAPES)] for row in cells.tolist()]


def figures(seen, wanted, old):
    """Shares for a set of results. Rows of class numbers: as judged, as wanted, and of the old pictures."""
    right, changed = seen == wanted, wanted != old
    none = np.array([s - 1 for s in SIZES[:-2:2]])
    places = ((seen[:, :-2:2] == none) == (wanted[:, :-2:2] == none)).all(1)
    loose = np.array([a == b for a, b in zip(things_seen(seen), things_seen(wanted))]) & right[:, -2:].all(1)
    table = {"asked": (right | ~changed).all(1), "kept": (right | changed).all(1), "in_place": places,
             "objects": right[:, :-2].all(1), "background": right[:, -2], "style": right[:, -1],
             "everything_but_places": loose, "everything": right.all(1)}
    return {k: round(float(v.mean()), 4) for k, v in table.items()} | {"pictures": len(right)}


def report(pairs, seen):
    """All figures, in parts, and the results that are not right."""
    wanted, old = (np.array([view_labels(p[k]) for p in pairs]) for k in (2, 1))
    kinds, most = np.array([p[4] for p in pairs]), np.array([max(len(p[1].things), len(p[2].things)) for p in pairs])
    part = lambda chosen: figures(seen[chosen], wanted[chosen], old[chosen]) if chosen.any() else {"pictures": 0}
    right = (seen == wanted).all(1)
    return {"all": figures(seen, wanted, old), "at_most_one_object": part(most < 2), "two_objects": part(most == 2),
            "by_kind": {k: [int(right[kinds == k].sum()), int((kinds == k).sum())] for k in KINDS},
            "not_right": [p[3] for p, r in zip(pairs, right) if not r]}


def trial(pipeline, settings, judging, pairs, which):
    """Edits the pairs; all figures and the seconds a picture took."""
    start = time.time()
    pictures = edit(pipeline, settings, [Image.fromarray(p[0]) for p in pairs], [p[3] for p in pairs], SEEDS[which])
    seconds = round((time.time() - start) / len(pairs), 3)
    seen = judging.seen(np.stack([np.asarray(p) for p in pictures]))
    return report(pairs, seen) | {"seconds_per_picture": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--out", default="results.json")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--image-guidance", type=float)
    args = parser.parse_args()
    which = "validation" if args.validation else "test"
    pairs, (pipeline, defaults) = draw_pairs(args.count, which), load(args.model, PIPELINE)
    names = ("steps", "guidance", "image_guidance")
    settings = {name: getattr(args, name) or defaults[name] for name in names}
    results = {"pairs": which, "bar": 0.85, "trained_steps": defaults["trained_steps"]} | settings
    results |= trial(pipeline, settings, load_judge(args.judge, args.model), pairs, which)
    with open(args.out, "w") as f:
        json.dump(results, f, indent=2, ensure_ascii=False)
        f.write("\n")
    print(json.dumps({k: v for k, v in results.items() if k != "not_right"}, indent=2))


if __name__ == "__main__":
    main()
