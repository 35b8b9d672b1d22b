"""Muon with AdamW beside it: orthogonalised momentum for matrices and convolutions, AdamW for the rest.

Learns noticeably more per step than AdamW alone, which matters where a step costs a second. Updates are
scaled to the size AdamW's would have, so one learning rate serves both.
"""

import torch

from threads import quick_in_half

NEWTON = (3.4445, -4.7750, 2.0315)


def orthogonal(g, rounds=5):
    """The nearest matrix with unit singular values, roughly, by Newton-Schulz iteration."""
    x = g.flatten(1).to(torch.bfloat16 if quick_in_half(g.device.type) else g.dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON
    for _ in range(rounds):
        s = x @ x.t()
        x = a * x + (b * s + c * s @ s) @ x
    return (x.t() if tall else x).to(g.dtype).reshape(g.shape)


def wants_muon(name, weight):
    """Inner weights of two or more dimensions; not the first and last layers, nor embeddings."""
    outer = ("embed", "conv_in", "conv_out", "naming", "spelling")
    return weight.ndim >= 2 and min(weight.shape[0], weight[0].numel()) >= 16 and not any(o in name for o in outer)


class Muon(torch.optim.Optimizer):
    """Groups carry `muon` (True or False) and `scale` (a factor on the learning rate, see clock.set_rate)."""

    def __init__(self, groups, lr, momentum=0.95, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01):
        super().__init__(groups, dict(lr=lr, momentum=momentum, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                update = self._muon(p, group) if group["muon"] else self._adam(p, group)
                p.sub_(update, alpha=group["lr"])

    def _muon(self, p, group):
        state = self.state[p]
        average = state.setdefault("average", torch.zeros_like(p))
        average.lerp_(p.grad, 1 - group["momentum"])
        update = orthogonal(p.grad.lerp(average, group["momentum"]))
        return update * (0.2 * max(p.shape[0], p[0].numel()) ** 0.5)

    def _adam(self, p, group):
        state = self.state[p]
        first, second = state.setdefault("first", torch.zeros_like(p)), state.setdefault("second", torch.zeros_like(p))
        state["count"] = count = state.get("count", 0) + 1
        b1, b2 = group["betas"]
        first.lerp_(p.grad, 1 - b1)
        second.lerp_(p.grad.square(), 1 - b2)
        return (first / (1 - b1 ** count)) / ((second / (1 - b2 ** count)).sqrt() + group["eps"])


def optimizer_for(modules, lr, scales=None):
    """One optimizer for several named modules, with a learning rate factor for each."""
    groups = []
    for name, module in modules.items():
        named = [(f"{name}.{n}", p) for n, p in module.named_parameters()]
        for muon in (True, False):
            chosen = [p for n, p in named if wants_muon(n, p) == muon]
            groups.append(dict(params=chosen, muon=muon, scale=(scales or {}).get(name, 1.0)))
    return Muon(groups, lr)
