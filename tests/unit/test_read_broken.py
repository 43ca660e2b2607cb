"""Broken rows handed over instead of raised: each is told with its place, the sound ones all come."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hicra.errors import DataError
from hicra.traces import read_traces

GOOD = json.dumps({"problem": "p", "solution": "s"}).encode()
BAD_LINES = [b'{"problem": "p", "sol', b"[1, 2]", b'{"problem": "p", "solution": 3}', b'{"problem": "p"}', b'"\xff"']


def test_every_kind_of_broken_line_is_handed_over_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join([GOOD, *BAD_LINES, GOOD, b""]))
    told: list[DataError] = []
    traces = list(read_traces(path, on_broken=told.append))
    assert [t.id for t in traces] == ["t.jsonl:1", "t.jsonl:7"]
    assert [error.problem.split(":")[1] for error in told] == ["2", "3", "4", "5", "6"]
    assert all(str(path) in error.problem for error in told)
    with pytest.raises(DataError, match=r"t\.jsonl:2: broken JSON"):
        list(read_traces(path))


def test_rows_of_parquet_and_of_mappings(tmp_path: Path) -> None:
    rows = [{"problem": "p", "solution": "s"}, {"problem": None, "solution": "s"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for source in (tmp_path / "t.parquet", [*rows, 7]):
        told: list[DataError] = []
        assert len(list(read_traces(source, on_broken=told.append))) == 1
        assert len(told) == len(rows if isinstance(source, Path) else [*rows, 7]) - 1
        assert "row 2" in told[0].problem


def test_a_source_without_any_sound_row_is_an_error_that_tells_the_first(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"q": "p", "a": "s"}\n' * 3)
    told: list[DataError] = []
    with pytest.raises(
        DataError, match=r"none of its 3 rows can be read; the first: .*t\.jsonl:1: no column"
    ) as caught:
        list(read_traces(path, on_broken=told.append))
    assert len(told) == 3
    assert "columns=" in str(caught.value)


def test_a_damaged_file_is_an_error_all_the_same(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD * 2000)[:-20])
    with pytest.raises(DataError, match="ends early"):
        list(read_traces(path, on_broken=lambda error: None))
