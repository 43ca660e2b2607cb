"""From a `Generation` to the rows of a run directory (columns: `hicra.traces.schema`).

Every completion gets a row of sums. Text and per-token columns are kept for whole groups only, since a completion says
little without its siblings; which groups depends on their numbers alone, so that processes agree without talking.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hicra.engines.generation import Generation
from hicra.labels.token_text import TokenText
from hicra.traces.prompts import prompt_name

__all__ = ["TokenText", "groups_to_keep", "prompt_name", "rows_of"]

Row = dict[str, Any]


def groups_to_keep(generations: list[Generation], group_size: int, groups_each: int, limit: int) -> set[int]:
    """Numbers of the groups whose text is kept: the first of each generation, up to `limit` completions in all.

    Args:
        generations: those that became complete in this step.
        group_size: G.
        groups_each: groups in one generation, over all processes.
        limit: completions to keep; at least one whole group is kept unless it is 0.
    """
    if limit <= 0:
        return set()
    count = max(1, limit // group_size)
    numbers = [g.number * groups_each + i for g in generations for i in range(groups_each)]
    return set(numbers[:count])


def rows_of(
    generation: Generation, *, step: int, rank: int, keep: set[int], text: TokenText
) -> tuple[list[Row], list[Row]]:
    """Completion rows (all B) and rollout rows (those in the groups to keep) of one complete generation."""
    order = torch.cat([p.rows for p in generation.passes]).cpu()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    by_kind = torch.cat([p.by_kind for p in generation.passes]).cpu()[place].tolist()
    advantages = _per_row(generation.advantages, generation.mask).tolist()
    gram_id, begin = generation.labels.gram_id.cpu().numpy(), generation.labels.begin.cpu().numpy()
    completions: list[Row] = []
    for i in range(len(generation)):
        ids, counts = np.unique(gram_id[i][begin[i]], return_counts=True)
        n_p, n_e, logprob_p, logprob_e, entropy_p, entropy_e = by_kind[i]
        completions.append(
            _key(generation, i, step, rank)
            | {
                "advantage": advantages[i],
                "length": len(generation.token_ids[i]),
                "truncated": generation.truncated[i],
                "n_planning": int(n_p),
                "n_execution": int(n_e),
                "sum_logprob_planning": logprob_p,
                "sum_logprob_execution": logprob_e,
                "sum_entropy_planning": entropy_p,
                "sum_entropy_execution": entropy_e,
                "gram_ids": ids.tolist(),
                "gram_counts": counts.tolist(),
            }
        )
    chosen = [i for i in range(len(generation)) if generation.groups[i] in keep]
    return completions, _rollouts(generation, chosen, step, rank, text) if chosen else []


def _rollouts(generation: Generation, chosen: list[int], step: int, rank: int, text: TokenText) -> list[Row]:
    mask = generation.mask.cpu().numpy()
    planning = (generation.labels.mask & generation.mask).cpu().numpy()
    gram_id, begin = generation.labels.gram_id.cpu().numpy(), generation.labels.begin.cpu().numpy()
    logprob, entropy, advantage = (np.zeros(mask.shape, np.float32) for _ in range(3))
    for p in generation.passes:
        rows = p.rows.cpu().numpy()
        logprob[rows] = p.logprobs.float().cpu().numpy()
        entropy[rows] = p.entropies.float().cpu().numpy()
        used = p.advantages.float().cpu().numpy()
        advantage[rows] = used if used.ndim == 2 else used[:, None]
    prompt_ids, prompt_mask = generation.prompts
    out: list[Row] = []
    for i in chosen:
        ids = generation.token_ids[i]
        length = len(ids)
        carries = mask[i, :length]
        out.append(
            _key(generation, i, step, rank)
            | {
                "prompt": text.prompt(prompt_ids[i][prompt_mask[i].bool()].tolist()),
                "completion": "".join(pieces := text.pieces(ids)),
                "token_ids": ids,
                "token_text": pieces,
                "logprob": _where(carries, logprob[i, :length]),
                "entropy": _where(carries, entropy[i, :length]),
                "advantage": np.where(carries, advantage[i, :length], np.float32(0)).tolist(),
                "planning": planning[i, :length].tolist(),
                "gram_id": gram_id[i, :length].tolist(),
                "begin": begin[i, :length].tolist(),
            }
        )
    return out


def _key(generation: Generation, i: int, step: int, rank: int) -> Row:
    return {
        "step": step,
        "rank": rank,
        "prompt_id": generation.prompt_ids[i],
        "group_id": generation.groups[i],
        "reward": generation.rewards[i],
    }


def _where(carries: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> list[float | None]:
    """Values as a list, null where a token is not the policy's."""
    found = values.tolist()
    return found if carries.all() else [v if c else None for v, c in zip(found, carries.tolist(), strict=True)]


def _per_row(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One advantage a row: (B,) as it is; of (B,T), the mean over tokens that carry loss."""
    advantages = advantages.detach()
    if advantages.dim() == 2:
        count = mask.sum(1).clamp(min=1)
        advantages = torch.where(mask, advantages, 0.0).sum(1) / count
    return advantages.double().cpu() if advantages.device.type != "mps" else advantages.cpu()
