"""Counting against a slow oracle, and what must not change its result: order, repeats, sharding, spilling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.errors import DataError
from hicra.grams.corpus import Corpus, grouping
from hicra.grams.count import COLUMNS, Counts, count_ngrams, least
from hicra.grams.text import normalise_gram, words
from hicra.traces.schema import Trace
from tests import count_oracle

WORDS = ["wait", "no", "so", "we", "can", "see", "let's", "let’s", "Wait", "SO", "naïve", "NAÏVE", "x", "to-do", "中"]
MARKS = [
    *[" ", " ", " ", " ", "\n", "\n\n", ",", ", ", ". ", ".", "! ", "? ", ": ", "; ", "-", " - ", "—", "'", '"'],
    *["(", ")", "5", "3.14 ", "x2", "wait_for", "_", "=", " + ", "%", "$x$", "$$ y $$", "\\(a\\)", "\\[ b", "$5 ", "$"],
    *["\\", "\\frac", "×", "•", "…", "≤", "±", "->", "# ", "<", "|", "\u00a0", "\u200b", "a" * 64, "a" * 65],
]  # fmt: skip
TEXT = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(WORDS), st.sampled_from(MARKS)), max_size=14).map(
    lambda pieces: "".join(pieces)
) | st.lists(st.sampled_from([w + " " for w in WORDS[:6]]), max_size=10).map("".join)
TRACE = st.builds(
    Trace,
    id=st.just(""),
    problem=st.sampled_from(["", "  ", "so we can see", "So  we\ncan see", "wait: no, so 5", "two"]) | TEXT,
    solution=TEXT,
    source=st.sampled_from([None, "a:1", "a:2", "b"]),
    style=st.none(),
)
CORPUS = st.lists(TRACE, min_size=1, max_size=8)


def as_rows(counts: Counts) -> dict[str, dict[str, Any]]:
    """In the oracle's form."""
    rows: dict[str, dict[str, Any]] = {}
    for i, text in enumerate(counts.text):
        rows[text] = {name: int(getattr(counts, name)[i]) for name in COLUMNS[1:]}
        row = counts.problems_by_group[i]
        rows[text]["groups"] = {counts.groups[s]: int(row[s]) for s in np.flatnonzero(row)}
    rows[""] = {
        name: getattr(counts, name)
        for name in ("n_solutions", "n_problems", "n_statements", "n_words", "n_characters", "skipped")
    }
    rows[""]["groups"] = {g: int(p) for g, p in zip(counts.groups, counts.group_problems, strict=True) if p}
    return rows


def equal(one: Counts, other: Counts) -> bool:
    return as_rows(one) == as_rows(other) and list(one.text) == list(other.text) and one.groups == other.groups


def counted(traces: list[Trace], **settings: Any) -> Counts | None:
    settings = {"n_max": 4, "min_problems": 1, "workers": 1, **settings}
    if any(words(trace.solution) for trace in traces):
        return count_ngrams(traces, **settings)
    with pytest.raises(DataError, match="nothing to count"):
        count_ngrams(traces, **settings)
    return None


@settings(max_examples=250, deadline=None)
@given(CORPUS, st.integers(1, 3), st.integers(1, 4))
def test_counts_equal_the_oracle(traces: list[Trace], minimum: int, n_max: int) -> None:
    ours = counted(traces, min_problems=minimum, n_max=n_max)
    theirs = count_oracle.count(traces, n_max=n_max, minimum=minimum, group=grouping("source"))
    if ours is None:
        assert theirs[""]["n_solutions"] == 0
        return
    got = as_rows(ours)
    assert got[""] == theirs[""]
    assert list(ours.text) == sorted(theirs.keys() - {""})
    for text, row in theirs.items():
        assert {name: value for name, value in got[text].items() if value != row[name]} == {}, text


