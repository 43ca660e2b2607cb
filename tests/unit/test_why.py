"""Evidence on disk, and what is said of a phrase that is in, out, or was never a candidate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hicra import Gram, GramSet
from hicra.errors import DataError
from hicra.grams.count import COLUMNS, Counts
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, evidence_path
from hicra.grams.profiles import PAPER, REFINED
from hicra.grams.why import why
from tests.gram_models import TrigramModel

GRAMS = GramSet.from_grams(
    [
        Gram("let me check", cluster="let me check", function="backtracing"),
        Gram("let me verify", cluster="let me check", function="backtracing"),
        Gram("so", at="clause", cluster="so", function="deduction"),
    ],
    name="mine",
)


def evidence() -> Evidence:
    def strings(*values: str | None) -> np.ndarray:
        return np.array(values, np.object_)

    texts = strings("let me check", "let me verify", "number", "of the number", "so", "the")
    size = len(texts)
    numbers = {
        "n": [3, 3, 1, 3, 1, 1],
        "tf": [30, 40, 99, 90, 500, 900],
        "df": [25, 33, 70, 60, 300, 320],
        "problems": [20, 30, 60, 50, 90, 100],
        "clause": [30, 20, 0, 0, 400, 100],
    }
    columns = {name: np.zeros(size, np.int64) for name in COLUMNS} | {k: np.array(v) for k, v in numbers.items()}
    counts = Counts(
        **(columns | {"text": texts}),
        problems_by_group=np.array(numbers["problems"])[:, None],
        groups=("shop",),
        group_problems=np.array([100]),
        n_solutions=330,
        n_problems=100,
        n_statements=100,
        n_words=9000,
        n_characters=50_000,
        n_max=4,
        min_problems=5,
    )
    more = {
        "at": strings("any", "any", "any", "any", "clause", "any"),
        "rule": strings(None, None, "length", "cluster", None, "length"),
        "reason": strings(None, None, None, "its cluster is in 50 solutions", None, None),
        "cluster": strings("let me check", "let me check", None, "of the number", "so", None),
        "function": strings("backtracing", "backtracing", None, "deduction", "deduction", None),
        "cluster_problems": np.array([45, 45, np.nan, 50, 90, np.nan]),
    }
    facts = {
        "grams_hash": GRAMS.hash,
        "profile": dataclasses.asdict(PAPER) | {"min_problems": [5, 0.0005]},
        "judge": None,
    }
    return Evidence.of(counts, more, facts)


def test_evidence_comes_back_from_disk(tmp_path: Path) -> None:
    path = evidence_path(tmp_path / "mine.json")
    assert path.name == "mine.evidence.parquet"
    assert evidence_path("grams.v2.json").name == "grams.v2.evidence.parquet"
    back = Evidence.load(evidence().save(path))
    assert back.facts == evidence().facts
    for name, column in evidence().columns.items():
        np.testing.assert_array_equal(back.columns[name], column)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(DataError, match="cannot write"):
        evidence().save(tmp_path / "missing" / "e.parquet")


def test_what_is_no_evidence_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "e.parquet"
    with pytest.raises(DataError, match="cannot read the evidence"):
        Evidence.load(path)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match="cannot read the evidence"):
        Evidence.load(path)
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(DataError, match="holds no evidence"):
        Evidence.load(path)


def test_a_phrase_that_is_in() -> None:
    answer = why("Let me check!", GRAMS, evidence())
    assert answer.verdict == "in"
    assert answer.text == "let me check"
    assert answer.cluster == ("let me verify",)
    told = "\n".join(answer.reasons)
    assert "counts anywhere" in told
    assert "its cluster is among the most frequent" in told
    assert "30 times in 25 solutions to 20 problems (20.00%); 100% of the occurrences begin a clause" in told
    assert "one of 2 wordings of 'let me check', which are in 45 problems (45.0%)" in told
    assert "its function is backtracing" in told
    assert "where a clause begins" in why("so", GRAMS, evidence()).reasons[0]


def test_a_candidate_that_was_dropped_says_by_what() -> None:
    answer = why("of the number", GRAMS, evidence())
    assert answer.verdict == "out"
    assert answer.reasons[0] == "its cluster is in 50 solutions"
    assert "50 problems (50.00%)" in answer.reasons[1]
    assert answer.numbers is not None
    assert answer.numbers["rule"] == "cluster"
    assert why("the", GRAMS, evidence()).reasons[0] == "it has 1 words, the profile takes 3 to 5"


def test_a_judge_that_is_no_more_is_not_put_words_into_the_mouth() -> None:
    facts = {**evidence().facts, "profile": dataclasses.asdict(REFINED), "judge": "of old"}
    old = Evidence(evidence().columns, facts)
    assert why("the", GRAMS, old).reasons[0].startswith("the rule 'length' dropped it (by a judge")
    assert why("so", GRAMS, old).reasons[1].startswith("all rules kept it")


def test_counts_of_a_candidate_and_its_words() -> None:
    counts = evidence().counts_of("of the number")
    assert counts.text.tolist() == ["number", "of the number", "the"]
    assert counts.problems.tolist() == [60, 50, 100]
    assert counts.problems_by_group.tolist() == [[60], [50], [100]]
    assert (counts.n_problems, counts.groups) == (100, ("shop",))


def test_a_phrase_that_was_never_a_candidate_has_neighbours() -> None:
    answer = why("let me re-check", GRAMS, evidence(), nearest=2)
    assert answer.verdict == "unknown"
    assert answer.reasons == (
        "it occurs in fewer than 5 distinct problems of 100, so it was not counted as a candidate",
    )
    assert [text for text, _ in answer.nearest] == ["let me check", "let me verify"]
    assert answer.nearest[0][1] > answer.nearest[1][1] > 0
    longer = why("so let me check that again", GRAMS, evidence())
    assert longer.reasons == ("it has 6 words; n-grams of up to 4 words were counted",)
    assert longer.inside == ("let me check", "so")
    by_meaning = why("let me re-check", GRAMS, evidence(), encoder=Encoder(TrigramModel(), cache=False), nearest=1)
    assert by_meaning.nearest[0][0] == "let me check"
    assert by_meaning.nearest[0][1] != answer.nearest[0][1]


def test_without_evidence_the_set_itself_speaks() -> None:
    paper = GramSet.load("paper")
    assert "2509.03646" in why("wait", paper).reasons[1]
    answer = why("brand new phrase", paper)
    assert answer.verdict == "unknown"
    assert "no evidence of the run" in answer.reasons[0]
    with pytest.raises(DataError, match="holds a break"):
        why("wait. so", paper)
