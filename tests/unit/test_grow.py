"""Growing a set: what is proposed from a corpus worked out by hand, how rules accept, and what applying writes."""

from __future__ import annotations

import dataclasses
import json
from math import log
from pathlib import Path

import pytest

from hicra import Gram, GramSet, Labeller
from hicra.cli import main
from hicra.errors import ConfigError, DataError
from hicra.grams.embed import Encoder
from hicra.grams.grow import Proposal, Settings, grow
from hicra.grams.grow_file import accept_rule, apply_proposals, write_proposals
from hicra.grams.sources import Sources
from hicra.grams.text import AGENT
from hicra.traces.schema import Trace
from tests.gram_models import TrigramModel

GRAMS = GramSet.from_grams(
    [
        Gram("we need to find", at="clause", cluster="need", function="branching"),
        Gram("we need to check", at="clause", cluster="need", function="branching"),
        Gram("we need to solve", at="clause", cluster="need", function="branching"),
        Gram("let me check", at="clause", cluster="check", function="backtracing"),
    ],
    name="small",
)
SENTENCES = {
    "We need to find zebras.": 6,
    "We need to prove it.": 4,  # in the slot <verb>
    "We need to eat it.": 4,  # not in it
    "Let me check that.": 5,
    "Let me checks that.": 5,  # near in letters, and before what known moves are before
    "Red apples fall.": 5,
}


def traces() -> list[Trace]:
    """One sentence a solution, one solution a problem."""
    found = [(s, i) for s, times in SENTENCES.items() for i in range(times)]
    return [Trace(id=f"{s}{i}", problem=f"{s} {i}", solution=s) for s, i in found]


def proposals(grams: GramSet = GRAMS, *, encoder: Encoder | None = None, **settings: float) -> dict[str, Proposal]:
    chosen = dataclasses.replace(Settings(min_problems=3), **settings)  # type: ignore[arg-type]
    return {p.text: p for p in grow(grams, Sources(traces()), encoder=encoder, settings=chosen)}


# --- proposing --------------------------------------------------------------------------------------------------------
def test_a_frame_becomes_a_slot_with_its_numbers() -> None:
    found = proposals(context=99)
    assert set(found) == {"we need to <verb>"}
    p = found["we need to <verb>"]
    assert (p.kind, p.at, p.cluster, p.function, p.fillers) == ("frame", "clause", "need", "branching", 3)
    # "prove" is new: four problems, each with one occurrence at a clause start; "find" has six of the ten occurrences
    assert (p.problems, p.df, p.tf, p.clause, p.share) == (4, 4, 4, 1.0, 0.6)
    assert "we need to prove" in p.evidence
    assert p.gram == Gram("we need to <verb>", "clause", "need", "branching")
    assert proposals(context=99, fillers=4) == {}


def test_words_of_no_slot_are_listed() -> None:
    odd = GramSet.from_grams([f"we need to {w}" for w in ("zig", "zag", "find")])
    found = proposals(odd, context=99)
    assert list(found) == ["we need to <find|prove|zag|zig>"]  # "eat" is in no slot
    assert found["we need to <find|prove|zag|zig>"].tf == 4


def test_near_phrases_are_proposed_with_their_gram() -> None:
    found = proposals(encoder=Encoder(TrigramModel(), cache=False), near=0.8, context=99)
    p = found["let me checks"]
    assert (p.kind, p.cluster, p.function, p.problems) == ("near", "check", "backtracing", 5)
    assert p.likeness > 0.8
    assert p.evidence.startswith("near 'let me check' (")
    assert not any("apples" in text for text in found)
    assert "let me check" not in found  # the set holds it


def test_contexts_are_weighed_as_written() -> None:
    p = proposals(context=0.5)["let me checks"]
    assert (p.kind, p.cluster) == ("context", None)
    # behind the set's grams: "zebras" 6 times, "that" 5 times; of 4 * 6 + 5 * 4 * 2 ... words "that" is 10
    words = sum(len(s.split()) * n for s, n in SENTENCES.items())
    assert p.context == round(log(5.5 / 12 / (10.5 / words)), 3)
    assert "followed by 'that'" in p.evidence


def test_what_a_pattern_holds_is_not_proposed() -> None:
    with_pattern = GramSet.from_grams([*GRAMS, "we need to <verb>", "let me <checks|zig>"])
    assert proposals(with_pattern, context=0.5).keys().isdisjoint({"we need to <verb>", "let me checks"})


def test_the_rules_of_the_set_cut_the_corpus() -> None:
    agent = GramSet.from_grams(GRAMS, rules=AGENT)
    rows = [
        Trace(id=str(i), problem=str(i), solution="we need to prove `so`\nrun `we need to eat` now") for i in range(5)
    ]
    found = grow(agent, Sources(rows), settings=Settings(min_problems=3, context=99))
    assert [p.text for p in found] == ["we need to <verb>"]
    assert found[0].tf == 5


def test_too_small_a_corpus_is_told() -> None:
    with pytest.raises(DataError, match="no phrase occurs in 99 distinct problems"):
        proposals(min_problems=99)


# --- rules ------------------------------------------------------------------------------------------------------------
ONE = Proposal("frame", "so <det>", "any", None, None, 20, 30, 40, 0.5, float("nan"), 1.5, 3, 0.6, "why")


