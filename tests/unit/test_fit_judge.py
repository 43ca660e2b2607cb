"""What the judges are fitted to: words of excerpts, and which occurrences count."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hicra.grams.count import count_ngrams
from hicra.grams.judge import PLACES, Judge, probability
from hicra.grams.signals import measure
from hicra.labels.quality import Excerpt, Marked
from hicra.traces.schema import Trace
from scripts.fit_judge import Features, Occurrences, to_json, words_of
from tests import oracle

TEXT = "Wait, let’s re-check x2. So\nwe add $x$ to it; d'accord"


def test_words_are_those_of_the_text_rules() -> None:
    expected = [
        (w.text, w.chars[0], w.chars[-1] + 1, 2 if w.sentence else 1 if w.clause else 0)
        for stretch in oracle.stretches(TEXT)
        for w in stretch
    ]
    found = words_of(TEXT)
    assert [(w.text, w.start, w.end, w.opens) for w in found] == expected
    firsts = [stretch[0].text for stretch in oracle.stretches(TEXT) if stretch]
    assert [w.text for w in found if w.breaks] == firsts


@pytest.fixture(scope="module")
def seen():
    text = "Let me check it. Let it be."
    spans = (Marked(0, 12, "backtracing"),)  # Let me check
    counts = count_ngrams([Trace("0", "p", text)], n_max=3, min_problems=1)
    return counts, Occurrences.find([Excerpt("a", "s", text, spans, ())], counts)


def test_occurrences(seen) -> None:
    counts, found = seen
    rows = {
        (str(counts.text[g]), int(p)): (bool(s), bool(u))
        for g, p, s, u in zip(found.gram, found.place, found.steers, found.used, strict=True)
    }
    assert rows["let me check", 2] == (True, True)
    assert rows["let me", 2] == (True, True)  # begins the span
    assert rows["me check", 0] == (True, False)  # a fragment: not trained on
    assert rows["check it", 0] == (False, True)
    assert rows["let it be", 2] == (False, True)
    assert ("it let", 0) not in rows


class Letters:
    """An encoder for tests."""

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = np.array([[t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts], np.float32) + 1e-3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_fitted_judge_tells_apart_what_it_saw(seen) -> None:
    counts, found = seen
    features = Features(measure(counts), np.unique(found.gram), Letters())  # type: ignore[arg-type]
    judge = features.fit(found, np.ones(len(found), bool), meaning=True, strength=100.0)
    assert isinstance(judge, Judge)
    odds = judge.log_odds({k: v[features.rows] for k, v in measure(counts).items()}, features.likeness)
    steers = {t: float(p) for t, p in zip(features.texts, probability(odds.sentence), strict=True)}
    assert steers["let me check"] > 0.5 > steers["let it be"]
    plain = to_json(judge)
    assert set(plain["words"]) == set(PLACES)
    assert len(plain["signals"]["spread"]) == 4
