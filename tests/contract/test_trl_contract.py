"""What engines/trl.py relies on in TRL and transformers. A failure: read the new release before you raise the pin.

The signatures and the words that are looked for are those of TRL 1.16 with transformers 5.23.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.trl import HICRAConfig, HICRAMixin, HICRATrainer
from hicra.engines.trl_record import RecordMixin
from hicra.engines.trl_resume import ExactResumeMixin
from tests.tiny_trl import IGNORED, trainer

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]

SIGNATURES: dict[str, tuple[type, list[str]]] = {
    "_calculate_rewards": (GRPOTrainer, ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
    "_generate_and_score_completions": (GRPOTrainer, ["self", "inputs"]),
    "_compute_loss": (GRPOTrainer, ["self", "model", "inputs"]),
    "log": (GRPOTrainer, ["self", "logs", "start_time"]),
    "_get_train_sampler": (GRPOTrainer, ["self", "dataset"]),
    "_save_checkpoint": (GRPOTrainer, ["self", "model", "trial"]),
    "train": (Trainer, ["self", "resume_from_checkpoint", "trial", "ignore_keys_for_eval"]),
    "_maybe_log_save_evaluate": (
        Trainer,
        [
            "self",
            "tr_loss",
            "grad_norm",
            "model",
            "trial",
            "epoch",
            "ignore_keys_for_eval",
            "start_time",
            "learning_rate",
        ],
    ),
}


def test_the_minor_version_is_the_one_that_was_read() -> None:
    assert importlib.metadata.version("trl").rsplit(".", 1)[0] == "1.16"
    pins = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert "trl>=1.16,<1.17" in pins["project"]["optional-dependencies"]["train"]


@pytest.mark.parametrize("method", SIGNATURES)
def test_overridden_methods_have_the_signatures_that_we_know(method: str) -> None:
    owner, parameters = SIGNATURES[method]
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_every_override_is_in_the_list() -> None:
    """A method that overrides the trainer's is either in `SIGNATURES` or passes everything on."""
    passed_on = {"__init__", "_get_per_token_logps_and_entropies", "_maybe_log_save_evaluate"}
    for mixin in (HICRAMixin, RecordMixin, ExactResumeMixin):
        overrides = {n for n in vars(mixin) if callable(getattr(mixin, n)) and hasattr(GRPOTrainer, n)}
        overrides = {n for n in overrides if not (n.startswith("__") and n != "__init__")}
        assert overrides - SIGNATURES.keys() <= passed_on


def test_the_forward_of_the_loss_returns_logps_and_entropies_first() -> None:
    found = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies)
    assert str(found.return_annotation).startswith("tuple[torch.Tensor, torch.Tensor | None")
    source = inspect.getsource(GRPOTrainer._compute_loss)
    forward, reads = source.index("self._get_per_token_logps_and_entropies("), source.index('inputs["advantages"]')
    assert forward < reads  # the entropy-shaped advantage acts between the two


@pytest.mark.parametrize(
    ("owner", "method", "words"),
    [
        (GRPOTrainer, "__init__", ["self._step = 0", "self._buffered_inputs = None", 'self._metrics = {"train"']),
        (GRPOTrainer, "__init__", ["self.reward_func_names", "self.eos_token_ids", "self._tokenizer"]),
        (GRPOTrainer, "training_step", ["self._step += 1"]),
        (GRPOTrainer, "_prepare_inputs", ["self._step % generate_every", "self.args.steps_per_generation"]),
        (GRPOTrainer, "_calculate_rewards", ["None values to NaN", "gather(rewards_per_func)"]),
        (GRPOTrainer, "log", ['"train" if self.model.training else "eval"', "self._metrics[mode].clear()"]),
        (Trainer, "_inner_training_loop", ["self._tr_loss = ", "self._globalstep_last_logged = ", "on_train_begin"]),
        (Trainer, "_run_epoch", ["skip_first_batches", "self._load_rng_state", "self._maybe_log_save_evaluate("]),
        (Trainer, "_save_checkpoint", ["TRAINER_STATE_NAME", "rotate_checkpoints"]),
        (Trainer, "_save_rng_state", ['"rng_state.pth"', 'f"rng_state_{self.args.process_index}.pth"']),
    ],
)
def test_attributes_that_we_read_and_restore_are_still_there(owner: type, method: str, words: list[str]) -> None:
    source = inspect.getsource(getattr(owner, method))
    assert [word for word in words if word not in source] == []


def test_the_trainer_state_is_the_last_file_of_a_checkpoint_but_for_rotation() -> None:
    source = inspect.getsource(Trainer._save_checkpoint)
    order = [
        source.index(word)
        for word in ("self.save_model(", "self._save_optimizer_and_scheduler(", "self._save_rng_state(")
    ]
    assert max(order) < source.index("self.state.save_to_json(") < source.index("rotate_checkpoints(")


def test_the_batch_has_the_keys_and_shapes_that_we_use(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Spy(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            seen.append(super()._generate_and_score_completions(inputs))
            return seen[-1]

    trainer(Spy, GRPOConfig, tmp_path, max_steps=1).train()
    batch = seen[0]
    b, t = batch["completion_ids"].shape
    assert batch["completion_mask"].shape == (b, t)
    assert batch["advantages"].shape == (b,)
    assert batch["prompt_ids"].shape == batch["prompt_mask"].shape
    assert batch["num_items_in_batch"].ndim == 0


def test_trl_still_documents_token_level_advantages_for_subclasses() -> None:
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert "if advantages.dim() == 1:" in source


def test_the_trainer_takes_what_trls_takes() -> None:
    theirs = list(inspect.signature(GRPOTrainer.__init__).parameters)[1:4]
    assert theirs == list(inspect.signature(HICRATrainer.__init__).parameters)[1:4]
    assert set(GRPOConfig.__dataclass_fields__) <= HICRAConfig.__dataclass_fields__.keys()
