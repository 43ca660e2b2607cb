"""Token data in whatever container it comes: tensors, arrays, or lists of rows of different lengths.

The algorithms work on tensors. `Container` brings a batch there and its result back: tensors pass through, arrays share
their memory, ragged rows are padded on the way in and cut on the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra import _shapes
from hicra.errors import DataError

if TYPE_CHECKING or _shapes.CHECKED:
    from jaxtyping import Shaped
    from torch import Tensor


class Container:
    """The container of a batch, learnt from its labels.

    Args:
        reference: the labels' mask: tensor or array (B, T) or flat, or a list of rows.
    """

    def __init__(self, reference: Any) -> None:
        self.ragged = isinstance(reference, Sequence)
        self.array = isinstance(reference, np.ndarray)
        self.lengths = [len(row) for row in reference] if self.ragged else []

    def tensor(self, value: Any, name: str) -> Shaped[Tensor, " ..."]:
        """`value` as a tensor; rows of a ragged batch as (B, T), padded with zeros.

        Raises:
            DataError: rows of other lengths than the labels', or something that holds no numbers.
        """
        import torch

        if isinstance(value, torch.Tensor):
            return value
        if self.ragged and len(value) and np.ndim(value[0]) > 0:
            lengths = [len(row) for row in value]
            if lengths != self.lengths:
                raise DataError(
                    f"{name} and the token ids differ in shape",
                    expected=f"rows of {self.lengths[:8]} tokens",
                    got=f"rows of {lengths[:8]}",
                )
            return pad([torch.as_tensor(row) for row in value])
        try:
            # float64 lists of Python numbers become float32 as in torch itself
            return torch.as_tensor(value) if isinstance(value, np.ndarray) else torch.tensor(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} cannot be read as numbers", got=str(error)) from error

    def inside(self, mask: Any, like: Shaped[Tensor, " ..."]) -> Shaped[Tensor, " ..."]:
        """The completion mask as bool; without one, every token that is no padding of ours."""
        import torch

        if mask is not None:
            return self.tensor(mask, "mask").bool()
        if not self.ragged:
            return torch.ones_like(like, dtype=torch.bool)
        return torch.arange(like.shape[1]) < torch.tensor(self.lengths).unsqueeze(1)

    def restore(self, tensor: Shaped[Tensor, " ..."]) -> Any:
        """Back into the container that the labels came in: lists of arrays for ragged rows."""
        if self.ragged and tensor.ndim > 1:
            return [row[:n] for row, n in zip(tensor.numpy(), self.lengths, strict=True)]
        return tensor.numpy() if self.array or self.ragged else tensor


def pad(rows: list[Tensor]) -> Shaped[Tensor, "B T"]:
    """Rows of different lengths as one (B, T) tensor, zeros behind them."""
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(rows, batch_first=True)
