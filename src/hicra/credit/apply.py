"""The one object that engines call: which tokens plan, what their advantages become, what the batch says about both
kinds.

    credit = HicraCredit(CreditConfig(alpha=0.2), tokenizer)
    labels = credit.plan(completion_ids, completion_mask)
    advantages = credit.advantages(advantages, labels, step=step, mask=completion_mask)
    sums = credit.observe(labels, completion_mask, logprobs, entropies)        # of a micro-batch; add them up
    metrics = sums.metrics()                                                    # once a step

A hand-written loop that wants the advantages only: ``credit.apply(advantages, completion_ids, completion_mask)``.

Token data may be padded tensors or arrays (B, T), flat ones (N,) with `offsets`, or lists of rows; results come in the
container of the token ids. The true planning tokens are what `Labels.mask` and all metrics speak of, also in the
controls, which credit others (`Labels.credit`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.credit.checks import check_finite, check_same_shape, per_token
from hicra.credit.config import CreditConfig
from hicra.credit.containers import Container, pad
from hicra.credit.controls import placebo_grams, random_mask
from hicra.credit.schedule import SCHEDULES, Moment
from hicra.credit.sums import Sums
from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller, Labels

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CreditConfig", "HicraCredit", "Sums"]


class HicraCredit:
    """Labels, credit and sums for one run.

    Args:
        config: what to do; default: the paper's HICRA.
        tokenizer: whatever `Labeller` takes.
        labeller: in place of `tokenizer` (and of the config's grams): a labeller with a tokenizer.
        control_grams: the placebo set, for the estimator "placebo"; default: drawn from the bundled traces.

    Attributes:
        gauge: competence in [0, 1], which an engine sets after each step (`hicra.dynamics.gauge.Gauge`) where
            `follows_gauge`; None until it does.

    Raises:
        ConfigError: neither tokenizer nor labeller, control grams for an estimator that has none, or `soft` without the
            tagger.
        DataError: the gram set cannot be loaded.
    """

    def __init__(
        self,
        config: CreditConfig | None = None,
        tokenizer: Any = None,
        *,
        labeller: Labeller | None = None,
        control_grams: GramSet | None = None,
    ) -> None:
        self.config = config or CreditConfig()
        if labeller is None and tokenizer is None:
            raise ConfigError(
                "credit needs to read tokens", expected="a tokenizer, or a labeller that has one", got="neither"
            )
        self.labeller = labeller if labeller is not None else Labeller(self.config.grams, tokenizer)
        self.gauge: float | None = None
        if self.config.soft and self.labeller.kind != "tagger":
            raise self._without_probabilities()
        self._placebo: Labeller | None = None
        self._drawn_at = 0
        if self.config.row.credits == "placebo":
            self._set_placebo(control_grams if control_grams is not None else self._draw_from_sample())
        elif control_grams is not None:
            raise ConfigError(
                f"the estimator {self.config.estimator!r} has no use for control grams", expected="estimator 'placebo'"
            )

    # --- which tokens ------------------------------------------------------------------------------------------------
    @property
    def grams(self) -> GramSet:
        """The Strategic Grams that metrics speak of."""
        return self.labeller.grams

    @property
    def control_grams(self) -> GramSet | None:
        """The placebo set of the moment, or None."""
        return None if self._placebo is None else self._placebo.grams

    def plan(self, token_ids: Any, mask: Any = None, *, offsets: Any = None, step: int = 0) -> Labels:
        """Label completions; in the controls also choose the tokens that get the credit in their place.

        Args:
            token_ids, mask, offsets: as for `Labeller.label`; `mask` without padding, prompt and tool output.
            step: optimizer step, which the random control draws by.

        Returns:
            Labels; `credit` is set in the placebo and random controls, inside the mask.

        Raises:
            DataError: ids, mask or offsets that do not fit.
        """
        labels = self.labeller.label(token_ids, mask, offsets=offsets)
        if self.config.row.credits == "placebo":
            assert self._placebo is not None
            placebo = self._placebo.label(token_ids, mask, offsets=offsets).mask
            if isinstance(placebo, list):
                return replace(labels, credit=[p & ~m for p, m in zip(placebo, labels.mask, strict=True)])
            return replace(labels, credit=placebo & ~labels.mask)
        if self.config.row.credits == "random":
            return replace(labels, credit=self._random(labels, token_ids, mask, offsets, step))
        return labels

    def _random(self, labels: Labels, token_ids: Any, mask: Any, offsets: Any, step: int) -> Any:
        box = Container(labels.mask)
        planning, begin = box.tensor(labels.mask, "labels"), box.tensor(labels.begin, "labels")
        ids, inside = box.tensor(token_ids, "token_ids"), box.inside(mask, planning)
        parts = [planning, begin, inside, ids.to(planning.device)]
        if planning.ndim == 2:
            drawn = random_mask(*parts, seed=self.config.seed, step=step)
            return box.restore(drawn)
        bounds = [0, len(planning)] if offsets is None else [int(i) for i in offsets]
        sizes = np.diff(bounds).tolist()
        import torch

        padded = [pad(list(torch.split(part, sizes))) for part in parts]
        drawn = random_mask(*padded, seed=self.config.seed, step=step)
        own = pad([inside.new_ones(size) for size in sizes])
        return box.restore(drawn[own])

    # --- what they are worth -----------------------------------------------------------------------------------------
    @property
    def max_alpha(self) -> float:
        """The largest alpha of the schedule; 0 for estimators that have none."""
        return self.config.max_alpha

    def alpha(self, step: int) -> float:
        """alpha at an optimizer step (from 0); 0 for estimators that have none.

        Raises:
            ConfigError: the schedule follows the gauge, and the engine has handed over none by its second step.
        """
        c = self.config
        if self.follows_gauge and self.gauge is None and step > 0:
            raise ConfigError(
                "alpha_schedule 'competence' follows a gauge that nobody reads",
                expected="credit.gauge set after every step",
                got=f"none by step {step}",
                mend="credit.gauge = gauge.update(-mean log-prob of execution tokens), with hicra.dynamics.gauge.Gauge",
            )
        at = Moment(step, c.alpha_warmup_steps, self.gauge or 0.0, c.alpha_gate)
        return SCHEDULES[c.alpha_schedule](c.alpha, at) if c.row.uses_alpha else 0.0

    @property
    def follows_gauge(self) -> bool:
        """Whether alpha depends on `gauge`."""
        return self.config.row.uses_alpha and self.config.alpha_schedule == "competence"

    def advantages(
        self, advantages: Any, labels: Labels, entropies: Any = None, *, step: int = 0, mask: Any = None
    ) -> Any:
        """The advantages that train.

        Args:
            advantages: group-relative, (B,) or (B, T), or flat (N,) with flat labels.
            labels: from `plan`.
            entropies: per token, nats, of the labels' shape; for the estimators that need them.
            step: optimizer step, from 0.
            mask: completion tokens; others keep their advantage and count for nothing. Default: all.

        Returns:
            (B, T) or flat advantages in the labels' container. Where the estimator changes nothing at this step (plain
            GRPO, or alpha 0) the very object that was handed in, (B,) too.

        Raises:
            DataError: advantages or entropies that are not finite, or shapes that do not go together.
            ConfigError: the estimator needs entropies, or `soft` probabilities, and there are none.
        """
        row = self.config.row
        if row.reshape is None or not self._reshapes(step):
            return advantages
        box = Container(labels.mask)
        planning = box.tensor(labels.mask, "labels")
        a = box.tensor(advantages, "advantages").to(planning.device)
        inside = box.inside(mask, planning)
        check_same_shape(inside, planning, "mask and labels")
        check_finite(a, "advantages")  # once a batch, and usually (B,): a NaN would spread to every weight
        credited = (planning if labels.credit is None else box.tensor(labels.credit, "labels")) & inside
        h: Tensor | None = None
        if row.needs_entropies:
            h = self._entropies(entropies, box).to(planning.device)
            check_same_shape(h, inside, "entropies and mask")
            h = h.where(inside, 0.0)  # padding may hold anything
            check_finite(h, "entropies")
        alpha = self.alpha(step)
        if self.config.soft:  # all tokens as planning ones, then as much of the change as is likely
            likely = self._probabilities(labels, box).to(planning.device).where(inside, 0.0)
            before = per_token(a, planning, "labels")
            return box.restore(before + likely * (row.reshape(a, inside, alpha, h, inside, self.config) - before))
        return box.restore(row.reshape(a, credited, alpha, h, inside, self.config))

    def _reshapes(self, step: int) -> bool:
        """Whether the estimator changes anything at this step."""
        row = self.config.row
        return row.reshape is not None and (not row.uses_alpha or self.alpha(step) > 0)

    def _without_probabilities(self) -> ConfigError:
        return ConfigError(
            "soft credit needs labels with probabilities",
            expected="labels of the tagger",
            got=f"labels of the set {self.grams.name!r}",
            mend='set grams="tagger", or soft=False',
        )

    def _probabilities(self, labels: Labels, box: Container) -> Tensor:
        if labels.probability is None:
            raise self._without_probabilities()
        return box.tensor(labels.probability, "labels")

    def _entropies(self, entropies: Any, box: Container) -> Tensor:
        if entropies is None:
            raise ConfigError(
                f"the estimator {self.config.estimator!r} needs token entropies",
                expected="entropies from the engine, before the loss",
                got="none",
                mend="choose another estimator, or the engine's own option for this one",
            )
        return box.tensor(entropies, "entropies")

    def apply(self, advantages: Any, token_ids: Any, mask: Any = None, *, offsets: Any = None, step: int = 0) -> Any:
        """`plan` and `advantages` in one: for loops that take per-token advantages and ask no further.

        With `offsets`, advantages may be one a completion (B,); they are spread over its tokens.
        """
        if not self._reshapes(step):
            return advantages
        labels = self.plan(token_ids, mask, offsets=offsets, step=step)
        return self.advantages(_spread(advantages, offsets), labels, step=step, mask=mask)

    # --- what the batch says -----------------------------------------------------------------------------------------
    def observe(
        self,
        labels: Labels,
        mask: Any = None,
        logprobs: Any = None,
        entropies: Any = None,
        advantages_before: Any = None,
        advantages_after: Any = None,
    ) -> Sums:
        """Sums by token kind of one (micro-)batch; on tensors, nothing here waits for the device.

        Args:
            labels: from `plan`.
            mask: completion tokens; default: all.
            logprobs, entropies: per token, nats; either may be missing.
            advantages_before, advantages_after: what went into `advantages` and what came out, for the mass that was
                added.

        Raises:
            DataError: shapes that do not go together.
        """
        box = Container(labels.mask)
        planning = box.tensor(labels.mask, "labels")
        inside = box.inside(mask, planning)
        check_same_shape(inside, planning, "mask and labels")
        values: dict[str, Tensor | None] = {"logprobs": None, "entropies": None, "before": None, "after": None}
        for name, value in (("logprobs", logprobs), ("entropies", entropies)):
            if value is not None:
                values[name] = tensor = box.tensor(value, name)
                check_same_shape(tensor, planning, f"{name} and labels")
        for name, value in (("before", advantages_before), ("after", advantages_after)):
            if value is not None:
                values[name] = per_token(box.tensor(value, f"advantages_{name}"), planning, "labels")
        return Sums.of(
            planning,
            inside,
            gram_id=box.tensor(labels.gram_id, "labels"),
            begin=box.tensor(labels.begin, "labels"),
            n_grams=len(self.grams),
            **values,
        )

    # --- over training -----------------------------------------------------------------------------------------------
    def redraw_due(self, step: int) -> bool:
        """Whether the placebo should be drawn anew before this optimizer step."""
        every = self.config.placebo_redraw_every
        return self._placebo is not None and every > 0 and step // every > self._drawn_at // every

    def redraw(self, texts: Iterable[str], *, step: int) -> GramSet:
        """Draw the placebo anew, matched to the grams' present share of `texts`.

        Args:
            texts: recent completions of the policy. On several ranks, the same texts on all, or their placebos part
                ways.
            step: optimizer step; goes into the draw's seed.

        Raises:
            ConfigError: the estimator is not "placebo".
            DataError: too little text.
        """
        if self._placebo is None:
            raise ConfigError(
                "there is no placebo to draw", expected="estimator 'placebo'", got=repr(self.config.estimator)
            )
        drawn = placebo_grams(self.grams, texts, seed=self.config.seed + step)
        self._set_placebo(drawn)
        self._drawn_at = step
        return drawn

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep, as JSON values: the placebo and the gauge of the moment, where there are."""
        grams = self.control_grams
        state = {} if grams is None else {"control_grams": grams.to_dict(), "drawn_at": self._drawn_at}
        return state | ({"gauge": self.gauge} if self.follows_gauge else {})

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave, when a run resumes."""
        self.gauge = state.get("gauge", self.gauge)
        if self._placebo is not None and "control_grams" in state:
            self._set_placebo(GramSet.from_dict(state["control_grams"]))
            self._drawn_at = int(state["drawn_at"])

    def _draw_from_sample(self) -> GramSet:
        from hicra.traces.read import sample_traces

        return placebo_grams(self.grams, (trace.solution for trace in sample_traces()), seed=self.config.seed)

    def _set_placebo(self, grams: GramSet) -> None:
        self._placebo = Labeller(grams, self.labeller.vocab)


def _spread(advantages: Any, offsets: Any) -> Any:
    """One advantage a completion as one a token of a flat batch; per-token ones stay."""
    if offsets is None:
        return advantages
    bounds = np.asarray(offsets.cpu() if hasattr(offsets, "cpu") else offsets)
    sizes = np.diff(bounds)
    if len(advantages) == bounds[-1] and len(advantages) != len(sizes):
        return advantages
    if len(advantages) != len(sizes):
        raise DataError(
            "advantages and offsets do not go together",
            expected=f"{len(sizes)} completions or {bounds[-1]} tokens",
            got=f"{len(advantages)} advantages",
        )
    if hasattr(advantages, "repeat_interleave"):
        import torch

        return advantages.repeat_interleave(torch.from_numpy(sizes).to(advantages.device))
    return np.repeat(np.asarray(advantages), sizes)
