"""The test: unseen commands by unseen voices, each as a recording, through `atelier transcribe` as anybody would call it.

    python -m ear.evaluate --model FOLDER --bank WORK/ear/test --out results.json --atelier atelier
The recordings are heard as they were spoken, and half of them also in a room with noise. Whether it is English or Finnish is for the model
to find out.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from ear.bank import Bank
from ear.listen import errors
from ear.sound import Noises, recording
from ear.speak import RATE, write

ID = "atelier-nano-ear"
CLEAN, NOISY = "clean", "noisy"
PAUSE = .5              # seconds before and after


def recordings(bank, rows, is_noisy):
    """What is heard of each row, the same each time."""
    rng = np.random.default_rng(2024)
    noises = Noises(rng)
    for row in rows:
        samples = bank.samples(row)
        if is_noisy:
            yield recording([samples], [PAUSE, PAUSE], noises, rng)[0]
        else:
            quiet = np.zeros(int(PAUSE * RATE), np.float32)
            yield np.concatenate([quiet, .5 * samples, quiet])


class Atelier:
    """Asks the program, with nothing but this model; several at a time."""

    def __init__(self, program, model, jobs):
        self.program, self.folder, self.pool = program, tempfile.TemporaryDirectory(), ThreadPool(jobs)
        source = f'[[model]]\nid = "{ID}"\nsource = "path:{Path(model).resolve()}"\n'
        (Path(self.folder.name) / "atelier.toml").write_text(source)

    def __call__(self, recordings):
        """(language, text) of each recording, in order."""
        return self.pool.map(self._transcribe, enumerate(recordings))

    def _transcribe(self, numbered):
        number, samples = numbered
        file = f"{number}.wav"
        write(Path(self.folder.name) / file, samples)
        asked = subprocess.run([self.program, "transcribe", file, "--json"], cwd=self.folder.name, check=True, capture_output=True)
        answer = json.loads(asked.stdout)
        return (answer["language"] or {}).get("code", ""), " ".join(answer["text"].split())


def tally(heard, keys):
    """Word error rate in percent, commands that are right in every word, and how many there are, by key."""
    table = {}
    for (row, language, text), key in zip(heard, keys):
        entry = table.setdefault(key, {"words": 0, "wrong": 0, "commands": 0, "right": 0, "language": 0})
        count, wrong = errors(row["text"], text)
        for name, value in zip(entry, (count, wrong, 1, wrong == 0, language == row["language"])):
            entry[name] += int(value)
    return {key: {"word_error_rate": round(100 * t["wrong"] / t["words"], 2), "commands": t["commands"],
                  "right": t["right"], "language_right": t["language"]} for key, t in sorted(table.items())}


def report(heard):
    """All figures of one way to hear the test, and the commands that came out wrong."""
    wrong = [{"said": row["text"], "heard": text, "voice": row["voice"]} for row, _, text in heard if row["text"] != text]
    return {"languages": tally(heard, [row["language"] for row, _, _ in heard]),
            "voices": tally(heard, [row["voice"] for row, _, _ in heard]), "wrong": wrong}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bank", required=True, help="the test's utterances")
    parser.add_argument("--out", default="results.json")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--atelier", default="atelier", help="the program")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    bank, listener, results = Bank(args.bank), Atelier(args.atelier, args.model, args.jobs), {}
    begin = time.time()
    for way, count in ((CLEAN, args.count), (NOISY, args.count // 2)):
        rows = bank.rows[:count]
        heard = [(row, *found) for row, found in zip(rows, listener(recordings(bank, rows, way == NOISY)))]
        results[way] = report(heard)
        print(way, json.dumps(results[way]["languages"]), f"{time.time() - begin:.0f} s", flush=True)
    Path(args.out).write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
