"""Vision-language models in TRL: real pictures through real processors, one credit, and no picture is a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")
pytest.importorskip("PIL")
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from hicra.credit.hicra import hicra
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.labels.vocab import Vocab, vocab_of
from hicra.traces.prompts import prompt_name
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, trainer
from tests.tiny_vision import dataset, make_model, pictures, processor, tokenizer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]

MODELS = ["qwen2.5-vl", "qwen3-vl"]
WAIT = [[tokenizer().convert_tokens_to_ids(["Ġwait"]), 5.0], [tokenizer().convert_tokens_to_ids(["Ġso"]), 4.0]]
NO_PICTURES = [[tokenizer().convert_tokens_to_ids([t]), -100.0] for t in ("<|image_pad|>", "<|video_pad|>")]
"""A model without training says anything; planning words often, placeholders of pictures (TRL refuses them) never."""


def run(kind: type, config: type, name: str, folder: Path, **settings: Any) -> Any:
    made = trainer(
        kind,
        config,
        folder,
        model=make_model(name),
        processing_class=processor(name),
        **{
            "train_dataset": dataset(),
            "max_steps": 1,
            "generation_kwargs": {"sequence_bias": WAIT + NO_PICTURES},
            **settings,
        },
    )
    made.train()
    return made


def outcome(made: Any) -> tuple[list[str], dict[str, Any]]:
    names = ("loss", "grad_norm", "entropy", "reward")
    logs = [repr({n: line[n] for n in names}) for line in made.state.log_history if "loss" in line]
    return logs, {name: value.clone() for name, value in made.model.state_dict().items()}


@pytest.mark.parametrize("name", MODELS)
def test_grpo_is_alpha_zero_and_hicra_is_its_formula(name: str, tmp_path: Path) -> None:
    logs, weights = outcome(run(GRPOTrainer, GRPOConfig, name, tmp_path / "grpo"))
    zero, zero_weights = outcome(run(HICRATrainer, HICRAConfig, name, tmp_path / "zero", alpha=0.0))
    assert zero == logs
    assert [n for n in weights if not torch.equal(weights[n], zero_weights[n])] == []

    mine = run(HICRATrainer, HICRAConfig, name, tmp_path / "hicra", alpha=0.4)
    assert any(not torch.equal(weights[n], value) for n, value in outcome(mine)[1].items())
    reader = RunReader(mine.args.run_path)
    before = {(r["group_id"], r["reward"]): r["advantage"] for r in reader.completions().to_pylist()}
    labeller = Labeller("paper", tokenizer())
    rows = reader.rollouts().to_pylist()
    assert len(rows) == 8
    for row in rows:
        flags = torch.from_numpy(labeller.label(row["token_ids"]).mask)
        assert row["planning"] == flags.tolist()
        a = torch.full((len(flags),), before[row["group_id"], row["reward"]], dtype=torch.float32)
        assert np.allclose(row["advantage"], hicra(a, flags, 0.4), atol=1e-7)
    assert sum(sum(row["planning"]) for row in rows) > 10


def test_several_steps_and_iterations_keep_pictures_with_their_completions(tmp_path: Path) -> None:
    """At learning rate 0 a forward of our own on each prompt with its own picture finds the recorded log-probs."""
    settings = {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 4, "learning_rate": 0.0}
    made = run(HICRATrainer, HICRAConfig, "qwen2.5-vl", tmp_path, **settings)
    rows = RunReader(made.args.run_path).rollouts().to_pylist()
    assert len(rows) == 16
    model, reader = make_model("qwen2.5-vl").eval(), processor("qwen2.5-vl")
    shown = {
        prompt_name(
            [{"role": "user", "content": [{"type": "image", "image": p}, {"type": "text", "text": TEXT}]}], {}
        ): p
        for p in pictures(8)
    }
    assert {row["prompt_id"] for row in rows} <= shown.keys()
    assert len({row["prompt_id"] for row in rows}) == len({row["group_id"] for row in rows}) == 4
    for row in rows[::3]:
        text = reader.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": TEXT}]}],
            add_generation_prompt=True,
        )
        assert row["prompt"] == text  # of the many placeholders of a picture, one is shown
        given = reader(images=[shown[row["prompt_id"]]], text=[text], return_tensors="pt")
        n = given["input_ids"].shape[1]
        assert n > len(tokenizer()(text)["input_ids"])
        own = torch.tensor([row["token_ids"]])
        given["input_ids"] = torch.cat([given["input_ids"], own], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        given["mm_token_type_ids"] = torch.nn.functional.pad(given["mm_token_type_ids"], (0, own.shape[1]))
        with torch.no_grad():
            log_p = model(**given).logits[0, n - 1 : -1].log_softmax(-1)
        assert np.allclose(row["logprob"], log_p.gather(1, own[0][:, None])[:, 0], atol=1e-4)


TEXT = "How many angles?"


def test_a_vision_model_trains_on_words_alone(tmp_path: Path) -> None:
    plain = Dataset.from_list([{"prompt": [{"role": "user", "content": f"{i} + 1?"}]} for i in range(4)])
    made = run(HICRATrainer, HICRAConfig, "qwen3-vl", tmp_path, train_dataset=plain)
    assert RunReader(made.args.run_path).completions().num_rows == 8


def test_vision_tokens_never_plan_and_break_matches(tmp_path: Path) -> None:
    """Also where a gram set and a tokenizer are made so that they would: the placeholder is spelled as a gram."""
    made = trainer(
        HICRATrainer,
        HICRAConfig,
        tmp_path,
        model=make_model("qwen2.5-vl"),
        processing_class=processor("qwen2.5-vl"),
        train_dataset=dataset(2),
    )
    words = tokenizer()
    wait, so = words(" wait")["input_ids"], words(" so")["input_ids"]
    picture = words("<|vision_start|><|image_pad|><|image_pad|><|vision_end|>")["input_ids"]
    ids = torch.tensor([[*wait, *picture, *so, *wait]])
    known = made._hicra_has_text(ids)
    assert known[0].tolist() == [True] * len(wait) + [True, False, False, True] + [True] * (len(so) + len(wait))
    planning = made.credit.plan(ids, known).mask[0]
    assert not planning[len(wait) : len(wait) + len(picture)].any()
    assert planning[: len(wait)].all()
    assert planning[-len(wait) :].all()

    vocab = vocab_of(words)
    pad = words.convert_tokens_to_ids("<|image_pad|>")
    spelled = Vocab.from_tokens([b" wait" if i == pad else vocab[i] for i in range(len(vocab))])
    made.credit.labeller = Labeller(GramSet.from_grams(["wait"]), spelled)
    assert made.credit.plan(ids).mask[0, len(wait) + 1]
    assert not made.credit.plan(ids, made._hicra_has_text(ids)).mask[0, len(wait) : len(wait) + len(picture)].any()


def test_the_same_words_on_another_picture_are_another_prompt() -> None:
    one, two = pictures(2, seed=1)
    ask = [
        [{"role": "user", "content": [{"type": "image", "image": p}, {"type": "text", "text": "?"}]}]
        for p in (one, two)
    ]
    assert prompt_name(ask[0], {}) != prompt_name(ask[1], {})
    again = [{"role": "user", "content": [{"type": "image", "image": one.copy()}, {"type": "text", "text": "?"}]}]
    assert prompt_name(again, {}) == prompt_name(ask[0], {})
    assert prompt_name(ask[0], {"id": 7}) == prompt_name(ask[1], {"id": 7}) == "7"
