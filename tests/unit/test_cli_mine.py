"""``hicra mine``: what it prints, for people and for machines, and how it says what is wrong."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from hicra import GramSet
from hicra.cli.mine import Bars
from hicra.grams import embed
from hicra.grams.evidence import evidence_path
from tests.gram_models import TrigramModel
from tests.mining_corpus import corpus
from tests.unit.test_cli import run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    rows = [{"q": t.problem, "answer": t.solution, "correct": True} for t in corpus()]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps(dataclasses.asdict(t)) + "\n" for t in corpus()) + "{\x1b[31m\n"
    )
    monkeypatch.setattr(embed.Encoder, "model", TrigramModel())
    monkeypatch.setenv("HICRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_for_people(capsys, folder: Path) -> None:
    status, out, err = run(capsys, "mine", "t.jsonl", "-o", "shop.json")
    assert status == 0
    grams = GramSet.load("shop.json")
    assert grams.name == "shop"
    told = " ".join(out.split())
    assert "240 traces, 120 problems" in told
    assert f"wrote shop.json: {len(grams):,} grams in {len(grams.clusters)} clusters, {grams.hash[:12]}" in told
    assert "--grams shop.json" in told
    assert {g.text for g in grams if g.text in told}
    assert "1 broken row was left out" in err
    assert "t.jsonl:241" in err
    assert "\x1b[31m" not in out + err
    assert "read 240" in err


def test_for_machines(capsys, folder: Path) -> None:
    arguments = ("--column", "problem=q", "--column", "solution=answer", "--name", "other")
    status, out, _ = run(capsys, "mine", "raw.jsonl", "-o", "shop.json", *arguments, "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["name"], told["hash"]) == ("other", GramSet.load("shop.json").hash)
    assert told["evidence"] == str(evidence_path("shop.json"))
    assert told["provenance"]["corpus"]["traces"] == 240
    assert told["warnings"] == []
    status, out, _ = run(capsys, "mine", "t.jsonl", "-o", "shop.json", "--json")
    assert len(json.loads(out)["warnings"]) == 1


def test_thresholds_are_set_by_name(capsys, folder: Path) -> None:
    status, out, _ = run(capsys, "mine", "t.jsonl", "-o", "s.json", "--set", "min_problems=30", "--json")
    assert status == 0
    assert json.loads(out)["provenance"]["counted"]["min_problems"] == 30
    status, out, _ = run(capsys, "mine", "t.jsonl", "-o", "s.json", "--set", "min_problems=[3, 0.5]", "--json")
    assert json.loads(out)["provenance"]["counted"]["min_problems"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "none.jsonl: no such file"),
        (("raw.jsonl",), "none of its 240 rows can be read"),
        (("t.jsonl", "--strict"), "t.jsonl:241"),
        (("t.jsonl", "--profile", "refned"), "there is no profile 'refned'"),
        (("t.jsonl", "--set", "colour=3"), "no threshold 'colour'"),
        (("t.jsonl", "--set", "n_max=many"), "--set n_max: not a value for it"),
        (("t.jsonl", "--set", "n_max"), "is no pair"),
        (("t.jsonl", "--dtype", "int8"), "unknown dtype"),
        (("t.jsonl", "-o", "no/folder.json"), "there is no folder no"),
    ],
)
def test_errors_name_the_place_and_leave_nothing_behind(capsys, folder: Path, arguments, message: str) -> None:
    status, _, err = run(capsys, "mine", *arguments)
    assert status == 1
    assert message in " ".join(err.split())
    assert not (folder / "grams.json").exists()


def test_bars_are_lines_where_there_is_no_terminal() -> None:
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        with Bars(console) as bars:
            for done in (0, 50, 100):
                bars("read", done, None)
            bars("embed", 3, 10)
            bars("embed", 10, 10)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "100" in text
        assert "10 of 10" in text
        if not terminal:
            assert text.splitlines() == ["read 100", "embed 10 of 10"]
