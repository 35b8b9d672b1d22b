"""The held-out test: commands to intents, exactly; prompts to richer ones, with everything that was said kept.

    python -m word.evaluate --work WORK/word --out results.json
    python -m word.evaluate --work WORK/word --model FOLDER --atelier atelier --count 100 --out results.json
Without `--atelier` the replies are those of the trained network itself, held to nothing; with it they are those of the host that
the model is for, out of the exported file and held to the plugin's schema.
"""

import argparse
import json
import random
import re
import subprocess
import tempfile
from pathlib import Path

from commands.bank import LANGUAGES, sentences
from commands.intention import compact, create, edit
from word.batches import opening_ids
from word.enhance import prompts
from word.export import load_decoder
from word.wording import END, SYSTEM, asking, load

# what the plugin holds replies to
SCHEMA = {"type": "object",
          "properties": {"action": {"enum": ["create", "edit", "undo", "none"]}, "target": {"type": "string", "maxLength": 100},
                         "prompt": {"type": "string", "maxLength": 400}},
          "required": ["action", "target", "prompt"], "additionalProperties": False}
UNSEEN = ("kangaroo", "submarine", "violin", "pineapple", "hedgehog", "tractor", "blimp", "narwhal", "sofa", "toaster", "peacock", "anchor",
          "glimbor", "zaptik", "morluff", "quindle", "brakoon", "feldspar", "gargoyle", "zeppelin")
SEEDS = {"test": 2024, "validation": 3035}
TOGETHER = 64


def questions(task, language, count, which="test"):
    """(text, what is to come of it) without one twice, always the same ones. Spoken text: no capitals, no stops, no slips."""
    found = {}
    if task == "intent":
        source = ((s.text, compact(s.intention)) for s in sentences(which, language, SEEDS[which]))
    else:
        source = ((p.said, p) for p in prompts(which, language, random.Random(SEEDS[which]), beyond=0.0))
    while len(found) < count:
        text, wanted = next(source)
        found.setdefault(text, wanted)
    return list(found.items())


def test_set(count, which="test", by_task=False):
    """All questions of a split: their texts, or the questions by task and language."""
    all_of_them = {(task, language): questions(task, language, count, which) for task in ("intent", "enhance") for language in LANGUAGES}
    return all_of_them if by_task else {text for asked in all_of_them.values() for text, _ in asked}


def words_of(text):
    return [w for w in re.findall(r"[\w'-]+", text.lower()) if w not in ("a", "an")]


def keeps(prompt, reply):
    """Whether all that was said is there, in its order, and something that was not; in one line."""
    left = iter(words_of(reply))
    kept = all(word in left for word in words_of(prompt.meant))
    return kept and len(words_of(reply)) > len(words_of(prompt.meant)) and "\n" not in reply


def is_right(task, wanted, reply):
    return reply == wanted if task == "intent" else keeps(wanted, reply)


def answers(decoder, tokenizer, task, texts):
    """Likeliest replies; conversations of like length are answered together."""
    end, (_, past) = tokenizer.token_to_id(END), decoder.read(opening_ids(tokenizer, task))
    past = [tuple(part.detach() for part in layer) for layer in past]
    asked = [tokenizer.encode(asking(text)).ids for text in texts]
    order, replies = sorted(range(len(asked)), key=lambda k: len(asked[k])), {}
    for at in range(0, len(order), TOGETHER):
        some = order[at:at + TOGETHER]
        ids = decoder.reply([asked[k] for k in some], past, end)
        replies |= {k: tokenizer.decode(reply) for k, reply in zip(some, ids)}
    return [replies[k] for k in range(len(texts))]


def judged(answer, task, asked):
    """(whether it is right, question, what was wanted, reply) for every question; `answer(task, texts)` gives replies."""
    replies = answer(task, [text for text, _ in asked])
    return [(is_right(task, wanted, reply), text, wanted, reply) for (text, wanted), reply in zip(asked, replies)]


class Host:
    """The host that the model is for, one process a question: `atelier chat`, greedy, held to the plugin's schema."""

    def __init__(self, program, model, folder):
        self.program, self.folder = program, Path(folder)
        (self.folder / "atelier.toml").write_text(f'[[model]]\nid = "word"\nsource = {json.dumps(str(Path(model).resolve()))}\n')
        (self.folder / "schema.json").write_text(json.dumps(SCHEMA))

    def answer(self, task, text):
        held = ["--schema", str(self.folder / "schema.json")] if task == "intent" else []
        command = [self.program, "chat", "--config", str(self.folder / "atelier.toml"), "--temperature", "0", "--max-tokens", "160",
                   "--json", "--system", SYSTEM[task], *held, text]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["text"]


def report(found):
    """The share of right answers by task and language, and everything that was not right: question, what was wanted, reply."""
    shares, wrong = {}, {}
    for key, rows in found.items():
        name = " ".join(key)
        shares[name] = {"right": round(sum(ok for ok, *_ in rows) / len(rows), 4), "questions": len(rows)}
        wrong[name] = [[text, getattr(wanted, "meant", wanted), reply] for ok, text, wanted, reply in rows if not ok]
    return shares, wrong


def unknown_nouns():
    """Commands with nouns that no lesson had, English ones and invented ones, which should come through as they are."""
    asked = {}
    for noun in UNSEEN:
        asked |= {f"draw a red {noun}": create(f"a red {noun}"), f"remove the {noun}": edit(f"remove the {noun}", f"the {noun}"),
                  f"could you paint a big {noun} in the snow": create(f"a big {noun} in the snow")}
    return [(text, compact(wanted)) for text, wanted in asked.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="where the training's state is")
    parser.add_argument("--model", help="the exported model, for --atelier")
    parser.add_argument("--atelier", help="the host's program")
    parser.add_argument("--count", type=int, default=1000, help="questions of each task and language")
    parser.add_argument("--out", default="results.json")
    args = parser.parse_args()
    decoder, steps = load_decoder(args.work)
    tokenizer = load(Path(args.work) / "tokenizer.json")
    with tempfile.TemporaryDirectory() as folder:
        host = Host(args.atelier, args.model, folder) if args.atelier else None
        answer = lambda task, texts: [host.answer(task, t) for t in texts] if host else answers(decoder, tokenizer, task, texts)
        found = {key: judged(answer, *key[:1], asked) for key, asked in test_set(args.count, by_task=True).items()}
        found["intent", "unknown nouns"] = judged(answer, "intent", unknown_nouns())
    shares, wrong = report(found)
    results = {"bar": 0.95, "trained_steps": steps, "answered_by": "atelier chat" if args.atelier else "torch"} | shares
    results |= {"not_right": wrong}
    Path(args.out).write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps({k: v for k, v in results.items() if k != "not_right"}, indent=1))


if __name__ == "__main__":
    main()
