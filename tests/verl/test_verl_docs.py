"""docs/verl.md: its launch command is one that verl and hicra accept, its code runs, its table is whole.

(The page's blocks are ``sh`` and ``py``: tests/unit/test_docs.py, which runs ``bash`` and ``python``, has no verl.)
"""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from hicra.credit.config import CreditConfig
from hicra.engines.verl_config import VerlSettings

PAGE = (Path(__file__).parents[2] / "docs" / "verl.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S)


def test_the_launch_command_is_accepted_by_verl_and_by_us() -> None:
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.utils import need_reference_policy
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.utils.config import validate_config

    (command,) = [text for language, text in BLOCKS if language == "sh" and "main_ppo" in text]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=words[3:])
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=False)
    assert get_trainer_cls(config.trainer.v1.trainer_mode).verl_mode == "sync"
    assert VerlSettings.from_verl(config) == VerlSettings(alpha=0.2, grams="math")
    actor = config.actor_rollout_ref.actor
    assert (actor.loss_agg_mode, actor.use_kl_loss, config.algorithm.use_kl_in_reward) == ("token-mean", False, False)


@pytest.mark.parametrize("code", [text for language, text in BLOCKS if language == "py"])
def test_the_code_runs(code: str) -> None:
    exec(compile(code, "<docs>", "exec"), {})


def test_the_table_has_the_settings_and_their_defaults() -> None:
    rows = re.findall(r"^\| (`[a-z].*?) \| (.*?) \|", PAGE, re.M)
    told = {
        name: default for names, defaults in rows for name, default in zip(*map(_cells, (names, defaults)), strict=True)
    }
    own = {f.name for f in fields(VerlSettings)} - {f.name for f in fields(CreditConfig)}
    assert own | {"alpha", "grams", "estimator", "alpha_schedule", "alpha_warmup_steps", "alpha_gate"} == told.keys()
    known = {f.name: f.default for f in fields(VerlSettings)}
    for name, default in told.items():
        if name != "run_dir":
            assert default == str(known[name]).lower()


def _cells(text: str) -> list[str]:
    return [cell.strip("` ") for cell in text.split(", ")]
