"""HICRA: more credit, and less blame, for the tokens that plan.

    A'[i,t] = A[i,t] + alpha * |A[i,t]|        t a planning token
            = A[i,t]                           otherwise                 0 <= alpha < 1, the paper uses 0.2

Source: "Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning", arXiv 2509.03646. In a success
planning tokens earn (1 + alpha) times the credit, in a failure (1 - alpha) times the blame; no sign changes. Since
the change is upward on both sides, it adds mass: the advantages of a group no longer sum to zero. Two variants take
that apart:

    hicra_symmetric    A' = A * (1 + alpha * m)           more credit and more blame: no net mass in a group whose
                                                          completions hold equally many planning tokens
    hicra_positive     A' = A + alpha * max(A, 0) * m     more credit for successes, blame as it was

They are ours, not the paper's: comparisons that its formula suggests.

All take advantages (B,) or (B, T) and a mask (B, T), or both flat (N,), and return per-token advantages of the mask's
shape; tokens outside the mask keep their advantage bit for bit. alpha = 0 is GRPO itself: the very object that was
handed in comes back, (B,) too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicra import _shapes
from hicra.credit.checks import check_alpha, per_token

if TYPE_CHECKING or _shapes.CHECKED:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


def hicra(
    advantages: Float[Tensor, " ..."], planning_mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."], alpha: float = 0.2
) -> Float[Tensor, " ..."]:
    """A + alpha * |A| on planning tokens (arXiv 2509.03646).

    Args:
        advantages: (B,) or (B, T), or flat (N,).
        planning_mask: (B, T) or flat (N,); true (or 1) on planning tokens.
        alpha: share of |A| added, in [0, 1).

    Returns:
        Advantages of the mask's shape; `advantages` itself where alpha is 0.

    Raises:
        ConfigError: alpha out of range.
        DataError: shapes that do not go together.
    """
    check_alpha(alpha)
    if alpha == 0:
        return advantages
    a = per_token(advantages, planning_mask, "planning_mask")
    return (a + alpha * a.abs()).where(planning_mask.bool(), a)


def hicra_symmetric(
    advantages: Float[Tensor, " ..."], planning_mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."], alpha: float = 0.2
) -> Float[Tensor, " ..."]:
    """A * (1 + alpha) on planning tokens: credit and blame both grow. Arguments and errors as for `hicra`."""
    check_alpha(alpha)
    if alpha == 0:
        return advantages
    a = per_token(advantages, planning_mask, "planning_mask")
    return (a * (1 + alpha)).where(planning_mask.bool(), a)


def hicra_positive(
    advantages: Float[Tensor, " ..."], planning_mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."], alpha: float = 0.2
) -> Float[Tensor, " ..."]:
    """A + alpha * max(A, 0) on planning tokens: credit grows, blame stays. Arguments and errors as for `hicra`."""
    check_alpha(alpha)
    if alpha == 0:
        return advantages
    a = per_token(advantages, planning_mask, "planning_mask")
    return (a + alpha * a.clamp(min=0)).where(planning_mask.bool(), a)
