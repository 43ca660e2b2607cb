"""Scores of stored completions: exact against the naive way, never many logits at once, resumable."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hicra import GramSet
from hicra.cli import main
from hicra.dynamics._chunked import Head, token_stats
from hicra.dynamics.score import PARTS, score_run
from hicra.dynamics.scorer import Scorer, load_scorer
from hicra.engines.imported import import_run
from hicra.errors import ConfigError, DataError, RunDirError
from hicra.traces import RunReader, RunWriter
from tests.foreign import write_lines
from tests.rundir_rows import new_run, write_step
from tests.tiny_trl import make_tiny

GRAMS = GramSet.from_grams(["let me", "wait", "so we"], name="three")
SMALL: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small(family: str, **changes: Any) -> Any:
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(**{**SMALL, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0)  # distributions far from flat
    return model


def naive(model: Any, prompt: list[int], completion: list[int], temperature: float = 1.0) -> tuple[Any, Any]:
    """All logits at once, one row at a time, in double precision from the logits on."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0].double() / temperature
    logp = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    chosen = logp.gather(1, torch.tensor(completion)[:, None]).squeeze(1)
    return chosen.numpy(), -(logp.exp() * logp).sum(-1).numpy()


ROWS = [([5, 6, 7], [8, 9, 10, 11]), ([5], [52]), ([1] * 9, [2, 30]), ([4, 4], list(range(3, 20)))]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Llama", {}),
        ("Qwen3", {"tie_word_embeddings": True}),
        ("Gemma2", {"final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8}),
        ("Cohere", {"logit_scale": 0.3}),
        ("Granite", {"logits_scaling": 2.5}),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_scores_are_the_naive_ones(family, changes, temperature) -> None:
    model = small(family, **changes)
    scorer = Scorer(model, temperature=temperature, batch_tokens=24, rows=3, columns=7)
    found = scorer.score([p for p, _ in ROWS], [c for _, c in ROWS])
    for (prompt, completion), scores in zip(ROWS, found, strict=True):
        logprob, entropy = naive(model, prompt, completion, temperature)
        np.testing.assert_allclose(scores.logprob, logprob, atol=2e-5)
        np.testing.assert_allclose(scores.entropy, entropy, atol=2e-5)


@pytest.mark.parametrize("columns", [1, 5, 64, 100])
def test_chunks_do_not_change_the_result(columns) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(11, 6, generator=generator), 9 * torch.randn(64, 6, generator=generator)
    bias = torch.randn(64, generator=generator)
    bias[:6] = -math.inf  # the whole first chunk, for some widths: probability 0
    target = torch.arange(6, 17)
    logprob, entropy = token_stats(hidden, target, Head(weight, bias), rows=4, columns=columns)
    logp = torch.log_softmax((hidden @ weight.T + bias).double(), -1)
    torch.testing.assert_close(logprob.double(), logp.gather(1, target[:, None]).squeeze(1), atol=1e-5, rtol=1e-5)
    wanted = -(logp.exp() * logp.clamp_min(-1e9)).sum(-1)
    torch.testing.assert_close(entropy.double(), wanted, atol=1e-5, rtol=1e-5)


def test_tokens_that_are_certain_have_entropy_zero() -> None:
    weight = torch.tensor([[1000.0], [0.0], [-1000.0]])
    logprob, entropy = token_stats(torch.ones(2, 1), torch.tensor([0, 1]), Head(weight), columns=1)
    assert logprob.tolist() == [0.0, -1000.0]
    assert entropy.tolist() == [0.0, 0.0]
    empty = token_stats(torch.ones(0, 1), torch.zeros(0, dtype=torch.long), Head(weight))
    assert [len(part) for part in empty] == [0, 0]


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and "view" not in str(func) and not tensor._is_view():
                Largest.elements = max(Largest.elements, tensor.numel())
        return out


def test_logits_never_exist_for_all_tokens_and_all_of_the_vocabulary() -> None:
    hidden, weight = torch.randn(50, 4), torch.randn(3000, 4)
    Largest.elements = 0
    with Largest():
        token_stats(hidden, torch.zeros(50, dtype=torch.long), Head(weight), rows=10, columns=100)
    assert 1000 <= Largest.elements <= 1000


def test_batches_hold_rows_of_like_length() -> None:
    scorer = Scorer(small("Llama"), batch_tokens=20)
    assert scorer.batches([9, 3, 10, 30, 4, 5, 3]) == [[1, 6, 4, 5], [0, 2], [3]]
    assert scorer.batches([]) == []


def test_what_cannot_be_scored_is_told() -> None:
    model = small("Llama")
    scorer = Scorer(model)
    with pytest.raises(DataError, match="does not know"):
        scorer.score([[1]], [[53]])
    with pytest.raises(DataError, match="an empty prompt"):
        scorer.score([[]], [[5]])
    with pytest.raises(ConfigError, match="temperature"):
        Scorer(model, temperature=0.0)
    with pytest.raises(ConfigError, match="no last layer"):
        Scorer(model.model)
    model.lm_head.register_forward_hook(lambda module, given, out: out * 2)
    with pytest.raises(ConfigError, match="treats its logits"):
        Scorer(model)
    with pytest.raises(ConfigError, match="no such dtype"):
        load_scorer("x", dtype="float7")
    with pytest.raises(ConfigError, match="cannot load the model"):
        load_scorer("/nothing/here")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Any]:
    """A tiny model on disk, its tokenizer, and a run imported with it: two steps, two prompts, text alone."""
    folder = tmp_path_factory.mktemp("score")
    tokenizer = make_tiny().make_tokenizer()
    torch.manual_seed(0)
    make_tiny().make_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    said = ["wait let me check so we add", "1 + 2 = 3", "so we carry", "wait wait wait 7 8 9 now"]
    rows = [
        {"step": s, "prompt": f"{i // 2} + {s} =", "completion": f"{t} {s}", "reward": i % 2}
        for s in (1, 2)
        for i, t in enumerate(said)
    ]
    source = write_lines(folder / "rows.jsonl", rows)
    import_run(source, folder / "run", grams=GRAMS, tokenizer=tokenizer)
    return {"folder": folder, "tokenizer": tokenizer, "source": source}


def test_a_run_is_filled_in(world, tmp_path) -> None:
    run, tokenizer = world["folder"] / "run", world["tokenizer"]
    done = score_run(run, str(world["folder"] / "model"), tokenizer, tmp_path / "out", dtype="float32")
    assert (done.steps, done.completions, done.notes) == ([1, 2], 8, [])
    before, after = RunReader(run), RunReader(tmp_path / "out")
    model = load_scorer(str(world["folder"] / "model")).model
    for old, row in zip(before.rollouts().to_pylist(), after.rollouts().to_pylist(), strict=True):
        logprob, entropy = naive(model, tokenizer(row["prompt"])["input_ids"], row["token_ids"])
        np.testing.assert_allclose(row["logprob"], logprob, atol=1e-5)
        np.testing.assert_allclose(row["entropy"], entropy, atol=1e-5)
        assert {**row, "logprob": None, "entropy": None} == old
    row = after.completions().to_pylist()[0]
    rollout = after.rollouts().to_pylist()[0]
    planning = np.array(rollout["planning"])
    assert row["sum_logprob_planning"] == pytest.approx(np.array(rollout["logprob"])[planning].sum(), abs=1e-5)
    assert row["sum_entropy_execution"] == pytest.approx(np.array(rollout["entropy"])[~planning].sum(), abs=1e-5)
    first = after.metrics()[0]
    assert first["reward"] == before.metrics()[0]["reward"]
    assert first["perplexity_planning"] == pytest.approx(math.exp(-first["logprob_planning"]))
    assert after.grams == before.grams
    assert [t for _, t in before.notes() if "hicra score" in t]
    assert not [t for _, t in after.notes() if "hicra score" in t]
    assert [t for _, t in after.notes() if "tokenised again" in t]
    assert after.meta["config"]["scored"]["temperature"] == 1.0
    with pytest.raises(ConfigError, match="already"):
        score_run(tmp_path / "out", str(world["folder"] / "model"), tokenizer)
    with pytest.raises(RunDirError, match="holds another run"):
        score_run(run, str(world["folder"] / "model"), tokenizer, tmp_path / "out", temperature=0.5)


class Killed(BaseException):
    pass


def test_a_killed_scoring_goes_on_where_it_stopped(world, tmp_path, monkeypatch) -> None:
    run, tokenizer = world["folder"] / "run", world["tokenizer"]
    scorer = load_scorer(str(world["folder"] / "model"), batch_tokens=14)
    calls: list[int] = []
    kill_at = 0
    inner = Scorer.score_batch

    def counting(self, prompts, completions):
        calls.append(len(prompts))
        if len(calls) == kill_at:
            raise Killed
        return inner(self, prompts, completions)

    monkeypatch.setattr(Scorer, "score_batch", counting)

    def go(out: Path) -> Any:
        return score_run(run, scorer, tokenizer, out, batch_tokens=14, flush_seconds=0)

    go(tmp_path / "whole")
    number = len(calls)
    assert number >= 6
    for kill_at in range(1, number + 1):
        calls.clear()
        out = tmp_path / "killed"
        with pytest.raises(Killed):
            go(out)
        kill, kill_at = kill_at, 0
        calls.clear()
        go(out)
        assert len(calls) == number - kill + 1  # nothing is computed twice but what was in hand
        assert not (out / PARTS).exists()
        for table in ("rollouts", "completions"):
            a, b = (getattr(RunReader(p), table)() for p in (tmp_path / "whole", out))
            assert a.equals(b)
        assert RunReader(out).metrics() == RunReader(tmp_path / "whole").metrics()
        shutil.rmtree(out)


def test_evaluations_metrics_and_notes_come_along(world, tmp_path) -> None:
    ids = world["tokenizer"]("so we add", add_special_tokens=False)["input_ids"]
    writer = RunWriter.create(
        tmp_path / "run", config={"lr": 1.0}, seeds={"s": 1}, grams=GRAMS.to_dict(), engine="mine"
    )
    writer.eval(0, {"accuracy": 0.1})
    for step in (1, 3):
        key = {"prompt_id": "p", "group_id": 0, "reward": 1.0}
        row = key | {"length": 3, "truncated": False, "n_planning": 2, "n_execution": 0}
        tokens = {"token_ids": ids, "token_text": ["so", " we", " add"], "planning": [True, True, False]}
        tokens |= {"gram_id": [2, 2, -1], "begin": [True, False, False], "advantage": [1.0] * 3}
        own = {"logprob": [-9.0, -9.0, None]}  # the last token is not the policy's
        writer.write_rows(
            step,
            [row | {"gram_ids": [2], "gram_counts": [1]}],
            [key | tokens | own | {"prompt": "", "completion": "so we add"}],
        )
        writer.commit(step, {"loss": float(step)})
        writer.eval(step, {"accuracy": 0.2 * step})
    writer.note(1, "mind the gap")
    done = score_run(tmp_path / "run", str(world["folder"] / "model"), world["tokenizer"])
    after = RunReader(tmp_path / "run-scored")
    assert done.path == after.path
    assert after.evals() == RunReader(tmp_path / "run").evals()
    assert [m["loss"] for m in after.metrics()] == [1.0, 3.0]
    assert after.notes()[0] == (1, "mind the gap")
    assert "without a prompt" in after.notes()[1][1]
    assert (after.meta["engine"], after.meta["seeds"], after.meta["config"]["lr"]) == ("mine", {"s": 1}, 1.0)
    row = after.rollouts([1]).to_pylist()[0]
    assert row["logprob"] == [-9.0, -9.0, None]  # what was recorded stays
    assert row["entropy"][2] is None
    assert row["entropy"][0] > 0
    assert after.completions([1]).to_pylist()[0]["sum_logprob_planning"] == -18.0


def test_one_checkpoint_a_step(world, tmp_path) -> None:
    shutil.copytree(world["folder"] / "model", tmp_path / "checkpoint-2")
    done = score_run(world["folder"] / "run", str(tmp_path / "checkpoint-{step}"), world["tokenizer"], tmp_path / "out")
    after = RunReader(tmp_path / "out")
    assert after.rollouts([1])["logprob"].null_count == 4
    assert after.rollouts([2])["logprob"].null_count == 0
    assert "the first: 1" in done.notes[0]


def test_runs_that_cannot_be_scored(world, tmp_path) -> None:
    words = tmp_path / "words"
    import_run(world["source"], words, grams=GRAMS)
    with pytest.raises(ConfigError, match="without the model's tokenizer"):
        score_run(words, str(world["folder"] / "model"), world["tokenizer"])
    writer = new_run(tmp_path / "bare")
    writer.write_rows(1, [], [])
    writer.commit(1, {})
    with pytest.raises(RunDirError, match="no text was kept"):
        score_run(tmp_path / "bare", "x", world["tokenizer"])
    write_step(new_run(tmp_path / "other"), 1)
    with pytest.raises(DataError, match=r"does not know|empty prompt") as error:
        score_run(tmp_path / "other", Scorer(small("Llama", vocab_size=6)), world["tokenizer"])
    assert "6" in str(error.value)


def test_command(world, tmp_path, monkeypatch, capsys) -> None:
    words = ["score", world["folder"] / "run", "--model", world["folder"] / "model", "-o", tmp_path / "out", "--json"]
    monkeypatch.setattr(sys, "argv", ["hicra", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["completions"] == 8
