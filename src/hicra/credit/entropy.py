"""Baselines that follow token entropy H (nats) in place of meaning.

    entropy_bonus        J' = J + coef * mean_t H[t]                            arXiv 1707.06347 (PPO), in the loss
    entropy_advantage    A' = A + min(beta * H, |A| / kappa)                    arXiv 2506.14758; beta 0.4, kappa 2 with
    GRPO top_entropy          A' = A where H >= tau, 0 elsewhere                     arXiv 2506.01939; tau keeps the top
    20 %

The first two have controls named after them in arXiv 2509.03646 ("entropy regularisation", "high-entropy advantage").
H is detached in the second and third: it weighs gradients and sends none. kappa > 1 keeps the sign of A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicra import _shapes
from hicra.credit.checks import check_same_shape, per_token
from hicra.errors import ConfigError

if TYPE_CHECKING or _shapes.CHECKED:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


def entropy_bonus(
    entropies: Float[Tensor, " ..."], mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."], coef: float = 0.01
) -> Float[Tensor, ""]:
    """coef * mean entropy of the tokens in the mask, differentiable: subtract it from the loss (arXiv 1707.06347).

    Args:
        entropies: (B, T) or flat (N,), nats, with their gradient.
        mask: same shape; the completion tokens.
        coef: weight of the bonus; TRL's `entropy_coef`.

    Returns:
        A scalar; 0 where the mask is empty.

    Raises:
        DataError: shapes that differ.
    """
    check_same_shape(entropies, mask, "entropies and mask")
    inside = mask.bool()
    return coef * entropies.where(inside, 0.0).sum() / inside.sum().clamp(min=1)


def entropy_advantage(
    advantages: Float[Tensor, " ..."], entropies: Float[Tensor, " ..."], beta: float = 0.4, kappa: float = 2.0
) -> Float[Tensor, " ..."]:
    """A + min(beta * H, |A| / kappa): uncertain tokens are valued more, no sign changes (arXiv 2506.14758).

    Args:
        advantages: (B,) or (B, T), or flat (N,).
        entropies: (B, T) or flat (N,), nats; detached here.
        beta: weight of the entropy, per nat. The paper: 0.4 with GRPO, 0.1 with PPO.
        kappa: the change is at most |A| / kappa; above 1. The paper: 2.

    Raises:
        ConfigError: beta below 0, or kappa not above 1 (signs could change).
        DataError: shapes that do not go together.
    """
    if not (beta >= 0 and kappa > 1):
        raise ConfigError(
            "entropy_advantage: out of range", expected="beta >= 0, kappa > 1", got=f"beta {beta}, kappa {kappa}"
        )
    a = per_token(advantages, entropies, "entropies")
    return a + (beta * entropies.detach()).to(a.dtype).minimum(a.abs() / kappa)


def top_entropy_mask(
    entropies: Float[Tensor, " ..."], mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."], share: float = 0.2
) -> Bool[Tensor, " ..."]:
    """The `share` of the batch's completion tokens with the highest entropy (arXiv 2506.01939).

    The threshold tau is the (1 - share) quantile of the masked entropies over the whole batch; ties with it are in, so
    the share is met from above. Same convention as TRL's `top_entropy_quantile`, which also gathers over ranks; this is
    for one batch.

    Args:
        entropies: (B, T) or flat (N,), nats.
        mask: same shape; the completion tokens.
        share: in (0, 1].

    Raises:
        ConfigError: share out of range.
        DataError: shapes that differ.
    """
    if not 0 < share <= 1:
        raise ConfigError(
            "the share of high-entropy tokens is out of range", expected="0 < share <= 1", got=repr(share)
        )
    check_same_shape(entropies, mask, "entropies and mask")
    inside = mask.bool()
    ordered = entropies.detach().masked_fill(~inside, -float("inf")).flatten().sort(descending=True).values
    if ordered.numel() == 0:
        return inside
    # the quantile lies between the kept tokens number floor(share * (n - 1)) and the next, counted from 0: in whole
    # numbers (share in millionths) because single precision loses count of a large batch, and on the device, not to
    # wait for n
    last = (inside.sum() - 1).clamp(min=0) * round(share * 1_000_000) // 1_000_000
    return (entropies >= ordered.gather(0, last.view(1))) & inside


def top_entropy(
    advantages: Float[Tensor, " ..."],
    entropies: Float[Tensor, " ..."],
    mask: Bool[Tensor, " ..."] | Int[Tensor, " ..."],
    share: float = 0.2,
) -> Float[Tensor, " ..."]:
    """Advantages on the top `share` of tokens by entropy, 0 on the others (arXiv 2506.01939).

    With a token-level loss that divides by all completion tokens this is the paper's objective. Arguments and errors as
    for `top_entropy_mask`; advantages (B,) or (B, T), or flat (N,).
    """
    a = per_token(advantages, entropies, "entropies")
    return a.where(top_entropy_mask(entropies, mask, share), 0.0)
