"""One real step of GRPO and one of HICRA for each family of models, with its kind of tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from hicra.credit.hicra import hicra
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.grams.gramset import GramSet
from hicra.labels.vocab import vocab_of
from hicra.traces.rundir import RunReader
from tests.families import FAMILIES, TEXTS, Family, oracle_labels
from tests.tiny_trl import IGNORED, trainer

pytestmark = [
    pytest.mark.filterwarnings(text)
    for text in [*IGNORED, "ignore:.*of the first batch:hicra.engines.notice.HicraWarning"]
]

PAIRS = [(gram.text, gram.at) for gram in GramSet.load("paper")]


def scripted(family: Family) -> Any:
    """Completions that plan: the texts, whole or cut off."""
    tokenizer = family.tokenizer

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        texts = [TEXTS[i % len(TEXTS)] for i in range(len(prompts))]
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        rows = [row[:30] if i % 3 else [*row, tokenizer.eos_token_id] for i, row in enumerate(rows)]
        return {
            "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": rows,
            "logprobs": [[-5.9] * len(row) for row in rows],
        }

    return rollout


def run(kind: type, config: type, family: Family, folder: Path, **settings: Any) -> Any:
    made = trainer(
        kind,
        config,
        folder,
        model=family.make_model(),
        processing_class=family.tokenizer,
        **{"max_steps": 1, "rollout_func": scripted(family), **settings},
    )
    made.train()
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_of_grpo_and_one_of_hicra(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    parent = run(GRPOTrainer, GRPOConfig, family, tmp_path / "grpo")
    mine = run(HICRATrainer, HICRAConfig, family, tmp_path / "hicra", alpha=0.3)
    assert all(torch.isfinite(p).all() for p in mine.model.parameters())
    weights = zip(parent.model.parameters(), mine.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in weights)
    reader, vocab = RunReader(mine.args.run_path), vocab_of(family.tokenizer)
    before = {(row["group_id"], row["reward"]): row["advantage"] for row in reader.completions().to_pylist()}
    rows = reader.rollouts().to_pylist()
    assert len(rows) == 8
    for row in rows:
        ids = row["token_ids"]
        try:
            planning, gram_id, begin = oracle_labels(vocab, ids, PAIRS)
        except UnicodeDecodeError:  # cut off within a character: the oracle reads characters
            continue
        assert (row["planning"], row["gram_id"], row["begin"]) == (planning, gram_id, begin)
        a = torch.full((len(ids),), before[row["group_id"], row["reward"]], dtype=torch.float32)
        assert np.allclose(row["advantage"], hicra(a, torch.tensor(planning), 0.3), atol=1e-7)
    assert sum(sum(row["planning"]) for row in rows) > 10


@pytest.mark.parametrize("thinking", [True, False])
def test_qwen3_generates_with_and_without_thinking(thinking: bool, tmp_path: Path) -> None:
    family = FAMILIES["qwen3"]
    prompts = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"{i} + 1?"}] for i in range(8)]})
    made = run(
        HICRATrainer,
        HICRAConfig,
        family,
        tmp_path,
        rollout_func=None,
        train_dataset=prompts,
        chat_template_kwargs={"enable_thinking": thinking},
    )
    rows = RunReader(made.args.run_path).rollouts().to_pylist()
    assert len(rows) == 8
    for row in rows:
        assert row["prompt"].startswith("<|im_start|>user\n")
        assert row["prompt"].endswith("assistant\n" if thinking else "<think>\n\n</think>\n\n")
        assert len(row["planning"]) == len(row["token_ids"]) > 0
