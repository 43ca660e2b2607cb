"""``hicra grams why``: verdict, reasons and neighbours, from the evidence beside the set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hicra.grams import embed
from hicra.grams.evidence import Evidence, evidence_path
from tests.gram_models import TrigramModel
from tests.unit.test_cli import run
from tests.unit.test_why import GRAMS, evidence


@pytest.fixture
def mined(tmp_path: Path, monkeypatch) -> Path:
    path = GRAMS.save(tmp_path / "mine.json")
    evidence().save(evidence_path(path))
    monkeypatch.setattr(embed.Encoder, "model", TrigramModel())
    monkeypatch.setenv("HICRA_CACHE", str(tmp_path / "cache"))
    return path


def test_in_out_and_unknown(capsys, mined: Path) -> None:
    status, out, _ = run(capsys, "grams", "why", "Let me check", "--grams", mined)
    assert status == 0
    assert out.startswith("in  let me check")
    assert "other wordings: let me verify" in out
    status, out, _ = run(capsys, "grams", "why", "of the number", "--grams", mined)
    assert out.startswith("out  of the number")
    assert "its cluster is in 50 solutions" in out
    status, out, _ = run(capsys, "grams", "why", "let me re-check", "--grams", mined, "--nearest", 1)
    assert out.startswith("not there  let me re-check")
    assert "near: let me check (" in out


def test_json_is_plain(capsys, mined: Path) -> None:
    status, out, _ = run(capsys, "grams", "why", "of the number", "--grams", mined, "--json")
    assert status == 0
    told = json.loads(out)
    assert told["verdict"] == "out"
    assert told["numbers"]["problems"] == 50
    assert told["numbers"]["cluster_problems"] == 50
    status, out, _ = run(capsys, "grams", "why", "number", "--grams", mined, "--json")
    assert json.loads(out)["numbers"]["cluster_problems"] is None
    assert [near["gram"] for near in told["nearest"]]


def test_evidence_of_another_set_is_not_believed(capsys, mined: Path) -> None:
    other = Evidence(evidence().columns, {**evidence().facts, "grams_hash": "0" * 64, "grams": "old \x1b[31m"})
    other.save(evidence_path(mined))
    status, out, err = run(capsys, "grams", "why", "of the number", "--grams", mined)
    assert status == 0
    assert out.startswith("not there")
    assert "is of another set" in " ".join(err.split())
    assert "\x1b[31m" not in err


def test_shipped_sets_answer_without_evidence(capsys, mined: Path) -> None:
    status, out, _ = run(capsys, "grams", "why", "wait")
    assert status == 0
    assert out.startswith("in  wait")
    status, _, err = run(capsys, "grams", "why", "...")
    assert status == 1
    assert "holds no word" in err
