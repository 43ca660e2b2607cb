"""Credit: group-relative advantages, HICRA, and what it is compared with.

    from hicra.credit import hicra
    advantages = hicra(advantages, planning_mask, alpha=0.2)          # (B,), (B, T) -> (B, T)

One algorithm a file, each with its formula and source on top: `group` (baselines), `hicra` (the paper's estimator and
two variants), `entropy` and `controls` (what it is compared with), `schedule` (alpha over training). `ESTIMATORS` is
the table of all of them and `apply.HicraCredit` the one object that engines call.

The function `hicra` and the file `hicra.py` share a name. The import below binds the function last, and Python binds
a submodule on its package only when it first loads it, so `hicra.credit.hicra` is the function whatever is imported
in which order. The algorithms call methods of the tensors that they get: importing them loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hicra.credit.estimators import ESTIMATORS, Estimator
from hicra.credit.group import GROUP_ADVANTAGES
from hicra.credit.hicra import hicra, hicra_positive, hicra_symmetric

if TYPE_CHECKING:
    from hicra.credit.apply import HicraCredit
    from hicra.credit.config import CreditConfig
    from hicra.credit.controls import placebo_grams, random_mask
    from hicra.credit.sums import Sums

_HOME = {
    "CreditConfig": "hicra.credit.config",
    "HicraCredit": "hicra.credit.apply",
    "Sums": "hicra.credit.sums",
    "placebo_grams": "hicra.credit.controls",
    "random_mask": "hicra.credit.controls",
}

__all__ = [
    "ESTIMATORS",
    "GROUP_ADVANTAGES",
    "CreditConfig",
    "Estimator",
    "HicraCredit",
    "Sums",
    "hicra",
    "hicra_positive",
    "hicra_symmetric",
    "placebo_grams",
    "random_mask",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hicra.credit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
