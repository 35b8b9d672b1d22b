"""Paints held-out prompts with the exported model and has the checker judge them.

    python evaluate.py --model FOLDER --checker WORK/checker.pt --out results.json
The prompts ask for combinations of object, colour, background and style that were never trained on, half of
them in sentence frames never trained on. A picture with two objects is right only if both are.
"""

import argparse
import json
import random
import time

import numpy as np
import torch

from checker import HEADS, load_checker
from paint import load, paint
from prompts import test_prompt_for
from train_vae import as_tensor
from world import LABEL_NAMES, draw_test_scene, labels

SEED = 2024


def test_prompts(count):
    """Scenes and their prompts, always the same ones, none twice."""
    rng, scenes, texts = random.Random(SEED), [], []
    while len(texts) < count:
        scene = draw_test_scene(rng)
        text = test_prompt_for(scene, rng)
        if text not in texts:
            scenes.append(scene)
            texts.append(text)
    return scenes, texts


def judge(checker, pictures):
    """Class numbers the checker sees, a row for each picture."""
    x = as_tensor(np.stack([np.asarray(p.convert("RGB")) for p in pictures]), "cpu")
    with torch.inference_mode():
        return torch.stack([g.argmax(1) for g in checker(x)], 1).numpy()


def figures(right):
    """Shares for a set of pictures. `right`: a row each of six booleans."""
    name = {n: right[:, k] for k, n in enumerate(LABEL_NAMES[:HEADS])}
    colour, shape = name["colour1"] & name["colour2"], name["shape1"] & name["shape2"]
    together = colour & name["background"] & name["style"]
    table = {"colour": colour, "background": name["background"], "style": name["style"],
             "colour_background_style_together": together, "shape": shape, "everything": together & shape}
    return {k: round(float(v.mean()), 4) for k, v in table.items()} | {"pictures": len(right)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--checker", required=True)
    parser.add_argument("--out", default="results.json")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    args = parser.parse_args()
    scenes, texts = test_prompts(args.count)
    pipeline, defaults = load(args.model)
    start = time.time()
    pictures = paint(pipeline, defaults, texts, seed=SEED, steps=args.steps, guidance=args.guidance)
    seconds = time.time() - start
    checker = load_checker(args.checker, "cpu")
    wanted = np.array([labels(s)[:HEADS] for s in scenes])
    right = judge(checker, pictures) == wanted
    one = np.array([len(s.things) < 2 for s in scenes])
    results = {
        "prompts": args.count, "bar": 0.90, "all": figures(right), "one_object": figures(right[one]),
        "two_objects": figures(right[~one]),
        "steps": args.steps or defaults["steps"], "guidance": args.guidance or defaults["guidance"],
        "trained_steps": defaults["trained_steps"], "seconds_per_picture": round(seconds / args.count, 3),
    }
    wrong = [f"{t}  [{', '.join(n for n, ok in zip(LABEL_NAMES, r) if not ok)}]" for t, r in zip(texts, right) if not r.all()]
    results["not_right"] = wrong
    with open(args.out, "w") as f:
        json.dump(results, f, indent=2, ensure_ascii=False)
    print(json.dumps({k: v for k, v in results.items() if k != "not_right"}, indent=2))


if __name__ == "__main__":
    main()
