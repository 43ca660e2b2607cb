"""Whatever stands in other tools' files, reading them ends in steps or in an error of ours with words."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hicra import GramSet
from hicra.engines.imported import import_run
from hicra.errors import HicraError
from tests import foreign

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.sampled_from(["", "x", "C", "\ud800", "12"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "text", "a"]), inner)
    ),
    max_leaves=5,
)
GRAMS = GramSet.from_grams(["so", "let me"], name="two")
FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mutated(document: Any, data: st.DataObject) -> Any:
    """The document with a value somewhere inside replaced, or a key taken away."""
    at, parent, key = document, None, None
    while isinstance(at, dict | list) and len(at) and (parent is None or data.draw(st.integers(0, 3))):
        parent = at
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        at = at[key]
    if parent is None:
        return data.draw(VALUES)
    if isinstance(parent, dict) and data.draw(st.integers(0, 3)) == 0:
        del parent[key]
    else:
        parent[key] = data.draw(VALUES)
    return document


def survives(folder: Path) -> None:
    with contextlib.suppress(HicraError):
        import_run(folder / "source", folder / "run", grams=GRAMS)
    shutil.rmtree(folder)


def verl(folder: Path, change: Callable[[Any], Any]) -> None:
    foreign.write_lines(folder / "1.jsonl", change(foreign.verl_rows(1)))


def prime(folder: Path, change: Callable[[Any], Any]) -> None:
    rows = [foreign.prime_row(0, [1, 2], [3, 4], 1.0), foreign.prime_row(0, [1], [2], 0.0)]
    foreign.write_lines(folder / "step_0" / "rank_0.jsonl", change(rows))


def inspect(folder: Path, change: Callable[[Any], Any]) -> None:
    whole = {**foreign.inspect_header("2026-01-01"), "samples": foreign.inspect_samples()}
    changed = change(whole)
    (folder / "log.json").write_text(json.dumps(changed))


def plain(folder: Path, change: Callable[[Any], Any]) -> None:
    row = {"step": 1, "prompt": [{"role": "user", "content": "q"}], "completion": "so", "reward": 1, "tokens": ["so"]}
    row |= {"logprobs": [-1.0], "entropies": [0.5], "mask": [1], "advantage": [0.5], "truncated": False, "id": 3}
    foreign.write_lines(folder / "rows.jsonl", change([row, dict(row)]))


@pytest.mark.parametrize("write", [verl, prime, inspect, plain])
@FEW
@given(data=st.data())
def test_values_of_any_kind(write: Callable[[Path, Callable[[Any], Any]], None], data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "source").mkdir()
    changed: list[Any] = []

    def change(document: Any) -> Any:
        for _ in range(data.draw(st.integers(1, 3))):
            document = mutated(document, data)
        changed.append(document)
        return document if isinstance(document, list) or write is inspect else [document]

    write(folder / "source", change)
    survives(folder)


@settings(FEW, max_examples=40)
@given(data=st.data())
def test_bytes_of_any_kind(data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    source = folder / "source"
    source.mkdir()
    kind = data.draw(st.sampled_from(["trl", "verl", "eval", "zstd"]))
    if kind == "trl":
        foreign.trl(source, [1])
    elif kind == "verl":
        foreign.verl(source, [1])
    else:
        plain_zip = foreign.inspect_eval(source / "a.eval", foreign.inspect_header("2026"), foreign.inspect_samples())
        if kind == "zstd":
            foreign.zstd_zip(plain_zip, plain_zip)
    path = next(p for p in source.rglob("*") if p.is_file())
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    survives(folder)
