"""HICRA on verl's `PPOTrainer`: the smallest overrides, no copied code, nothing computed again.

| method of verl | what is added |
|---|---|
| `__init__` | settings are read and checked; verl sees its own trainer mode again |
| `_init_tokenizer` | the labeller gets the tokenizer |
| `_compute_advantage` | labels and per-token advantages of the batch in the transfer queue |
| `step` | metrics; the step is committed to the run directory |
| `_validate` | the evaluation is recorded |
| `_save_checkpoint`, `_load_checkpoint` | the state of schedule and placebo; the run directory begins, or goes on |

One process drives verl's workers, and all of this happens there. Log-probs and entropies are those that verl's actor
computes before its update. A registered advantage estimator could not do it: it is handed no token ids.

With an effective alpha of 0 the advantages in the queue are not touched, so the run is verl's own bit for bit.
tests/verl/test_verl_contract.py fails where a new verl moves this ground.
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hicra.credit.apply import HicraCredit
from hicra.engines.verl_batch import Flat
from hicra.engines.verl_config import VerlSettings
from hicra.engines.verl_record import COLUMNS, NAMING, Recorder
from hicra.errors import HicraWarning
from hicra.traces import disk

STATE = "hicra_state.json"
"""Name of our file in verl's checkpoint folders."""


class HICRAMixin:
    """Adds HICRA to a subclass of verl's `PPOTrainer`; put it first, and say of which mode the trainer is:

        @register_trainer("mine")
        class Mine(HICRAMixin, TheirTrainer):
            verl_mode = "sync"

    Attributes:
        verl_mode: verl's name of the mode: "sync", "colocate_async" or "separate_async".
        settings: what ``algorithm.hicra.*`` says.
        credit: labels completions and shapes advantages; from `init` on.
        recorder: sums, metrics and the run directory; from `init` on.

    Raises:
        ConfigError: the settings are wrong, or do not go with verl's.
        DataError: during training: rewards or log-probs that are not finite.
        RunDirError: a fresh run into a run directory that holds one.
    """

    verl_mode: ClassVar[str]
    settings: VerlSettings
    credit: HicraCredit
    recorder: Recorder

    if TYPE_CHECKING:  # what the trainer brings along

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, config: Any) -> None:
        from omegaconf import open_dict  # type: ignore[import-not-found, unused-ignore]

        self.settings = VerlSettings.from_verl(config)
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.verl_mode  # verl compares it with the names of its own trainers
            if (coefficient := self.settings.entropy_coefficient(config)) is not None:
                config.actor_rollout_ref.actor.entropy_coeff = coefficient
        super().__init__(config)  # type: ignore[call-arg]
        self._hicra_seconds = 0.0

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()  # type: ignore[misc]
        rollout, data = self.config.actor_rollout_ref.rollout, self.config.data
        self.credit = HicraCredit(self.settings.credit_config(), self.tokenizer)
        self.recorder = Recorder(
            self.credit,
            self.tokenizer,
            group_size=int(rollout.n),
            prompts=int(data.train_batch_size),
            limit=int(rollout.response_length),
            keep=self.settings.rollouts_per_step,
        )

    # --- advantages --------------------------------------------------------------------------------------------------
    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        start, step = time.perf_counter(), int(self.global_steps)
        # The mask as it is before verl's rollout correction rejects tokens: these are the policy's all the same, and a
        # phrase is one also where one of its tokens is not trained on.
        own = _fetch(batch, ("responses", "response_mask"))
        ids, policys = Flat.of(own["responses"]), Flat.of(own["response_mask"]).values.bool()
        every = range(len(batch.keys))
        self.recorder.redraw_placebo(step, lambda: [row.tolist() for row in ids.rows(ids.values, every)])
        # models often have more rows than their tokenizer has tokens: such an id has no text, so it plans nothing
        labels = self.credit.plan(
            ids.values,
            policys & (ids.values < len(self.credit.labeller.vocab)),
            offsets=ids.offsets,
            step=step - 1,
        )
        self._hicra_seconds += time.perf_counter() - start

        batch = super()._compute_advantage(batch, metrics)  # type: ignore[misc]

        start = time.perf_counter()
        columns = _fetch(batch, COLUMNS + NAMING)
        advantages = Flat.of(columns["advantages"])
        after = self.credit.advantages(
            advantages.values,
            labels,
            Flat.of(columns["entropy"]).values if "entropy" in columns else None,
            step=step - 1,
            mask=Flat.of(columns["response_mask"]).values.bool(),
        )
        if after is not advantages.values:
            _put(batch, "advantages", advantages.column(after))
        self.recorder.take_in(step, batch, columns, ids, labels, after)
        self._hicra_seconds += time.perf_counter() - start
        return batch

    # --- steps -------------------------------------------------------------------------------------------------------
    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        self._hicra_seconds = 0.0
        batch = super().step(metrics, timing_raw)  # type: ignore[misc]
        start = time.perf_counter()
        metrics.update(self.recorder.commit(int(self.global_steps), metrics))
        timing_raw["hicra"] = self._hicra_seconds + time.perf_counter() - start  # verl logs it as timing_s/hicra
        return batch

    def _validate(self) -> dict[str, float]:
        metrics: dict[str, float] = super()._validate()  # type: ignore[misc]
        self.recorder.evaluated(int(self.global_steps), metrics)
        return metrics

    # --- checkpoints -------------------------------------------------------------------------------------------------
    def _save_checkpoint(self) -> None:
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        # before verl writes its note that the checkpoint is whole
        disk.write_atomic(folder / STATE, json.dumps(self.recorder.state()).encode())
        super()._save_checkpoint()  # type: ignore[misc]

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()  # type: ignore[misc]
        step, trainer = int(self.global_steps), self.config.trainer
        if step:
            named = trainer.resume_mode == "resume_path"
            self._restore(
                Path(trainer.resume_from_path if named else f"{trainer.default_local_dir}/global_step_{step}")
            )
        if not self.settings.record:
            return
        from omegaconf import OmegaConf  # type: ignore[import-not-found, unused-ignore]

        self.recorder.begin(
            self.settings.run_path(self.config),
            config={"trainer": OmegaConf.to_container(self.config, resolve=True), "credit": asdict(self.credit.config)},
            resume_step=step or None,
            replace=trainer.resume_mode == "auto",
        )

    def _restore(self, checkpoint: Path) -> None:
        try:
            state = json.loads((checkpoint / STATE).read_bytes())
        except FileNotFoundError:
            warnings.warn(
                f"{checkpoint} was saved without HICRA: the competence gauge and the placebo begin anew",
                HicraWarning,
                stacklevel=2,
            )
            return
        self.recorder.load_state(state)


def _fetch(batch: Any, columns: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a batch from the transfer queue; those that it does not have are left out."""
    import transfer_queue  # type: ignore[import-not-found, unused-ignore]

    found = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(columns))
    return {name: found[name] for name in columns if name in found.keys()}  # noqa: SIM118  # iterating it gives rows


def _put(batch: Any, column: str, values: Any) -> None:
    """A column of a batch into the transfer queue."""
    import transfer_queue
    from tensordict import TensorDict  # type: ignore[import-not-found, unused-ignore]

    fields = TensorDict({column: values}, batch_size=len(batch.keys))
    transfer_queue.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
