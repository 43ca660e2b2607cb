"""Signals, judges and rules of mining, on corpora small enough to count by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError
from hicra.grams import filters, judge
from hicra.grams.corpus import ClusterFrequency
from hicra.grams.count import Counts, count_ngrams
from hicra.grams.functions import CONTENT, PROTOTYPES
from hicra.grams.judge import Judge, probability
from hicra.grams.profiles import PAPER, PROFILES, REFINED, Profile
from hicra.grams.signals import measure
from hicra.traces.schema import Trace

TEXTS = [
    ("add 1 red ball", "So we add 1 red ball. So it is 2."),
    ("add 2 blue balls", "So we add 2 blue balls, so it is 3."),
    ("take the red ball", "Wait, so we take the red ball. So we stop."),
]


@pytest.fixture(scope="module")
def counts() -> Counts:
    return count_ngrams(
        [Trace(str(i), p, s, source=f"s{i % 2}") for i, (p, s) in enumerate(TEXTS)], n_max=3, min_problems=1
    )


def at(counts: Counts, text: str) -> int:
    return counts.text.tolist().index(text)


def test_signals_by_hand(counts: Counts) -> None:
    found = measure(counts)
    so, ball = at(counts, "so"), at(counts, "red ball")
    assert found["spread"][so] == pytest.approx(0)  # in all three problems
    assert found["burst"][so] == pytest.approx(math.log(6 / 3))
    # all six begin a clause ("Wait, so"), four begin a sentence
    assert found["clause"][so] == pytest.approx(math.log(6.5 / 0.5))
    assert found["sentence"][so] == pytest.approx(math.log(4.5 / 2.5))
    # "red ball": in two of three solutions and in two of three statements; "so" in no statement
    assert found["surplus"][ball] == pytest.approx(0)
    assert found["surplus"][so] == pytest.approx(math.log(3.5 / 0.5))
    assert found["right_top"][so] == pytest.approx(4 / 6)  # four times "we", twice "it"


def test_words_of_a_gram(counts: Counts) -> None:
    found = measure(counts)
    gram, first, last = (at(counts, t) for t in ("so we", "so", "we"))
    assert found["words_surplus_least"][gram] == min(found["surplus"][[first, last]])
    assert found["words_surplus_mean"][gram] == pytest.approx(found["surplus"][[first, last]].mean())
    assert found["first_word_clause"][gram] == found["clause"][first]
    assert found["last_word_left_top"][gram] == found["left_top"][last]


def test_evenness(counts: Counts) -> None:
    found = measure(counts)
    assert found["evenness"][at(counts, "wait")] == pytest.approx(0)  # in one of the two sources only
    assert found["evenness"][at(counts, "so")] == pytest.approx(1)
    alone = replace(counts, groups=("all",), problems_by_group=counts.problems[:, None], group_problems=np.array([3]))
    assert (measure(alone)["evenness"] == 1).all()


def test_a_gram_has_the_same_signals_among_its_words_only(counts: Counts) -> None:
    """`hicra grams why` measures one gram on its own."""
    rows = np.isin(counts.text.astype(str), ["red", "red ball", "ball"])
    few, all_ = filters.signals(counts.select(rows)), filters.signals(counts)
    for name, values in few.items():
        if name != "text":
            np.testing.assert_allclose(values, all_[name][rows], err_msg=name)


def test_signals_of_nothing(counts: Counts) -> None:
    empty = filters.signals(counts.select(np.zeros(len(counts), bool)))
    assert all(len(values) == 0 for values in empty.values())


# --- the judge --------------------------------------------------------------------------------------------------------
TINY = Judge(
    signals={"spread": (1.0, 2.0, 3.0, 4.0), "one_word": (0.0, 1.0, 0.5, 0.0)},
    prototypes={"wait": (0.1, 0.5, 1.0, 0.0)},
    words={("first", "so"): (-1.0, 2.0), ("last", "so"): (0.25, 0.0), ("any", "we"): (0.125, 0.0)},
    start=(-2.0, 1.0, 0.5),
)
SEEN = {"text": np.array(["so", "so we so"], object), "n": np.array([1.0, 3.0]), "spread": np.array([3.0, 1.0])}


def test_log_odds_by_hand() -> None:
    inside, clause, sentence = TINY.log_odds(SEEN, np.array([[0.6], [0.1]]))
    # intercept + spread + one word + likeness + words
    assert inside.tolist() == pytest.approx([-2 + 3 + 0.5 + 1 - 1 + 0.25, -2 + 0 + 0 + 0 - 1 + 0.25 + 0.125])
    assert (clause - inside).tolist() == pytest.approx([1 + 4 + 2, 1 + 0 + 2])
    assert (sentence - clause).tolist() == pytest.approx([0.5, 0.5])


def test_terms_add_up_to_the_log_odds() -> None:
    likeness = np.array([[0.6], [0.1]])
    clause = TINY.log_odds(SEEN, likeness).clause
    for i in range(2):
        row = {name: values[i] for name, values in SEEN.items()}
        terms = TINY.terms(row, {"wait": likeness[i, 0]})
        assert sum(value for _, value in terms) + TINY.start[0] + TINY.start[1] == pytest.approx(clause[i])
        assert [abs(v) for _, v in terms] == sorted((abs(v) for _, v in terms), reverse=True)


def test_what_a_judge_refuses() -> None:
    with pytest.raises(DataError, match="likenesses do not fit"):
        TINY.log_odds(SEEN)
    with pytest.raises(DataError, match="needs the signal 'spread'"):
        TINY.log_odds({k: v for k, v in SEEN.items() if k != "spread"}, np.zeros((2, 1)))
    with pytest.raises(DataError, match="no judge 'taste'"):
        judge.load("taste")


def test_the_judges_of_the_package() -> None:
    numbers, meaning = judge.load("numbers"), judge.load("meaning")
    assert not numbers.prototypes
    assert list(meaning.prototypes) == judge.prototype_sentences()
    assert set(numbers.signals) == set(meaning.signals)
    assert all(" " not in word for _, word in meaning.words), "no phrase has a weight of its own"
    assert all(scale > 0 for _, scale, _, _ in [*meaning.signals.values(), *meaning.prototypes.values()])
    assert len(judge.fingerprint()) == 16


# --- rules ------------------------------------------------------------------------------------------------------------
class Alphabet:
    """An encoder for tests: the share of each letter."""

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = np.array([[t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts], np.float32) + 1e-3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rules_of_the_profiles(counts: Counts) -> None:
    found = filters.signals(counts)
    assert [r.name for r in (*filters.rules(PAPER), *filters.late_rules(PAPER))] == ["length"]
    assert [r.name for r in (*filters.rules(REFINED), *filters.late_rules(REFINED))] == ["length", "likely", "steers"]
    (length,) = filters.rules(PAPER)
    assert length.keep(found).tolist() == (counts.n == 3).tolist()
    row = {name: values[at(counts, "so")] for name, values in found.items()}
    assert length.says(row) == "it has 1 words, the profile takes 3 to 5"
    likely = filters.rules(REFINED)[1]
    assert likely.keep(found).tolist() == (found["likely"] >= REFINED.likely).tolist()
    assert f"{row['likely']:.2f}" in likely.says(row)
    assert filters.keeps(row, PAPER) == "its cluster is among the most frequent"


def test_judging_adds_probabilities(counts: Counts) -> None:
    found = filters.signals(counts)
    texts = [str(text) for text in counts.text]
    assert filters.judge(found, Alphabet().encode(texts), Alphabet(), PAPER) == {}
    added = filters.judge(found, Alphabet().encode(texts), Alphabet(), REFINED)
    assert set(added) == {"steers_inside", "steers_clause", "steers_sentence", "steers"}
    assert all(((values >= 0) & (values <= 1)).all() for values in added.values())
    late = filters.late_rules(REFINED)[0]
    both = found | added
    assert late.keep(both).tolist() == (added["steers"] >= REFINED.steers).tolist()
    row = {name: values[0] for name, values in both.items()}
    assert f"{row['steers']:.2f}" in late.says(row)
    assert f"{row['steers']:.2f}" in filters.keeps(row, REFINED)


@pytest.mark.parametrize(
    ("inside", "clause", "sentence", "clause_share", "expected"),
    [
        (0.9, 0.9, 0.9, 0.5, "any"),
        (0.1, 0.9, 0.9, 0.5, "clause"),
        (0.1, 0.1, 0.9, 0.5, "sentence"),
        (0.95, 0.1, 0.1, 0.01, "any"),  # hardly ever begins a clause
        (0.95, 0.1, 0.1, 0.9, "sentence"),  # mostly begins one: no place where it steers
    ],
)
def test_positions(inside: float, clause: float, sentence: float, clause_share: float, expected: str) -> None:
    odds = math.log(clause_share / (1 - clause_share))
    seen = {
        "text": np.array(["so"], object),
        "clause": np.array([odds]),
        "sentence": np.array([-20.0]),  # of the clause starts hardly any begins a sentence
        "begins_clause": np.array([True]),
        "begins_sentence": np.array([True]),
        "steers_inside": np.array([inside]),
        "steers_clause": np.array([clause]),
        "steers_sentence": np.array([sentence]),
    }
    assert filters.positions(seen, replace(REFINED, steers=0.8)).tolist() == [expected]
    assert filters.positions(seen, PAPER).tolist() == ["any"]


@pytest.mark.parametrize(
    ("begins_clause", "begins_sentence", "expected"),
    [(True, True, "clause"), (False, True, "sentence"), (False, False, None)],
)
def test_a_gram_counts_only_where_it_occurs(begins_clause: bool, begins_sentence: bool, expected: str | None) -> None:
    seen = {
        "text": np.array(["so"], object),
        "clause": np.array([0.0]),
        "sentence": np.array([-20.0]),
        "begins_clause": np.array([begins_clause]),
        "begins_sentence": np.array([begins_sentence]),
    }
    steers = {f"steers_{k}": np.array([v]) for k, v in {"inside": 0.1, "clause": 0.9, "sentence": 0.95}.items()}
    at, value = filters._best(seen, steers, REFINED)
    assert (at[0] if value[0] >= REFINED.steers else None) == expected
    odds = judge.LogOdds(*(np.array([x]) for x in (-2.0, 1.0, 2.0)))
    best = 2.0 if begins_sentence else 1.0 if begins_clause else -2.0
    assert filters.likely(seen, odds) == pytest.approx(1 / (1 + math.exp(-best)))


def test_clusters_by_document_frequency() -> None:
    problems, solutions = np.array([5, 1, 3, 3, 2]), np.array([5, 9, 3, 3, 2])
    frequency = ClusterFrequency(problems, solutions, solutions, problems[:, None])
    keep, says = filters.keep_clusters(replace(REFINED, top=0.4), frequency, 100)
    assert keep.tolist() == [True, False, True, True, False]  # a tie at the edge stays
    assert "in 1 problems" in says(1)
    assert "are in 3 or more" in says(1)
    keep, _ = filters.keep_clusters(replace(PAPER, top=0.4), frequency, 100)
    assert keep.tolist() == [True, True, False, False, False]  # by solutions
    keep, says = filters.keep_clusters(replace(REFINED, cluster_problems=0.03), frequency, 100)
    assert keep.tolist() == [True, False, True, True, False]
    assert "2 of 100 problems" in says(4)


@pytest.mark.parametrize(
    "wrong",
    [{"n_min": 4, "n_max": 3}, {"steers": 1.5}, {"top": -0.1}, {"clustering": "guess"}, {"frequency": "tokens"}],
)
def test_profiles_out_of_range(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Profile("mine", **wrong)


def test_profiles_by_name() -> None:
    assert PROFILES == {"paper": PAPER, "refined": REFINED}
    assert (PAPER.n_min, PAPER.n_max, PAPER.top, PAPER.frequency) == (3, 5, 0.2, "solutions")


def test_probability_does_not_overflow() -> None:
    assert probability(np.array([-1e9, 0.0, 1e9])).tolist() == pytest.approx([0, 0.5, 1])


def test_prototypes_are_said_once() -> None:
    sentences = [*(s for texts in PROTOTYPES.values() for s in texts), *CONTENT]
    assert len(set(sentences)) == len(sentences) == len(judge.prototype_sentences())
