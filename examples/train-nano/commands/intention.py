"""What a command means: the record that every sentence of the bank carries, and its compact JSON."""

import json
from dataclasses import dataclass

ACTIONS = ("create", "edit", "undo", "none")


@dataclass(frozen=True)
class Sentence:
    """One spoken command: "english" or "finnish", its words in lower case, and what they ask for.

    Apostrophes inside words stay ("i'd", "don't"): they are spelling. There is no other punctuation.
    """
    language: str
    text: str
    intention: dict


def create(prompt):
    return {"action": "create", "target": "", "prompt": prompt}


def edit(prompt, target=""):
    """`target` is "the boat", or empty where the command says "it" or names nothing."""
    return {"action": "edit", "target": "" if target == "it" else target, "prompt": prompt}


UNDO = {"action": "undo", "target": "", "prompt": ""}
NONE = {"action": "none", "target": "", "prompt": ""}


def compact(intention):
    """JSON as the host's constrained decoder writes it: keys in the schema's order, no spaces."""
    return json.dumps({k: intention[k] for k in ("action", "target", "prompt")}, ensure_ascii=False, separators=(",", ":"))
