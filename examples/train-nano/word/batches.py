"""Lessons as tensors: conversations of like length together, and where their replies are."""

import torch

from word.wording import END, asking, opening

POOL = 12
IGNORED = -100


def opening_ids(tokenizer, task):
    return torch.tensor([tokenizer.encode(opening(task)).ids])


def encode(tokenizer, text, answer):
    """Ids of a question and its answer, and how many of them are the question's."""
    asked = tokenizer.encode(asking(text)).ids
    return asked + tokenizer.encode(answer + END).ids, len(asked)


class Batches:
    """Batches of one task. A pool is sorted by length, so that little is computed for padding."""

    def __init__(self, lessons, tokenizer, task, size):
        self.lessons, self.tokenizer, self.task, self.size, self.ready = lessons, tokenizer, task, size, []

    def _fill(self):
        pool = [encode(self.tokenizer, *self.lessons.draw(self.task)) for _ in range(POOL * self.size)]
        pool.sort(key=lambda pair: len(pair[0]))
        self.ready = [pool[at:at + self.size] for at in range(0, len(pool), self.size)]
        self.lessons.rng.shuffle(self.ready)

    def next(self):
        """Ids (batch, tokens) and, at every place, the id that should follow there: of replies alone."""
        if not self.ready:
            self._fill()
        rows = self.ready.pop()
        longest = max(len(ids) for ids, _ in rows)
        ids, wanted = torch.zeros(len(rows), longest - 1, dtype=torch.long), torch.full((len(rows), longest - 1), IGNORED)
        for k, (row, asked) in enumerate(rows):
            row = torch.tensor(row)
            ids[k, :len(row) - 1] = row[:-1]
            wanted[k, asked - 1:len(row) - 1] = row[asked:]
        return ids, wanted
