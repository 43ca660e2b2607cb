"""The command line: labels, audits, gram sets, errors; each verb's own work is tested elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hicra import GramSet
from hicra.cli import main
from hicra.cli.console import visible


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``hicra ...`` in this process."""
    before = sys.argv
    sys.argv = ["hicra", *map(str, arguments)]
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    path = tmp_path / "traces.jsonl"
    rows = [
        {"problem": "2+2", "solution": "Wait, let me verify.", "style": "cot"},
        {"problem": "3+3", "solution": "It is 6. \x1b[31mSo we know\x1b[0m \u202ethe end.", "style": "cot"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(["wait let me verify so we know"], trainer)
    path = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=bpe).save_pretrained(path)
    return path


def test_label_shows_counts_and_never_lets_text_steer_the_terminal(capsys, traces) -> None:
    status, out, _ = run(capsys, "label", traces)
    assert status == 0
    assert "Wait, let me verify." in out
    assert "2 traces, 3 planning phrases" in " ".join(out.split())
    assert "\x1b[31m" not in out
    assert "\u202e" not in out


def test_label_writes_spans_and_json(capsys, traces, tmp_path) -> None:
    target = tmp_path / "spans.jsonl"
    status, out, _ = run(capsys, "label", traces, "-o", target, "--json")
    assert status == 0
    assert json.loads(out)["spans"] == 3
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert rows[0]["spans"] == [
        {"start": 0, "end": 4, "gram": "wait", "cluster": None},
        {"start": 6, "end": 19, "gram": "let me verify", "cluster": None},
    ]
    assert not list(tmp_path.glob("*.part"))


def test_label_reads_the_bundled_sample_by_default(capsys) -> None:
    status, out, _ = run(capsys, "label", "--json", "--limit", 5)
    assert status == 0
    assert json.loads(out)["traces"] == 5


def test_audit_counts_what_a_tokenizer_would_label(capsys, traces, tokenizer) -> None:
    status, out, _ = run(capsys, "label", traces, "--audit", "--tokenizer", tokenizer, "--json")
    assert status == 0
    audit = json.loads(out)
    # "31mSo" is an identifier to the text rules, so "so" is not among them
    assert audit["gram_counts"] == {"wait": 1, "let me verify": 1, "we know": 1}
    assert audit["completions"] == 2
    assert audit["lossy"] is False
    assert audit["altered"] == 0
    assert 0 < audit["planning_share"] < 1
    status, out, _ = run(capsys, "label", traces, "--audit", "--tokenizer", tokenizer)
    assert status == 0
    assert "planning share" in out


def test_audit_warns_where_nothing_is_labelled(capsys, tmp_path, tokenizer) -> None:
    path = tmp_path / "german.jsonl"
    path.write_text('{"problem": "?", "solution": "Moment, das stimmt nicht, noch einmal von vorn."}\n')
    status, out, _ = run(capsys, "label", path, "--audit", "--tokenizer", tokenizer, "--json")
    assert status == 0
    warnings = json.loads(out)["warnings"]
    assert len(warnings) == 1
    assert "0.00% of the tokens are planning tokens" in warnings[0]
    assert "'paper'" in warnings[0]


def test_grams_are_shown_listed_and_compared(capsys, tmp_path) -> None:
    status, out, _ = run(capsys, "grams", "show", "paper", "--contains", "wait")
    assert status == 0
    assert "wait that's not right" in out
    assert GramSet.load("paper").hash in out
    status, out, _ = run(capsys, "grams", "show", "--json")
    assert GramSet.from_dict(json.loads(out)).hash == GramSet.load("paper").hash
    status, out, _ = run(capsys, "grams", "list", "--json")
    assert {"name": "paper", "grams": 249, "clusters": 0, "hash": GramSet.load("paper").hash} in json.loads(out)
    assert run(capsys, "grams", "list")[0] == 0
    path = GramSet.from_grams(["wait", "brand new"]).save(tmp_path / "mine.json")
    status, out, _ = run(capsys, "grams", "diff", "paper", path, "--json")
    change = json.loads(out)
    assert [g["text"] for g in change["added"]] == ["brand new"]
    assert len(change["removed"]) == 248
    status, out, _ = run(capsys, "grams", "diff", "paper", path)
    assert "+ brand new" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("label", "nowhere.jsonl"), "nowhere.jsonl"),
        (("label", "--grams", "papre"), "there is no gram set 'papre'"),
        (("label", "--audit"), "--audit needs the tokenizer"),
        (("label", "--audit", "--tokenizer", "/no/such/model"), "cannot load the tokenizer"),
        (("label", "--limit", "1", "-o", "/no/such/folder/x.jsonl"), "cannot write"),
        (("grams", "show", "none.json"), "cannot read the gram set"),
    ],
)
def test_errors_are_told_without_a_traceback(capsys, arguments, message) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 1
    assert "Traceback" not in err
    assert message in " ".join(err.split())
    status, out, err = run(capsys, *arguments, "--json")
    assert status == 1
    assert message in " ".join(json.loads(out)["error"]["problem"].split())


def test_broken_json_lines_name_file_and_line(capsys, tmp_path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"problem": "p", "solution": "s"}\n{"problem": \n')
    status, _, err = run(capsys, "label", path)
    assert status == 1
    assert "broken.jsonl" in err
    assert "2" in err


def test_the_script_and_the_version(tmp_path) -> None:
    import hicra

    done = subprocess.run([sys.executable, "-m", "hicra.cli", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == hicra.__version__
    done = subprocess.run([sys.executable, "-m", "hicra.cli", "--help"], capture_output=True, text=True)
    for verb in ("demo", "label", "train", "report", "grams"):
        assert verb in done.stdout


def test_control_characters_become_visible() -> None:
    assert visible("a\x1b]0;title\x07b\u202ec\nd\te\u200b") == "a\ufffd]0;title\ufffdb\ufffdc\nd\te\ufffd"
