"""hicra: credit where reasoning is decided.

The public API is short on purpose. Names are resolved on first use: `import hicra` loads no numba, torch or trainer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

DEFAULT_GRAMS = "paper"
"""Name of the gram set used where none is given: Listing 1 of arXiv 2509.03646."""

_HOME = {
    "CreditConfig": "hicra.credit.apply",
    "Gram": "hicra.grams.gramset",
    "GramSet": "hicra.grams.gramset",
    "HicraCredit": "hicra.credit.apply",
    "HicraError": "hicra.errors",
    "Labeller": "hicra.labels.labeller",
    "Labels": "hicra.labels.labeller",
    "analyze": "hicra.dynamics.analyze",
    "mine": "hicra.grams.mine",
}
_STATIONS = ("credit", "dynamics", "engines", "evals", "grams", "lab", "labels", "report", "traces")

__all__ = [
    "DEFAULT_GRAMS",
    "CreditConfig",
    "Gram",
    "GramSet",
    "HicraCredit",
    "HicraError",
    "Labeller",
    "Labels",
    "__version__",
    "analyze",
    "mine",
]

if TYPE_CHECKING:
    from hicra.credit.apply import CreditConfig, HicraCredit
    from hicra.dynamics.analyze import analyze
    from hicra.errors import HicraError
    from hicra.grams.gramset import Gram, GramSet
    from hicra.grams.mine import mine
    from hicra.labels.labeller import Labeller, Labels


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _STATIONS:
        return importlib.import_module(f"hicra.{name}")
    raise AttributeError(f"module 'hicra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_STATIONS])
