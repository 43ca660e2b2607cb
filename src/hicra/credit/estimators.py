"""The table of estimators: what turns group-relative advantages into the advantages that train.

An estimator here says which tokens it credits and what it does to them; which group baseline comes before
(`hicra.credit.group`) and which schedule alpha follows (`hicra.credit.schedule`) are chosen beside it, so none has a
name for a combination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hicra.credit import entropy
from hicra.credit.hicra import hicra, hicra_positive, hicra_symmetric


@dataclass(frozen=True, slots=True)
class Estimator:
    """One row of the table.

    Attributes:
        about: one line for people.
        source: arXiv id, or "hicra" for what is ours.
        credits: which tokens it treats apart: the planning ones, those of a placebo or a random control, or none.
        reshape: (advantages, credited tokens, alpha, entropies, completion mask, `CreditConfig`) -> advantages, or None
            where the advantages stay as they are.
        uses_alpha: whether alpha = 0 makes it plain GRPO.
        needs_entropies: whether it works only where the engine has token entropies before the loss.
        in_loss: whether it adds a term to the loss (`entropy.entropy_bonus`; in TRL `entropy_coef`).
    """

    about: str
    source: str
    credits: Literal["none", "planning", "placebo", "random"] = "none"
    reshape: Callable[[Any, Any, float, Any, Any, Any], Any] | None = None
    uses_alpha: bool = False
    needs_entropies: bool = False
    in_loss: bool = False


ESTIMATORS: dict[str, Estimator] = {
    "grpo": Estimator("advantages as they come", "2402.03300"),
    "hicra": Estimator(
        "A + alpha |A| on planning tokens",
        "2509.03646",
        credits="planning",
        reshape=lambda a, credited, alpha, h, mask, config: hicra(a, credited, alpha),
        uses_alpha=True,
    ),
    "hicra_symmetric": Estimator(
        "A (1 + alpha) on planning tokens: credit and blame grow",
        "hicra",
        credits="planning",
        reshape=lambda a, credited, alpha, h, mask, config: hicra_symmetric(a, credited, alpha),
        uses_alpha=True,
    ),
    "hicra_positive": Estimator(
        "A + alpha max(A, 0) on planning tokens: credit grows, blame stays",
        "hicra",
        credits="planning",
        reshape=lambda a, credited, alpha, h, mask, config: hicra_positive(a, credited, alpha),
        uses_alpha=True,
    ),
    "placebo": Estimator(
        "HICRA on random n-grams as long and as frequent as the set's",
        "2509.03646",
        credits="placebo",
        reshape=lambda a, credited, alpha, h, mask, config: hicra(a, credited, alpha),
        uses_alpha=True,
    ),
    "random_mask": Estimator(
        "HICRA on as many tokens of each completion, in runs as long, at random places",
        "hicra",
        credits="random",
        reshape=lambda a, credited, alpha, h, mask, config: hicra(a, credited, alpha),
        uses_alpha=True,
    ),
    "entropy_bonus": Estimator("GRPO with a token-entropy bonus in the loss", "1707.06347", in_loss=True),
    "entropy_advantage": Estimator(
        "A + min(beta H, |A| / kappa)",
        "2506.14758",
        reshape=lambda a, credited, alpha, h, mask, config: entropy.entropy_advantage(
            a, h, config.entropy_beta, config.entropy_kappa
        ),
        needs_entropies=True,
    ),
    "top_entropy": Estimator(
        "A on the batch's top tokens by entropy, 0 elsewhere",
        "2506.01939",
        reshape=lambda a, credited, alpha, h, mask, config: entropy.top_entropy(a, h, mask, config.entropy_share),
        needs_entropies=True,
    ),
}
"""Every estimator by its name."""
