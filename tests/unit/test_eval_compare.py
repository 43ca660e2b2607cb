"""Methods side by side: what is computed where, Holm's family, the table in every format, the paper's figures."""

from __future__ import annotations

import json
import math
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.cli import main
from hicra.errors import ConfigError, DataError
from hicra.evals.compare import Comparison, compare, key, ordered, over_models, pick_baseline
from hicra.evals.exact import holm, mcnemar
from hicra.evals.published import (
    Benchmark,
    comparison,
    fits,
    most_changed,
    published_difference,
    published_estimate,
    summary,
    tables,
    unrelated_changes,
)
from hicra.evals.results import Answer, Result, write_results
from hicra.evals.stats import difference, estimate
from hicra.evals.tables import html, latex, markdown
from hicra.evals.terminal import details
from hicra.evals.terminal import tables as terminal_tables
from tests.run_dirs import make_run


def result(
    correct: list[int], k: int = 1, *, method: str = "GRPO", benchmark: str = "math500", **more: object
) -> Result:
    n = len(correct)
    about = {"model": "M", "seed": None, "clusters": None, "truncated": None, **more}
    return Result(
        method=method,
        benchmark=benchmark,
        items=tuple(f"i{i:03d}" for i in range(n)),
        samples=np.full(n, k),
        correct=np.array(correct),
        **about,  # type: ignore[arg-type]
    )


BEFORE = result([1] * 10 + [0] * 20)
AFTER = result([1] * 8 + [0] * 2 + [1] * 9 + [0] * 11, method="HICRA")


def test_one_answer_an_item_is_exact_mcnemar() -> None:
    found = difference(AFTER, BEFORE)
    assert found.value == pytest.approx(7 / 30)
    assert (found.test, found.p) == ("exact McNemar", pytest.approx(mcnemar(9, 2)))
    assert found.sign_flip_p == pytest.approx(found.p)
    # 10/32 - 3/32 and sqrt((13/32 - (7/32)^2) / 32)
    half = 1.959964 * math.sqrt((13 / 32 - (7 / 32) ** 2) / 32)
    assert (found.low, found.high) == (pytest.approx(7 / 32 - half), pytest.approx(7 / 32 + half))
    assert found.noise is not None
    assert not found.noise.split


def test_several_answers_are_a_paired_t_by_hand() -> None:
    """Differences 1/2, 0, 1/4, 1/4 of 4 answers: mean 1/4, se = sqrt(.125 / 3 / 4) = .10206, t = 2.4495, 3 degrees."""
    found = difference(result([4, 2, 1, 3], 4), result([2, 2, 0, 2], 4))
    assert found.value == pytest.approx(0.25)
    assert found.high - found.value == pytest.approx(3.18245 * 0.1020621, abs=1e-5)
    assert found.p == pytest.approx(0.0917, abs=1e-4)
    assert found.sign_flip_p == pytest.approx(0.25)  # only +++ and --- reach 4, of 8 sign patterns
    assert found.test == "paired t"


@given(st.integers(1, 5), st.integers(2, 12), st.integers(1, 3), st.data())
@settings(max_examples=40, deadline=None)
def test_the_other_way_round_is_the_same_with_the_sign_turned(
    k: int, items: int, runs: int, data: st.DataObject
) -> None:
    counts = st.lists(st.integers(0, k), min_size=items, max_size=items)
    new, old = ([result(data.draw(counts), k, seed=s) for s in range(runs)] for _ in range(2))
    there, back = difference(new, old), difference(old, new)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-9)
    assert (there.p, there.test) == (pytest.approx(back.p), back.test)
    assert there.low <= there.value <= there.high
    assert 0 <= there.p <= 1


def test_items_of_one_problem_are_one_piece_of_evidence() -> None:
    names = tuple("aabbcc")
    new, old = result([1, 1, 1, 1, 0, 0], clusters=names), result([0, 0, 0, 0, 0, 0], clusters=names)
    found, alone = difference(new, old), difference(replace(new, clusters=None), replace(old, clusters=None))
    assert found.test == "paired t over clusters"
    assert found.high - found.low > alone.high - alone.low
    assert found.sign_flip_p == pytest.approx(0.5)  # two problems that changed, both for the better
    with pytest.raises(DataError, match="other clusters"):
        difference(new, replace(old, clusters=tuple("aabbbc")))