@settings(max_examples=60, deadline=None)
@given(CORPUS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_order_repeats_and_workers_change_nothing(traces: list[Trace], random: Any, workers: int) -> None:
    once = counted(traces)
    shuffled = [*traces, *(replace(t, id="again", source="later in the alphabet") for t in traces[:3])]
    random.shuffle(shuffled)
    again = counted(shuffled, workers=workers)
    assert (once is None) == (again is None)
    if once is not None and again is not None:
        assert again.skipped["duplicates"] + again.skipped["empty"] >= once.skipped["duplicates"]
        assert again.n_solutions == once.n_solutions
        assert equal(replace(again, skipped=once.skipped), once)


@settings(max_examples=60, deadline=None)
@given(CORPUS)
def test_grams_are_as_the_labeller_reads_them(traces: list[Trace]) -> None:
    counts = counted(traces)
    for text in counts.text if counts else ():
        assert normalise_gram(text) == (text, None)


@settings(max_examples=60, deadline=None)
@given(CORPUS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_cluster_frequencies_equal_the_oracle(traces: list[Trace], random: Any, n_clusters: int) -> None:
    if (counts := counted(traces, n_max=3)) is None:
        return
    texts = [*random.sample(list(counts.text), min(8, len(counts))), "not there", "so nothing"]
    at = [random.choice(["any", "clause", "sentence"]) for _ in texts]
    cluster = np.array([random.randrange(n_clusters) for _ in texts])
    with Corpus.encode(traces) as corpus:
        found = corpus.cluster_frequency(texts, at, cluster)
    wanted = count_oracle.cluster_counts(traces, texts, at, cluster.tolist(), grouping("source"))
    for c in range(int(cluster.max()) + 1):
        by_group = {g: int(p) for g, p in zip(corpus.groups, found.problems_by_group[c], strict=True) if p}
        assert (found.problems[c], found.solutions[c], found.occurrences[c], by_group) == wanted[c]


def corpus_of(seed: int, size: int) -> list[Trace]:
    """Traces long and many enough for several levels, shards and files."""
    rng = np.random.default_rng(seed)
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "lmnrst"]
    weight = 1 / np.arange(1, len(words) + 1)
    traces = []
    for i in range(size):
        text = rng.choice(words, rng.integers(5, 200), p=weight / weight.sum())
        joins = rng.choice([" ", ", ", ". ", "\n", " 7 "], len(text), p=[0.8, 0.08, 0.06, 0.03, 0.03])
        solution = "".join(w + j for w, j in zip(text, joins, strict=True))
        problem = f"problem {rng.integers(size // 3)}: {words[i % 40]}"
        traces.append(Trace(str(i), problem, solution, source=f"s{i % 3}"))
    return traces


def test_bounded_memory_spills_and_changes_nothing(tmp_path, monkeypatch) -> None:
    from hicra.grams import _count, _encode

    traces = corpus_of(0, 600)
    wanted = count_ngrams(traces, n_max=3, min_problems=3, workers=1)
    monkeypatch.setattr(_encode, "BATCH", 1 << 14)
    monkeypatch.setattr(_encode, "LONGEST_SHARD", 1 << 13)
    monkeypatch.setattr(_count, "SMALL", 1 << 8)
    with Corpus.encode(traces, spill_dir=tmp_path, workers=2, memory=1 << 20) as corpus:
        corpus.shelf._memory = 1 << 16
        reading = corpus.shelf.spilled
        tight = corpus.count(n_max=3, min_problems=3)
        assert corpus.n_shards > 5
        assert reading > 1 << 17
        assert corpus.shelf.spilled > reading + (1 << 17)
    assert not list(tmp_path.iterdir())
    assert wanted.n.max() == 3
    assert equal(wanted, tight)


def test_many_groups_are_put_together() -> None:
    traces = [Trace(str(i), f"problem {i}", "we can see", source=f"s{i:03}") for i in range(100)]
    traces += [Trace(f"{i}+", "another", f"so we can see {'so ' * i}", source="s007") for i in range(3)]
    counts = count_ngrams(traces, min_problems=2, n_max=1)
    assert counts.groups == ("(other)", *(f"s{i:03}" for i in range(63)))
    assert counts.group_problems.tolist() == [37, *([1] * 7), 2, *([1] * 55)]
    row = list(counts.text).index("we")
    assert counts.problems_by_group[row].tolist() == counts.group_problems.tolist()


def test_a_sample_that_misleads_is_made_good(monkeypatch) -> None:
    from hicra.grams import _count

    traces = corpus_of(1, 300)
    plain = count_ngrams(traces, min_problems=2)
    monkeypatch.setattr(_count._Counter, "_estimate", lambda self, n, bound: 10)
    assert equal(plain, count_ngrams(traces, min_problems=2))


def test_the_minimum() -> None:
    assert least(7, 1000) == 7
    assert least(0.002, 1000) == 2
    assert least(0.002, 1001) == 3
    assert least((5, 0.002), 1000) == 5
    assert least((5, 0.002), 10_000) == 20
    assert least(0, 10) == 1
    assert least(0.0, 10) == 1
