"""TRL's own completion files against what HICRA's trainer recorded of the very same run; recorded against scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

from hicra.dynamics.score import score_run
from hicra.dynamics.scorer import Scorer
from hicra.engines.imported import import_run
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, make_tiny, model, trainer

pytestmark = [
    *(pytest.mark.filterwarnings(text) for text in IGNORED),
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.errors.HicraWarning"),
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]


def train(folder: Path, **settings: Any) -> RunReader:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trl.trainer.grpo_trainer.print_prompt_completions_sample", lambda *_, **__: None)
        made = trainer(HICRATrainer, HICRAConfig, folder, alpha=0.0, log_completions=True, **settings)
        made.train()
    return RunReader(made.args.run_path)


def test_trl_files_hold_what_was_recorded(tmp_path) -> None:
    saved = {"save_strategy": "steps", "save_steps": 4}
    recorded = train(tmp_path, steps_per_generation=4, max_steps=4, **saved)  # each batch serves two steps
    done = import_run(tmp_path / "out", tmp_path / "run", tokenizer=make_tiny().make_tokenizer())
    assert done.format == "trl"
    assert done.steps == [1, 3]
    assert any("wrote that batch twice" in note for note in done.notes)
    found = RunReader(tmp_path / "run")
    rows, wanted = found.completions().to_pylist(), recorded.completions().to_pylist()
    assert len(rows) == len(wanted) == 32
    assert found.metrics()[1]["loss"] == pytest.approx(recorded.metrics()[2]["loss"], abs=1e-4)
    assert 0.0 <= found.metrics()[1]["truncated"] <= 1.0

    def sorts(rows: list[dict[str, Any]]) -> list[Any]:
        return sorted((r["prompt_id"], round(r["reward"], 5), round(r["advantage"], 4)) for r in rows)

    assert sorts(rows) == sorts(wanted)
    assert sorted(np.bincount([r["group_id"] for r in rows if r["step"] == 1])) == [4, 4, 4, 4]
    kept = [" ".join(re.sub(r"<\w+>", "", r["completion"]).split()) for r in recorded.rollouts().to_pylist()]
    assert sorted(" ".join(r["completion"].split()) for r in found.rollouts().to_pylist()) == sorted(kept)
    kinds = [sorted((r["n_planning"], r["gram_counts"]) for r in side) for side in (rows, wanted)]
    assert kinds[0] == kinds[1]


def test_scores_are_what_the_trainer_recorded(tmp_path) -> None:
    recorded = train(tmp_path, max_steps=1)
    scorer = Scorer(model(tmp_path / "model"))  # as it was before the first step
    score_run(recorded.path, scorer, make_tiny().make_tokenizer(), tmp_path / "again", again=True)
    found = RunReader(tmp_path / "again")
    pairs = list(zip(recorded.rollouts().to_pylist(), found.rollouts().to_pylist(), strict=True))
    assert len(pairs) == 8
    for was, now in pairs:
        np.testing.assert_allclose(now["logprob"], was["logprob"], atol=1e-4)
        np.testing.assert_allclose(now["entropy"], was["entropy"], atol=1e-4)
    was, now = recorded.completions().to_pylist()[0], found.completions().to_pylist()[0]
    assert now["sum_entropy_execution"] == pytest.approx(was["sum_entropy_execution"], abs=1e-3)
