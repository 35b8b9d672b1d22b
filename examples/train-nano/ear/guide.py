"""Where a writer should listen: heads of the decoder are shown the moments at which each piece of a text is said.

Without it a small decoder long writes likely commands instead of what it hears. The moments come from the spelling beside it:
the likeliest alignment of a text's letters to states. Attention to a piece's own moments costs nothing, and the more the
farther from them (guided attention, arXiv 1710.08969).
"""

import numpy as np
import torch

NEAR, MARGIN = 8.0, 2   # states, of which there are fifty in a second
NEVER = -1e9


class Guide:
    """Looks at the queries and keys of every layer of a decoder while it computes: of all heads of the last, of one of others."""

    def __init__(self, decoder):
        self.scaling, self.width = decoder.layers[0].encoder_attn.scaling, decoder.layers[0].encoder_attn.head_dim
        self.queries, self.keys = {}, {}
        for number, layer in enumerate(decoder.layers):
            layer.encoder_attn.q_proj.register_forward_hook(self._keeper(self.queries, number))
            layer.encoder_attn.k_proj.register_forward_hook(self._keeper(self.keys, number))

    @staticmethod
    def _keeper(kept, number):
        def keep(_, __, out):
            kept[number] = out
        return keep

    def loss(self, spans):
        """Of the last forward pass. `spans` are first and last state, (count, tokens, 2); below 0 where nothing is said."""
        asked, costs = spans[..., 0] >= 0, []
        for number, query in self.queries.items():
            last = number == len(self.queries) - 1
            for begin in range(0, query.shape[-1] if last else self.width, self.width):
                part = slice(begin, begin + self.width)
                scores = query[..., part].float() @ self.keys[number][..., part].float().transpose(1, 2)
                costs.append(self._cost((scores * self.scaling).softmax(-1), spans)[asked].mean())
        return torch.stack(costs).mean()

    @staticmethod
    def _cost(weights, spans):
        state = torch.arange(weights.shape[-1])
        away = (spans[..., :1] - MARGIN - state).clamp_min(0) + (state - MARGIN - spans[..., 1:]).clamp_min(0)
        return (weights * (1 - torch.exp(-away.square() / (2 * NEAR ** 2)))).sum(-1)


def spans_of(spelling, lengths, spellings, letters):
    """First and last state of each token. `letters` are the first and last letter of each token's text, (count, tokens, 2)."""
    spans = torch.full(letters.shape, -1.0)
    for row, (at, wanted) in enumerate(zip(_aligned(spelling, lengths, spellings), letters)):
        said = wanted[:, 0] >= 0
        if len(at):
            spans[row, said] = torch.from_numpy(at)[wanted[said].clamp_max(len(at) - 1)]
    return spans


def _aligned(spelling, lengths, spellings):
    """For each text, the state at which each of its letters begins, by Viterbi's algorithm over letters with blanks between."""
    logs = spelling.detach().float().log_softmax(-1).numpy()
    count, most = len(spellings), max(map(len, spellings))
    labels = np.zeros((count, 2 * most + 1), np.int64)
    for row, letters in zip(labels, spellings):
        row[1:2 * len(letters):2] = letters
    # a letter may follow the one before without a blank, unless they are the same
    skips = np.zeros(labels.shape, bool)
    skips[:, 2:] = (labels[:, 2:] != 0) & (labels[:, 2:] != labels[:, :-2])
    rows = np.arange(count)[:, None]
    best, came = np.full(labels.shape, NEVER, np.float32), np.zeros((logs.shape[1], *labels.shape), np.int8)
    best[:, :2] = np.take_along_axis(logs[:, 0], labels[:, :2], 1)
    for at in range(1, logs.shape[1]):
        from_one = np.concatenate([np.full((count, 1), NEVER), best[:, :-1]], 1)
        from_two = np.where(skips, np.concatenate([np.full((count, 2), NEVER), best[:, :-2]], 1)[:, :best.shape[1]], NEVER)
        ways = np.stack([best, from_one, from_two])
        came[at] = ways.argmax(0)
        # what comes after a text's own end does not count
        now = ways.max(0) + logs[rows, at, labels]
        best = np.where((at < lengths.numpy())[:, None], now, best)
        came[at][at >= lengths.numpy()] = 0
    return [_begins(best[row], came[:, row], len(letters)) for row, letters in enumerate(spellings)]


def _begins(best, came, count):
    """Backwards along the way that led to the end of `count` letters."""
    if not count:
        return np.zeros(0, np.float32)
    place = 2 * count if best[2 * count] > best[2 * count - 1] else 2 * count - 1
    begins = np.zeros(count, np.float32)
    for at in range(len(came) - 1, -1, -1):
        if place % 2:
            begins[place // 2] = at
        place -= int(came[at, place])
    return begins
