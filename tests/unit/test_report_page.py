"""The HTML file: closed to the world, safe with hostile text, within its size, and the command that writes it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError, MissingExtraError
from hicra.report import render_curves, render_trace_png, render_trace_svg, write_report
from hicra.report.draw import panel_svg
from hicra.report.facts import run_rows
from hicra.report.figures import build_figures
from hicra.report.page import build_page, json_block
from hicra.report.rollouts import payload, select, spaced, spans
from hicra.report.runs import read_runs
from tests.run_dirs import gram_dict, make_run

HOSTILE = [
    "</script><script>window.pwned=1</script>",
    '<img src=x onerror="window.pwned=1">',
    "\"'><svg onload=window.pwned=1>",
    "]]><!-- -->",
    "a\u2028b\u2029c",
    "\u202eesrever\u202c",
    "$\\frac{1}{0}$",
    "nul\x00bell\x07",
    "{{ 7*7 }}{% raise %}",
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root / "grpo", estimator="grpo"), make_run(root / "hicra", seed=1)]


@pytest.fixture(scope="module")
def page(pair: list[Path]) -> str:
    return build_page(pair)


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def data_of(html: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_nothing_in_it_points_anywhere(page: str) -> None:
    for tag, attributes in Elements(page).tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                assert (value or "").startswith("#"), (tag, name, value)
    without_namespaces = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert "url(http" not in without_namespaces
    assert "@import" not in without_namespaces
    assert set(re.findall(r"https?://[^\s\"'<]+", without_namespaces)) <= {"http://www.w3.org/2000/svg"}


def test_policy_allows_our_script_and_sheet_only(page: str) -> None:
    elements = Elements(page)
    (policy,) = [a["content"] for t, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    sheets = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(scripts) == len(sheets) == 1
    for text in (*scripts, *sheets):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_hostile_text_makes_no_element(tmp_path: Path) -> None:
    bad = "".join(HOSTILE)
    grams = gram_dict()
    grams["grams"] = [{**g, "text": bad, "cluster": bad} for g in grams["grams"]]
    grams["name"] = bad
    run = make_run(tmp_path / "run", steps=2, prompt=bad, completion=[*HOSTILE, "x" * 5000], grams=grams)
    names = [f"run {bad}", bad]
    html = build_page([run, run], title=bad, names=names)
    tame = build_page([run, run], title="t", names=["a", "b"])
    kinds = [Elements(h) for h in (html, tame)]
    for tag in ("script", "img", "svg", "style", "iframe"):
        found, expected = ([t for t, _ in k.tags].count(tag) for k in kinds)
        assert found == expected, tag
    data = data_of(html)
    assert HOSTILE[0] in data["strings"]  # type: ignore[operator]
    for separator in ("\u2028", "\u2029", "\u202e", "\x00"):
        assert separator not in html.split('id="data"')[0]


def test_a_json_block_cannot_end_its_element() -> None:
    for text in [*HOSTILE, "\ud800", "<!--<script>"]:
        block = json_block({"t": text})
        assert not re.search("[<>&\u2028\u2029]", block)
        assert json.loads(block) == {"t": text}
        block.encode()


def test_a_name_in_an_svg_is_text(pair: list[Path]) -> None:
    """Also one that matplotlib would take for a formula, or that no font has."""
    runs = read_runs(pair, ["$x^$ <b>&", "\u0915\u202e\x00"])
    panel = build_figures(runs)[0].panels[0]
    svg, placed = panel_svg(panel, runs)
    assert "$x^$ &lt;b&gt;&amp;" in svg
    assert "<b>" not in svg
    assert "‹U+202E›‹U+0000›" in svg
    assert "style=" not in svg
    assert placed.left < placed.right


def test_svgs_are_the_same_every_time_and_their_ids_differ(pair: list[Path], page: str) -> None:
    runs = read_runs(pair)
    panel = build_figures(runs)[0].panels[0]
    assert panel_svg(panel, runs) == panel_svg(panel, runs)
    ids = [a["id"] for _, a in Elements(page).tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in targets} <= set(ids)


def test_every_figure_says_something(page: str) -> None:
    words = re.findall(r'<div class="words" id="words-([^"]+)">(.*?)</div>', page, re.DOTALL)
    assert len(words) > 10
    for key, text in words:
        assert "<p" in text or key in ("loss", "grad-norm"), key


def test_completions_are_carried_whole(pair: list[Path]) -> None:
    runs = read_runs(pair)
    shown = select(runs)
    assert list(shown[0].steps) == [1, 4, 7, 9, 12]
    assert all(len(g.completions) == 4 for groups in shown[0].steps.values() for g in groups)
    number = sum(len(g.completions) for groups in shown[0].steps.values() for g in groups)
    assert number + shown[0].left_out == 12 * 2 * 4
    first = payload(runs, shown)["runs"][1]["steps"][0]["groups"][0]["items"][0]
    rows = runs[1].reader.rollouts([1]).to_pylist()
    row = next(r for r in rows if r["prompt_id"] == payload(runs, shown)["runs"][1]["steps"][0]["groups"][0]["id"])
    assert first["e"] == [round(1000 * v) for v in row["entropy"]]
    values = [first["a"][i] for i in first["i"]] if first["i"] else first["a"] * len(row["advantage"])
    assert values == pytest.approx(row["advantage"], rel=1e-3)


def test_a_small_budget_still_shows_one_group_of_each_step(pair: list[Path]) -> None:
    for shown in select(read_runs(pair), budget=1):
        assert [len(groups) for groups in shown.steps.values()] == [1] * len(shown.steps)


def test_long_completions_are_cut_and_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, prompts=1, group=2, kept_groups=1, completion=["ab "] * 4500)
    (shown,) = select(read_runs([run]))
    (completion, _) = shown.steps[1][0].completions
    assert completion.length == 4500
    assert len(completion.text) == 4000


def test_runs_without_text_say_so(tmp_path: Path) -> None:
    html = build_page([make_run(tmp_path / "run", steps=2, kept_groups=0)])
    assert "run kept no completions" in html
    assert data_of(html)["runs"][0]["steps"] == []  # type: ignore[index]


def test_words_tokenizers_get_their_spaces_back() -> None:
    assert spaced(["a", "b"], "a  b") == ["a", "  b"]
    assert spaced(["a", "\ufffd", "b"], "aéb") == ["a", "\ufffd", "b"]
    assert spaced(["<s>", "a"], "a") == ["<s>", "a"]


def test_spans_part_where_occurrences_begin() -> None:
    planning, gram = [False, True, True, True, True, False, True], [-1, 3, 3, 3, 5, -1, -1]
    begin = [False, True, False, True, True, False, False]
    assert spans(planning, gram, begin) == [(1, 3, 3), (3, 4, 3), (4, 5, 5), (6, 7, -1)]


@pytest.mark.parametrize(
    ("model", "shown"),
    [("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"), ("/home/someone/demo/warm_start", "…/demo/warm_start"), ("./m", "./m")],
)
def test_a_model_on_somebodys_disk_is_called_by_the_end_of_its_path(model: str, shown: str, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", steps=2)
    meta = json.loads((path / "run.json").read_text("utf-8"))
    meta["config"]["model"] = model
    (path / "run.json").write_text(json.dumps(meta), "utf-8")
    rows = {row.name: row.cells for row in run_rows(read_runs([path]))}
    assert rows["Model"] == (shown,)


def test_a_demo_fits_in_three_megabytes(tmp_path: Path) -> None:
    """Forty steps, two runs; rows are cheap stand-ins for those of the lab, which have some 100 tokens a completion."""
    runs = [
        make_run(tmp_path / "grpo", estimator="grpo", steps=40, prompts=4, group=8, kept_groups=4),
        make_run(tmp_path / "hicra", seed=1, steps=40, prompts=4, group=8, kept_groups=4),
    ]
    out = write_report(runs, tmp_path / "report.html")
    assert 200_000 < out.stat().st_size < 3_000_000


def test_where_it_cannot_be_written(tmp_path: Path, pair: list[Path]) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(pair[:1], tmp_path / "no" / "such" / "report.html")


def test_without_matplotlib_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pair: list[Path]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"hicra\[report\]"):
        write_report(pair, tmp_path / "report.html")


def test_command(tmp_path: Path, pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    from hicra.cli.report import report

    out = tmp_path / "r.html"
    report(pair, output=out, name=["plain", "ours"], as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str(out)
    assert said["bytes"] == out.stat().st_size
    html = out.read_text(encoding="utf-8")
    assert "plain and ours" in html
    report(pair, output=out)
    assert capsys.readouterr().out == f"{out}\n"


# --- pictures -----


class Span:
    """What a labeller gives, for this test."""

    def __init__(self, start: int, end: int, gram: str) -> None:
        self.start, self.end, self.gram = start, end, gram


def _size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _pixels(png: bytes) -> np.ndarray:
    import io

    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png)))


def test_highlights_are_drawn_where_the_grams_are() -> None:
    text = "plain words here\n\nwait a moment"
    plain = _pixels(render_trace_png(text, [], dpi=72))
    marked = _pixels(render_trace_png(text, [Span(18, 22, "wait")], dpi=72, functions={"wait": "backtracing"}))
    rows, columns = np.nonzero(np.abs(marked[: plain.shape[0] - 30] - plain[: plain.shape[0] - 30]).sum(axis=2) > 0.05)
    assert rows.min() > 55  # not in the first line
    assert columns.min() >= 25
    assert columns.max() < 80  # "wait" alone


def test_trace_pictures_grow_with_the_text_and_follow_the_theme() -> None:
    short, long = (render_trace_png("word " * n, [], dpi=72) for n in (5, 400))
    assert _size(long)[1] > _size(short)[1]
    assert _pixels(render_trace_png("a", [], dpi=72))[0, 0, 0] > 0.9
    assert _pixels(render_trace_png("a", [], dpi=72, theme="dark"))[0, 0, 0] < 0.1
    assert render_trace_svg("$a_b <&>", [], title="$t$").count("<svg") == 1


@pytest.mark.parametrize("bad", [[Span(0, 99, "g")], [Span(3, 5, "g"), Span(4, 6, "g")], [Span(2, 2, "g")]])
def test_spans_that_cannot_be(bad: list[Span]) -> None:
    with pytest.raises(DataError, match="spans must lie in the text"):
        render_trace_png("a few words", bad)


def test_curves_as_picture(pair: list[Path]) -> None:
    wide, narrow = (_size(render_curves(pair, columns=c, panels=("reward", "length"), dpi=72)) for c in (2, 1))
    assert wide == (880, 280)
    assert narrow == (440, 560)
    assert render_curves(pair, panels=("reward", "no such panel"), format="pdf")[:5] == b"%PDF-"
