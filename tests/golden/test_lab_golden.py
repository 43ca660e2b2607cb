"""Three steps of each arm of the lab, on one thread, as they have always been: integers exactly, floats to 1e-4.

The warm start is a handful of batches and the grams are single words that such a model says, so that rewards (by
length), planning tokens and both advantages differ from zero and the numbers do not hang on a long chaotic training.
After a change that is meant to change them, write them anew with ``HICRA_WRITE_GOLDEN=1 pytest tests/golden`` and say
why in the commit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

GOLDEN = Path(__file__).parent / "lab.json"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
]
WORDS = ["let's", "we", "try", "the", "then", "that", "first"]
FLOATS = ("loss", "reward", "grad_norm", "entropy_planning", "entropy_execution", "logprob_planning", "added_mass")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the lab does today."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run(tmp_path_factory.mktemp("golden"))
    finally:
        torch.set_num_threads(threads)


def run(root: Path) -> dict[str, Any]:
    from hicra.grams.gramset import GramSet
    from hicra.lab.arm import train_arm
    from hicra.lab.base import make_base
    from hicra.lab.layout import Layout
    from hicra.lab.model import ModelSize
    from hicra.lab.settings import ARMS, LabSettings, Training
    from hicra.lab.warmstart import WarmStart
    from hicra.traces.rundir import RunReader

    settings = LabSettings(
        model=ModelSize(width=32, layers=2, heads=2, feed_forward=48),
        warm_start=WarmStart(comparisons=32, samples=352, batch=32, learning_rate=1e-2),
        training=Training(
            steps=3, prompts=3, group_size=4, max_tokens=40, soft_tokens=40, learning_rate=5e-3,
            eval_every=3, eval_samples=1, eval_problems=8
        ),
    )  # fmt: skip
    layout = Layout(root)
    layout.save_settings(settings)
    losses: list[float] = []
    make_base(layout.warm_start, settings, lambda done, total, loss: losses.append(loss))
    GramSet.from_grams(WORDS, name="words").save(layout.grams)
    found: dict[str, Any] = {"warm start": {"loss": losses}}
    for arm in ARMS:
        train_arm(layout, settings, arm)
        reader = RunReader(layout.run(arm))
        completions, rollouts = reader.completions().to_pydict(), reader.rollouts().to_pydict()
        found[arm] = {
            "length": completions["length"],
            "n_planning": completions["n_planning"],
            "prompt_id": completions["prompt_id"],
            "token_ids of the last rollout": rollouts["token_ids"][-1],
            **{name: [step[name] for step in reader.metrics()] for name in FLOATS},
            "evaluated length": [step["length"] for step in reader.evals()],
        }
    return found


def test_the_lab_does_what_it_always_did(observed: dict[str, Any]) -> None:
    if os.environ.get("HICRA_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(observed, indent=1) + "\n", "utf-8")
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert {k: list(v) for k, v in observed.items()} == {k: list(v) for k, v in golden.items()}
    for part, values in golden.items():
        for name, expected in values.items():
            if isinstance(expected[0], float):
                assert observed[part][name] == pytest.approx(expected, abs=1e-4), f"{part}: {name}"
            else:
                assert observed[part][name] == expected, f"{part}: {name}"


def test_it_shows_something(observed: dict[str, Any]) -> None:
    """The golden numbers would not notice a fault in what is zero."""
    grpo, hicra = observed["grpo"], observed["hicra"]
    assert sum(grpo["n_planning"]) > 20
    assert all(norm > 0 for norm in grpo["grad_norm"])
    assert grpo["added_mass"] == [0.0, 0.0, 0.0]
    assert min(hicra["added_mass"]) > 0
    first = slice(0, 12)
    assert grpo["length"][first] == hicra["length"][first], "the first step starts from the same model and draws"
    assert grpo["logprob_planning"][0] == hicra["logprob_planning"][0]
    assert grpo["logprob_planning"][2] != hicra["logprob_planning"][2], "then the arms part"
