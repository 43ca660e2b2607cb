"""The page and the figures of an analysis: true to its numbers, closed to the world, honest about what is missing."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hicra.dynamics.alarms import Alarm
from hicra.dynamics.compass import Correlation
from hicra.dynamics.failures import Judgement
from hicra.dynamics.flow import Transitions
from hicra.dynamics.judge import PROMPT_VERSION
from hicra.dynamics.result import Compass
from hicra.dynamics.series import Series
from hicra.errors import ConfigError
from hicra.report.analysis.curves import curve_of
from hicra.report.analysis.failures import read_judgements
from hicra.report.analysis.flow import _change_words, _transition_change
from hicra.report.analysis.page import ORDER, all_figures, analysis_page, analyze_runs
from hicra.report.analysis.paper import FIGURES, draw_figure, find_figure
from hicra.report.analysis.words import compass_words, minus, rho_text, summary
from hicra.report.figures import Figure
from hicra.report.page import build_page
from hicra.report.picture import WIDTH, Column, Dot, Picture, Span, SpanRow, dots_picture, picture_svg, spans_picture
from tests.run_dirs import gram_dict, make_run
from tests.unit.test_report_page import HOSTILE, Elements, data_of

Found = tuple[list[Any], Any]


@pytest.fixture(scope="module")
def dirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("analysed")
    return [
        make_run(root / "grpo", estimator="grpo", steps=18, prompts=6, kept_groups=3),
        make_run(root / "hicra", seed=1, steps=18, prompts=6, kept_groups=3),
    ]


@pytest.fixture(scope="module")
def found(dirs: list[Path]) -> Found:
    return analyze_runs(dirs)


@pytest.fixture(scope="module")
def figures(found: Found) -> dict[str, Figure]:
    return {f.key: f for f in all_figures(*found)}


@pytest.fixture(scope="module")
def page(found: Found) -> str:
    return analysis_page(*found)


def items(figures: dict[str, Figure]) -> dict[str, Any]:
    return {item.key: item for f in figures.values() for item in (*f.panels, *f.more, *f.pictures)}


# --- the page ---------------------------------------------------------------------------------------------------------


def test_every_figure_is_there_in_order_and_once(figures: dict[str, Figure], page: str) -> None:
    expected = [key for key in ORDER if key != "failures"]  # nobody judged these runs
    assert list(figures) == expected
    assert re.findall(r'<section class="figure" id="figure-([^"]+)"', page) == expected
    ids = [a["id"] for _, a in Elements(page).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_nothing_on_the_page_points_anywhere(page: str) -> None:
    for tag, attributes in Elements(page).tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert (value or "").startswith("#"), (tag, name, value)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_hostile_text_makes_no_element(tmp_path: Path) -> None:
    bad = "".join(HOSTILE)
    grams = gram_dict()
    grams["grams"] = [{**g, "text": f"{i}{bad}", "cluster": f"{i}{bad}"} for i, g in enumerate(grams["grams"])]
    run = make_run(tmp_path / "run", steps=3, prompt=bad, grams=grams)
    (run / "judgements.jsonl").write_text(_judgement("k", 1, bad, "plan", bad))
    html = analysis_page(*analyze_runs([run], names=[bad]), title=bad)
    tags = [tag for tag, _ in Elements(html).tags]
    assert tags.count("script") == 2
    assert tags.count("style") == 1
    assert {"img", "iframe", "link", "object"} & set(tags) == set()
    assert "‹U+202E›" in html
    for character in ("\u2028", "\u2029", "\u202e", "\x00"):
        assert character not in html.split('id="data"')[0]
    spots = [s for p in data_of(html)["pictures"].values() for s in p["spots"]]  # type: ignore[attr-defined]
    assert any("<img" in says for *_, says in spots)  # it is there, as text


def test_the_two_colour_view_has_the_threshold_of_each_step(found: Found, page: str) -> None:
    data: Any = data_of(page)
    assert data["top"] == 0.3
    step = data["runs"][1]["steps"][-1]
    entropies = found[0][1].reader.rollouts([step["step"]], ["entropy"])["entropy"].to_pylist()
    flat = np.concatenate([np.array(e) for e in entropies])
    assert step["h"] == pytest.approx(1000 * np.quantile(flat, 0.7), abs=1)
    assert data_of(build_page([found[0][1].reader.path]))["top"] == 0  # the plain report has no such view


def test_a_torn_last_step_is_passed_over_with_a_note(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4)
    for kind in ("completions", "rollouts"):
        path = run / kind / "step-000004.rank-0.parquet"
        path.write_bytes(path.read_bytes()[:100])
    runs, analysis = analyze_runs([run])
    assert analysis.runs[0].series["reward"].steps.tolist() == [1, 2, 3]
    html = analysis_page(runs, analysis)
    assert "step 4" in re.sub(r"<[^>]+>", "", html).split("At a glance")[0]
    assert "passed over" in build_page([run])


def test_a_run_that_is_being_written_is_analysed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4)
    log = run / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-20])  # the last commit is not whole yet
    runs, analysis = analyze_runs([run])
    assert analysis.runs[0].steps == [1, 2, 3]
    assert "What the analysis sees" in analysis_page(runs, analysis)


def test_what_a_run_does_not_have_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=3, entropies=False, kept_groups=0, evals=False)
    known = {f.key: f for f in all_figures(*analyze_runs([run]))}
    assert "no rollouts were kept" in known["overlap"].panels[0].missing[0]
    assert "no rollouts were kept" in known["flow"].remarks[0]
    assert "log-prob" in known["phases"].panels[2].missing[0]
    assert "at least" in known["phases"].panels[1].missing[0]
    assert known["phases"].panels[1].curves == ()
    assert "three or more evaluations" in known["compasses"].remarks[0]


# --- true to the numbers ----------------------------------------------------------------------------------------------


def test_panels_show_the_series_of_the_analysis(found: Found, figures: dict[str, Figure]) -> None:
    known, series = items(figures), found[1].runs[1].series
    for key, name in (
        ("semantic-gram-rarefied", "semantic_gram_rarefied"),
        ("semantic-cluster-chao-shen", "semantic_cluster_chao_shen"),
        ("planning-in-top", "planning_in_top"),
        ("entropy-all", "entropy"),
        ("no-signal", "no_signal"),
    ):
        np.testing.assert_array_equal(known[key].curves[1].raw, series[name].value)
    overlap = found[1].runs[1].overlap
    np.testing.assert_array_equal(known["planning-in-top-by-share"].curves[1].raw, overlap.planning_in_top)
    assert known["planning-in-top-by-share"].x_share
    assert f"{100 * overlap.planning_in_top[3]:.1f} %" in known["planning-in-top-by-share"].findings[1]


def test_execution_nll_is_drawn_with_its_broken_line(found: Found, figures: dict[str, Figure]) -> None:
    panel, bent = items(figures)["bent-execution"], found[1].runs[0].phases.execution
    np.testing.assert_array_equal(panel.curves[0].raw, -found[1].runs[0].series["logprob_execution"].value)
    np.testing.assert_allclose(panel.curves[0].line, bent.fitted)
    assert [m.x for m in panel.marks if m.run == 0] == bent.knots.tolist()


def test_grids_hold_transition_probabilities(found: Found, figures: dict[str, Figure]) -> None:
    flow, picture = found[1].runs[0].flow, items(figures)["flow-0-early"]
    names = [row[0] for row in picture.rows]
    assert names[0] == "(start)"
    assert picture.head[-1] == "(end)"
    a, b = flow.moves.index(names[1]), flow.moves.index(picture.head[2])
    assert picture.rows[1][2] == f"{100 * flow.early.probability[a, b]:#.3g}\u00a0%"


def test_success_and_odds_are_those_of_the_flow(found: Found, figures: dict[str, Figure]) -> None:
    flow, known = found[1].runs[1].flow, items(figures)
    odds = {flow.odds_moves[o.move]: o for o in flow.odds}
    name, _, run, text = next(row for row in known["move-odds"].rows if row[2] == "hicra")
    assert run == "hicra"
    assert float(text.split("\u00a0")[0].split(" (")[0]) == pytest.approx(odds[name].within.ratio, rel=0.01)
    rows = [r for r in known["move-success"].rows if r[2] == "hicra" and r[1] == "first third"]
    m = list(flow.moves).index(rows[0][0])
    assert float(rows[0][3].split("\u00a0")[0]) == pytest.approx(100 * flow.success.share[m, 0], rel=0.01)


def test_a_change_of_transitions_needs_enough_of_both() -> None:
    early = Transitions(np.array([[20, 20], [0, 0]]))
    late = Transitions(np.array([[40, 0], [0, 0]]))
    found = _transition_change(early, late, 0, 0)
    assert found is not None
    assert found[:2] == (0.5, 1.0)
    assert found[2].clear
    assert found[3] == pytest.approx(math.erfc(0.5 / math.sqrt(0.75 * 0.25 * 2 / 40) / math.sqrt(2)))
    assert _transition_change(Transitions(np.array([[14, 15], [0, 0]])), late, 0, 0) is None


def test_chance_alone_changes_no_transition() -> None:
    """Among a hundred pairs some always leave zero out; they must not be told."""
    rng, told = np.random.default_rng(0), []
    for _ in range(20):
        early, late = (Transitions(rng.multinomial(400, np.full(11, 1 / 11), 11)) for _ in range(2))
        flow = SimpleNamespace(moves=[f"m{i}" for i in range(10)], early=early, late=late)
        told += [says for says in _change_words("run", flow, range(10)) if "no clear change, of 121" not in says]  # type: ignore[arg-type]
    assert len(told) <= 3
    late.counts[4] = [200, *[20] * 10]
    changed = SimpleNamespace(moves=flow.moves, early=early, late=late)
    assert "after “m4” comes “m0”" in _change_words("run", changed, range(10))[0]  # type: ignore[arg-type]


def test_grids_of_runs_on_other_grams_show_their_own_moves(dirs: list[Path], tmp_path: Path) -> None:
    grams = gram_dict()
    grams["grams"] = [{**g, "cluster": f"other {g['cluster']}"} for g in grams["grams"]]
    other = make_run(tmp_path / "other", steps=4, grams=grams)
    known = items({f.key: f for f in all_figures(*analyze_runs([dirs[0], other]))})
    assert len(known["flow-1-late"].rows) == 7  # the start and six clusters
    assert all(row[0].startswith(("other ", "(start)")) for row in known["flow-1-late"].rows)


def test_bands_of_what_is_never_negative_stay_so() -> None:
    steps = np.arange(40)
    value = np.where(steps % 2 == 0, 3e-15, 0.1)
    curve = curve_of(0, Series(steps, value, value - 1, value + 1, "bits"))
    assert curve.raw[0] == 0
    assert curve.low is not None
    assert curve.low.min() == 0


def test_a_few_steps_of_unknown_noise_do_not_hide_the_noise_of_all() -> None:
    steps, value = np.arange(20), np.linspace(1, 2, 20)
    low, high = value - 0.1, value + 0.1
    low[3] = high[3] = np.nan
    curve = curve_of(0, Series(steps, value, low, high, "bits"))
    assert curve.estimate.replicates is not None
    assert np.isfinite(curve.estimate.replicates).all()


# --- words ------------------------------------------------------------------------------------------------------------


def test_summary_tells_phases_and_alarms(found: Found) -> None:
    alarm = Alarm("entropy_collapse", 7, 0.01, 0.1, "step 7: token entropy has fallen: entropy collapse")
    first, second = found[1].runs
    told = dict(summary(replace(found[1], runs=[replace(first, alarms=[alarm]), second]), ["a", "b"]))
    assert told["a"][-1] == "Alarm at step 7: token entropy has fallen: entropy collapse."
    assert told["b"][-1] == "No alarm was raised."
    for name, run in (("a", first), ("b", second)):
        seen = run.phases.second.seen
        assert told[name][1].startswith("Second phase from step" if seen else "No second phase seen: ")


def test_words_of_a_compass_go_by_its_intervals() -> None:
    def correlation(rho: float, low: float, high: float) -> Correlation:
        return Correlation(rho, low, high, 10, 8.0, 2)

    clear, vague = correlation(-0.9, -0.99, -0.3), correlation(0.4, -0.5, 0.9)
    said = compass_words(Compass("entropy", clear, vague))
    assert said == (
        "Token entropy goes against held-out accuracy: rank correlation −0.90 (−0.99 to −0.30) over 10 evaluations of "
        "2 runs; its changes: 0.40 (−0.50 to 0.90), which could be chance."
    )
    assert "has no clear relation" in compass_words(Compass("entropy", vague, vague))
    assert rho_text(correlation(0.4, -0.9999, 0.9999)) == "0.40 (too few points for an interval)"
    assert rho_text(correlation(math.nan, math.nan, math.nan)) == "not defined"
    assert minus("from -1 to-day (-2)") == "from −1 to-day (−2)"


# --- failures ---------------------------------------------------------------------------------------------------------


def _judgement(key: str, step: int, judge: str, category: str | None, why: str = "") -> str:
    row = Judgement(key, step, "p", judge, category, why)
    values = {name: getattr(row, name) for name in Judgement.__dataclass_fields__}
    return json.dumps({**values, "prompt_version": PROMPT_VERSION}) + "\n"


def test_failures_are_drawn_from_judged_files(dirs: list[Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=4)
    lines = [
        _judgement(f"{s}.{i}", s, "big-one", "plan" if i < 3 - s // 2 else "execution")
        for s in (1, 4)
        for i in range(4)
    ]
    lines += [_judgement("1.0", 1, "small", "plan"), _judgement("1.3", 1, "small", "plan"), "no json\n"]
    path = run / "judgements.jsonl"
    path.write_text("".join(lines) + '{"key": "torn')
    before = path.read_bytes()
    figure = {f.key: f for f in all_figures(*analyze_runs([run, dirs[0]]))}["failures"]
    assert path.read_bytes() == before
    planning, others, share = figure.panels
    assert share.curves[0].raw.tolist() == [0.75, 0.25]
    rewards = [analyze_runs([run])[0][0].reader.completions([s], ["reward"])["reward"].to_numpy() for s in (1, 4)]
    failed = [float((r < 0.5).mean()) for r in rewards]
    np.testing.assert_allclose(planning.curves[0].raw, [0.75 * failed[0], 0.25 * failed[1]])
    np.testing.assert_allclose(planning.curves[0].raw + others.curves[0].raw, failed)
    assert "hicra judge" in planning.missing[0]
    words = " ".join(figure.remarks)
    assert "judged by big-one, 8 failures: plan 4, execution 4" in words
    assert "1 lines of judgements.jsonl are no answers" in words
    assert "big-one and small agree on 50.0\u00a0% of 2 failures" in words


def test_the_last_answer_of_a_judge_counts(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    old = _judgement("b", 1, "j", "plan").replace(f'"prompt_version": {PROMPT_VERSION}', '"prompt_version": -1')
    path.write_text(_judgement("a", 1, "j", None) + _judgement("a", 1, "j", "plan") + old)
    found, broken = read_judgements(path)
    assert [(j.key, j.category) for j in found] == [("a", "plan")]
    assert broken == 0
    assert read_judgements(tmp_path / "none") == ([], 0)


# --- figures for a paper ----------------------------------------------------------------------------------------------


def test_figures_are_found_by_number_and_name() -> None:
    assert find_figure("3") is find_figure(" Dynamics ")
    assert len({f.number for f in FIGURES}) == len({f.name for f in FIGURES}) == len(FIGURES)
    with pytest.raises(ConfigError, match="no such figure"):
        find_figure("0")


def test_the_paper_index_names_every_figure_by_its_number() -> None:
    index = (Path(__file__).parents[2] / "docs" / "paper_index.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) `(\w+)`", index, re.M) == [(str(f.number), f.name) for f in FIGURES]


def test_every_key_of_a_figure_is_on_the_page(figures: dict[str, Figure]) -> None:
    there = [*items(figures), "failures-share"]
    for figure in FIGURES:
        for key in figure.keys:
            assert any(k.startswith(key[:-1]) if key.endswith("*") else k == key for k in there), key


@pytest.mark.parametrize(
    ("name", "format", "starts"),
    [("phases", "pdf", b"%PDF-"), ("moves", "png", b"\x89PNG"), ("trace", "svg", b"<?xml"), ("trace", "pdf", b"%PDF-")],
)
def test_figures_are_drawn(found: Found, name: str, format: Any, starts: bytes) -> None:
    picture, missing = draw_figure(find_figure(name), *found, format=format)
    assert picture.startswith(starts)
    assert missing == []


def test_a_figure_without_data_says_what_it_needs(found: Found) -> None:
    with pytest.raises(ConfigError, match="hicra judge"):
        draw_figure(find_figure("failures"), *found)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_spots_lie_in_their_pictures(figures: dict[str, Figure]) -> None:
    pictures = [item for item in items(figures).values() if isinstance(item, Picture)]
    assert len(pictures) >= 8
    for picture in pictures:
        assert picture.spots or picture.key == "timeline"
        for s in picture.spots:
            assert 0 <= s.x <= s.x + s.width <= WIDTH + 1, picture.key
            assert 0 <= s.y <= s.y + s.height <= picture.height, picture.key


def test_a_picture_is_an_svg_that_follows_the_theme() -> None:
    dots = [[Dot(0.5, 0.2, 0.8, "run0", "a"), Dot(math.nan, math.nan, math.nan, "run1", "b")]]
    svg = picture_svg(dots_picture("k", "t", ["<b>&"], [Column("x", dots, (0, 1), 0.5)]))
    assert "style=" not in svg
    assert "var(--run0)" in svg
    assert "#0b62c4" not in svg
    assert "&lt;b&gt;&amp;" in svg
    spans = spans_picture("s", "t", [SpanRow("r", "run1", (Span(1, 5, 1, 2, says="from 1 to 5"),))], (1, 10))
    assert spans.rows == (("r", "from 1 to 5"),)
    assert "var(--run1)" in picture_svg(spans)
