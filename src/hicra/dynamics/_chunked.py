"""Log-probs and entropies from hidden states without ever holding the logits of all tokens over all of the vocabulary.

    z_v = (w_v . h + b_v) / temperature        log p(y) = z_y - log Z        H = log Z - sum_v p_v z_v

One pass over chunks of the vocabulary, with a running maximum m and, shifted by it, s = sum_v exp(z_v - m) and
u = sum_v exp(z_v - m) (z_v - m), as in the online softmax (Milakov and Gimelshein, arXiv 1805.02867). When the maximum
rises by -d: s <- s e^d, u <- e^d (u + d s). At the end log Z = m + log s and H = log s - u / s; no large numbers are
subtracted from each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Head:
    """The last layer of a model.

    Attributes:
        weight: (V, D).
        bias: (V,) or None.
        scale: what the logits are multiplied by.
        softcap: z -> softcap * tanh(z / softcap), after the scale; None for none.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Tensor, start: int, end: int, temperature: float) -> Tensor:
        """(N, end - start) logits over a part of the vocabulary, float32."""
        bias = None if self.bias is None else self.bias[start:end]
        z = torch.nn.functional.linear(hidden, self.weight[start:end], bias).float()
        if self.scale != 1.0:
            z *= self.scale
        if self.softcap is not None:
            z = torch.tanh(z / self.softcap) * self.softcap
        return z if temperature == 1.0 else z / temperature


def token_stats(
    hidden: Tensor, target: Tensor, head: Head, *, temperature: float = 1.0, rows: int = 1024, columns: int = 8192
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies of N tokens.

    Args:
        hidden: (N, D) the state from which each token was predicted.
        target: (N,) the tokens.
        head: the last layer.
        temperature: divides the logits.
        rows, columns: tokens and vocabulary entries at a time; ``4 * rows * columns`` bytes are what logits take,
            about three times over.

    Returns:
        Log-probs and entropies, (N,) float32, nats.
    """
    parts = [
        _stats(hidden[i : i + rows], target[i : i + rows], head, temperature, columns)
        for i in range(0, len(target), rows)
    ]
    if not parts:
        empty = hidden.new_zeros(0, dtype=torch.float32)
        return empty, empty
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _stats(hidden: Tensor, target: Tensor, head: Head, temperature: float, columns: int) -> tuple[Tensor, Tensor]:
    n, size = len(target), head.weight.shape[0]
    highest = hidden.new_full((n,), -math.inf, dtype=torch.float32)
    total = torch.zeros_like(highest)
    moment = torch.zeros_like(highest)
    chosen = torch.zeros_like(highest)
    for start in range(0, size, columns):
        end = min(size, start + columns)
        z = head.logits(hidden, start, end, temperature)
        inside = (target >= start) & (target < end)
        here = z.gather(1, (target - start).clamp(0, end - start - 1)[:, None]).squeeze(1)
        chosen = torch.where(inside, here, chosen)
        above = torch.maximum(highest, z.amax(1)).clamp_min(-1e30)  # a chunk may be -inf throughout
        drop = torch.where(total > 0, highest - above, 0.0)  # the first chunk has nothing to shift
        factor = drop.exp()
        moment = factor * (moment + drop * total)
        total = factor * total
        z -= above[:, None]
        p = z.exp()
        total += p.sum(1)
        moment += torch.linalg.vecdot(p, z.clamp_(min=-1e4))  # p is 0 there: -inf times 0 must not be NaN
        highest = above
    log_total = total.log()
    return chosen - highest - log_total, log_total - moment / total
