"""Counts by hand, their file, and what is refused."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError
from hicra.grams.corpus import Corpus
from hicra.grams.count import Counts, count_ngrams
from hicra.traces.schema import Trace

TRACES = [
    Trace("1", "What is 2 + 2?", "Wait, let me check. So it is 4.", source="a:1", style="cot"),
    Trace("2", "What is 2 + 2?", "Let me check: 4", source="a:2", style="cot"),
    Trace("3", "What is\n2 + 2?", "Let me check: 4", source="b", style="cot"),
    Trace("4", "Let me check. True?", "I let me check $x$ and so it is", source="b", style="cot"),
    Trace("5", "", "So it is. Let me, check", source=None),
    Trace("6", "Empty?", "1 + 1 = 2"),
]


@pytest.fixture(scope="module")
def counts() -> Counts:
    return count_ngrams(TRACES, n_max=3, min_problems=3)


def row(counts: Counts, text: str) -> dict[str, int]:
    (i,) = np.flatnonzero(counts.text == text)
    names = [f.name for f in fields(Counts)][1:13]
    return {name: int(getattr(counts, name)[i]) for name in names}


def test_rows_by_hand(counts) -> None:
    assert list(counts.text) == sorted(
        ["let", "me", "check", "let me", "me check", "let me check", "so", "it", "is", "so it", "it is", "so it is"]
    )
    assert row(counts, "let me check") == {
        "n": 3,
        "tf": 4,
        "df": 4,
        "problems": 3,
        "clause": 3,  # not in "I let me check"
        "sentence": 2,
        "statements": 1,
        "maths_adjacent": 1,  # "check: 4" has a stop in between
        "maths_near": 1,
        "maths_after": 4 - 1,  # "check. So it is 4" is three words away; the text without a problem has none
        "left_top": 0,  # "wait" and "i" are too rare to be neighbours
        "right_top": 0,
    }
    assert row(counts, "me check")["left_top"] == 4
    assert row(counts, "so it is")["maths_after"] == 1
    assert row(counts, "it")["right_top"] == row(counts, "it")["left_top"] == 3


def test_totals_by_hand(counts) -> None:
    assert (counts.n_solutions, counts.n_problems, counts.n_statements) == (4, 3, 2)
    assert counts.n_words == 7 + 3 + 8 + 6
    assert counts.n_characters == sum(len(TRACES[i].solution) for i in (0, 1, 3, 4))
    assert counts.skipped == {"duplicates": 1, "empty": 1}
    assert counts.groups == ("(unknown)", "a", "b")
    assert counts.group_problems.tolist() == [1, 1, 1]
    (i,) = np.flatnonzero(counts.text == "let me check")
    assert counts.problems_by_group[i].tolist() == [1, 1, 1]
    assert (counts.n_max, counts.min_problems) == (3, 3)


def test_groups_are_the_callers_choice() -> None:
    by_style = count_ngrams(TRACES, min_problems=1, groups="style")
    assert by_style.groups == ("(unknown)", "cot")
    assert by_style.group_problems.tolist() == [1, 2]
    assert count_ngrams(TRACES, min_problems=1, groups=lambda trace: "all").groups == ("all",)


def test_the_file_holds_everything(counts, tmp_path) -> None:
    path = counts.save(tmp_path / "counts.parquet")
    loaded = Counts.load(path)
    for f in fields(Counts):
        np.testing.assert_array_equal(getattr(loaded, f.name), getattr(counts, f.name), err_msg=f.name)
    assert [p.name for p in tmp_path.iterdir()] == ["counts.parquet"]
    none = replace(counts.select(np.zeros(len(counts), bool)), groups=(), problems_by_group=np.zeros((0, 0), np.int64))
    assert Counts.load(none.save(path)).problems_by_group.shape == (0, 0)


def test_other_files_are_refused(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="holds no counts"):
        Counts.load(tmp_path / "other.parquet")
    for name in ("broken.parquet", "nowhere.parquet"):
        with pytest.raises(DataError, match="cannot read the counts"):
            Counts.load(tmp_path / name)


def test_a_selection_keeps_totals(counts) -> None:
    some = counts.select(counts.n == 3)
    assert list(some.text) == ["let me check", "so it is"]
    assert some.problems_by_group.shape == (2, 3)
    assert some.n_words == counts.n_words
    assert len(counts.select(np.array([0, 2]))) == 2


@pytest.mark.parametrize(
    "settings",
    [
        *[{"n_max": 0}, {"n_max": 17}, {"min_problems": 1.5}, {"min_problems": -1}, {"min_problems": ()}],
        *[{"workers": 0}, {"memory": 1000}, {"groups": "licence"}],
    ],
)
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ConfigError):
        count_ngrams(TRACES, **settings)


def test_nothing_to_count_is_told() -> None:
    with pytest.raises(DataError, match="nothing to count"):
        count_ngrams([])
    with pytest.raises(DataError, match="1 of them without a word"):
        count_ngrams([TRACES[5]])


def test_scratch_space_is_removed_whatever_happens(tmp_path) -> None:
    def traces():
        yield TRACES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Corpus.encode(traces(), spill_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with Corpus.encode(TRACES, spill_dir=tmp_path) as corpus:
        assert len(corpus) == 4
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="scratch folder"):
        Corpus.encode(TRACES, spill_dir=tmp_path / "file")


def test_progress_is_told() -> None:
    told = []
    count_ngrams(TRACES, n_max=2, min_problems=1, progress=lambda stage, done: told.append((stage, done)))
    assert told == [("read", 6), ("count", 1), ("count", 2)]


def test_clusters_need_as_many_positions_as_grams() -> None:
    with Corpus.encode(TRACES) as corpus:
        found = corpus.cluster_frequency(["let me", "so it is"], ["any", "sentence"], np.array([1, 0]))
        assert found.problems.tolist() == [2, 3]
        assert found.occurrences.tolist() == [2, 4]
        with pytest.raises(DataError, match="differ in number"):
            corpus.cluster_frequency(["so"], ["any", "any"], np.array([0]))
        with pytest.raises(DataError, match="given twice"):
            corpus.cluster_frequency(["so", "so"], ["any", "any"], np.array([0, 1]))
        with pytest.raises(DataError, match="unknown position"):
            corpus.cluster_frequency(["so"], ["start"], np.array([0]))
