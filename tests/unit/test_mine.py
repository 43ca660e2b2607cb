"""Mining from start to end: what comes out, what is kept of the way, what goes wrong and how it is told."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hicra
from hicra import GramSet
from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, evidence_path
from hicra.grams.mine import mine
from hicra.grams.profiles import REFINED
from hicra.grams.why import why
from hicra.traces import Trace
from tests.gram_models import TrigramModel
from tests.mining_corpus import corpus


def encoder() -> Encoder:
    return Encoder(TrigramModel(), cache=False)


def write(path: Path, traces: list[Trace], *more: str) -> Path:
    path.write_text("".join(json.dumps(dataclasses.asdict(t)) + "\n" for t in traces) + "".join(more))
    return path


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return corpus()


@pytest.fixture(scope="module")
def mined(traces: list[Trace], tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mined") / "shop.json"
    hicra.mine(traces, encoder=encoder(), out=path)
    return path


def test_a_set_comes_out_and_says_where_it_is_from(mined: Path) -> None:
    grams = GramSet.load(mined)
    assert len(grams) > 3
    assert all(g.cluster is not None and g.function is not None for g in grams)
    facts = grams.provenance
    assert facts["corpus"]["traces"] == 240
    assert facts["corpus"]["sources"] == {"shop-0": 120, "shop-1": 120}
    assert facts["counted"]["n_problems"] == 120
    assert facts["profile"]["name"] == "refined"
    assert facts["encoder"]["fingerprint"] == "trigrams"
    left = [step["left"] for step in facts["funnel"]]
    assert left == sorted(left, reverse=True)
    assert left[-1] == len(grams)


def test_the_evidence_knows_every_candidate(mined: Path) -> None:
    grams, evidence = GramSet.load(mined), Evidence.load(evidence_path(mined))
    assert evidence.facts["grams_hash"] == grams.hash
    assert len(evidence) == grams.provenance["funnel"][0]["left"]
    texts = evidence.columns["text"].tolist()
    assert texts == sorted(texts)
    for text, rule in zip(texts, evidence.columns["rule"], strict=True):
        assert (rule is None) == (text in grams)
    dropped = evidence.columns["rule"].tolist()
    for text in [*(g.text for g in grams), *(texts[dropped.index(rule)] for rule in {*dropped} - {None})]:
        answer = why(text, grams, evidence)
        assert answer.verdict == ("in" if text in grams else "out")
        assert "steers with a probability of" in answer.reasons[text in grams]
    for gram in grams:
        row = evidence.row(gram.text)
        assert row is not None
        assert (row["at"], row["cluster"], row["function"]) == (gram.at, gram.cluster, gram.function)
        assert gram.cluster in {g.text for g in grams if g.cluster == gram.cluster} | set(texts)


def test_order_files_and_repeats_leave_no_mark(traces: list[Trace], mined: Path, tmp_path: Path) -> None:
    shuffled = [*traces, *traces[:50]]
    random.Random(1).shuffle(shuffled)
    files = [write(tmp_path / f"{i}.jsonl", shuffled[i::3]) for i in range(3)]
    grams = mine([str(f) for f in reversed(files)], encoder=encoder(), name="shop", workers=1)
    assert grams.hash == GramSet.load(mined).hash
    renamed = [replace(t, id=f"other-{i}") for i, t in enumerate(traces)]
    assert mine(renamed, encoder=encoder()).hash == grams.hash


def test_both_profiles_and_their_thresholds(traces: list[Trace]) -> None:
    paper = mine(traces, profile="paper", encoder=encoder())
    assert {len(g.text.split()) for g in paper} <= {3, 4, 5}
    assert paper.provenance["profile"]["name"] == "paper"
    strict = replace(REFINED, min_problems=60)
    few = mine(traces, profile=strict, encoder=encoder())
    assert few.provenance["counted"]["min_problems"] == 60
    with pytest.raises(ConfigError, match="refned"):
        mine(traces, profile="refned", encoder=encoder())
    with pytest.raises(ConfigError, match="engine"):
        mine(traces, engine="spark", encoder=encoder())


def test_broken_rows_are_left_out_and_told(traces: list[Trace], mined: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", traces, '{"problem": \n', "[1]\n")
    with pytest.warns(HicraWarning, match=r"2 broken rows were left out(?s:.*)t\.jsonl:241: (?s:.*)t\.jsonl:242: "):
        grams = mine(path, encoder=encoder())
    assert grams.hash == GramSet.load(mined).hash
    assert grams.provenance["corpus"]["broken_rows"] == 2
    with pytest.raises(DataError, match=r"t\.jsonl:241"):
        mine(path, encoder=encoder(), strict=True)


def test_wrong_answers_are_no_source_of_phrases(traces: list[Trace], mined: Path) -> None:
    wrong = [replace(t, solution="I give up right here.", correct=False, id=f"w{t.id}") for t in traces]
    grams = mine([*traces, *wrong], encoder=encoder())
    assert grams.hash == GramSet.load(mined).hash
    assert grams.provenance["corpus"]["left_out_as_wrong"] == 240
    assert mine([*traces, *wrong], encoder=encoder(), wrong=True).hash != grams.hash


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to mine"),
        ([Trace("a", "p", "Wait, let me check.", True)], r"too small to mine(?s:.*)problems: 1, solutions: 1"),
        ([Trace("a", "p", "42", True)], "nothing to count"),
        ([Trace("a", "p", "so", False)], "no successful trace"),
    ],
)
def test_empty_and_tiny_corpora_get_an_answer(given: list[Trace], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        mine(given, encoder=encoder(), out=tmp_path / "grams.json")
    assert list(tmp_path.iterdir()) == []


def test_rules_that_leave_nothing_say_so(traces: list[Trace]) -> None:
    for harsh in (replace(REFINED, likely=1.0), replace(REFINED, steers=1.0)):
        with pytest.raises(DataError, match=r"the rules leave nothing(?s:.*): 0 left"):
            mine(traces, profile=harsh, encoder=encoder())


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    def never() -> Any:
        yield Trace("a", "p", "s", True)
        raise AssertionError("read on")

    for out in (tmp_path / "missing" / "grams.json", tmp_path / "grams.txt", tmp_path):
        with pytest.raises(DataError, match="cannot write the gram set"):
            mine(never(), encoder=encoder(), out=out)
    folder = tmp_path / "traces"
    folder.mkdir()
    write(folder / "grams.json", corpus(2))
    with pytest.raises(DataError, match="lies among the traces"):
        mine(folder, encoder=encoder(), out=folder / "grams.json")


def test_hostile_text_is_text(traces: list[Trace], mined: Path) -> None:
    evil = [
        Trace(f"e{i}", f"evil {i}", text, True)
        for i, text in enumerate(["\x1b[31m\u202e" * 50, "\ud83d", "$" * 3000, "a" * 200_000, "\n" * 999, "'-" * 999])
    ]
    assert {g.text for g in mine([*traces, *evil], encoder=encoder())} & {g.text for g in GramSet.load(mined)}


def test_progress_is_told(traces: list[Trace]) -> None:
    seen: list[tuple[str, int, int | None]] = []
    mine(traces, encoder=encoder(), progress=lambda *step: seen.append(step))
    assert [s for i, (s, _, _) in enumerate(seen) if i == 0 or seen[i - 1][0] != s] == [
        "read",
        "count",
        "embed",
        "cluster",
    ]
    assert all(total is None or done <= total for _, done, total in seen)
