"""Reading traces: every format gives the same rows, bad input says file and line, memory grows with what is kept."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from hicra.errors import ConfigError, DataError
from hicra.traces import Trace, read_traces, trace_schema

ROWS = [
    {"id": "a", "problem": "2 + 2?", "solution": "Let me add.\n4", "correct": True, "source": "s:1", "style": "cot"},
    {"id": "b", "problem": "Größe? \u2028 x", "solution": "“Wait”, 数", "correct": False, "license": "MIT"},
    {"id": "c", "problem": "none?", "solution": "", "correct": None},
]
TRACES = [Trace(**row) for row in ROWS]  # type: ignore[arg-type]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def message(call: Callable[[], object], kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def failure(path: Any, **keywords: Any) -> str:
    return message(lambda: list(read_traces(path, **keywords)))


# --- formats


@pytest.mark.parametrize(
    "name", ["t.jsonl", "t.ndjson", "t.json", "t.jsonl.gz", "t.json.gz", "t.jsonl.zst", "t.ndjson.zst"]
)
def test_lines_plain_and_compressed(tmp_path: Path, name: str) -> None:
    assert list(read_traces(write(tmp_path / name, LINES))) == TRACES


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS, schema=trace_schema()), tmp_path / "t.parquet")
    assert list(read_traces(tmp_path / "t.parquet")) == TRACES


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    assert list(read_traces(str(write(tmp_path / "t.jsonl", LINES)))) == TRACES


def test_windows_line_ends_blank_lines_byte_order_mark_and_no_last_newline(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + LINES.replace(b"}\n", b"}\r\n\r\n  \n").rstrip()
    assert list(read_traces(write(tmp_path / "t.jsonl", data))) == TRACES


def test_other_line_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\u0085d\x0be"
    path = write(tmp_path / "t.jsonl", json.dumps({"problem": "p", "solution": text}, ensure_ascii=False).encode())
    assert next(read_traces(path)).solution == text


def test_many_frames_and_members_in_one_file(tmp_path: Path) -> None:
    lines = LINES.splitlines(keepends=True)
    (tmp_path / "t.jsonl.zst").write_bytes(b"".join(zstandard.compress(line) for line in lines))
    (tmp_path / "t.jsonl.gz").write_bytes(b"".join(gzip.compress(line) for line in lines))
    assert list(read_traces(tmp_path / "t.jsonl.zst")) == TRACES
    assert list(read_traces(tmp_path / "t.jsonl.gz")) == TRACES


def test_a_directory_is_read_to_its_depth_in_the_order_of_names(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", {"problem": "p", "solution": "third"})
    jsonl(tmp_path / "a" / "x.jsonl.gz", {"problem": "p", "solution": "first"}, {"problem": "p", "solution": "second"})
    jsonl(tmp_path / ".cache" / "y.jsonl", {"problem": "p", "solution": "hidden"})
    write(tmp_path / "README.md", b"not data")
    traces = list(read_traces(tmp_path))
    assert [t.solution for t in traces] == ["first", "second", "third"]
    assert [t.id for t in traces] == ["a/x.jsonl.gz:1", "a/x.jsonl.gz:2", "b.jsonl:1"]


def test_a_pattern(tmp_path: Path) -> None:
    for name in ("x1.jsonl", "x2.jsonl", "y.jsonl"):
        jsonl(tmp_path / name, {"problem": "p", "solution": name})
    assert [t.solution for t in read_traces(str(tmp_path / "x*.jsonl"))] == ["x1.jsonl", "x2.jsonl"]
    assert "no file matches" in failure(str(tmp_path / "z*.jsonl"))


def test_a_name_with_brackets_is_a_file_if_it_is_there(tmp_path: Path) -> None:
    assert list(read_traces(str(write(tmp_path / "t[1].jsonl", LINES)))) == TRACES


def test_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list([{"problem": f"p{i}", "solution": "s", "correct": i == 0} for i in range(3)])
    expected = [Trace(f"Dataset:{i + 1}", f"p{i}", "s", i == 0) for i in range(3)]
    assert list(read_traces(dataset)) == expected
    streamed = list(read_traces(dataset.to_iterable_dataset()))
    assert [(t.problem, t.correct) for t in streamed] == [(t.problem, t.correct) for t in expected]
    text = message(lambda: read_traces(datasets.DatasetDict(train=dataset)))
    assert "'train'" in text
    assert "split" in text


def test_any_iterable_of_mappings() -> None:
    assert list(read_traces(ROWS)) == TRACES
    assert list(read_traces(iter(ROWS))) == TRACES


def test_the_text_of_a_run_directory_can_be_read(tmp_path: Path) -> None:
    from tests.rundir_rows import new_run, write_step

    write_step(new_run(tmp_path / "run"), 1)
    assert [t.solution for t in read_traces(tmp_path / "run" / "rollouts")] == ["let me 2", "let me 2"]


# --- columns


@pytest.mark.parametrize("problem", ["problem", "prompt", "question"])
@pytest.mark.parametrize("solution", ["solution", "completion", "response", "output"])
@pytest.mark.parametrize("correct", ["correct", "is_correct"])
def test_usual_names_are_understood(problem: str, solution: str, correct: str) -> None:
    assert list(read_traces([{problem: "p", solution: "s", correct: 1}])) == [Trace("list:1", "p", "s", True)]


def test_columns_maps_our_names_to_theirs(tmp_path: Path) -> None:
    row = {"q": "p", "solution": "reference", "generation": "s", "n": 7, "task": "maths"}
    columns = {"problem": "q", "solution": "generation", "id": "n", "style": "task"}
    assert list(read_traces(jsonl(tmp_path / "t.jsonl", row), columns=columns)) == [Trace("7", "p", "s", style="maths")]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    assert list(read_traces(tmp_path / "t.parquet", columns=columns)) == [Trace("7", "p", "s", style="maths")]


def test_two_possible_columns_are_not_guessed(tmp_path: Path) -> None:
    row = {"prompt": "p", "solution": "reference", "completion": "sampled"}
    text = failure(jsonl(tmp_path / "t.jsonl", row))
    assert "t.jsonl:1" in text
    assert "'solution' and 'completion' could each be the solution" in text
    assert "'prompt', 'solution', 'completion'" in text
    chosen = read_traces(tmp_path / "t.jsonl", columns={"solution": "completion"})
    assert next(chosen).solution == "sampled"


def test_a_column_that_was_given_away_is_not_taken_twice() -> None:
    assert "no column for the solution" in failure([{"q": "x", "output": "p"}], columns={"problem": "output"})


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_missing_column_names_those_that_were_there(tmp_path: Path, name: str) -> None:
    rows = [{"question": "p", "text": "s", "score": 1.0}]
    path = tmp_path / name
    pq.write_table(pa.Table.from_pylist(rows), path) if name == "t.parquet" else jsonl(path, *rows)
    text = failure(path)
    assert name in text
    assert "no column for the solution" in text
    assert "'question', 'text', 'score'" in text
    assert "columns={'solution'" in text
    text = failure(path, columns={"solution": "txt"})
    assert "no column 'txt'" in text
    assert "'question', 'text', 'score'" in text


def test_a_later_row_may_lack_what_is_optional_but_not_what_is_needed(tmp_path: Path) -> None:
    good = {"problem": "p", "solution": "s", "correct": True}
    assert [t.correct for t in read_traces(jsonl(tmp_path / "t.jsonl", good, {"problem": "p", "solution": "s"}))] == [
        True,
        None,
    ]
    assert "t.jsonl:2: no column for the solution" in failure(jsonl(tmp_path / "t.jsonl", good, {"problem": "p"}))


def test_bad_mappings_are_refused_before_anything_is_read() -> None:
    text = message(lambda: read_traces("nowhere.jsonl", columns={"answer": "x"}), ConfigError)
    assert "'answer'" in text
    assert "solution" in text
    text = message(lambda: read_traces("nowhere.jsonl", columns={"problem": "x", "solution": "x"}), ConfigError)
    assert "same column 'x'" in text
    assert "no column name" in message(lambda: read_traces("nowhere.jsonl", columns={"problem": 3}), ConfigError)  # type: ignore[dict-item]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"])] * 3, names=["problem", "solution", "solution"])
    pq.write_table(table, tmp_path / "t.parquet")
    assert "'solution' is there twice" in failure(tmp_path / "t.parquet")


# --- values


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("solution", 5, "int 5"),
        ("solution", None, "NoneType None"),
        ("solution", ["a"], "list ['a']"),
        ("solution", [{"role": "assistant", "content": "a"}], "conversation"),
        ("problem", {"text": "a"}, "dict"),
        ("correct", "yes", "str 'yes'"),
        ("correct", 0.5, "float 0.5"),
        ("id", 1.5, "float 1.5"),
        ("id", True, "bool True"),
        ("style", 3, "int 3"),
    ],
)
def test_wrong_types_name_file_line_and_column(tmp_path: Path, field: str, value: Any, said: str) -> None:
    good = {"id": "1", "problem": "p", "solution": "s"}
    text = failure(jsonl(tmp_path / "t.jsonl", good, {**good, field: value}))
    assert "t.jsonl:2" in text
    assert f"column {field!r}" in text
    assert said in text


def test_wrong_types_in_parquet_and_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"problem": ["p", "p"], "solution": ["s", None]}), tmp_path / "t.parquet")
    assert "t.parquet: row 2" in failure(tmp_path / "t.parquet")
    assert "list: row 2: not a row" in failure([ROWS[0], "text"])
    assert "int" in message(lambda: read_traces(5))  # type: ignore[arg-type]


def test_a_long_wrong_value_is_cut() -> None:
    assert len(failure([{"problem": "p", "solution": ["x" * 10_000]}])) < 500


@pytest.mark.parametrize(
    ("value", "meant"), [(True, True), (False, False), (1, True), (0.0, False), (None, None), (float("nan"), None)]
)
def test_ways_to_say_correct(value: Any, meant: bool | None) -> None:
    assert next(read_traces([{"problem": "p", "solution": "s", "correct": value}])).correct is meant


def test_scalars_of_numpy() -> None:
    import numpy as np

    rows = [
        {"problem": "p", "solution": "s", "correct": np.bool_(False)},
        {"problem": "p", "solution": "s", "correct": np.array([1, 0])},
    ]
    traces = read_traces(rows)
    assert next(traces).correct is False
    assert "wrong type" in message(lambda: next(traces))


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    """JSON can say "\\ud83d" alone; UTF-8 cannot, and all that follows works on bytes. A whole pair stays."""
    path = write(tmp_path / "t.jsonl", b'{"problem": "\\ud83d\\ude00", "solution": "a\\ud83db", "id": "\\udc00"}\n')
    trace = next(read_traces(path))
    assert (trace.problem, trace.solution, trace.id) == ("😀", "a\ufffdb", "\ufffd")


# --- damaged and missing files


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"problem": "p", "solution": "s"', "column 33"),
        (b'{"problem": "p" "solution": "s"}', "column 17"),
        (b"[1, 2]", "a JSON list"),
        (b'"text"', "a JSON str"),
        (b"[" * 100_000, "broken JSON"),
        (b'{"problem": "p", "solution": "s", "n": ' + b"1" * 5000 + b"}", "broken JSON"),
    ],
)
@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"])
def test_broken_json_names_file_and_line(tmp_path: Path, name: str, line: bytes, said: str) -> None:
    path = write(tmp_path / name, LINES + b"\n" + line + b"\n" + LINES)
    traces = read_traces(path)
    assert [next(traces) for _ in TRACES] == TRACES  # what is before the damage was usable
    text = message(lambda: next(traces))
    assert f"{name}:5" in text
    assert said in text


def test_one_document_over_many_lines_is_told_how_to_become_lines(tmp_path: Path) -> None:
    assert "jq -c" in failure(write(tmp_path / "t.json", json.dumps(ROWS, indent=1).encode()))
    assert "jq -c" in failure(write(tmp_path / "t.json", json.dumps(ROWS).encode()))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    text = failure(write(tmp_path / "t.jsonl", LINES + b'{"problem": "caf\xe9", "solution": "s"}\n'))
    assert "t.jsonl:4: byte 17" in text
    assert "e9 22" in text
    assert "iconv" in text
    assert "UTF-16" in failure(write(tmp_path / "u.jsonl", LINES.decode().encode("utf-16")))


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.jsonl.zst", "t.parquet"])
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_truncated_files(tmp_path: Path, name: str, part: float) -> None:
    path = tmp_path / name
    if name == "t.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        write(path, LINES * 2000)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    text = failure(path)
    assert name in text
    assert ("not an intact Parquet" if name == "t.parquet" else "ends early") in text


def test_zstd_cut_at_the_end_of_a_block_is_noticed(tmp_path: Path) -> None:
    """The case in which zstandard's own stream reader says nothing: all of the text is there, the end mark is not."""
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    data = compressor.compress(LINES) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    (tmp_path / "t.jsonl.zst").write_bytes(data)
    assert "ends early" in failure(tmp_path / "t.jsonl.zst")


