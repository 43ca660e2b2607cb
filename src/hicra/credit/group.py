"""Group-relative advantages: a completion against the other completions of its prompt.

    mean             A_i = R_i - mean(R)                         arXiv 2509.03646, the baseline that HICRA is defined
    over grpo             A_i = (R_i - mean(R)) / (std(R) + eps)      arXiv 2402.03300 (GRPO)
    dr_grpo          A_i = R_i - mean(R)                         arXiv 2503.20783 (Dr. GRPO)
    leave_one_out    A_i = R_i - mean(R without R_i)             arXiv 2402.14740 (RLOO)
                         = G / (G - 1) * (R_i - mean(R))

mean and std are over the G completions of one group; std is the sample one (divisor G - 1), as in TRL and verl. Dr.
GRPO's advantage is the plain mean-centred one; its other half, dividing the loss by a constant in place of the
completion's length, belongs to the loss (``loss_type="dr_grpo"`` in TRL). DAPO (arXiv 2503.14476) takes GRPO's
formula and filters groups whose rewards are all equal: those have advantage exactly 0 here, whatever rounding does to
their mean.

All take rewards (B,) and say which completions belong together either by `group_ids` (B,), any integers in any order,
or by `group_size` G for consecutive blocks. They return advantages (B,) in the floating type of the rewards (float32
for integers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hicra import _shapes
from hicra.credit.checks import check_finite
from hicra.errors import DataError

if TYPE_CHECKING or _shapes.CHECKED:
    import torch
    from jaxtyping import Float, Int, Shaped
    from torch import Tensor


def mean(
    rewards: Shaped[Tensor, " ..."], group_ids: Int[Tensor, " ..."] | None = None, *, group_size: int | None = None
) -> Float[Tensor, " B"]:
    """R - mean(R) within each group. A group of one has advantage 0: there is nothing to compare it with.

    Args:
        rewards: (B,), one a completion.
        group_ids: (B,) integers; equal ids belong together.
        group_size: in place of `group_ids`: completions come in consecutive blocks of this size.

    Raises:
        DataError: rewards that are not finite, or groups that do not fit them.
    """
    centred, _, _ = _centred(rewards, group_ids, group_size)
    return centred.to(_float_type(rewards))


def grpo(
    rewards: Shaped[Tensor, " ..."],
    group_ids: Int[Tensor, " ..."] | None = None,
    *,
    group_size: int | None = None,
    eps: float = 1e-4,
) -> Float[Tensor, " B"]:
    """(R - mean(R)) / (std(R) + eps) within each group; 0 in groups of one. Arguments and errors as for `mean`.

    Args:
        eps: added to the standard deviation, in units of reward (1e-4 as in TRL).
    """
    centred, group, count = _centred(rewards, group_ids, group_size)
    squares = centred.new_zeros(len(count)).index_add(0, group, centred.square())
    std = (squares / (count - 1).clamp(min=1)).sqrt()
    return (centred / (std[group] + eps)).to(_float_type(rewards))


def dr_grpo(
    rewards: Shaped[Tensor, " ..."], group_ids: Int[Tensor, " ..."] | None = None, *, group_size: int | None = None
) -> Float[Tensor, " B"]:
    """Dr. GRPO's advantage: `mean` under the name that people look for (see the module's text for its other half)."""
    return mean(rewards, group_ids, group_size=group_size)


def leave_one_out(
    rewards: Shaped[Tensor, " ..."], group_ids: Int[Tensor, " ..."] | None = None, *, group_size: int | None = None
) -> Float[Tensor, " B"]:
    """R minus the mean reward of the *other* completions of its group. Arguments as for `mean`.

    Raises:
        DataError: as for `mean`; also a group of one, which has no others.
    """
    centred, group, count = _centred(rewards, group_ids, group_size)
    if bool((count < 2).any()):
        raise DataError(
            "leave-one-out needs at least two completions in every group",
            expected="groups of 2 or more",
            got=f"{int((count < 2).sum())} groups of one among {len(count)}",
            mend="sample more completions a prompt, or use the mean as baseline",
        )
    return (centred * (count / (count - 1))[group]).to(_float_type(rewards))


GROUP_ADVANTAGES: dict[str, Callable[..., Tensor]] = {
    "mean": mean,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "leave_one_out": leave_one_out,
}
"""Every group-relative advantage by its name."""


def _centred(
    rewards: Shaped[Tensor, " ..."], group_ids: Int[Tensor, " ..."] | None, group_size: int | None
) -> tuple[Float[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, " g"]]:
    """Rewards minus their group's mean (B,), each completion's group index (B,), and the groups' sizes (g,).

    In double precision (single on devices without it): means of many small rewards must not lose a success.
    """
    if rewards.ndim != 1 or len(rewards) == 0:
        raise DataError("rewards must be one a completion", expected="shape (B,), B > 0", got=f"{tuple(rewards.shape)}")
    check_finite(rewards, "rewards")
    group = _group_index(rewards, group_ids, group_size)
    exact = rewards.float() if rewards.device.type == "mps" else rewards.double()
    size = len(rewards)  # an upper bound of the number of groups, known without asking the device
    count = exact.new_zeros(size).index_add(0, group, exact.new_ones(size))
    total = exact.new_zeros(size).index_add(0, group, exact)
    centred = exact - (total / count.clamp(min=1))[group]
    highest = exact.new_full((size,), -float("inf")).scatter_reduce(0, group, exact, "amax")
    lowest = exact.new_full((size,), float("inf")).scatter_reduce(0, group, exact, "amin")
    centred = centred.masked_fill((highest == lowest)[group], 0.0)
    return centred, group, count[: int(group.max()) + 1]


def _group_index(
    rewards: Shaped[Tensor, " ..."], group_ids: Int[Tensor, " ..."] | None, group_size: int | None
) -> Int[Tensor, " B"]:
    if (group_ids is None) == (group_size is None):
        raise DataError(
            "which completions belong together?",
            expected="either group_ids or group_size",
            got="both" if group_size else "neither",
        )
    if group_ids is not None:
        if group_ids.shape != rewards.shape:
            raise DataError(
                "group ids and rewards differ in shape",
                expected="one group id a completion",
                got=f"group_ids {tuple(group_ids.shape)}, rewards {tuple(rewards.shape)}",
            )
        index: Tensor = group_ids.to(rewards.device).unique(return_inverse=True)[1]  # type: ignore[no-untyped-call]
        return index
    assert group_size is not None
    if group_size < 1 or len(rewards) % group_size:
        raise DataError(
            "the rewards do not come in whole groups",
            expected=f"a multiple of group_size = {group_size}",
            got=f"{len(rewards)} rewards",
        )
    one = rewards.new_ones(len(rewards)).long()
    return (one.cumsum(0) - 1) // group_size


def _float_type(rewards: Shaped[Tensor, " ..."]) -> torch.dtype:
    return rewards.dtype if rewards.is_floating_point() else rewards.float().dtype
