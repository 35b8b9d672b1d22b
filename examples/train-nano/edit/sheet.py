"""A sheet of pictures painted by the model that paints and what the editor made of them.

    python -m edit.sheet --sister FOLDER --model FOLDER --out sheet.png
"""

import argparse

from edit.paint import PIPELINE, edit
from grid import sheet
from paint import load, paint

STORIES = (
    ("a red house in a meadow", ("make it night", "put a yellow star above the house", "turn it into a watercolor painting", "make the house blue", "put it in the snow")),
    ("a boat on the sea at sunset", ("make it day", "replace the boat with a fish", "add a sun", "remove the boat", "put it in a meadow")),
    ("a red circle beside a blue square on a plain yellow background",
     ("make the circle green", "remove the square", "turn the square into a heart", "make the background pink", "make it pixel art")),
    ("a black cat on a plain white background", ("put it in a meadow", "add a tree", "make the cat orange", "turn it into a line drawing", "make it night")),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sister", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    first = paint(*load(args.sister), [prompt for prompt, _ in STORIES], args.seed)
    texts = [text for _, edits in STORIES for text in edits]
    old = [picture for picture, (_, edits) in zip(first, STORIES) for _ in edits]
    new = edit(*load(args.model, PIPELINE), old, texts, args.seed)
    pictures, labels = [], []
    for picture, (prompt, edits) in zip(first, STORIES):
        at = len(pictures) - len(pictures) // 6
        pictures += [picture] + new[at:at + len(edits)]
        labels += [prompt, *edits]
    sheet(pictures, labels).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