@pytest.mark.parametrize(("name", "said"), [("t.jsonl.gz", "gzip"), ("t.jsonl.zst", "zstd"), ("t.parquet", "Parquet")])
def test_files_that_are_not_what_their_name_says(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"plain text, and quite a bit of it\n" * 10)
    assert f"not an intact {said}" in failure(tmp_path / name).replace("not intact", "not an intact")


def test_damage_in_the_middle_of_a_gzip_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl.gz", LINES * 2000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert str(path) in failure(path)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"])
@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_corpus_is_said_to_be_empty(tmp_path: Path, name: str, data: bytes) -> None:
    assert "empty corpus" in failure(write(tmp_path / name, data))


def test_empty_parquet_empty_rows_and_an_empty_file_among_others(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"problem": pa.array([], pa.string()), "solution": pa.array([], pa.string())}), tmp_path / "t.parquet"
    )
    assert "empty corpus" in failure(tmp_path / "t.parquet")
    assert "empty corpus" in failure([])
    write(tmp_path / "u.jsonl", LINES)
    write(tmp_path / "empty.jsonl", b"")
    assert list(read_traces(tmp_path)) == TRACES


def test_what_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "traces.jsonl").touch()
    text = message(lambda: read_traces(tmp_path / "trace.jsonl"))  # not iterated over
    assert "no such file" in text
    assert "traces.jsonl" in text
    assert "load_dataset" in message(lambda: read_traces("somebody/some-data"))
    assert "addresses are not read" in message(lambda: read_traces("https://example.org/t.jsonl"))


