"""Mining does not depend on how its corpus is laid out: order, files, repeats, names of rows."""

from __future__ import annotations

import dataclasses
import json
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.grams.embed import Encoder
from hicra.grams.gramset import GramSet
from hicra.grams.merge import merge
from hicra.grams.mine import mine
from tests.gram_models import TrigramModel
from tests.mining_corpus import corpus

TRACES = corpus(60)


@cache
def expected() -> GramSet:
    return mine(TRACES, encoder=Encoder(TrigramModel(), cache=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shards")


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), files=st.integers(1, 5), repeats=st.integers(0, 40), workers=st.integers(1, 3))
def test_layout_of_the_corpus(folder, seed: int, files: int, repeats: int, workers: int) -> None:
    rng = random.Random(seed)
    rows = [dataclasses.replace(t, id=str(rng.random())) for t in [*TRACES, *rng.choices(TRACES, k=repeats)]]
    rng.shuffle(rows)
    paths = [folder / f"{i}.jsonl" for i in range(files)]
    for i, path in enumerate(paths):
        path.write_text("".join(json.dumps(dataclasses.asdict(t)) + "\n" for t in rows[i::files]))
    encoder = Encoder(TrigramModel(), cache=False, batch=rng.choice([1, 7, 256]))
    grams = mine([str(path) for path in paths], encoder=encoder, workers=workers)
    assert grams.hash == expected().hash
    counted, before = dict(grams.provenance["counted"]), dict(expected().provenance["counted"])
    skipped, skipped_before = counted.pop("skipped"), before.pop("skipped")
    assert counted == before
    assert skipped["duplicates"] == skipped_before["duplicates"] + repeats


phrases = st.sampled_from([g.text for g in GramSet.load("paper")][:40])
sets = st.lists(phrases, min_size=1, max_size=20).map(lambda texts: GramSet.from_grams(sorted(set(texts)), name="s"))


@settings(deadline=None)
@given(a=sets, b=sets, c=sets)
def test_merging_is_a_union_whatever_the_grouping(a: GramSet, b: GramSet, c: GramSet) -> None:
    merged = merge([a, b, c])
    assert {g.text for g in merged} == {g.text for part in (a, b, c) for g in part}
    assert merged.hash == merge([merge([a, b]), c]).hash == merge([a, merge([b, c])]).hash
    assert sum(parent["new"] for parent in merged.provenance["merged"]) == len(merged)
