"""Gram sets: making, loading, saving, comparing; and the set that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hicra import Gram, GramSet
from hicra.errors import DataError
from hicra.grams.gramset import shipped_sets

LISTING = Path(__file__).parents[3] / "shared" / "data" / "paper_strategic_grams.json"


def test_the_paper_set_is_listing_1() -> None:
    paper = GramSet.load("paper")
    assert len(paper) == 249
    assert "wait that's not right" in paper
    assert "step" in paper  # "## step"
    assert sum(len(g.text.split()) <= 2 for g in paper) == 64
    assert {g.at for g in paper} == {"any"}
    assert "2509.03646" in paper.provenance["source"]
    if LISTING.exists():
        assert GramSet.from_grams(json.loads(LISTING.read_text())["grams"]).diff(paper).added == ()
        assert {g.text for g in GramSet.from_grams(json.loads(LISTING.read_text())["grams"])} == {g.text for g in paper}


@pytest.mark.parametrize("name", shipped_sets())
def test_every_shipped_set_loads_and_has_a_card(name: str) -> None:
    import hicra.grams

    assert GramSet.load(name).name == name
    assert (Path(hicra.grams.__file__).parent / "data" / f"{name}.md").read_text("utf-8").startswith("# Gram set")


def test_the_hash_covers_content_and_nothing_else() -> None:
    base = GramSet.from_grams(["wait", "so we"], name="a")
    assert base.hash == GramSet.from_grams(["so we", "Wait"], name="b", provenance={"x": 1}).hash
    for other in (
        ["wait"],
        [Gram("wait", at="clause"), "so we"],
        [Gram("wait", cluster="doubt"), "so we"],
        [Gram("wait", function="backtracing"), "so we"],
    ):
        assert GramSet.from_grams(other).hash != base.hash
    # worked out by hand: SHA-256 of the canonical JSON below
    import hashlib

    canonical = '[1,["so we","any",null,null],["wait","any",null,null]]'
    assert base.hash == hashlib.sha256(canonical.encode()).hexdigest()


def test_clusters_are_numbered_by_name() -> None:
    made = GramSet.from_grams([Gram("b", cluster="x"), Gram("a", cluster="y"), Gram("c")])
    assert made.clusters == ("x", "y")
    assert made.cluster_id.tolist() == [1, 0, -1]
    assert [g.text for g in made] == ["a", "b", "c"]
    assert made[1].text == "b"
    assert made.index(" B ") == 1


def test_repeats_are_remarked_and_contradictions_refused() -> None:
    made = GramSet.from_grams(["wait", "Wait,", "wait"])
    assert len(made) == 1
    assert len(made.remarks) == 3  # a comma and two repeats
    with pytest.raises(DataError, match="given twice with different fields"):
        GramSet.from_grams(["so", Gram("so", at="clause")])


def test_saved_files_have_one_gram_a_line_and_are_atomic(tmp_path: Path) -> None:
    path = GramSet.from_grams([Gram("wait", at="clause", cluster="doubt"), "so"]).save(tmp_path / "s.json")
    lines = path.read_text("utf-8").splitlines()
    assert '  {"text": "so"},' in lines
    assert '  {"text": "wait", "at": "clause", "cluster": "doubt"}' in lines
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]
    with pytest.raises(DataError, match="cannot write"):
        GramSet.from_grams(["so"]).save(tmp_path / "missing" / "s.json")


def test_plain_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.json"
    path.write_text('["wait", {"text": "so", "at": "clause"}]')
    assert [g.at for g in GramSet.load(path)] == ["clause", "any"]
    assert GramSet.load(path).name == "plain"
    assert GramSet.load(str(path)).hash == GramSet.load(path).hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"grams": ["wait",\n}', "line 2: broken JSON"),
        ('{"words": []}', "holds no gram set"),
        ("3", "holds no gram set"),
        ('{"grams": []}', "needs at least one gram"),
        ('{"grams": ["so"], "format": "other"}', "another format"),
        ('{"grams": ["so"], "format_version": 9}', "another format"),
        ('{"grams": ["so"], "text_version": 2}', "unknown version of the text rules"),
        ('{"grams": ["so"], "hash": "0"}', "edited after it was saved"),
        ('{"grams": [{"text": "so", "where": "x"}]}', "unknown fields"),
        ('{"grams": [{"at": "any"}]}', "this is no gram"),
        ('{"grams": [7]}', "this is no gram"),
        ('{"grams": [{"text": 7}]}', "no string"),
        ('{"grams": [{"text": "so", "at": "middle"}]}', "unknown position"),
        ('{"grams": [{"text": "so", "function": "x"}]}', "unknown function"),
        ('{"grams": [{"text": "so", "cluster": 3}]}', "cluster is no name"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        GramSet.load(path)


def test_unknown_names_and_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no gram set 'papre'") as caught:
        GramSet.load("papre")
    assert "paper" in str(caught.value)
    with pytest.raises(DataError, match="cannot read"):
        GramSet.load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read"):
        GramSet.load(tmp_path / "binary.json")
    with pytest.raises(DataError, match="does not hold"):
        GramSet.load("paper").index("no such gram")
    with pytest.raises(DataError, match="one string"):
        GramSet.from_grams("wait")


def test_dropping_30_percent_keeps_the_rest_and_says_where_it_comes_from() -> None:
    paper = GramSet.load("paper")
    fewer = paper.drop(0.3, seed=1)
    assert len(fewer) == 249 - 75
    assert fewer != paper.drop(0.3, seed=2)
    assert fewer.provenance["parent_hash"] == paper.hash
    assert paper.drop(0, seed=1).grams == paper.grams
    with pytest.raises(DataError, match="out of range"):
        paper.drop(1.0, seed=0)


def test_differences_name_what_was_added_removed_and_changed() -> None:
    a = GramSet.from_grams(["wait", "so", "now"])
    b = GramSet.from_grams(["wait", Gram("so", at="clause"), "hmm"])
    change = a.diff(b)
    assert [g.text for g in change.added] == ["hmm"]
    assert [g.text for g in change.removed] == ["now"]
    assert [(x.at, y.at) for x, y in change.changed] == [("any", "clause")]
    assert change
    assert not a.diff(a)
