"""What a batch says about its two kinds of tokens, as sums that add up over micro-batches and ranks.

A mean of means is wrong as soon as micro-batches differ in tokens, so only sums travel: one vector in double precision
that stays on the device of its tensors. An engine adds the vectors of its micro-batches, all-reduces one vector a step,
and asks for `metrics` once, which is the only transfer.

    planning_share      n_planning / (n_planning + n_execution)
    entropy_*           mean token entropy of that kind, nats
    logprob_*           mean log-prob of the sampled tokens of that kind, nats
    perplexity_*        exp(-logprob_*)
    added_mass          sum of (A' - A) over completion tokens: what the estimator put on top
    added_mass_share    added_mass / sum of |A|
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hicra import _shapes
from hicra.errors import DataError

if TYPE_CHECKING or _shapes.CHECKED:
    import numpy as np
    import torch
    from jaxtyping import Bool, Float, Int, Shaped
    from torch import Tensor

FIELDS = (
    "n_planning",
    "n_execution",
    "entropy_planning",
    "entropy_execution",
    "n_entropy_planning",
    "n_entropy_execution",
    "logprob_planning",
    "logprob_execution",
    "n_logprob_planning",
    "n_logprob_execution",
    "added_mass",
    "absolute_mass",
    "nonfinite_entropy",
    "nonfinite_logprob",
)
"""What the first numbers of the vector are; the occurrences of each gram follow."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Additive sums of one or more batches.

    Attributes:
        vector: (len(FIELDS) + K,), double precision (single on devices without it).
    """

    vector: Shaped[Tensor, " S"]

    @classmethod
    def zeros(cls, n_grams: int, device: torch.device | str | None = None) -> Sums:
        """Nothing seen yet: what sums start from."""
        import torch

        return cls(torch.zeros(len(FIELDS) + n_grams, dtype=_exact(torch.device(device or "cpu")), device=device))

    @classmethod
    def of(
        cls,
        planning: Bool[Tensor, " ..."],
        mask: Bool[Tensor, " ..."],
        *,
        gram_id: Int[Tensor, " ..."] | None = None,
        begin: Bool[Tensor, " ..."] | None = None,
        n_grams: int = 0,
        logprobs: Float[Tensor, " ..."] | None = None,
        entropies: Float[Tensor, " ..."] | None = None,
        before: Float[Tensor, " ..."] | None = None,
        after: Float[Tensor, " ..."] | None = None,
    ) -> Sums:
        """The sums of one batch. Nothing here waits for the device.

        Args:
            planning, mask: token flags of one shape, (B, T) or flat (N,); only tokens in `mask` count.
            gram_id, begin: where occurrences start and of which gram, same shape; counted into `gram_counts`.
            n_grams: K, length of `gram_counts`.
            logprobs, entropies: token values of the same shape, nats; values outside the mask may be anything. What
                is not finite inside it is left out and counted: `metrics` says so.
            before, after: advantages, broadcastable to the tokens' shape.
        """
        import torch

        p = planning & mask
        n, n_planning = mask.sum(), p.sum()
        zero = n * 0
        entropy = _kinds(entropies, p, mask) if entropies is not None else (zero,) * 5
        logprob = _kinds(logprobs, p, mask) if logprobs is not None else (zero,) * 5
        mass = _mass(before, after, mask) if before is not None and after is not None else (zero, zero)
        exact = _exact(mask.device)
        scalars = (n_planning, n - n_planning, *entropy[:4], *logprob[:4], *mass, entropy[4], logprob[4])
        head = torch.stack([value.to(exact) for value in scalars])
        grams = head.new_zeros(n_grams + 1)  # the last one collects the tokens that start nothing
        if gram_id is not None and begin is not None:
            starts = begin & mask & (gram_id >= 0)
            slot = gram_id.long().where(starts, n_grams).flatten()
            grams = grams.scatter_add(0, slot, grams.new_ones(1).expand(slot.numel()))
        return cls(torch.cat([head, grams[:n_grams]]))

    def __add__(self, other: Sums) -> Sums:
        if self.vector.shape != other.vector.shape:
            raise DataError(
                "sums of different gram sets cannot be added",
                expected=f"{len(self.vector) - len(FIELDS)} grams",
                got=f"{len(other.vector) - len(FIELDS)} grams",
            )
        return Sums(self.vector + other.vector)

    def __radd__(self, other: int) -> Sums:
        """``sum(list_of_sums)`` starts from the integer 0."""
        if other == 0:
            return self
        return NotImplemented

    def to_tensor(self) -> Shaped[Tensor, " S"]:
        """The one vector to all-reduce (sum over ranks)."""
        return self.vector

    @classmethod
    def from_tensor(cls, vector: Shaped[Tensor, " S"]) -> Sums:
        """Back from `to_tensor`, e.g. after an all-reduce.

        Raises:
            DataError: too short to be one.
        """
        if vector.ndim != 1 or len(vector) < len(FIELDS):
            raise DataError(
                "this vector holds no sums", expected=f"(S,), S >= {len(FIELDS)}", got=f"{tuple(vector.shape)}"
            )
        return cls(vector)

    @property
    def gram_counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Occurrences of each gram, (K,) int64 on the CPU (a transfer)."""
        import numpy as np

        counts: np.ndarray[Any, np.dtype[np.int64]] = np.rint(self.vector[len(FIELDS) :].double().cpu().numpy()).astype(
            np.int64
        )
        return counts

    def metrics(self) -> dict[str, float]:
        """Means and shares by name; NaN where nothing was seen. One transfer from the device.

        Entropies that are not finite (a model that masks its logits with -inf has them) are left out, and their number
        appears as `nonfinite_entropy` where there are any.

        Raises:
            DataError: there were log-probs of completion tokens that are not finite.
        """
        s = dict(zip(FIELDS, self.vector[: len(FIELDS)].tolist(), strict=True))
        if s["nonfinite_logprob"]:
            raise DataError(
                f"{s['nonfinite_logprob']:.0f} completion tokens have a log-prob that is not finite",
                expected="numbers on every token of the mask",
                mend="look for a diverged model, half precision that overflows, or a mask that covers padding",
            )
        metrics = {"planning_share": _ratio(s["n_planning"], s["n_planning"] + s["n_execution"])}
        for kind in ("planning", "execution"):
            logprob = _ratio(s[f"logprob_{kind}"], s[f"n_logprob_{kind}"])
            metrics[f"entropy_{kind}"] = _ratio(s[f"entropy_{kind}"], s[f"n_entropy_{kind}"])
            metrics[f"logprob_{kind}"] = logprob
            metrics[f"perplexity_{kind}"] = math.exp(min(-logprob, 700.0)) if logprob == logprob else math.nan
            metrics[f"n_{kind}"] = s[f"n_{kind}"]
        metrics["added_mass"] = s["added_mass"]
        metrics["added_mass_share"] = _ratio(s["added_mass"], s["absolute_mass"])
        if s["nonfinite_entropy"]:
            metrics["nonfinite_entropy"] = s["nonfinite_entropy"]
        return metrics


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _exact(device: torch.device) -> torch.dtype:
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def _kinds(
    values: Float[Tensor, " ..."], planning: Bool[Tensor, " ..."], mask: Bool[Tensor, " ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sum over planning and over execution tokens, how many went into each, and how many were not finite.

    Sums in double precision over values in their own: no wide copy of the batch.
    """
    exact = _exact(values.device)
    values = values.detach()
    used = mask & values.isfinite()
    used_planning = used & planning
    inside = values.where(used, 0.0)
    total, total_planning = inside.sum(dtype=exact), inside.where(used_planning, 0.0).sum(dtype=exact)
    n, n_planning = used.sum(), used_planning.sum()
    return total_planning, total - total_planning, n_planning, n - n_planning, mask.sum() - n


def _mass(
    before: Float[Tensor, " ..."], after: Float[Tensor, " ..."], mask: Bool[Tensor, " ..."]
) -> tuple[Tensor, Tensor]:
    """Sum of (A' - A), and of |A|, over the tokens of the mask; a row of one stands for all its tokens."""
    exact = _exact(mask.device)
    added = (after.float() - before.float()).where(mask, 0.0).sum(dtype=exact)
    return added, before.abs().where(mask, 0.0).sum(dtype=exact)