def test_several_runs_make_runs_a_level() -> None:
    old = [result([2, 2, 2, 2, 0, 1], 4, seed=s) for s in (0, 1, 2)]
    new = [
        result([3, 3, 3, 2, 1, 1], 4, seed=0),
        result([2, 2, 1, 1, 0, 1], 4, seed=1),
        result([4, 4, 4, 4, 1, 2], 4, seed=2),
    ]
    found = difference(new, old)
    assert (found.test, found.runs) == ("t over runs and items", (3, 3))
    assert found.high - found.low > difference(new[0], old[0]).high - difference(new[0], old[0]).low
    assert math.isnan(found.sign_flip_p)
    assert found.plan() is None


def test_only_shared_items_are_compared_and_the_others_are_counted() -> None:
    some = replace(BEFORE, items=(*BEFORE.items[:29], "other"))
    found = difference(AFTER, some)
    assert (found.items, found.left_out) == (29, 2)
    with pytest.raises(DataError, match="share no item"):
        difference(AFTER, replace(BEFORE, items=tuple(f"j{i}" for i in range(30))))
    with pytest.raises(DataError, match="no results of a method"):
        difference([], BEFORE)


def test_agreement_everywhere_is_not_certainty() -> None:
    same = difference(result([3, 3, 3], 4), result([3, 3, 3], 4))
    assert (same.value, same.p) == (0, 1)
    assert same.low < -0.3 < 0.3 < same.high
    all_up = difference(result([4] * 3, 4), result([3] * 3, 4))
    assert (all_up.p, all_up.test) == (0.25, "sign flips")
    assert estimate(result([4, 4, 4], 4)).low < 0.5
    lone = difference(result([4], 4), result([0], 4))
    assert (lone.low, lone.high, lone.p) == (-1, 1, 1)


def test_uneven_numbers_of_answers_are_tested_exactly_on_a_common_unit() -> None:
    new = replace(result([1, 2, 3], 3), samples=np.array([2, 2, 3]))
    found = difference(new, result([0, 1, 1], 2))
    assert found.sign_flip_p == pytest.approx(0.25)
    assert found.noise is None
    assert found.samples is None


