"""Planning: how many items or samples would show a gain of so many points.

Two methods answer the same n items k times each. The difference of an item's two shares varies for two reasons,

    Var(d_i) = between + within / k          between: the gain differs from item to item
                                             within:  sampling; the two variances of one answer, added
    se^2     = Var(d_i) / n

More samples wear down the second part only: no number of them shows a gain that `between / n` hides. The power of the
two-sided paired t test is that of Student's noncentral t with n - 1 degrees of freedom and noncentrality gain / se.

Without data, `Noise.assumed` takes shares p_a, p_b of right answers, the share `icc` of the variance p (1 - p) of an
answer that lies between items, and the correlation r over items of the two methods' chances:

    between = icc (v_a + v_b - 2 r sqrt(v_a v_b)),  within = (1 - icc) (v_a + v_b),  v = p (1 - p)

The variance between training runs is left out: with one run of each method, all of this is about these two models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from hicra.errors import ConfigError, DataError, require
from hicra.evals.estimators import Floats, avg_at_k, sampling_variance

ICC, CORRELATION = 0.6, 0.85
"""Typical of two training methods on one base model, where nothing is measured: a guess, said where it is used."""

ALPHA, POWER, GAIN = 0.05, 0.8, 0.02
MOST = 10_000_000
"""Items or samples that nobody has: counts beyond it are None."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes the difference of two methods vary over items, as variances of shares.

    Attributes:
        between: of the true gain of an item.
        within: of one answer, both methods together; 0 where it cannot be told from `between` (one answer an item):
            `between` holds both then, and `split` is False.
        split: whether the two parts are known apart.
    """

    between: float
    within: float
    split: bool = True

    @classmethod
    def measured(cls, samples: npt.ArrayLike, after: npt.ArrayLike, before: npt.ArrayLike) -> Noise:
        """From the right answers of both methods on the same items.

        Args:
            samples: (I,) answers of each item, the same for both methods; at least 2 items.
            after, before: (I,) right ones among them.

        Raises:
            DataError: wrong counts, or fewer than 2 items.
        """
        d = avg_at_k(samples, after) - avg_at_k(samples, before)
        if len(d) < 2:
            raise DataError("noise of a difference", expected="at least 2 items", got=str(len(d)))
        k, total = np.asarray(samples, np.float64), float(d.var(ddof=1))
        within = sampling_variance(samples, after) + sampling_variance(samples, before)
        if not np.isfinite(within).all():
            return cls(total, 0.0, split=False)
        return cls(max(0.0, total - float((within / k).mean())), float(within.mean()))

    @classmethod
    def assumed(cls, before: float, after: float, *, icc: float = ICC, correlation: float = CORRELATION) -> Noise:
        """From two shares of right answers and two guesses (see the module's text).

        Raises:
            ConfigError: a number outside its range.
        """
        for name, value, low in (
            ("a share", before, 0),
            ("a share", after, 0),
            ("icc", icc, 0),
            ("r", correlation, -1),
        ):
            if not low <= value <= 1:
                raise ConfigError(f"noise: {name} out of range", expected=f"{low} to 1", got=str(value))
        a, b = after * (1 - after), before * (1 - before)
        return cls(max(0.0, icc * (a + b - 2 * correlation * math.sqrt(a * b))), (1 - icc) * (a + b))

    def error(self, items: int, samples: int = 1) -> float:
        """Standard error of the mean difference over `items` items with `samples` answers each.

        Raises:
            ConfigError: the two parts of the noise are not known apart, and `samples` is not 1.
        """
        if samples != 1 and not self.split:
            raise ConfigError(
                "what more samples would do is not known",
                expected="noise measured on at least 2 answers an item",
                got="one answer an item",
            )
        return math.sqrt((self.between + self.within / samples) / items)


def power(noise: Noise, gain: float, items: int, samples: int = 1, alpha: float = ALPHA) -> float:
    """Chance that the paired t test at level `alpha` shows a true `gain` (a share: 0.02 is 2 points).

    Raises:
        ConfigError: as `Noise.error`.
        MissingExtraError: scipy is not installed.
    """
    if items < 2:
        return 0.0
    error = noise.error(items, samples)
    if error == 0:
        return 1.0 if gain else alpha
    special = require("scipy.special", "eval")
    freedom, shift = items - 1, abs(gain) / error
    limit = -float(special.stdtrit(freedom, alpha / 2))
    # T = (Z + shift) / sqrt(X / freedom), X chi-square: the mean over X of what Z has to do. scipy's noncentral t
    # gives NaN here and there.
    nodes, weights = _gauss_legendre()
    scale = np.sqrt(special.chdtri(freedom, (1 - nodes) / 2) / freedom)
    return float(weights @ (special.ndtr(shift - limit * scale) + special.ndtr(-shift - limit * scale)) / 2)


@cache
def _gauss_legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def items_needed(
    noise: Noise, gain: float = GAIN, samples: int = 1, *, target: float = POWER, alpha: float = ALPHA
) -> int | None:
    """Fewest items that show `gain` with power `target`; None beyond `MOST`."""
    return _fewest(lambda n: power(noise, gain, n, samples, alpha) >= target, 2)


def samples_needed(
    noise: Noise, items: int, gain: float = GAIN, *, target: float = POWER, alpha: float = ALPHA
) -> int | None:
    """Fewest answers an item that show `gain` on `items` items with power `target`; None where none suffice.

    Raises:
        ConfigError: as `Noise.error`.
    """
    if not noise.split:
        noise.error(items, 2)  # says why
    if power(Noise(noise.between, 0.0), gain, items, 1, alpha) < target:
        return None
    return _fewest(lambda k: power(noise, gain, items, k, alpha) >= target, 1)


def gain_shown(noise: Noise, items: int, samples: int = 1, *, target: float = POWER, alpha: float = ALPHA) -> float:
    """Smallest true gain that is shown with power `target`; 1 where no gain is, NaN for fewer than 2 items."""
    if items < 2:
        return math.nan
    low, high = 0.0, 1.0
    if power(noise, high, items, samples, alpha) < target:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(noise, middle, items, samples, alpha) >= target else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Plan:
    """What a benchmark can show, and what it would take to show a gain.

    Attributes:
        shown: smallest true gain that is shown with chance `power`, with the items and answers at hand.
        gain, power: that the other two are about.
        items: so many items would show `gain`, answered as often as now; None: more than anybody has.
        samples: so many answers an item would, on the items at hand; None: no number of them.
        split: whether `samples` is known at all: with one answer an item it is not.
    """

    shown: float
    gain: float
    power: float
    items: int | None
    samples: int | None
    split: bool


def plan(noise: Noise, items: int, samples: int, *, gain: float = GAIN, target: float = POWER) -> Plan:
    """What `items` items with `samples` answers each can show, and what a gain of `gain` would take.

    Raises:
        ConfigError: a gain or a power that is not between 0 and 1.
        MissingExtraError: scipy is not installed.
    """
    if not (0 < gain < 1 and 0 < target < 1):
        raise ConfigError("a plan needs a gain and a power", expected="both between 0 and 1", got=f"{gain}, {target}")
    return Plan(
        gain_shown(noise, items, samples, target=target),
        gain,
        target,
        items_needed(noise, gain, samples, target=target),
        samples_needed(noise, items, gain, target=target) if noise.split else None,
        noise.split,
    )


def _fewest(enough: Callable[[int], bool], least: int) -> int | None:
    high = least
    while not enough(high):
        if high >= MOST:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= least and enough(middle) else (middle, high)
    return high
