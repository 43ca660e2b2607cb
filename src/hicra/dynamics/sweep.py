"""One pass over the kept rollouts of a run: everything that needs single tokens, a step in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hicra.dynamics.conditional import Following, fold_token, following
from hicra.dynamics.flow import Moves, moves_of_tokens
from hicra.dynamics.overlap import Overlap, overlap
from hicra.dynamics.reading import StepTokens, read_tokens, step_texts
from hicra.dynamics.result import Settings
from hicra.dynamics.series import Bools, Floats, Ints, Series

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.traces.rundir import RunReader

_UNSEEN, _BLANK = -2, -1


@dataclass
class Sweep:
    """What one pass collects.

    Attributes:
        steps: training steps that kept rollouts.
        overlaps: of each step that has entropies, by step.
        followings: of each step, and the prompt of each of its occurrences.
        moves: of each step: gram, completion (of the step), position.
        right, scored, prompt: of each completion, by step; without a reward nobody knows whether it is right.
        sums: of each step, sums over the tokens of each gram, in the last place of none: see `sensitivities`.
        pooled: overlap over all tokens of the run.
    """

    steps: list[int] = field(default_factory=list)
    overlaps: dict[int, Overlap] = field(default_factory=dict)
    followings: list[tuple[Following, Ints]] = field(default_factory=list)
    moves: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    right: list[Bools] = field(default_factory=list)
    scored: list[Bools] = field(default_factory=list)
    prompt: list[Ints] = field(default_factory=list)
    sums: list[dict[str, Floats]] = field(default_factory=list)
    pooled: Overlap | None = None

    def sums_by_gram(self, n_grams: int) -> dict[str, Floats]:
        """Name -> (S, K+1); names that not every step has are left out."""
        names = set.intersection(*(set(s) for s in self.sums)) if self.sums else set()
        out = {}
        for name in sorted(names):
            table = np.zeros((len(self.sums), n_grams + 1))
            for row, sums in zip(table, self.sums, strict=True):
                row[: len(sums[name]) - 1] = sums[name][:-1]
                row[-1] = sums[name][-1]
            out[name] = table
        return out

    def all_moves(self, class_of: Ints | None) -> Moves:
        """Moves of the whole run, grams without a class left out."""
        sizes = [len(r) for r in self.right]
        shift = np.concatenate([[0], np.cumsum(sizes)])
        gram = np.concatenate([m for m, _, _ in self.moves])
        row = np.concatenate([r + s for (_, r, _), s in zip(self.moves, shift[:-1], strict=True)])
        position = np.concatenate([p for _, _, p in self.moves])
        move = gram if class_of is None else class_of[gram]
        kept = move >= 0
        # prompts are numbered anew at each step
        prompt = np.concatenate([p + s for p, s in zip(self.prompt, shift[:-1], strict=True)])
        return Moves(
            move[kept],
            row[kept],
            position[kept],
            np.concatenate(self.right),
            prompt,
            np.repeat(np.array(self.steps, np.int64), sizes),
        )

    def overlap_series(self) -> dict[str, Series]:
        """Both shares at each step that has entropies."""
        if not self.overlaps:
            return {}
        steps = np.array(list(self.overlaps), np.int64)

        def column(name: str) -> Floats:
            return np.array([float(getattr(o, name)[0]) for o in self.overlaps.values()])

        return {
            name: Series(steps, column(name), column(f"{name}_low"), column(f"{name}_high"), "share")
            for name in ("planning_in_top", "top_that_plans")
        }


def sweep(reader: RunReader, settings: Settings, notes: list[str]) -> Sweep:
    """Read the kept rollouts once."""
    out, folds = Sweep(), _Folds(reader)
    entropies: list[npt.NDArray[np.float32]] = []
    planning: list[Bools] = []
    prompts: list[npt.NDArray[np.int32]] = []
    n_prompts = 0
    for tokens in read_tokens(reader, notes):
        out.steps.append(tokens.step)
        out.right.append(tokens.reward > settings.right_above)
        out.scored.append(np.isfinite(tokens.reward))
        out.prompt.append(tokens.prompt)
        out.sums.append(_by_gram(tokens))
        out.moves.append(moves_of_tokens(tokens.gram_id, tokens.begin, tokens.offsets))
        symbols = folds.symbols(tokens)
        found = following(symbols, tokens.gram_id, tokens.begin, tokens.planning, tokens.offsets, settings.ngram)
        out.followings.append((found, tokens.prompt[found.row]))
        if tokens.entropy is not None and (known := np.isfinite(tokens.entropy)).any():
            prompt = np.repeat(tokens.prompt, np.diff(tokens.offsets)).astype(np.int32)
            out.overlaps[tokens.step] = overlap(
                tokens.entropy, tokens.planning, settings.top_share, prompt=prompt, seed=settings.seed
            )
            entropies.append(tokens.entropy[known])
            planning.append(tokens.planning[known])
            prompts.append(prompt[known] + np.int32(n_prompts))
            n_prompts += int(tokens.prompt.max(initial=-1)) + 1
    if entropies:
        out.pooled = overlap(
            np.concatenate(entropies),
            np.concatenate(planning),
            settings.top_shares,
            prompt=np.concatenate(prompts),
            seed=settings.seed,
        )
    return out


def _by_gram(tokens: StepTokens) -> dict[str, Floats]:
    largest = int(tokens.gram_id.max(initial=-1))
    slot = np.where(tokens.planning & (tokens.gram_id >= 0), tokens.gram_id, largest + 1)
    out = {"n": np.bincount(slot, minlength=largest + 2).astype(np.float64)}
    for name, values in (("entropy", tokens.entropy), ("logprob", tokens.logprob)):
        if values is None:
            continue
        known = np.isfinite(values)
        out[f"n_{name}"] = np.bincount(slot[known], minlength=largest + 2).astype(np.float64)
        out[name] = np.bincount(slot[known], values[known], largest + 2).astype(np.float64)
    return out


class _Folds:
    """Token id -> folded symbol; texts are read where an id is seen for the first time, or where there is none."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._of_id = np.full(1024, _UNSEEN, np.int32)
        self._of_text: dict[str, int] = {}
        self._symbols: dict[str, int] = {}

    def symbols(self, tokens: StepTokens) -> npt.NDArray[np.int32]:
        ids = tokens.token_id
        if (largest := int(ids.max(initial=-1))) >= len(self._of_id):
            grown = np.full(2 * largest + 1, _UNSEEN, np.int32)
            grown[: len(self._of_id)] = self._of_id
            self._of_id = grown
        has_id = ids >= 0
        out = np.where(has_id, self._of_id[np.where(has_id, ids, 0)], _UNSEEN).astype(np.int32)
        new = np.flatnonzero(out == _UNSEEN)
        if len(new) == 0:
            return out
        known, anonymous = new[has_id[new]], new[~has_id[new]]
        names, first = np.unique(ids[known], return_index=True)
        places = np.concatenate([known[first], anonymous])
        codes, texts = step_texts(self._reader, tokens.step, places)
        folded = np.array([self._fold(text) for text in texts], np.int32)[codes]
        self._of_id[names] = folded[: len(names)]
        out[known] = self._of_id[ids[known]]
        out[anonymous] = folded[len(names) :]
        return out

    def _fold(self, text: str) -> int:
        if text not in self._of_text:
            self._of_text[text] = self._number(fold_token(text))
        return self._of_text[text]

    def _number(self, fold: str) -> int:
        return self._symbols.setdefault(fold, len(self._symbols)) if fold else _BLANK


def prompt_blocks(prompt: Ints, blocks: int) -> Iterator[Bools]:
    """For each block of prompts, which rows are not in it."""
    block = prompt % blocks
    for b in np.unique(block):
        yield block != b
