"""The network: Llama's decoder (RMS norms, rotary positions, grouped heads, SwiGLU), as transformers' LlamaForCausalLM.

It is written out here for one reason: all conversations of a task begin with the same system turn, which `Decoder.read`
reads once for a whole batch instead of once for each. Parameters have transformers' shapes, see `published`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Size:
    """What a config.json would say."""
    vocabulary: int
    width: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    inner: int = 512
    theta: float = 10000.0
    eps: float = 1e-5
    context: int = 2048

    @property
    def head(self):
        return self.width // self.heads


def turn(x, positions, theta):
    """Rotary positions over the halves of each head; `x` is (batch, heads, tokens, head), `positions` (batch or 1, 1, tokens)."""
    half = x.shape[-1] // 2
    angle = positions[..., None] * theta ** (-torch.arange(half) / half)
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half].float(), x[..., half:].float()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size, kv = size, size.kv_heads * size.head
        linear = lambda a, b: nn.Linear(a, b, bias=False)
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(size.width, size.eps) for _ in range(2))
        self.q_proj, self.k_proj, self.v_proj = linear(size.width, size.width), linear(size.width, kv), linear(size.width, kv)
        self.o_proj = linear(size.width, size.width)
        self.gate_proj, self.up_proj = linear(size.width, size.inner), linear(size.width, size.inner)
        self.down_proj = linear(size.inner, size.width)

    def _attend(self, x, positions, past, mask):
        size, (batch, tokens, _) = self.size, x.shape
        heads = lambda y, count: y.view(batch, tokens, count, size.head).transpose(1, 2)
        q = turn(heads(self.q_proj(x), size.heads), positions, size.theta)
        k = turn(heads(self.k_proj(x), size.kv_heads), positions, size.theta)
        v = heads(self.v_proj(x), size.kv_heads)
        if past is not None:
            k, v = (torch.cat([old.expand(batch, -1, -1, -1), new], 2) for old, new in zip(past, (k, v)))
        # several queries share a key: they stand under each other, so that nothing is repeated
        q = q.reshape(batch, size.kv_heads, -1, size.head)
        scores = (q @ k.transpose(2, 3)).float() * size.head ** -.5
        scores = scores.view(batch, size.kv_heads, -1, tokens, k.shape[2]).masked_fill(~mask, float("-inf"))
        out = scores.softmax(-1).to(v.dtype).view(batch, size.kv_heads, -1, k.shape[2]) @ v
        out = out.view(batch, size.heads, tokens, size.head)
        return self.o_proj(out.transpose(1, 2).reshape(batch, tokens, size.width)), (k, v)

    def forward(self, x, positions, past, mask):
        seen, kept = self._attend(self.input_layernorm(x), positions, past, mask)
        x = x + seen
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h)), kept


class Decoder(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = nn.RMSNorm(size.width, size.eps)
        for name, p in self.named_parameters():
            if p.ndim > 1:
                calm = (2 * size.layers) ** -.5 if "o_proj" in name or "down_proj" in name else 1.0
                nn.init.normal_(p, std=.04 * calm)

    def read(self, ids, past=None, since=0, pads=None):
        """States of `ids` (batch, tokens) after what `past` has kept, and what is kept of both: keys and values of each layer.

        Rows may begin with padding: from place `since` on, as many tokens as `pads` says of each row.
        """
        before, tokens = past[0][0].shape[2] if past else 0, ids.shape[1]
        mask = torch.ones(tokens, before + tokens, dtype=torch.bool).tril(before)
        positions = torch.arange(before, before + tokens, dtype=torch.float32)[None, None]
        if pads is not None:
            places = torch.arange(before + tokens)
            mask = mask & ((places < since) | (places >= since + pads[:, None]))[:, None]
            mask, positions = mask[:, None, None], (positions - pads[:, None, None]).clamp(min=0)
        x, kept = self.embedding(ids), []
        for number, layer in enumerate(self.layers):
            x, own = layer(x, positions, past[number] if past else None, mask)
            kept.append(own)
        return self.norm(x), kept

    def likelihood(self, states):
        """Logits; the table of tokens is also the last layer."""
        return states @ self.embedding.weight.t()

    @torch.no_grad()
    def reply(self, rows, past, end, most=160):
        """Likeliest replies to conversations that go on after `past`, lists of ids, as lists of ids without the end."""
        since, longest = past[0][0].shape[2], max(map(len, rows))
        pads = torch.tensor([longest - len(row) for row in rows])
        ids = torch.tensor([[end] * (longest - len(row)) + row for row in rows])
        replies, over = [[] for _ in rows], [False] * len(rows)
        for _ in range(most):
            states, past = self.read(ids, past, since, pads)
            ids = self.likelihood(states[:, -1]).argmax(-1, keepdim=True)
            for k, (token,) in enumerate(ids.tolist()):
                over[k] = over[k] or token == end
                if not over[k]:
                    replies[k].append(token)
            if all(over):
                break
        return replies


def published(decoder):
    """Weights by the names that transformers gives them."""
    named = {}
    for name, value in decoder.state_dict().items():
        name = name.replace("embedding.", "embed_tokens.")
        for part, where in (("q_proj", "self_attn."), ("k_proj", "self_attn."), ("v_proj", "self_attn."), ("o_proj", "self_attn."),
                            ("gate_proj", "mlp."), ("up_proj", "mlp."), ("down_proj", "mlp.")):
            name = name.replace(f".{part}", f".{where}{part}")
        named[f"model.{name}"] = value
    return named