def test_estimates() -> None:
    """One answer: Wilson (8 of 10: .4902 to .9433). Four: t over items."""
    one = estimate(result([1] * 8 + [0] * 2))
    assert (one.low, one.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    four = estimate(result([4, 0, 2, 2], 4, truncated=8))
    assert four.high == pytest.approx(min(1, 0.5 + 3.18245 * math.sqrt(0.5 / 3 / 4)), abs=1e-4)
    assert (four.items, four.samples, four.runs, four.truncated) == (4, (4, 4), 1, 0.5)
    assert estimate(result([1, 2], 2), k=2).value == pytest.approx(1.0)
    assert difference(result([1, 2, 0], 2), result([0, 1, 0], 2), k=2).value == pytest.approx(1 / 3)


def table() -> Comparison:
    def arms(benchmark: str, gain: int) -> list[Result]:
        base, old, new = [1] * 20 + [0] * 80, [1] * 50 + [0] * 50, [1] * (50 + gain) + [0] * (50 - gain)
        shown = (("base", base), ("GRPO", old), ("HICRA", new))
        return [result(c, method=m, benchmark=benchmark) for m, c in shown]

    return compare([*arms("Olympiad Bench", 6), *arms("AIME24", 20), *arms("mine", 0)])


def test_the_papers_layout() -> None:
    (group,) = table().groups
    assert table().benchmarks == ("aime24", "olympiad", "mine")
    assert group.methods == ("base", "GRPO", "HICRA")
    assert group.baseline == "GRPO"
    assert list(group.deltas) == [("HICRA", "aime24"), ("HICRA", "olympiad"), ("HICRA", "mine")]
    assert group.cells["HICRA", "aime24"].value == pytest.approx(0.7)


def test_marks_are_what_holm_leaves() -> None:
    deltas = table().groups[0].deltas
    raw = [d.difference.p for d in deltas.values()]
    np.testing.assert_allclose([d.adjusted for d in deltas.values()], holm(raw))
    assert [d.mark for d in deltas.values()] == [True, False, False]
    assert raw[1] < 0.05 < deltas["HICRA", "olympiad"].adjusted


def test_a_declared_family_is_tested_alone() -> None:
    results = [r for m, c in (("GRPO", [0] * 40), ("HICRA", [1] * 6 + [0] * 34)) for b in ("aime24", "amc23", "mine")
               for r in [result(c, method=m, benchmark=b)]]  # fmt: skip
    assert not any(d.mark for d in compare(results).groups[0].deltas.values())
    deltas = compare(results, family=["AIME 24"]).groups[0].deltas
    assert {b: d.mark for (_, b), d in deltas.items()} == {"aime24": True, "amc23": False, "mine": False}
    assert math.isnan(deltas["HICRA", "mine"].adjusted)
    with pytest.raises(ConfigError, match="no results on emma"):
        compare(results, family=["EMMA"])


def test_baselines() -> None:
    assert pick_baseline(["base", "grpo", "EntReg", "HICRA"]) == "grpo"
    assert pick_baseline(["HICRA", "GRPO"]) == "HICRA"
    assert pick_baseline(["a", "b"], "A") == "a"
    assert pick_baseline(["a", "b"], "c") is None
    assert pick_baseline(["a"]) is None
    with pytest.raises(ConfigError, match="no such baseline"):
        compare([BEFORE, AFTER], baseline="PPO")
    with pytest.raises(DataError, match="nothing to compare"):
        compare([])


def test_models_with_one_method_each_are_compared_with_each_other() -> None:
    (group,) = compare(
        [replace(BEFORE, model="ckpt-a", method="file"), replace(AFTER, model="ckpt-b", method="file")]
    ).groups
    assert group.methods == ("ckpt-a", "ckpt-b")
    assert len(group.deltas) == 1
    two = compare([BEFORE, AFTER, replace(BEFORE, model="N"), replace(AFTER, model="N")])
    assert [g.model for g in two.groups] == ["M", "N"]


def test_a_run_that_is_there_twice_is_refused_and_a_base_model_is_taken_once() -> None:
    with pytest.raises(DataError, match="there twice"):
        compare([BEFORE, replace(BEFORE, correct=1 - BEFORE.correct, seed=1), replace(BEFORE, seed=1)])
    with pytest.raises(DataError, match="there twice"):
        compare([BEFORE, BEFORE])
    base = replace(BEFORE, method="base", seed=0)
    assert compare([base, base, BEFORE]).groups[0].cells["base", "math500"].runs == 1


def test_notes_say_what_the_figures_do_not() -> None:
    said = " ".join(table().notes)
    assert "3 differences (exact McNemar)" in said
    assert "One training run of each method" in said
    runs = [replace(r, seed=s) for r in (BEFORE, AFTER) for s in (0, 1)]
    assert "Fewer than three training runs" in " ".join(compare(runs).notes)
    other = replace(AFTER, items=(*AFTER.items[:-1], "x"), truncated=3)
    assert "Math500 2" in " ".join(compare([replace(BEFORE, truncated=0), other]).notes)
    assert "up to 10.0% (HICRA, Math500)" in " ".join(compare([replace(BEFORE, truncated=0), other]).notes)
    weak = [result([0] * 28 + [1, c], 8, method=m) for m, c in (("GRPO", 2), ("HICRA", 4))]
    assert "about 90 %" in " ".join(compare(weak).notes)


def test_json_has_no_numbers_that_json_has_not() -> None:
    document = table().to_dict()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["groups"][0]["delta"][0]["plan"]["split"] is False
    assert document["groups"][0]["delta"][0]["p_holm"] < 0.05
    json.dumps(comparison().to_dict(), allow_nan=False)


HOSTILE = "<script>alert(1)</script> & \\input{x} | _a_ $1 # % ~ ^ {} \x1b[31m \u202e `c`"


def hostile() -> Comparison:
    return compare(
        [replace(BEFORE, model=HOSTILE, benchmark=HOSTILE), replace(AFTER, model=HOSTILE, benchmark=HOSTILE)]
    )


def test_html_is_escaped_and_well_formed() -> None:
    page = html(hostile())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    body = re.search(r"<tbody>.*?</tbody>", page, re.S)
    assert body is not None
    ET.fromstring(re.sub(r"=(\w+)", r'="\1"', body[0]))


def test_latex_is_escaped() -> None:
    text = latex(hostile())
    assert r"\textbackslash{}input\{x\} | \_a\_ \$1 \# \% \textasciitilde{} \textasciicircum{} \{\}" in text
    assert "\x1b" not in text
    marked = latex(table())
    assert r"$\Delta$ HICRA $-$ GRPO & \textbf{+20.0}$^{*}$ {\scriptsize (" in marked
    assert marked.count("&") == 3 * (marked.count(r"\\") - 1)  # 4 cells a row, one row is a heading over all of them


def test_markdown_is_escaped_and_rectangular() -> None:
    text = markdown(hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "<script" not in text
    assert r"\`c\`" in text
    assert "**+20.0**\\*" in markdown(table())


def test_the_terminal_is_not_steered_and_never_cuts_a_number() -> None:
    from rich.console import Console

    def shown(what: Comparison, width: int) -> str:
        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as captured:
            for piece in terminal_tables(what, width):
                console.print(piece)
            console.print(details(what))
        return captured.get()

    assert "\x1b" not in shown(hostile(), 120)
    for width in (60, 80, 140):
        text = shown(comparison(["all"]), width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        assert text.count("+6.0*") == 1


# -- the paper's figures


def test_the_papers_figures_are_the_papers() -> None:
    text, vision = tables()["text"], tables()["vision"]
    assert (len(text.models), len(vision.models)) == (5, 2)
    assert text.models["Qwen3-4B-Instruct-2507"]["HICRA"]["aime24"] == 73.1
    assert text.models["Qwen2.5-7B-Base"]["EntReg"]["minerva"] == 33.1
    assert vision.models["Qwen2.5-VL-7B-Instruct"]["GRPO"]["mathverse"] == 48.8
    assert {(b.items, b.samples) for b in text.benchmarks.values()} == {(30, 32), (500, 1), (40, 4), (272, 1), (675, 1)}
    for table in (text, vision):
        for rows in table.models.values():
            assert list(rows)[:2] == ["base", "GRPO"]
            assert all(set(row) == set(table.benchmarks) for row in rows.values())


def test_what_is_significant_in_the_paper() -> None:
    unpaired, typical, sampling = summary()
    assert [len(r["significant"]) for r in (unpaired, typical, sampling)] == [1, 3, 11]
    assert [len(r["after_holm"]) for r in (unpaired, typical, sampling)] == [0, 1, 3]
    assert typical["after_holm"] == ["Qwen3-4B-Base math500"]
    assert not any("aime" in name for name in typical["significant"])


def test_published_differences_by_hand() -> None:
    """83 to 89 of 500, once: between + within = .1411 + .0979 - 2 * .6 * .85 * sqrt(.1411 * .0979) = .11912."""
    found = published_difference(89.0, 83.0, Benchmark(500, 1, True))
    assert found.value == pytest.approx(0.06)
    assert (found.high - found.low) / 2 == pytest.approx(1.96473 * math.sqrt(0.11912 / 500), abs=1e-4)
    unpaired = published_difference(89.0, 83.0, Benchmark(500, 1, True), correlation=0)
    assert unpaired.p == pytest.approx(2 * (1 - 0.99685), abs=3e-4)  # z = .06 / sqrt(.239 / 500) = 2.744


def test_over_models_by_hand() -> None:
    """Means over benchmarks 2.067, 2.867, 4.1, .517, 3.783: mean 2.667, sd 1.4426, t = 4.134 with 4 degrees."""
    found = over_models(comparison().groups)
    assert found is not None
    assert [round(100 * x, 2) for x in found.models.values()] == [2.07, 2.87, 4.1, 0.52, 3.78]
    assert found.value == pytest.approx(0.02667, abs=1e-5)
    assert (found.high - found.low) / 2 == pytest.approx(2.77645 * 0.014426 / math.sqrt(5), abs=2e-5)
    assert found.p == pytest.approx(0.0144, abs=3e-4)
    assert "+2.7 points" in " ".join(comparison().notes)
    assert over_models(comparison(["vision"]).groups) is None


def test_published_intervals_by_hand() -> None:
    """50 % of 30 items, 32 answers: sqrt(.25 (.6 + .4 / 32) / 30) * t(.975, 29) = .0714 * 2.0452."""
    found = published_estimate(50.0, Benchmark(30, 32, True))
    assert found.high - 0.5 == pytest.approx(2.0452 * math.sqrt(0.25 * 0.6125 / 30), abs=1e-4)
    assert published_estimate(80.0, Benchmark(10, 1, True)).low == pytest.approx(0.4902, abs=1e-4)


def test_shares_that_so_many_answers_cannot_have() -> None:
    assert fits(33.3, 3)
    assert not fits(33.4, 3)
    assert fits(0.0, 3)
    assert fits(100.0, 3)
    amc = [row["amc23"] for rows in tables()["text"].models.values() for row in rows.values()]
    assert sum(fits(x, 160) for x in amc) < sum(fits(x, 332) for x in amc) == 11
    assert all(fits(row["math500"], 500) for rows in tables()["text"].models.values() for row in rows.values())


@pytest.mark.parametrize("net", [3, 5, 6, 13, 30, -30])
def test_most_changed_is_the_edge_of_the_test(net: int) -> None:
    most, gain = most_changed(net, 500), abs(net)
    if most is None:
        assert mcnemar(gain, 0) >= 0.05
    else:
        assert mcnemar((most + gain) // 2, (most - gain) // 2) < 0.05
        assert mcnemar((most + gain) // 2 + 1, (most - gain) // 2 + 1) >= 0.05


def test_unrelated_changes_by_hand() -> None:
    assert unrelated_changes(50.0, 20.0, 100) == pytest.approx(100 * (0.5 * 0.8 + 0.5 * 0.2))


def test_a_models_figures_keep_the_family_of_its_table() -> None:
    (group,) = comparison(["qwen3-4b-base"]).groups
    assert group.deltas["HICRA", "math500"].adjusted > 20 * group.deltas["HICRA", "math500"].difference.p
    assert len(comparison(["all"]).groups) == 7
    with pytest.raises(ConfigError, match="nothing published"):
        comparison(["gpt"])


def test_names_of_benchmarks() -> None:
    assert key("AIME-2025") == "aime25"
    assert key("my Bench") == "my Bench"
    assert ordered(["mine", "emma", "aime24", "mine"]) == ("aime24", "emma", "mine")


# -- the verb


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    before = sys.argv
    sys.argv = ["hicra", "compare", *map(str, arguments)]
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    hard = rng.random(30)
    for name, lift in (("a", 0.0), ("b", 0.3)):
        rows = [
            Answer(f"p{i}", s, bool(rng.random() < min(1, hard[i] + lift)), benchmark="aime24", seed=0)
            for i in range(30)
            for s in range(8)
        ]
        write_results(tmp_path / f"{name}.parquet", rows)
    return tmp_path / "a.parquet", tmp_path / "b.parquet"


def test_the_verb_compares_two_files(capsys, files) -> None:
    status, out, _ = run(capsys, *files)
    assert status == 0
    assert "AIME24" in out
    assert "Δ b − a" in out
    assert "paired t" in out


def test_the_verb_names_and_writes(capsys, files, tmp_path) -> None:
    target = tmp_path / "table.html"
    status, out, _ = run(capsys, *files, "--name", "GRPO", "--name", "HICRA", "-f", "html", "-o", target)
    assert status == 0
    assert out.split() == [str(target)]
    assert "Δ HICRA − GRPO" in target.read_text("utf-8")
    for form, sign in (("markdown", "| Δ HICRA"), ("latex", r"\toprule")):
        assert sign in run(capsys, *files, "--name", "GRPO", "--name", "HICRA", "-f", form)[1]
    run(capsys, *files, "-o", tmp_path / "table.txt")
    assert "Δ b − a" in (tmp_path / "table.txt").read_text("utf-8")


def test_the_verb_in_json_with_the_papers_figures(capsys, files) -> None:
    status, out, _ = run(capsys, *files, "--published", "Qwen3-4B-Base", "--json", "--gain", 5)
    assert status == 0
    document = json.loads(out)
    assert [g["published"] for g in document["groups"]] == [False, True]
    assert document["groups"][0]["delta"][0]["plan"]["gain"] == pytest.approx(0.05)


def test_the_verb_on_run_directories_shows_the_model_before_training(capsys, tmp_path) -> None:
    for arm in ("grpo", "hicra"):
        path = make_run(tmp_path / arm, steps=1, evals=False)
        (path / "evals").mkdir()
        for step in (0, 8):
            rows = [Answer(f"p{i}", s, (i + s) % 8 < step // 2 + (arm == "hicra")) for i in range(9) for s in (0, 1)]
            write_results(path / "evals" / f"step-{step:06d}.parquet", rows)
    status, out, _ = run(capsys, tmp_path / "grpo", tmp_path / "hicra", "--json")
    assert status == 0
    (group,) = json.loads(out)["groups"]
    assert group["methods"] == ["base", "grpo", "hicra"]
    status, out, _ = run(capsys, tmp_path, "--no-base", "--json")
    assert json.loads(out)["groups"][0]["methods"] == ["grpo", "hicra"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to compare"),
        (("absent.parquet",), "no such file"),
        (("--published", "gpt"), "nothing published"),
        (("--published", "text", "--gain", "0"), "--gain is out of range"),
        (("x", "--name", "a", "--name", "b"), "once for each argument"),
    ],
)
def test_the_verb_says_what_is_wrong(capsys, arguments, said: str) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert said in err
