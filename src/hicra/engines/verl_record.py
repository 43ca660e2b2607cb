"""What is kept of a run in verl: sums of each step for its metrics, and the run directory.

A step of verl has one batch, in the mode "separate_async" several. Each is taken in when its advantages are known, and
what was taken in is committed when the step's updates are done: before verl saves a checkpoint, so that a checkpoint
never knows of a step that the run directory does not.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hicra.credit.apply import HicraCredit
from hicra.dynamics.gauge import Gauge
from hicra.engines.generation import Generation
from hicra.engines.meter import Meter
from hicra.engines.notice import FirstBatch, redraw_placebo
from hicra.engines.record import TokenText, rows_of
from hicra.engines.verl_batch import Flat, groups_of, numbered, padded, padded_labels, prompt_names
from hicra.engines.watch import Watch
from hicra.errors import DataError, HicraWarning
from hicra.labels.labeller import Labels
from hicra.traces.rundir import RUN, RunReader, RunWriter

COLUMNS = ("response_mask", "advantages", "old_log_probs", "entropy", "rm_scores", "prompts")
"""Columns of the queue that are read once verl has its advantages."""

NAMING = ("raw_prompt", "prompt_id", "id")
"""Columns that name a prompt, of which a data set may have some."""

_OURS = {"actor/loss": "loss", "actor/grad_norm": "grad_norm", "actor/lr": "learning_rate"}
"""Metrics of verl that the run directory has names of its own for."""


class Recorder:
    """Gathers the batches of a step, then its metrics and rows.

    Args:
        credit: what labels and credits.
        tokenizer: the model's.
        group_size: completions that verl samples of a prompt.
        prompts: prompts of a batch, at most.
        limit: tokens at which verl cuts a completion off.
        keep: completions kept with text each step.

    Attributes:
        writer: the run directory, or None.
    """

    def __init__(
        self, credit: HicraCredit, tokenizer: Any, *, group_size: int, prompts: int, limit: int, keep: int
    ) -> None:
        self.credit = credit
        self.writer: RunWriter | None = None
        self._text = TokenText(tokenizer, credit.labeller.vocab)
        self._ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        self._first_batch = FirstBatch(tokenizer)
        self._group_size, self._prompts, self._limit, self._keep = group_size, prompts, limit, keep
        self._meter, self._watch = Meter(credit.grams), Watch()
        self._batches: list[Generation] = []
        self._has_entropies = True
        self._gauge = Gauge() if credit.follows_gauge else None
        if self._gauge is not None:
            credit.gauge = self._gauge.value

    def begin(self, path: Path, *, config: Mapping[str, Any], resume_step: int | None, replace: bool) -> None:
        """Start the run directory, or go on with it.

        Args:
            path: where.
            config: for run.json.
            resume_step: step of the checkpoint that training goes on from; None for a start from the beginning.
            replace: where a run that starts from the beginning finds one, move that to ``superseded/``: verl does so
                itself where it is to resume on its own and finds no checkpoint.

        Raises:
            RunDirError: see `RunWriter.create`.
        """
        if resume_step is None and replace and (path / RUN).exists():
            resume_step = 0
        self.writer = RunWriter.create(
            path,
            config=config,
            seeds={"credit": self.credit.config.seed},
            grams=self.credit.grams.to_dict(),
            resume_step=resume_step,
            engine="verl",
        )
        self._watch = Watch(RunReader(path).metrics() if resume_step is not None else ())

    def take_in(
        self, step: int, batch: Any, columns: Mapping[str, Any], ids: Flat, labels: Labels, after: torch.Tensor
    ) -> None:
        """Keep a batch for the step's record. Copies that verl fills its batches up with are left out.

        Args:
            step: verl's step, from 1.
            batch: verl's names and tags of the completions.
            columns: `COLUMNS` and those of `NAMING` that there are.
            ids: their tokens.
            labels: flat.
            after: (N,) advantages as they are trained on.

        Raises:
            DataError: a reward or a log-prob that is not finite.
        """
        real = [i for i, tag in enumerate(batch.tags) if not tag.get("is_padding", False)]
        if not real:
            return
        tokens = [row.tolist() for row in ids.rows(ids.values, real)]
        names = prompt_names({k: [columns[k][i] for i in real] for k in NAMING if k in columns}, len(real))
        groups = groups_of([batch.keys[i] for i in real])
        prompts = Flat.of(columns["prompts"])
        mask = padded(ids, Flat.of(columns["response_mask"]).values.bool(), real)
        generation = Generation(
            number=len(self._batches),
            alpha=self.credit.alpha(step - 1),
            prompts=(
                padded(prompts, prompts.values, real),
                padded(prompts, torch.ones_like(prompts.values), real),
            ),
            prompt_ids=names,
            token_ids=tokens,
            groups=numbered(groups, names, len(self._batches) * self._prompts),
            rewards=_rewards(Flat.of(columns["rm_scores"]), real, step),
            truncated=[len(row) >= self._limit and row[-1] not in self._ends for row in tokens],
            mask=mask,
            labels=padded_labels(ids, labels, real),
            advantages=padded(ids, Flat.of(columns["advantages"]).values, real),
        )
        logprobs = padded(ids, Flat.of(columns["old_log_probs"]).values, real)
        self._has_entropies = "entropy" in columns
        entropies = logprobs * math.nan
        if self._has_entropies:
            entropies = padded(ids, Flat.of(columns["entropy"]).values, real)
        rows = torch.arange(len(real))
        with warnings.catch_warnings():
            if not self._has_entropies:  # verl's bypass mode computes none, which is no news
                warnings.simplefilter("ignore", HicraWarning)
            seen = generation.look(rows, logprobs, entropies)
            generation.observe(self.credit, rows, seen, padded(ids, after, real), step=step)
        self._meter.add(generation)
        self._batches.append(generation)
        self._look_at_first_batch(step, generation)

    def commit(self, step: int, verls: Mapping[str, Any]) -> dict[str, float]:
        """End a step.

        Args:
            step: verl's step, from 1.
            verls: verl's own metrics of the step.

        Returns:
            Metrics for verl's logger.
        """
        batches, self._batches = self._batches, []
        self._meter.reduce(None)
        metrics = {name: value for name, value in self._meter.since_log().items() if math.isfinite(value)}
        recorded = self._meter.step({}) | {_OURS.get(name, name): value for name, value in _numbers(verls).items()}
        if self._gauge is not None:
            self.credit.gauge = self._gauge.update(-recorded.get("logprob_execution", math.nan))
            recorded["competence"] = metrics["competence"] = self.credit.gauge
        alarms, fresh = self._watch.step(step, recorded)
        if self.writer is not None:
            keep = self._groups_to_keep(batches)
            rows = [rows_of(b, step=step, rank=0, keep=keep, text=self._text) for b in batches]
            completions, rollouts = [r for c, _ in rows for r in c], [r for _, k in rows for r in k]
            if not self._has_entropies:
                nothing = dict.fromkeys(("sum_entropy_planning", "sum_entropy_execution"))
                completions = [row | nothing for row in completions]
                rollouts = [row | {"entropy": None} for row in rollouts]
            self.writer.write_rows(step, completions, rollouts)
            self.writer.commit(step, recorded | alarms)
            for says in fresh:
                self.writer.note(step, f"alarm: {says.partition(': ')[2]}")
        return {f"hicra/{name}": value for name, value in (metrics | alarms).items()}

    def evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record an evaluation of the model as it was after a step."""
        if self.writer is not None:
            self.writer.eval(step, _numbers(metrics))

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep, as JSON values."""
        return {"credit": self.credit.state(), "gauge": None if self._gauge is None else self._gauge.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave, when a run resumes."""
        self.credit.load_state(state["credit"])
        if self._gauge is not None and state["gauge"] is not None:
            self._gauge = Gauge.from_state(state["gauge"])

    def redraw_placebo(self, step: int, rows: Callable[[], Sequence[Sequence[int]]]) -> None:
        """Draw the placebo anew where it is due, from a batch's completions."""
        if not self.credit.redraw_due(step - 1):
            return
        texts = ["".join(self._text.pieces(list(row))) for row in rows()]
        self.note(step, redraw_placebo(self.credit, texts, step - 1))

    def note(self, step: int, text: str) -> None:
        """Write a remark into the run directory."""
        if self.writer is not None:
            self.writer.note(step, text)

    def _groups_to_keep(self, batches: Sequence[Generation]) -> set[int]:
        """The first groups of the step, up to the number of completions to keep; one whole group at least."""
        count = max(1, self._keep // self._group_size) if self._keep else 0
        return set(sorted({group for batch in batches for group in batch.groups})[:count])

    def _look_at_first_batch(self, step: int, batch: Generation) -> None:
        if text := self._first_batch.look(batch.labels.mask, batch.mask, self.credit.grams.name):
            warnings.warn(text, HicraWarning, stacklevel=2)
            self.note(step, text)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in metrics.items() if type(v) is not bool and isinstance(v, numbers.Real)}


def _rewards(scores: Flat, chosen: Sequence[int], step: int) -> list[float]:
    """Sum of each completion's token scores."""
    rewards = [float(row.double().sum()) for row in scores.rows(scores.values, chosen)]
    if bad := [i for i, reward in enumerate(rewards) if not math.isfinite(reward)]:
        raise DataError(
            f"the reward of a completion is not finite at step {step}",
            expected="finite numbers",
            got=f"{rewards[bad[0]]}, {len(bad)} such of {len(rewards)}",
            mend="look at what the reward function returns for empty, cut-off or unparsable completions",
        )
    return rewards