def test_unknown_extensions(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", b"a,b\n")
    text = message(lambda: read_traces(tmp_path / "t.csv"))
    assert "'.csv'" in text
    assert ".jsonl.zst" in text
    text = message(lambda: read_traces(tmp_path))
    assert "no file of traces" in text
    assert "t.csv" in text
    assert "'.csv'" in message(lambda: read_traces(str(tmp_path / "*.csv")))
    (tmp_path / "data-0.arrow").touch()
    assert "load_from_disk" in message(lambda: read_traces(tmp_path))


def test_a_file_without_permission_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.jsonl", LINES)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in failure(path)


# --- memory


def peak_of(traces: Iterator[Trace]) -> tuple[int, int]:
    tracemalloc.start()
    rows = sum(1 for _ in traces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return rows, peak


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"])
def test_memory_grows_with_what_is_kept(tmp_path: Path, name: str) -> None:
    line = json.dumps({"problem": "p" * 1000, "solution": "s" * 9000}).encode() + b"\n"
    path = write(tmp_path / name, line * 2000)  # 20 MB of text
    list(read_traces(ROWS))  # imports are not what is measured
    next(read_traces(path))
    rows, peak = peak_of(read_traces(path))
    assert rows == 2000
    assert peak < 4_000_000


def test_rows_are_taken_one_at_a_time() -> None:
    taken = []

    def source() -> Iterator[dict[str, str]]:
        for i in range(10):
            taken.append(i)
            yield {"problem": "p", "solution": str(i)}

    traces = read_traces(source())
    assert taken == []
    next(traces)
    next(traces)
    assert taken == [0, 1]
