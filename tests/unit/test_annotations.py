"""Excerpts out, marks back in: every character is held against the text; agreement worked out by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra.cli import main
from hicra.errors import ConfigError, DataError
from hicra.labels.agreement import agreement
from hicra.labels.annotations import (
    KEYS,
    draw,
    join,
    read_marks,
    read_texts,
    write_annotated,
    write_excerpts,
    write_marks,
)
from hicra.labels.quality import Excerpt, Marked, read_excerpts
from hicra.traces.schema import Trace

TEXT = "So we add 12.\n\nWait, let me check [[1, 2]]."


def excerpt(name: str, text: str, first: tuple[Marked, ...] = (), second: tuple[Marked, ...] = ()) -> Excerpt:
    return Excerpt(name, "s", text, first, second)


@st.composite
def marked(draw_from: st.DrawFn) -> tuple[str, tuple[Marked, ...]]:
    """A text full of what marks are made of, and spans in it that may be marked."""
    pieces = st.sampled_from([*"ab[]d k\n%é", "[[b ", "]]", "%%%% "])
    text = "".join(draw_from(st.lists(pieces, max_size=20)))
    cuts = sorted(draw_from(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        inside = text[start:end]
        if inside == inside.strip() and not set("[]") & set(text[max(0, start - 1) : end + 1]):
            spans.append(Marked(start, end, draw_from(st.sampled_from(sorted(KEYS.values())))))
    return text, tuple(spans)


@given(marked())
def test_marks_come_back_as_they_were(tmp_path_factory, case) -> None:
    text, spans = case
    folder = tmp_path_factory.mktemp("marks")
    rows = [excerpt("one", text), excerpt("two two", "[[b [[k ]] ]]]")]
    for name in ("m.txt", "m.jsonl"):
        write_marks(folder / name, rows, {"one": spans})
        assert read_marks(folder / name, rows) == {"one": spans, "two two": ()}


def test_a_text_marked_in_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    body = "[[d So]] we add 12.\r\n\r\n[[k Wait, let me check]] [[1, 2]].\r\n\r\n\r\n"
    path.write_bytes(b"\xef\xbb\xbf%%%% x\r\n" + body.encode())
    assert read_marks(path, [excerpt("x", TEXT)]) == {"x": (Marked(0, 2, "deduction"), Marked(15, 33, "backtracing"))}


def test_a_mark_closes_at_the_first_brackets_that_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    path.write_text("%%%% x\nso [[b go [[1]]]]]] on\n")
    assert read_marks(path, [excerpt("x", "so go [[1]]]] on")]) == {"x": (Marked(3, 9, "branching"),)}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("So we add 13.\n\nWait, let me check [[1, 2]].", r"m\.txt:2: the text is not the excerpt's"),
        ("So we add 12.\n\n[[k Wait, let me check [[1, 2]].", r"m\.txt:4.*not closed"),
        ("So we add 12.\n\n[[q Wait]], let me check [[1, 2]].", r"m\.txt:4: unknown mark '\[\[q'"),
        ("So we add 12.\n\n[[k Wait, [[b let me]] check]] [[1, 2]].", r"m\.txt:4: the text is not"),
        ("So we add 12.\n\n[[k Wait, ]]let me check [[1, 2]].", "begins or ends with white space"),
        ("So [[b ]]we add 12.\n\nWait, let me check [[1, 2]].", "is empty"),
        (TEXT + " and more", "the text is not the excerpt's"),
        (TEXT[:20], "the text is not the excerpt's"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, body: str, what: str) -> None:
    path = tmp_path / "m.txt"
    path.write_text(f"%%%% x\n{body}\n")
    with pytest.raises(DataError, match=what):
        read_marks(path, [excerpt("x", TEXT)])


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": "y", "text": TEXT, "label": []}, "unknown excerpt"),
        ({"id": "x", "text": "So", "label": []}, "the text is not the excerpt's"),
        ({"id": "x", "text": TEXT, "label": [[0, 2]]}, "cannot be read"),
        ({"id": "x", "text": TEXT}, "cannot be read"),
        ({"id": "x", "text": TEXT, "label": [[0, 2, "deduction"], [1, 5, "branching"]]}, "overlaps"),
        ({"id": "x", "text": TEXT, "label": [[0, 2, "planning"]]}, "no known class"),
        ({"id": "x", "text": TEXT, "label": [[30, 99, "branching"]]}, "leaves the text"),
        ({"id": "x", "text": TEXT, "label": [[-3, 2, "branching"]]}, "leaves the text"),
    ],
)
def test_what_tools_get_wrong(tmp_path: Path, row: dict[str, object], what: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=what):
        read_marks(path, [excerpt("x", TEXT)])


def test_files_that_are_no_marks(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    for content, what in (
        ("", "no marked"),
        ("hello\n%%%% x\n" + TEXT, "before the first"),
        (f"%%%% x\n{TEXT}\n" * 2, "twice"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=what):
            read_marks(path, [excerpt("x", TEXT)])
    with pytest.raises(DataError, match="cannot read"):
        read_marks(tmp_path / "none.txt", [excerpt("x", TEXT)])
    (tmp_path / "m.jsonl").write_text('{"id": "x"}\n[1]\n')
    with pytest.raises(DataError, match="text is not"):
        read_marks(tmp_path / "m.jsonl", [excerpt("x", TEXT)])
    with pytest.raises(DataError, match=r"m\.jsonl:1: no excerpt"):
        read_texts(tmp_path / "m.jsonl")


# --- drawing ----------------------------------------------------------------------------------------------------------
def traces(count: int = 40) -> list[Trace]:
    words = " ".join(f"word{'s' * (i % 5)} in a long line of thought," for i in range(60))
    return [Trace(str(i), f"p{i // 2}", words, source="s", license="MIT") for i in range(count)]


def test_excerpts_are_whole_words_of_their_solutions() -> None:
    rows = traces()
    found = draw(rows, 15, seed=3, characters=280)
    assert len(found) == 15
    assert found == draw(rows, 15, seed=3, characters=280)
    assert found != draw(rows, 15, seed=4, characters=280)
    for e in found:
        text = rows[int(str(e.trace_id))].solution
        assert text[e.start : e.start + len(e.text)] == e.text
        assert e.start == 0 or text[e.start - 1].isspace()
        assert len(e.text) <= 320
        assert e.license == "MIT"
    assert len(draw(rows, 100)) == 20  # one a problem
    assert len(draw(rows, 100, per_problem=2)) == 40
    assert draw([Trace("1", "p", "12 + 3 = 15 " * 100)], 1) == []  # nothing to mark
    with pytest.raises(ConfigError):
        draw(rows, 0)


# --- agreement --------------------------------------------------------------------------------------------------------
def test_agreement_by_hand() -> None:
    text = "so we go on and on then stop now ok"  # 10 words
    first = (Marked(0, 5, "deduction"), Marked(19, 23, "branching"))  # so we | then
    second = (Marked(0, 2, "deduction"), Marked(19, 23, "deduction"), Marked(33, 35, "branching"))  # so | then | ok
    found = agreement([excerpt("a", text, first, second)], resamples=50)
    assert (found.words, found.first, found.second, found.both) == (10, 3, 3, 2)
    assert found.f1 == pytest.approx(2 / 3)
    chance = (3 * 3 + 7 * 7) / 100
    assert found.kappa == pytest.approx((0.8 - chance) / (1 - chance))
    assert found.same_class == 0.5
    assert found.classes["branching", "deduction"] == 1
    assert found.classes["", ""] == 6
    assert (list(found.only_first), list(found.only_second)) == ([], [("ok", 1)])
    assert found.f1_interval == pytest.approx((2 / 3, 2 / 3))


def test_nothing_marked_is_no_agreement() -> None:
    found = agreement([excerpt("a", "so we go")])
    assert math.isnan(found.f1)
    assert math.isnan(found.same_class)
    with pytest.raises(DataError):
        agreement([])


# --- the command ------------------------------------------------------------------------------------------------------
def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["hicra", "annotate", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(str(stop.value.code or 0))


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_there_and_back(tmp_path: Path, monkeypatch, capsys, kind: str) -> None:
    work = tmp_path / "work"
    names = ("--annotator", "ann", "--annotator", "bob")
    assert run(monkeypatch, "export", "-o", work, "--excerpts", 4, *names, "--format", kind) == 0
    excerpts = read_texts(work / "excerpts.jsonl")
    assert len(excerpts) == 4
    assert run(monkeypatch, "export", "-o", work) == 1  # nobody's work is written over
    suffix = "txt" if kind == "text" else "jsonl"
    word = excerpts[0].text.split()[0]
    spans = {excerpts[0].id: (Marked(0, len(word), "deduction"),)}
    write_marks(work / f"ann.{suffix}", excerpts, spans)
    write_marks(work / f"bob.{suffix}", excerpts[:3], spans)
    capsys.readouterr()
    out = tmp_path / "annotated.jsonl"
    files = [work / "excerpts.jsonl", work / f"ann.{suffix}", work / f"bob.{suffix}"]
    assert run(monkeypatch, "import", *files, "-o", out, "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["kappa"] == 1
    assert "1 of 4" in told.err
    rows = read_excerpts(out)
    assert [r.id for r in rows] == [e.id for e in excerpts[:3]]
    assert rows[0].first == rows[0].second == spans[excerpts[0].id]
    assert rows[0].license == excerpts[0].license
    assert run(monkeypatch, "agreement", out) == 0
    assert "kappa 1.000" in capsys.readouterr().out
    assert run(monkeypatch, "import", *files[:2], "-o", out) == 1


def test_passes_without_a_common_excerpt() -> None:
    with pytest.raises(DataError, match="no excerpt in common"):
        join([excerpt("a", "x"), excerpt("b", "y")], {"a": ()}, {"b": ()})


def test_excerpts_and_annotations_keep_their_fields(tmp_path: Path) -> None:
    row = Excerpt("a", "s", TEXT, (Marked(0, 2, "deduction"),), (), "t", "MIT", 7)
    write_annotated(tmp_path / "a.jsonl", [row])
    assert read_excerpts(tmp_path / "a.jsonl") == [row]
    write_excerpts(tmp_path / "e.jsonl", [row])
    assert read_texts(tmp_path / "e.jsonl") == [Excerpt("a", "s", TEXT, (), (), "t", "MIT", 7)]


# --- the second round -------------------------------------------------------------------------------------------------
def test_the_second_round_is_whole_and_may_be_shipped() -> None:
    rows = read_excerpts(Path(__file__).parents[2] / "annotations" / "planning_spans_round2.jsonl")
    assert len({r.id for r in rows}) == len(rows) == 600
    licence_of = {"misguided": "CC0-1.0", "gsm8k": "MIT"}
    assert all(r.license == licence_of.get(r.source, "Apache-2.0") for r in rows)
    assert {r.source for r in rows} == {*licence_of, "rg_math", "rg_rl", "rg_zero", "zeroeval", "mmlu_pro"}
    assert {s.function for r in rows for s in (*r.first, *r.second)} == set(KEYS.values())
    found = agreement(rows, resamples=20)  # the figures of the card
    assert (found.words, round(found.f1, 3), round(found.kappa, 3)) == (65420, 0.909, 0.895)
