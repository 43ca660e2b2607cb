"""A quantity over training steps with its band, and how results become JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One number for each of S steps.

    Attributes:
        steps: (S,) training steps, ascending.
        value: (S,) the estimate; NaN where a step has none.
        low, high: (S,) 95 % band for the noise of sampling prompts; NaN where it is unknown.
        unit: ``"nats"``, ``"bits"``, ``"share"``, ``"tokens"`` or ``""`` for a pure number.
    """

    steps: Ints
    value: Floats
    low: Floats
    high: Floats
    unit: str = ""

    @classmethod
    def bare(cls, steps: Ints, value: Floats, unit: str = "") -> Series:
        """A series whose noise is unknown."""
        unknown = np.full(len(steps), np.nan)
        return cls(steps, value, unknown, unknown, unit)

    @property
    def known(self) -> Bools:
        """(S,) which steps have a value."""
        return np.isfinite(self.value)


def plain(value: Any) -> Any:
    """Dataclasses, arrays and mappings as JSON has them; what is not finite becomes None.

    >>> plain({"a": np.array([1.0, np.nan]), "b": np.int64(2)})
    {'a': [1.0, None], 'b': 2}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value
