"""What is mined: paths, rows, outcomes, and an account of what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hicra.errors import DataError
from hicra.grams.sources import Sources
from hicra.traces import Trace

ROWS: list[dict[str, Any]] = [
    {"problem": "p1", "solution": "a", "correct": True, "source": "lab:1", "license": "MIT", "style": "cot"},
    {"problem": "p2", "solution": "b", "correct": False, "source": "lab:2"},
    {"problem": "p3", "solution": "c", "correct": None, "source": "lab:2"},
]


def test_wrong_answers_are_left_out_and_everything_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{broken\n[]\n")
    sources = Sources(path)
    assert [t.solution for t in sources] == ["a", "c"]
    assert sources.tally.to_dict() == {
        "traces": 2,
        "left_out_as_wrong": 1,
        "of_unknown_outcome": 1,
        "broken_rows": 2,
        "licences": {"MIT": 1, "unknown": 1},
        "sources": {"lab": 2},
        "styles": {"cot": 1, "unknown": 1},
    }
    assert [row.startswith(f"{path}:{line}") for row, line in zip(sources.tally.broken_rows, (4, 5), strict=True)]
    assert [t.solution for t in Sources(path, wrong=True)] == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"t\.jsonl:4: broken JSON"):
        list(Sources(path, strict=True))


def test_paths_rows_and_traces_are_all_taken(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(json.dumps(ROWS[0]) + "\n")
    assert len(list(Sources([tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")]))) == 2
    assert len(list(Sources(str(tmp_path / "*.jsonl")))) == 2
    assert len(list(Sources(ROWS))) == 2
    assert len(list(Sources(row for row in ROWS))) == 2
    assert [t.id for t in Sources([Trace("x", "p", "s"), Trace("y", "p", "s", correct=False)])] == ["x"]
    named = [{"q": "p", "answer": "s"}]
    assert len(list(Sources(named, columns={"problem": "q", "solution": "answer"}))) == 1


def test_what_makes_no_corpus_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    with pytest.raises(DataError, match=r"no successful trace(?s:.*)1 traces, all of them wrong(?s:.*)--wrong"):
        list(Sources(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="no such file"):
        Sources([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])  # told before the first one is read
    with pytest.raises(DataError, match="nothing to mine"):
        Sources([])
    with pytest.raises(DataError, match="a mapping is not a sequence of rows"):
        Sources({"train": ROWS})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="traces come from a path or from rows"):
        Sources(7)  # type: ignore[arg-type]
