"""What lies where in an experiment's folder.

    experiment.json    the settings
    warm_start/        the model that both arms start from
    grams.json         the lab's gram set
    grpo/, hicra/      run directories, with evals/step-000040.parquet (one row a completion) and, at the end, model/
    work/              checkpoints and logs of arms that have not ended
    report.html

A stopped experiment goes on from what it finds here.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError
from hicra.lab.settings import LabSettings


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths in an experiment's folder."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "experiment.json"

    @property
    def warm_start(self) -> Path:
        return self.root / "warm_start"

    @property
    def grams(self) -> Path:
        return self.root / "grams.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def run(self, arm: str) -> Path:
        """The run directory of an arm."""
        return self.root / arm

    def items(self, arm: str, step: int) -> Path:
        """The evaluation of an arm after a step, completion by completion."""
        return self.run(arm) / "evals" / f"step-{step:06d}.parquet"

    def model(self, arm: str) -> Path:
        """The trained model of an arm."""
        return self.run(arm) / "model"

    def checkpoints(self, arm: str) -> Path:
        return self.root / "work" / arm

    def log(self, arm: str) -> Path:
        """What the process of an arm printed."""
        return self.root / "work" / f"{arm}.log"

    def finished(self, arm: str) -> bool:
        """Whether the arm was trained to its end: its model is saved last."""
        return self.model(arm).is_dir()

    def finish(self, arm: str, model: Any, tokenizer: Any) -> None:
        """Save the trained model, then drop the checkpoints."""
        from hicra.lab.base import save_model

        part = self.run(arm) / "model.part"
        shutil.rmtree(part, ignore_errors=True)
        save_model(model, tokenizer, part)
        part.replace(self.model(arm))
        self.drop_checkpoints(arm)

    def drop_checkpoints(self, arm: str) -> None:
        """Remove the trainer's checkpoints of an arm that has ended."""
        shutil.rmtree(self.checkpoints(arm), ignore_errors=True)

    def save_settings(self, settings: LabSettings) -> None:
        """Write experiment.json, whole or not at all."""
        self.root.mkdir(parents=True, exist_ok=True)
        part = self.settings.with_name("experiment.json.part")
        part.write_text(json.dumps(settings.to_dict(), indent=1) + "\n", "utf-8")
        part.replace(self.settings)

    def load_settings(self) -> LabSettings:
        """Read experiment.json.

        Raises:
            ConfigError: there is none, or it cannot be read.
        """
        try:
            content = json.loads(self.settings.read_text("utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"{self.root} holds no experiment of the lab", got=str(error)) from error
        if not isinstance(content, dict):
            raise ConfigError(f"{self.settings} is no settings file", expected="a JSON object")
        return LabSettings.from_dict(content)
