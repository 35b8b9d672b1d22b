"""Greedy transcription with torch: what the training looks at now and then. The test listens through Atelier."""

import torch
from transformers import DynamicCache, EncoderDecoderCache

from ear.features import Features
from ear.model import FRAMES

LONGEST = 62


def errors(said, written):
    """Words of what was said, and how many must be changed, left out or put in to get it from what was written."""
    said, written = said.split(), written.split()
    row = list(range(len(written) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(written, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return len(said), row[-1]


@torch.inference_mode()
def listen(learner, words, recordings):
    """(language, text) of each recording, in a whole window with zeros after it."""
    states = learner.hear(Features()(recordings, FRAMES, [False] * len(recordings)))
    start = torch.full((len(recordings), 1), words.start)
    codes = list(words.languages)
    heard = learner.write(states, start)[0][:, 0, list(words.languages.values())].argmax(-1).tolist()
    tokens = torch.tensor([[words.start, words.languages[codes[i]], words.transcribe, words.untimed] for i in heard])
    past, written = EncoderDecoderCache(DynamicCache(), DynamicCache()), []
    for _ in range(LONGEST):
        logits, past = learner.write(states, tokens, past)
        tokens = logits[:, -1, :words.end + 1].argmax(-1, keepdim=True)
        written.append(tokens)
        if (torch.stack(written) == words.end).any(0).all():
            break
    rows = torch.cat(written, 1).tolist()
    cut = lambda row: row[:row.index(words.end)] if words.end in row else row
    return [(codes[i], words.text(cut(row))) for i, row in zip(heard, rows)]


def word_error_rates(learner, words, bank, rows):
    """Of each language's rows, clean: errors in a hundred words; and the share whose language was recognised."""
    found, right = {}, 0
    for begin in range(0, len(rows), 16):
        some = rows[begin:begin + 16]
        for row, (language, text) in zip(some, listen(learner, words, [bank.samples(row) for row in some])):
            count, wrong = errors(row["text"], text)
            total = found.setdefault(row["language"], [0, 0])
            total[0], total[1], right = total[0] + count, total[1] + wrong, right + (language == row["language"])
    return {code: round(100 * wrong / max(1, count), 2) for code, (count, wrong) in found.items()} | {"language": right / len(rows)}
