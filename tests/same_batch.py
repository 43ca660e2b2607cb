"""One batch for every engine: completions, rewards and the advantages that they must come to, bit for bit.

Ragged rows of the tiny tokenizer's words, two groups of four; the middle of every other row was written by a tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hicra.credit.hicra import hicra, hicra_positive, hicra_symmetric
from hicra.labels.labeller import Labeller
from tests.tiny_trl import make_tiny

FORMULAS = {"hicra": hicra, "hicra_symmetric": hicra_symmetric, "hicra_positive": hicra_positive}
G = 4


@dataclass(frozen=True)
class Batch:
    """B completions in groups of G.

    Attributes:
        tokenizer: what made the ids.
        rows: B lists of token ids, of different lengths.
        masks: 1 where a token is the policy's own, 0 where a tool wrote it.
        rewards: B numbers that float32 holds exactly, and so does the mean of a group.
    """

    tokenizer: Any
    rows: list[list[int]]
    masks: list[list[int]]
    rewards: list[float]

    @property
    def group_advantages(self) -> torch.Tensor:
        """(B,) reward minus the group's mean, float32."""
        rewards = torch.tensor(self.rewards).view(-1, G)
        return (rewards - rewards.mean(1, keepdim=True)).flatten()

    @property
    def padded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, (B,T), padded on the right."""
        pad = torch.nn.utils.rnn.pad_sequence
        parts = [[torch.tensor(row) for row in part] for part in (self.rows, self.masks)]
        return pad(parts[0], True), pad(parts[1], True)

    @property
    def flat(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids and mask end to end, (N,), and where each completion begins, (B+1,)."""
        ids, mask = (torch.tensor([v for row in part for v in row]) for part in (self.rows, self.masks))
        return ids, mask, torch.tensor(np.cumsum([0, *map(len, self.rows)]))

    def expected(self, estimator: str, alpha: float) -> list[list[float]]:
        """B rows of advantages by the pure function, each row on its own."""
        labeller = Labeller("paper", self.tokenizer)
        out = []
        for row, mask, advantage in zip(self.rows, self.masks, self.group_advantages, strict=True):
            flags = torch.from_numpy(labeller.label(row, mask).mask)
            out.append(FORMULAS[estimator](advantage.expand(len(row)).clone(), flags, alpha).tolist())
        return out


def make() -> Batch:
    """The batch; about a quarter of its tokens plan."""
    tokenizer = make_tiny().make_tokenizer()
    texts = [
        "wait so now we have the sum",
        "3 + 4 = 7 wait",
        "so now check it so",
        "carry wait add wait carry",
        "now wait so wait now so we have",
        "the sum is 9",
        "wait",
        "so check wait it is the sum wait",
    ]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    masks = [[1] * len(row) for row in rows]
    for i in range(1, len(rows), 2):
        third = len(rows[i]) // 3
        masks[i][third : 2 * third] = [0] * third
    return Batch(tokenizer, rows, masks, [1.0, 0.0, 0.5, 0.25, 0.0, 1.0, 1.0, 0.75])
