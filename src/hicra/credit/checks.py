"""What every estimator asks of its input, so that a mistake is named where it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicra import _shapes
from hicra.errors import ConfigError, DataError

if TYPE_CHECKING or _shapes.CHECKED:
    from jaxtyping import Float, Shaped
    from torch import Tensor


def check_alpha(alpha: float) -> None:
    """Raises ConfigError where alpha is not in [0, 1): from 1 on a failure's blame would turn into credit."""
    if not 0 <= alpha < 1:  # also false for NaN
        raise ConfigError(
            "alpha is out of range", expected="0 <= alpha < 1 (0 is plain GRPO, the paper uses 0.2)", got=repr(alpha)
        )


def check_finite(values: Shaped[Tensor, " ..."], what: str) -> None:
    """Raises DataError where `values` hold NaN or infinity, and says where the first one is.

    On an accelerator this waits for the device once; callers check what is small or comes once a batch (rewards,
    advantages), never what is read in every micro-batch.
    """
    bad = ~values.isfinite()
    if bool(bad.any()):
        first = tuple(bad.nonzero()[0].tolist())
        raise DataError(
            f"{what} must be finite",
            expected="numbers",
            got=f"{values[first].item()} at index {list(first)}, {int(bad.sum())} such of {values.numel()}",
            mend="look at the reward functions: one of them returned no number for that completion",
        )


def per_token(advantages: Float[Tensor, " ..."], tokens: Shaped[Tensor, " ..."], what: str) -> Float[Tensor, " ..."]:
    """Advantages in a shape that broadcasts to that of `tokens`: (B,) becomes (B, 1), (B, T) and flat (N,) stay.

    Raises:
        DataError: the shapes do not go together.
    """
    if advantages.shape == tokens.shape:
        return advantages
    if advantages.ndim == 1 and tokens.ndim == 2 and len(advantages) == len(tokens):
        return advantages.unsqueeze(1)
    raise DataError(
        f"advantages and {what} do not go together",
        expected="advantages (B,) or (B, T) with (B, T), or both flat (N,)",
        got=f"advantages {tuple(advantages.shape)}, {what} {tuple(tokens.shape)}",
    )


def check_same_shape(first: Shaped[Tensor, " ..."], second: Shaped[Tensor, " ..."], names: str) -> None:
    """Raises DataError where two arrays of token values differ in shape; `names` is e.g. "entropies and mask"."""
    if first.shape != second.shape:
        raise DataError(
            f"{names} differ in shape",
            expected="one value a token in both",
            got=f"{tuple(first.shape)}, {tuple(second.shape)}",
        )
