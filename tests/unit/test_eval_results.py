"""Results files: what is read and written, what is refused, and where run directories keep theirs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hicra.errors import DataError, RunDirError
from hicra.evals.results import Answer, Result, read_results, write_results
from hicra.evals.sources import read_arm, read_run
from tests.run_dirs import make_run


def answers(**more: object) -> list[Answer]:
    rows = [("b", 0, True), ("b", 1, False), ("a", 0, True), ("a", 1, True)]
    return [Answer(item, sample, right, **more) for item, sample, right in rows]  # type: ignore[arg-type]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def same(a: Result, b: Result) -> bool:
    names = ("model", "method", "benchmark", "seed", "items", "clusters", "truncated")
    counts = a.samples.tolist() == b.samples.tolist() and a.correct.tolist() == b.correct.tolist()
    return counts and all(getattr(a, name) == getattr(b, name) for name in names)


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    told = answers(model="Qwen3-4B-Base", method="HICRA", benchmark="aime24", seed=3, cluster="c", truncated=True)
    write_results(tmp_path / name, told)
    (found,) = read_results(tmp_path / name)
    assert (found.model, found.method, found.benchmark, found.seed) == ("Qwen3-4B-Base", "HICRA", "aime24", 3)
    assert found.items == ("a", "b")
    assert found.samples.tolist() == [2, 2]
    assert found.correct.tolist() == [2, 1]
    assert found.clusters == ("c", "c")
    assert found.truncated == 4
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_parquet_and_json_lines_say_the_same(tmp_path: Path) -> None:
    for name in ("x.parquet", "x.jsonl"):
        write_results(tmp_path / name, answers())
    with gzip.open(tmp_path / "x.jsonl.gz", "wb") as file:
        file.write((tmp_path / "x.jsonl").read_bytes())
    (one,), (two,), (three,) = (read_results(tmp_path / n) for n in ("x.parquet", "x.jsonl", "x.jsonl.gz"))
    assert same(one, two)
    assert same(one, three)
    assert (one.method, one.benchmark, one.seed, one.truncated) == ("x", "held-out", None, None)


def test_a_file_may_hold_everything(tmp_path: Path) -> None:
    rows = [*answers(method="GRPO", seed=0), *answers(method="GRPO", seed=1), *answers(method="HICRA", seed=0)]
    write_results(tmp_path / "all.parquet", rows)
    assert [(r.method, r.seed) for r in read_results(tmp_path / "all.parquet")] == [
        ("GRPO", 0),
        ("GRPO", 1),
        ("HICRA", 0),
    ]


def test_numbers_stand_for_truth_values_and_other_columns_are_left_alone(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", {"item": "a", "sample": 0, "correct": 1, "length": 7, "text": "\x1b[31m"})
    assert read_results(path)[0].correct.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"item": "a", "sample": 0}, "no correct"),
        ({"item": "a", "sample": 0, "correct": None}, "no correct"),
        ({"item": 3, "sample": 0, "correct": True}, "item"),
        ({"item": "a", "sample": True, "correct": True}, "sample"),
        ({"item": "a", "sample": 0, "correct": 0.5}, "true or false"),
        ({"item": "a", "sample": 0, "correct": True, "seed": "one"}, "an integer"),
        ([1, 2], "a JSON object"),
    ],
)
def test_broken_rows_are_refused_with_their_line(tmp_path: Path, row: object, said: str) -> None:
    path = lines(tmp_path / "x.jsonl", {"item": "a", "sample": 9, "correct": True}, row)
    with pytest.raises(DataError, match="row 2") as error:
        read_results(path)
    assert said in str(error.value)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "bad.jsonl").write_text("{no\n")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000 + "\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    pq.write_table(pa.table({"item": ["a"]}), tmp_path / "other.parquet")
    for name, said in (
        ("bad.jsonl", "not JSON"),
        ("deep.jsonl", "not JSON"),
        ("empty.jsonl", "no answers"),
        ("bad.parquet", "cannot be read"),
        ("other.parquet", "no sample and no correct"),
        ("absent.jsonl", "no such file"),
    ):
        with pytest.raises(DataError, match=said):
            read_results(tmp_path / name)


def test_an_answer_twice_and_clusters_that_change_are_refused(tmp_path: Path) -> None:
    row = {"item": "a", "sample": 0, "correct": True, "cluster": "c"}
    with pytest.raises(DataError, match="there before"):
        read_results(lines(tmp_path / "x.jsonl", row, row))
    with pytest.raises(DataError, match="changes its cluster"):
        read_results(lines(tmp_path / "x.jsonl", row, {**row, "sample": 1, "cluster": "d"}))
    with pytest.raises(DataError, match="all or none"):
        read_results(lines(tmp_path / "x.jsonl", row, {"item": "b", "sample": 1, "correct": True}))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no answers"):
        write_results(tmp_path / "x.jsonl", [])
    with pytest.raises(DataError, match="unknown ending"):
        write_results(tmp_path / "x.csv", answers())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = make_run(tmp_path / "grpo", steps=1, evals=False, seed=7)
    (path / "evals").mkdir()
    for step in (0, 12, 48):
        rows = [Answer("a", s, s < step // 12) for s in range(4)]
        write_results(path / "evals" / f"step-{step:06d}.parquet", rows)
    return path


def test_a_run_directory_gives_its_last_evaluation_and_the_one_before_training(run: Path) -> None:
    (run / "evals" / "step-000099.parquet.part").write_bytes(b"")
    base, last = read_run(run)
    assert (base.method, base.correct.tolist()) == ("base", [0])
    assert (last.method, last.seed, last.correct.tolist()) == ("grpo", 7, [4])
    assert last.model == base.model != ""


def test_a_run_directory_at_a_step(run: Path) -> None:
    (found,) = read_run(run, step=12, base=False)
    assert found.correct.tolist() == [1]
    assert [r.method for r in read_run(run, name="GRPO", step=0)] == ["GRPO"]
    with pytest.raises(RunDirError, match="after step 13"):
        read_run(run, step=13)


def test_a_run_directory_without_evaluations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="no evaluation"):
        read_arm(make_run(tmp_path / "r", steps=1))


def test_a_folder_is_all_that_lies_in_it(run: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "hicra.jsonl", answers())
    (tmp_path / "notes.txt").write_text("no results")
    assert [r.method for r in read_arm(tmp_path)] == ["base", "grpo", "hicra"]
    assert {r.method for r in read_arm(tmp_path, name="both")} == {"base", "both"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no results in it"):
        read_arm(tmp_path / "empty")
