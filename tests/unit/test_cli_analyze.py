"""``hicra analyze``: a page, figures, JSON, and errors in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import hicra
from hicra.cli import main
from tests.run_dirs import make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("cli")
    return [
        str(make_run(root / "grpo", estimator="grpo", steps=4)),
        str(make_run(root / "hicra", seed=1, steps=4)),
    ]


def hicra_analyze(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hicra", "analyze", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_json_is_the_analysis_and_writes_nothing(runs, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert hicra_analyze(monkeypatch, *runs, "--json", "--name", "A", "--name", "B", "--seed", "3") == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("written") == []
    assert [run["name"] for run in document["runs"]] == ["A", "B"]
    settings = hicra.dynamics.result.Settings(seed=3)
    assert document == hicra.analyze(runs, names=["A", "B"], settings=settings).to_dict()
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_written_where_it_is_wanted(runs, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert hicra_analyze(monkeypatch, runs[0], "-o", "page.html", "--title", "What it learned") == 0
    assert capsys.readouterr().out.strip() == "page.html"
    assert "What it learned" in Path("page.html").read_text("utf-8")


def test_a_figure_takes_its_format_from_the_file(runs, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert hicra_analyze(monkeypatch, runs[0], "--figure", "7", "-o", "seven.svg") == 0
    assert Path("seven.svg").read_text("utf-8").lstrip().startswith("<?xml")
    assert hicra_analyze(monkeypatch, runs[0], "--figure", "trace") == 0
    assert Path("figure-2.pdf").read_bytes().startswith(b"%PDF-")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--figure", "99"], "there is no such figure"),
        (["--figure", "3", "-o", "three.doc"], "no format of a figure"),
        (["--figure", "all", "-o", "all.pdf"], "writes many files"),
        (["--figure", "failures"], "hicra judge"),
        (["--top-share", "0"], "out of range"),
        (["--name", "a", "--name", "b"], "names"),
    ],
)
def test_errors_are_told_in_words(runs, tmp_path, monkeypatch, capsys, words, said) -> None:
    monkeypatch.chdir(tmp_path)
    assert hicra_analyze(monkeypatch, runs[0], *words) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
