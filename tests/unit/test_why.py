"""Evidence on disk, and what is said of a phrase that is in, out, or was never a candidate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hicra import Gram, GramSet
from hicra.errors import DataError
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, evidence_path
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

    columns = {
        "text": strings("let me check", "let me verify", "of the number", "so"),
        "n": np.array([3, 3, 3, 1]),
        "tf": np.array([30, 40, 90, 500]),
        "df": np.array([25, 33, 60, 300]),
        "problems": np.array([20, 30, 50, 90]),
        "clause": np.array([30, 20, 0, 400]),
        "at": strings("any", "any", "any", "clause"),
        "rule": strings(None, None, "clause share", None),
        "reason": strings(None, None, "0 % of it begins a clause, 50 % are wanted", None),
        "cluster": strings("let me check", "let me check", None, "so"),
        "function": strings("backtracing", "backtracing", None, "deduction"),
        "cluster_problems": np.array([45, 45, np.nan, 90]),
    }
    facts = {"grams_hash": GRAMS.hash, "counted": {"n_problems": 100, "n_max": 4, "min_problems": 5}}
    return Evidence(columns, facts)


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
    assert "30 times in 25 solutions to 20 problems (20.00%); 100% of the occurrences begin a clause" in told
    assert "one of 2 wordings of 'let me check', which are in 45 problems (45.0%)" in told
    assert "its function is backtracing" in told
    assert "where a clause begins" in why("so", GRAMS, evidence()).reasons[0]


def test_a_candidate_that_was_dropped_says_by_what() -> None:
    answer = why("of the number", GRAMS, evidence())
    assert answer.verdict == "out"
    assert answer.reasons[0] == "0 % of it begins a clause, 50 % are wanted"
    assert "50 problems (50.00%)" in answer.reasons[1]
    assert answer.numbers is not None
    assert answer.numbers["rule"] == "clause share"


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
