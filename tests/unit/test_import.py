"""A run of another tool becomes a run directory: labels, sums, metrics, and words on what is missing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from hicra import GramSet, Labeller
from hicra.cli import main
from hicra.dynamics.summary import occurrences, step_metrics, sums_by_kind
from hicra.engines.imported import import_run
from hicra.errors import ConfigError, DataError, RunDirError
from hicra.traces import RunReader
from hicra.traces.adapters import Options
from tests import foreign
from tests.foreign import REWARDS, TEXTS, write_lines

GRAMS = GramSet.from_grams(["let me check", "so", "wait"], name="three")


class Bytes:
    """A tokenizer of bytes, 256 ends a text."""

    name_or_path = "bytes"
    chat_template = "{{ messages }}"

    def get_vocab(self) -> dict[str, int]:
        raise AssertionError("has a vocabulary of its own")

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [list(text.encode()) for text in texts]}

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode()

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return "<end>"

    def apply_chat_template(self, messages, *, add_generation_prompt: bool, tokenize: bool) -> str:
        assert add_generation_prompt
        assert not tokenize
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


@pytest.fixture
def tokenizer(monkeypatch) -> Bytes:
    from hicra.labels import labeller
    from hicra.labels.vocab import Vocab, vocab_of

    vocab = Vocab.from_tokens([bytes([b]) for b in range(256)] + [b""])
    monkeypatch.setattr(labeller, "vocab_of", lambda t: vocab if isinstance(t, Bytes) else vocab_of(t))
    return Bytes()


def rollouts(run: Path) -> list[dict]:
    return RunReader(run).rollouts().to_pylist()


def test_words_without_a_tokenizer(tmp_path) -> None:
    done = import_run(foreign.trl(tmp_path / "trl"), tmp_path / "run", grams=GRAMS)
    assert (done.format, done.steps, done.completions) == ("trl", [1, 2], 8)
    row = rollouts(tmp_path / "run")[0]
    assert row["token_text"] == ["Wait", ",", " let", " me", " check", ".", " It", " is", " 4", " 1"]
    assert row["planning"] == [True, False, True, True, True, False, False, False, False, False]
    assert row["gram_id"] == [2, -1, 0, 0, 0, -1, -1, -1, -1, -1]
    assert [i for i, b in enumerate(row["begin"]) if b] == [0, 2]
    assert row["token_ids"] == [-1] * 10
    assert row["completion"] == "Wait, let me check. It is 4 1"
    assert row["advantage"] == pytest.approx([0.7071] * 10)
    reader = RunReader(tmp_path / "run")
    first = reader.completions([1]).to_pylist()[0]
    assert (first["n_planning"], first["n_execution"], first["length"]) == (4, 6, 10)
    assert (first["gram_ids"], first["gram_counts"]) == ([0, 2], [1, 1])
    assert first["sum_logprob_planning"] is None
    assert first["truncated"] is None
    metrics = reader.metrics()[0]
    assert metrics["reward"] == 0.5
    assert metrics["n_occurrences"] == 4
    assert metrics["planning_share"] == pytest.approx(8 / 26)
    assert metrics["semantic_entropy_bits"] == pytest.approx(1.5)
    assert not {"truncated", "entropy_planning", "perplexity_planning"} & metrics.keys()
    assert reader.meta["engine"] == "import"
    assert reader.grams == GRAMS.to_dict()
    told = " ".join(done.notes)
    for word in ("perplexity", "high-entropy", "truncated", "no tokenizer"):
        assert word in told
    assert [text for _, text in reader.notes()] == list(done.notes)


def test_a_tokenizer_cuts_texts_and_renders_conversations(tmp_path, tokenizer) -> None:
    rows = [{"step": 1, "prompt": [{"role": "user", "content": "q"}], "completion": t} for t in TEXTS]
    done = import_run(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "run", grams=GRAMS, tokenizer=tokenizer)
    found = rollouts(tmp_path / "run")
    assert [bytes(r["token_ids"]).decode() for r in found] == TEXTS
    assert found[0]["prompt"] == "<user>q<assistant>"
    planning = "".join(t for t, p in zip(found[0]["token_text"], found[0]["planning"], strict=True) if p)
    assert planning == "Waitletmecheck"
    assert math.isnan(found[0]["reward"])
    assert found[0]["advantage"] == [0.0] * len(TEXTS[0])
    assert not any(text.startswith("one step") for _, text in RunReader(tmp_path / "run").notes())
    told = " ".join(done.notes)
    for word in ("no rewards", "tokenised again", "one step"):
        assert word in told


def test_token_exports_keep_ids_log_probs_and_entropies(tmp_path, tokenizer) -> None:
    source = foreign.prime_rl(tmp_path / "prime", lambda text: list(text.encode()))
    with pytest.raises(ConfigError, match="without their text"):
        import_run(source, tmp_path / "run", grams=GRAMS)
    assert not (tmp_path / "run").exists()
    done = import_run(source, tmp_path / "run", grams=GRAMS, tokenizer=tokenizer)
    row = rollouts(tmp_path / "run")[0]
    assert (row["completion"], row["prompt"]) == (TEXTS[0], "2 + 0 =")
    assert (row["logprob"][0], row["entropy"][0], row["advantage"][0]) == (-0.25, 0.75, 0.5)
    completions = RunReader(tmp_path / "run").completions([0]).to_pylist()
    assert [c["group_id"] for c in completions] == [0] * 4 + [1] * 4
    assert completions[0]["truncated"]  # no end token
    assert completions[0]["sum_logprob_planning"] == -0.25 * len("Waitletmecheck")
    assert RunReader(tmp_path / "run").metrics()[0]["perplexity_planning"] == pytest.approx(math.exp(0.25))
    assert not any("log-probs" in note or "entropies" in note for note in done.notes)


def test_end_tokens_and_masks(tmp_path, tokenizer) -> None:
    own = [True] * 4 + [False] * 3 + [True]
    ids = [*b"let me ", 256]
    rows = [
        {"completion": None, "token_ids": ids, "reward": 1, "mask": own, "entropies": [1.0] * 8, "prompt": "p"},
        {"completion": None, "token_ids": [*b"let me check"], "reward": 0, "entropies": [None] * 12, "prompt": "p"},
        {"completion": None, "token_ids": [*b"so"], "reward": 0, "logprobs": [-1.0], "prompt": "p"},
    ]
    done = import_run(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "run", grams=GRAMS, tokenizer=tokenizer)
    found = RunReader(tmp_path / "run").completions().to_pylist()
    assert [c["truncated"] for c in found] == [False, True, True]
    assert [c["n_planning"] + c["n_execution"] for c in found] == [5, 12, 2]
    assert [c["sum_entropy_execution"] for c in found] == [5.0, None, None]
    assert [c["advantage"] for c in found] == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    assert rollouts(tmp_path / "run")[0]["advantage"][4] == 0.0
    assert any("do not match" in note for note in done.notes)
    rows[0]["mask"] = [True]
    with pytest.raises(DataError, match=r"a.jsonl:1: the mask is of another length"):
        import_run(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "other", grams=GRAMS, tokenizer=tokenizer)
    write_lines(tmp_path / "a.jsonl", [{"completion": "", "token_ids": [999]}])
    with pytest.raises(DataError, match="outside the vocabulary"):
        import_run(tmp_path / "a.jsonl", tmp_path / "other", grams=GRAMS, tokenizer=tokenizer)


def test_kept_pieces_get_ids_where_the_tokenizer_cuts_alike(tmp_path, tokenizer) -> None:
    rows = [{"completion": "so", "tokens": list("so")}, {"completion": "so", "tokens": ["so"]}]
    import_run(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "run", grams=GRAMS, tokenizer=tokenizer)
    found = rollouts(tmp_path / "run")
    assert [r["token_ids"] for r in found] == [list(b"so"), [-1]]
    assert [r["planning"] for r in found] == [[True, True], [True]]


def test_text_is_kept_for_whole_groups(tmp_path) -> None:
    source = foreign.verl(tmp_path / "verl", [1])
    for keep, n in ((None, 4), (3, 2), (1, 2), (0, 0)):
        import_run(source, tmp_path / f"run{keep}", grams=GRAMS, keep=keep)
        assert len(rollouts(tmp_path / f"run{keep}")) == n
        assert len(RunReader(tmp_path / f"run{keep}").completions()) == 4


def test_importing_again_goes_on(tmp_path) -> None:
    source, run = foreign.verl(tmp_path / "verl", [1, 2]), tmp_path / "run"
    write_lines(source / "3.jsonl", foreign.verl_rows(3)[:2])  # being written, cut between two rows
    assert import_run(source, run, grams=GRAMS).steps == [1, 2, 3]
    assert import_run(source, run, grams=GRAMS).steps == []
    foreign.verl(source, [3, 4])
    assert import_run(source, run, grams=GRAMS).steps == [3, 4]
    reader = RunReader(run)
    assert reader.steps == [1, 2, 3, 4]
    assert not any(text.startswith("one step") for _, text in reader.notes())
    assert len(reader.completions([3])) == 4
    write_lines(source / "5.jsonl", foreign.verl_rows(5)[:1])  # one completion: groups were seen before
    assert not any("one completion a prompt" in note for note in import_run(source, run, grams=GRAMS).notes)
    notes = [text for _, text in reader.notes()]
    assert len(notes) == len(set(notes))
    with pytest.raises(RunDirError, match="holds another run"):
        import_run(source, run, grams=GRAMS, options=Options(scorer="x"))


def test_sums_by_hand() -> None:
    planning, mask = np.array([True, False, True, False]), np.array([True, True, False, True])
    logprob = np.array([-1.0, -2.0, np.nan, -4.0], np.float32)
    assert sums_by_kind(planning, mask, logprob, np.array([1.0, np.nan, 1.0, 1.0])) == {
        "n_planning": 1,
        "n_execution": 2,
        "sum_logprob_planning": -1.0,
        "sum_logprob_execution": -6.0,
        "sum_entropy_planning": None,
        "sum_entropy_execution": None,
    }
    assert occurrences(np.array([3, 3, -1, 3, 0]), np.array([True, False, False, True, True])) == {
        "gram_ids": [0, 3],
        "gram_counts": [1, 2],
    }


def test_step_metrics_by_hand() -> None:
    row = {"reward": 1.0, "length": 4, "truncated": True, "gram_ids": [0, 2], "gram_counts": [3, 1], "n_planning": 1}
    row |= {"n_execution": 3, "sum_logprob_planning": -1.0, "sum_logprob_execution": -6.0}
    row |= {"sum_entropy_planning": 2.0, "sum_entropy_execution": None}
    other = row | {"reward": math.nan, "length": 6, "truncated": False, "gram_ids": [], "gram_counts": []}
    found = step_metrics([row, other], 3, np.array([0, 0, -1]))
    assert found["reward"] == 1.0
    assert found["length"] == 5.0
    assert found["truncated"] == 0.5
    assert found["planning_share"] == 0.25
    assert found["perplexity_execution"] == pytest.approx(math.exp(2.0))
    assert found["entropy_planning"] == 2.0
    assert "entropy_execution" not in found
    assert found["semantic_entropy_bits"] == pytest.approx(0.75 * math.log2(4 / 3) + 0.5)
    assert found["semantic_entropy_clusters_bits"] == 0.0
    assert "truncated" not in step_metrics([row, other | {"truncated": None}], 3)
    assert step_metrics([], 3) == {}


def test_labels_are_those_of_the_labeller(tmp_path) -> None:
    import_run(foreign.verl(tmp_path / "verl", [1]), tmp_path / "run")
    spans = Labeller("paper").spans(TEXTS[0])
    row = rollouts(tmp_path / "run")[0]
    assert sum(row["begin"]) == len(spans) > 0


def test_a_run_without_rewards_can_be_reported(tmp_path) -> None:
    pytest.importorskip("jinja2")
    from hicra.report import write_report

    rows = [{"step": s, "prompt": "q", "completion": t} for s in (1, 2) for t in TEXTS]
    import_run(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "run", grams=GRAMS)
    page = write_report([tmp_path / "run"], tmp_path / "report.html").read_text("utf-8")
    assert "run has no" in page


def run_cli(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["hicra", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_command(tmp_path, monkeypatch, capsys) -> None:
    source = foreign.trl(tmp_path / "trl", other=[1.0, 2.0, 3.0, 4.0])
    words = ("import", source, "-o", tmp_path / "run", "--reward", "accuracy=2", "--reward", "other", "--json")
    assert run_cli(monkeypatch, *words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == [1, 2]
    assert "note: no token log-probs" in said.err
    assert RunReader(tmp_path / "run").completions([1])["reward"].to_pylist() == [3.0, 2.0, 3.0, 6.0]
    assert run_cli(monkeypatch, *words[:-1]) == 0
    assert "nothing new (trl)" in capsys.readouterr().out
    for wrong in (("--reward", "a=high"), ("--column", "completion")):
        assert run_cli(monkeypatch, "import", source, "-o", tmp_path / "x", *wrong) == 1
    assert "no number" in capsys.readouterr().err
    assert REWARDS[0] == 1.0
