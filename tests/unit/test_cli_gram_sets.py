"""The verbs that make gram sets: merge, placebo, push, pull."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hicra import Gram, GramSet
from tests.unit.test_cli import run


def test_merge_writes_a_set_and_says_what_each_brought(capsys, tmp_path: Path) -> None:
    mine = GramSet.from_grams([Gram("wait", at="clause"), "brand new"], name="mine").save(tmp_path / "mine.json")
    target = tmp_path / "both.json"
    status, out, err = run(capsys, "grams", "merge", "paper", mine, "-o", target, "--name", "both")
    assert status == 0
    assert "mine: 2 grams, 1 of them new" in out
    assert "on 1 grams a later set disagreed" in err
    made = GramSet.load(target)
    assert made.name == "both"
    assert len(made) == 250
    assert made[made.index("wait")].at == "any"
    status, out, _ = run(capsys, "grams", "merge", "paper", mine, "-o", target, "--json")
    assert json.loads(out)["parents"][1] | {"hash": ""} == {"name": "mine", "grams": 2, "new": 1, "hash": ""}
    assert run(capsys, "grams", "merge", "paper", "-o", target)[0] == 1


def test_placebo_of_the_bundled_sample(capsys, tmp_path: Path) -> None:
    small = GramSet.from_grams(["let me check", "so we", "therefore"], name="small").save(tmp_path / "small.json")
    target = tmp_path / "placebo.json"
    status, out, _ = run(capsys, "grams", "placebo", small, "-o", target, "--seed", 3, "--json")
    assert status == 0
    told = json.loads(out)
    made = GramSet.load(target)
    assert told["hash"] == made.hash
    assert sorted(len(g.text.split()) for g in made) == [1, 2, 3]
    assert made.provenance["seed"] == 3
    assert 0.5 < told["occurrences"]["placebo"] / told["occurrences"]["parent"] < 2
    status, out, err = run(capsys, "grams", "placebo", small, "-o", target)
    assert "share of the words" in out
    assert "wrote" in err


def test_push_and_pull(capsys, monkeypatch, tmp_path: Path) -> None:
    shelf: dict[str, GramSet] = {}

    def push(grams: GramSet, repository: str, **options: object) -> str:
        assert options == {"licence": "cc0-1.0", "evidence": None, "private": True}
        shelf[repository] = grams
        return f"https://hub/{repository}"

    def pull(repository: str, **options: object) -> GramSet:
        assert options == {"revision": None}
        grams = shelf[repository]
        return GramSet(grams.grams, grams.name, provenance={"hub": {"revision": "0" * 40}})

    monkeypatch.setattr("hicra.grams.hub.push", push)
    monkeypatch.setattr("hicra.grams.hub.pull", pull)
    status, out, _ = run(capsys, "grams", "push", "paper", "me/grams", "--licence", "cc0-1.0", "--private")
    assert (status, out.strip()) == (0, "https://hub/me/grams")
    target = tmp_path / "back.json"
    status, out, _ = run(capsys, "grams", "pull", "me/grams", "-o", target, "--json")
    assert status == 0
    assert json.loads(out)["revision"] == "0" * 40
    assert GramSet.load(target).hash == GramSet.load("paper").hash


@pytest.mark.parametrize("verb", ["merge", "placebo", "push", "pull"])
def test_help_is_there(capsys, verb: str) -> None:
    status, out, _ = run(capsys, "grams", verb, "--help")
    assert status == 0
    assert "--json" in out
