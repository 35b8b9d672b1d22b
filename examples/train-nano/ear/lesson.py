"""Batches: recordings made of the bank's utterances, and what is to be written of each.

A text comes with times or without, now and then after an earlier text, as Atelier shows it to the window that follows;
two commands may share a recording; where nobody speaks there is no text.
"""

from dataclasses import dataclass

import torch

from ear.features import HOP, RATE, Features
from ear.model import FRAMES, TEXT, spelt
from ear.sound import Noises, recording, warped

IGNORED, NOWHERE = -100, [-1, -1]
NOTHING, TWO, EARLIER, TIMED, SILENT = .04, .07, .12, .6, .3
AGAIN = .3              # share of Finnish draws that are drawn again
WIDEST = .12            # share of batches that have the whole window, however short their recordings
SPARE = 50              # frames; shorter windows come in steps of so many


@dataclass
class Batch:
    """One step's recordings as the network is given them."""
    mel: torch.Tensor
    tokens: torch.Tensor
    wanted: torch.Tensor
    letters: torch.Tensor
    lengths: torch.Tensor
    spellings: list


class Lesson:
    """Draws batches; `rng` is numpy's."""

    def __init__(self, bank, words, rng):
        self.bank, self.words, self.rng = bank, words, rng
        self.features, self.noises, self.rough = Features(), Noises(rng), 1.0

    def batch(self, count, reach=1.0, rough=1.0):
        """Up to `reach` of all lengths come, the short ones first; `rough` is how often a recording is spoilt."""
        self.bank.look()
        self.rough = rough
        # of alike lengths, so that little of a window is empty
        rows = sorted((self._row() for _ in range(4 * count)), key=lambda row: row["length"])
        begin = self.rng.integers(1 + int((len(rows) - count) * reach))
        drawn = [self._recording(row) for row in rows[begin:begin + count]]
        longest = max(len(samples) // HOP for samples, _, _ in drawn)
        frames = FRAMES if self.rng.random() < WIDEST else min(FRAMES, SPARE * (1 + longest // SPARE + self.rng.integers(2)))
        silent = self.rng.random(count) < SILENT
        mel = self._masked(self.features([samples for samples, _, _ in drawn], frames, silent))
        tokens, wanted, letters = self._texts([(language, said) for _, language, said in drawn])
        lengths = torch.tensor([min(frames, len(samples) // HOP + 8) // 2 for samples, _, _ in drawn])
        spellings = [spelt(" ".join(text for text, _, _ in said)) for _, _, said in drawn]
        return Batch(mel, tokens, wanted, letters, lengths, spellings)

    def _row(self):
        """An utterance by lot; English, with its many accents and its spelling, more often than Finnish."""
        row = self.bank.rows[self.rng.integers(len(self.bank.rows))]
        if row["language"] == "fi" and self.rng.random() < AGAIN:
            row = self.bank.rows[self.rng.integers(len(self.bank.rows))]
        return row

    def _recording(self, row):
        """Samples, language, and (text, begin, end) of all that is said."""
        rows, kind = [row], self.rng.random()
        if kind < NOTHING:
            rows = []
        elif kind < NOTHING + TWO:
            other = self._row()
            if other["language"] == row["language"] and row["length"] + other["length"] < 7 * RATE:
                rows.append(other)
        parts = [warped(self.bank.samples(r), self.rng) if self.rng.random() < .6 * self.rough else self.bank.samples(r) for r in rows]
        pauses = self.rng.uniform(0, .6, 1 + len(parts)) * (self.rng.random(1 + len(parts)) < .85)
        pauses[1:-1] += .3
        pauses += 0 if parts else 1
        room = FRAMES * HOP / RATE - sum(len(part) for part in parts) / RATE - .05
        pauses *= min(1, max(0, room / max(1e-6, pauses.sum())))
        samples, times = recording(parts, pauses, self.noises, self.rng, self.rough)
        return samples, row["language"], [(r["text"], *time) for r, time in zip(rows, times)]

    def _masked(self, mel):
        """Some bands and some moments left away (SpecAugment, arXiv 1904.08779)."""
        for sound in mel:
            if self.rng.random() < .4 * self.rough:
                low = self.rng.integers(70)
                sound[low:low + self.rng.integers(4, 11)] = sound.mean()
            if self.rng.random() < .3 * self.rough:
                begin = self.rng.integers(sound.shape[1] - 12)
                sound[:, begin:begin + self.rng.integers(3, 12)] = sound.mean()
        return mel

    def _texts(self, said):
        """Tokens and, for each, the one that should follow and, as numbers of letters, where in what is said that begins and ends."""
        rows = [self._text(*one) for one in said]
        longest = max(len(tokens) for tokens, _, _ in rows)
        fill = lambda part, value: torch.tensor([row[part] + [value] * (longest - len(row[part])) for row in rows])
        return fill(0, self.words.end), fill(1, IGNORED), fill(2, NOWHERE)

    def _text(self, language, said):
        words, is_timed = self.words, self.rng.random() < TIMED
        before = [words.start, words.languages[language], words.transcribe] + ([] if is_timed else [words.untimed])
        written, letters, at = [], [], -1
        for text, begin, end in said:
            ids = words.ids(text)
            places = []
            for piece in ids:
                # the space before a recording's first word is not spelt
                next_at = at + len(spelt(words.tokenizer.decode([piece])))
                places.append([max(0, at), max(0, next_at - 1)])
                at = next_at
            written += [words.time(begin), *ids, words.time(end)] if is_timed else ids
            letters += [NOWHERE, *places, NOWHERE] if is_timed else places
        if is_timed and not said:
            written, letters = [words.first_time], [NOWHERE]
        earlier = self._earlier() if self.rng.random() < EARLIER else []
        # language and, where nobody speaks, that; the rest of the beginning is given
        given = len(earlier) + len(before) - 1
        wanted = [IGNORED] * given + [*written, words.end]
        wanted[len(earlier)] = words.languages[language] if said else words.silence
        letters = [NOWHERE] * given + [*letters, NOWHERE]
        return (earlier + before + written)[:TEXT], wanted[:TEXT], letters[:TEXT]

    def _earlier(self):
        row = self._row()
        end = self.words.time(row["length"] / RATE)
        return [self.words.previous, self.words.first_time, *self.words.ids(row["text"]), end][:TEXT // 2]