@pytest.mark.parametrize(
    ("rule", "accepts"),
    [
        ("df>=30", True),
        ("df > 30", False),
        ("problems >= 20 and clause >= .5 and kind = frame", True),
        ("problems >= 20 and kind != frame", False),
        ("likeness >= 0", False),  # nan meets no threshold
        ("likeness < 1", False),
        ("at == any", True),
        ("share <= 6e-1", True),
    ],
)
def test_rules_accept(rule: str, accepts: bool) -> None:
    assert accept_rule(rule)(ONE) is accepts


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "df",
        "df >= x",
        "df >= 1 or tf >= 1",
        "__import__('os') >= 1",
        "evidence >= 1",
        "kind > frame",
        "df >= 1 and",
    ],
)
def test_rules_that_cannot_be_read_are_told(rule: str) -> None:
    with pytest.raises(ConfigError, match="the rule"):
        accept_rule(rule)


# --- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["p.tsv", "p.jsonl"])
def test_accepted_proposals_are_applied_with_provenance(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    found = list(proposals(context=0.5).values())
    assert write_proposals(path, found, GRAMS, accept="kind = frame") == 1
    made = apply_proposals(GRAMS, path)
    assert made.diff(GRAMS).removed == (Gram("we need to <verb>", "clause", "need", "branching"),)
    assert made.name == "small-grown"
    grown = made.provenance["grown"]
    assert (grown["parent_hash"], grown["accepted"], grown["proposed"]) == (GRAMS.hash, {"frame": 1}, len(found))
    assert grown["accept_rule"] == "kind = frame"
    assert GramSet.load(made.save(tmp_path / "set.json")) == made
    assert [s.gram for s in Labeller(made).spans("we need to prove it")] == ["we need to <verb>"]
    with pytest.raises(DataError, match="for another set"):
        apply_proposals(made, path)


def test_a_hand_may_accept_and_edit(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    write_proposals(path, list(proposals(context=0.5).values()), GRAMS)
    with pytest.raises(DataError, match="accepts nothing"):
        apply_proposals(GRAMS, path)
    lines = path.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if "\tlet me checks\t" in line)
    edited = lines[row].replace("\tclause\t", "\tany\t")
    path.write_text("\n".join([*lines[:row], f"X{edited}", *lines[row + 1 :]]) + "\n")
    made = apply_proposals(GRAMS, path, name="mine")
    assert (made.name, made[made.index("let me checks")].at) == ("mine", "any")
    path.write_text("\n".join([*lines[:row], f"maybe{edited}"]))
    with pytest.raises(DataError, match=rf"p.tsv:{row + 1}: the column accept"):
        apply_proposals(GRAMS, path)
    path.write_text("\n".join([*lines[:row], f"yes{edited.replace('let me checks', 'let me <zig>')}"]))
    with pytest.raises(DataError, match=rf"p.tsv:{row + 1}: there is no slot"):
        apply_proposals(GRAMS, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.tsv", "", "holds no proposals"),
        ("p.tsv", "text\taccept\n", "holds no proposals"),
        ("p.tsv", "HEAD\ntext\n", "columns are missing"),
        ("p.jsonl", "HEAD\n{\n", "p.jsonl:2: broken JSON"),
        ("p.jsonl", "HEAD\n3\n", "p.jsonl:2: no proposal"),
        ("p.jsonl", 'HEAD\n{"accept": "yes"}\n', "p.jsonl:2: this is no gram"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    head = json.dumps({"format": "hicra-proposals", "format_version": 1, "hash": GRAMS.hash})
    (tmp_path / name).write_text(content.replace("HEAD", head))
    with pytest.raises(DataError, match=message):
        apply_proposals(GRAMS, tmp_path / name)


def test_other_names_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be kept"):
        write_proposals(tmp_path / "p.xlsx", [ONE], GRAMS)
    with pytest.raises(DataError, match="cannot write"):
        write_proposals(tmp_path / "missing" / "p.tsv", [ONE], GRAMS)
    with pytest.raises(DataError, match="cannot read"):
        apply_proposals(GRAMS, tmp_path / "none.tsv")


# --- the verb ---------------------------------------------------------------------------------------------------------
def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["hicra", "grams", "grow", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_verb_proposes_and_applies(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    GRAMS.save("small.json")
    rows = [{"problem": t.problem, "solution": t.solution} for t in traces()]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["small.json", "t.jsonl", "-o", "p.tsv", "--no-meaning", "--min-problems", "3", "--accept", "kind=frame"]
    assert run(monkeypatch, *words) == 0
    shown = capsys.readouterr()
    assert "we need to <verb>" in shown.out
    assert "accepted by the rule: 1" in shown.err
    assert run(monkeypatch, "small.json", "--apply", "p.tsv", "-o", "new.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == {"frame": 1}
    assert "we need to <verb>" in GramSet.load("new.json")
    assert run(monkeypatch, "small.json", "--apply", "p.tsv") == 1  # no .json to write to
    assert run(monkeypatch, "small.json", "t.jsonl", "--apply", "p.tsv", "-o", "x.json") == 1
    assert run(monkeypatch, "small.json", "t.jsonl", "--accept", "1") == 1
    assert "the rule '1' cannot be read" in capsys.readouterr().err
