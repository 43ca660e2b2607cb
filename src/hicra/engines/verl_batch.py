"""A batch in verl's transfer queue <-> flat tensors, and from these to a `Generation` that can be recorded.

verl keeps a batch as jagged tensors under keys ``<prompt>_<session>_<output>``: completions of their own lengths end to
end, with offsets. That is how they are labelled and credited here. Only what is recorded is padded, and recorded by the
same code as TRL's batches.

Letters: B completions, N their tokens end to end, T tokens of the longest one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from hicra.credit.containers import pad
from hicra.errors import DataError
from hicra.labels.labeller import Labels
from hicra.traces.prompts import prompt_name

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Flat:
    """One value a token of all completions end to end: (N,) values, and (B+1,) offsets where each completion begins."""

    values: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, column: Any) -> Flat:
        """From a column of the queue: jagged, or (B, T) where a storage stacks rows of one length."""
        if column.is_nested:
            return cls(column.values(), column.offsets())
        b, t = column.shape
        return cls(column.reshape(-1), torch.arange(b + 1, device=column.device) * t)

    def column(self, values: Tensor) -> Tensor:
        """Other values of the same tokens, as a jagged column for the queue."""
        nested: Tensor = torch.nested.nested_tensor_from_jagged(values, offsets=self.offsets)
        return nested

    def rows(self, values: Tensor, chosen: Sequence[int]) -> list[Tensor]:
        """Some completions' rows of (N,) values."""
        every = torch.split(values, self.offsets.diff().tolist())
        return [every[i] for i in chosen]


def padded(like: Flat, values: Tensor, chosen: Sequence[int]) -> Tensor:
    """(N,) values of the tokens of `like` as (b, T), for some completions, zeros behind them."""
    return pad(like.rows(values, chosen))


def padded_labels(like: Flat, labels: Labels, chosen: Sequence[int]) -> Labels:
    """Flat labels as (b, T), for some completions; no label behind them."""
    gram_id = padded(like, labels.gram_id + 1, chosen) - 1
    return Labels(padded(like, labels.mask, chosen), gram_id, padded(like, labels.begin, chosen))


def groups_of(keys: Sequence[str]) -> list[str]:
    """Which completions were sampled from one prompt: the prompt's part of each key.

    Raises:
        DataError: a key that verl did not make.
    """
    found = []
    for key in keys:
        group, *rest = key.rsplit("_", 2)
        if len(rest) != 2 or not all(part.isdigit() for part in rest):
            raise DataError(
                "a completion in the transfer queue has a name of another kind than verl's",
                expected="<prompt>_<session>_<output>",
                got=repr(key),
            )
        found.append(group)
    return found


def numbered(groups: Sequence[str], names: Sequence[str], first: int) -> list[int]:
    """A number for the group of each completion, counted from `first`.

    They are numbered in the order of a hash of their prompts: the text of the first ones is kept, and which these are
    must not hang on their lengths, by which verl orders a batch.

    Args:
        groups: verl's names of the groups, new ones in every run.
        names: names of their prompts.
        first: number of the first group.
    """
    place = {g: (hashlib.sha256(n.encode()).digest(), g) for g, n in zip(groups, names, strict=True)}
    number = {group: first + i for i, group in enumerate(sorted(place, key=place.__getitem__))}
    return [number[group] for group in groups]


def prompt_names(columns: Mapping[str, Sequence[Any]], count: int) -> list[str]:
    """A name for the prompt of each completion: the data set's ``prompt_id`` or ``id``, else a hash of the prompt.

    Args:
        columns: of the queue, each with one value a completion; ``raw_prompt`` holds conversations.
        count: B.
    """
    prompts = columns.get("raw_prompt", [None] * count)
    own = [{name: columns[name][i] for name in ("prompt_id", "id") if name in columns} for i in range(count)]
    return [prompt_name(_conversation(prompt), own[i]) for i, prompt in enumerate(prompts)]


def _conversation(prompt: Any) -> Any:
    """A conversation as plain lists, whatever sequence it comes in: its name must not depend on that."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [dict(message) if isinstance(message, Mapping) else message for message in prompt]
