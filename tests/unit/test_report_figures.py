"""The figures of a report as data: what they say of runs of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hicra.dynamics.semantic import entropy_bits
from hicra.errors import ConfigError, RunDirError
from hicra.report.facts import glance_rows, run_rows
from hicra.report.figures import Figure, Panel, build_figures
from hicra.report.runs import read_runs
from hicra.report.words import noise_words
from hicra.traces.rundir import RunReader, RunWriter
from tests.run_dirs import gram_dict, make_run


def panels_of(figures: list[Figure]) -> dict[str, Panel]:
    return {p.key: p for f in figures for p in f.panels}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [
        make_run(root / "grpo", estimator="grpo", steps=20, prompts=8),
        make_run(root / "hicra", seed=1, steps=20, prompts=8),
    ]


def test_values_are_those_of_the_run_directory(pair: list[Path]) -> None:
    runs = read_runs(pair)
    panels = panels_of(build_figures(runs))
    table = RunReader(pair[1]).completions(steps=[7]).to_pydict()
    at = 6

    def raw(key: str) -> float:
        return float(panels[key].curves[1].raw[at])

    assert raw("reward") == pytest.approx(np.mean(table["reward"]))
    assert raw("length") == pytest.approx(np.mean(table["length"]))
    assert raw("planning-share") == pytest.approx(sum(table["n_planning"]) / sum(table["length"]))
    assert raw("entropy-planning") == pytest.approx(sum(table["sum_entropy_planning"]) / sum(table["n_planning"]))
    counts = np.zeros(20, int)
    for ids, numbers in zip(table["gram_ids"], table["gram_counts"], strict=True):
        np.add.at(counts, ids, numbers)
    assert raw("semantic-gram") == pytest.approx(entropy_bits(counts))
    assert raw("semantic-gram-rarefied") < raw("semantic-gram")
    assert raw("semantic-cluster") < raw("semantic-gram")
    perplexity = panels["perplexity-execution"].curves[1].raw
    assert perplexity[0] == 1
    first = RunReader(pair[1]).completions(steps=[1]).to_pydict()
    nll = [-sum(t["sum_logprob_execution"]) / sum(t["n_execution"]) for t in (first, table)]
    assert perplexity[at] == pytest.approx(np.exp(nll[1] - nll[0]))


def test_words_say_what_the_curves_do(pair: list[Path]) -> None:
    panels = panels_of(build_figures(read_runs(pair)))
    words = " ".join(panels["reward"].findings).replace("\xa0", " ")
    assert "grpo rises from" in words
    assert "hicra rises from" in words
    assert "hicra against grpo at the end: no difference to be seen" in words
    entropy = " ".join(panels["entropy-execution"].findings)
    assert "grpo falls from" in entropy
    assert any("grpo stays at 0" in w for w in panels["added-mass"].findings)


def test_a_real_difference_is_seen_and_called_one_run_each(tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path / "grpo", estimator="grpo", steps=10, prompts=12),
        make_run(tmp_path / "hicra", steps=10, prompts=12, lift=0.45, seed=3),
    ]
    runs = read_runs(paths)
    last = panels_of(build_figures(runs))["reward"].findings[-1]
    assert "hicra against grpo at the end: higher" in last
    assert "one run each" in last
    assert "One seed of a method is no sample of the method" in noise_words(runs)


def test_seeds_of_a_method_share_a_colour_and_are_compared_as_a_method(tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path / f"{estimator}-{seed}", estimator=estimator, seed=seed, steps=6, rows=False)
        for estimator in ("grpo", "hicra")
        for seed in range(3)
    ]
    runs = read_runs(paths)
    assert [r.role for r in runs] == ["baseline"] * 3 + ["run0"] * 3
    assert [r.dash for r in runs] == [0, 1, 2, 0, 1, 2]
    findings = panels_of(build_figures(runs))["reward"].findings
    assert len(findings) == 1  # six runs: no sentence for each of them
    assert "Welch's t over 3 and 3 seeds" in findings[0]
    assert "include the noise of seeds" in noise_words(runs)


def test_one_run_says_so(tmp_path: Path) -> None:
    runs = read_runs([make_run(tmp_path / "only", steps=3, prompts=2)])
    assert "one run with one seed" in noise_words(runs)
    assert all(len(p.findings) <= 1 for p in panels_of(build_figures(runs)).values())


def test_what_is_missing_is_switched_off_and_says_why(tmp_path: Path) -> None:
    path = make_run(
        tmp_path / "bare", steps=4, entropies=False, evals=False, grams=gram_dict(clusters=False, functions=False)
    )
    figures = build_figures(read_runs([path]))
    panels = panels_of(figures)
    assert panels["entropy-planning"].curves == ()
    assert "bare has no token entropies" in panels["entropy-planning"].missing[0]
    assert "bare has no log-probabilities" in panels["perplexity-execution"].missing[0]
    assert "held-out" not in panels
    assert "no evaluations" in figures[0].lead
    semantic = next(f for f in figures if f.key == "semantic")
    assert any("has no clusters" in remark for remark in semantic.remarks)


def test_metrics_alone_are_enough_but_have_no_noise(tmp_path: Path) -> None:
    panels = panels_of(build_figures(read_runs([make_run(tmp_path / "run", steps=5, rows=False)])))
    (curve,) = panels["reward"].curves
    assert curve.low is None
    assert "noise unknown" in panels["reward"].findings[0]
    assert "kept no completions" not in " ".join(panels["semantic-gram"].missing)  # the engine wrote the plug-in
    assert "wrote no entropy_planning" in panels["entropy-planning"].missing[0]


def test_nulls_and_nans_leave_gaps(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", config={}, seeds={})
    for step, loss in enumerate((1.0, float("nan"), 3.0), start=1):
        writer.commit(step, {"loss": loss, "reward": None})
    panels = panels_of(build_figures(read_runs([tmp_path / "run"])))
    assert panels["loss"].curves[0].x.tolist() == [1, 3]
    assert panels["reward"].curves == ()


def test_too_few_occurrences_switch_equal_counts_off(tmp_path: Path) -> None:
    figures = build_figures(read_runs([make_run(tmp_path / "run", steps=3, prompts=2, group=2)]))
    remarks = next(f for f in figures if f.key == "semantic").remarks
    assert any("No curve at equal counts" in r for r in remarks) or any("fewer than" in r for r in remarks)
    assert "semantic-gram-rarefied" not in panels_of(figures)


def test_evaluation_intervals_are_wilsons_or_the_runs_own(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", config={}, seeds={})
    writer.eval(0, {"accuracy": 81 / 263, "n": 263})
    writer.commit(1, {"reward": 0.1})
    writer.eval(1, {"accuracy": 0.5, "n": 263, "accuracy_low": 0.3, "accuracy_high": 0.7})
    (curve,) = panels_of(build_figures(read_runs([tmp_path / "run"])))["held-out"].curves
    assert curve.low is not None
    assert curve.low.tolist() == pytest.approx([0.2553, 0.3], abs=5e-5)


def test_samples_of_a_problem_are_not_taken_as_independent(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", config={}, seeds={})
    writer.eval(0, {"accuracy": 0.5, "n": 400, "n_items": 100})
    writer.commit(1, {"reward": 0.1})
    figure = build_figures(read_runs([tmp_path / "run"]))[0]
    (curve,) = panels_of([figure])["held-out"].curves
    assert curve.low is not None
    assert curve.low[0] == pytest.approx(0.4038, abs=5e-5)  # Wilson, 50 of 100
    assert figure.remarks == ()


def test_independence_that_is_assumed_is_said(pair: list[Path]) -> None:
    (remark,) = build_figures(read_runs(pair))[0].remarks
    assert "Wilson's for 400 independent trials" in remark


def test_evaluations_without_accuracy_show_their_reward(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", config={}, seeds={})
    writer.commit(1, {"reward": 0.1})
    writer.eval(1, {"reward": 0.7, "length": 12.0})
    panels = panels_of(build_figures(read_runs([tmp_path / "run"])))
    assert panels["held-out"].title == "Held-out reward"
    assert panels["held-out"].curves[0].raw.tolist() == [0.7]


def test_different_gram_sets_are_named(tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path / "a", steps=3),
        make_run(tmp_path / "b", steps=3, grams=gram_dict(name="other", hash="cd" * 32)),
    ]
    figure = next(f for f in build_figures(read_runs(paths)) if f.key == "planning")
    assert "different gram sets" in figure.remarks[0]


def test_truncation_makes_length_partly_the_limit(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", steps=3, completion=["x"] * 120)
    figure = next(f for f in build_figures(read_runs([path])) if f.key == "length")
    assert "100 % of the completions of run are cut off" in figure.remarks[0]


def test_tables(pair: list[Path]) -> None:
    runs = read_runs(pair)
    rows = {row.name: row for row in run_rows(runs)}
    assert rows["Method"].cells == ("grpo", "hicra")
    assert rows["Model"].cells[0] == "lab llama, 288 k parameters"
    assert rows["alpha"].cells == ("0", "0.2")
    assert rows["Steps"].cells == ("20", "20")
    assert rows["Model"].same
    assert rows["Gram set"].cells[0] == "lab, 8 grams · abababababab"
    assert rows["Seeds"].cells == ("train 0", "train 1")
    glance = {row.name: row.cells for row in glance_rows(build_figures(runs), runs)}
    assert glance["Held-out accuracy"][0].replace("\xa0", " ") == "15.0 % → 45.0 %"


def test_names_of_runs(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / place / "run", steps=2, rows=False) for place in ("one", "two"))
    assert [r.name for r in read_runs([a, b])] == ["one/run", "two/run"]
    assert [r.name for r in read_runs([a, a])] == ["run", "run (2)"]
    assert [r.name for r in read_runs([a, b], ["x", "x"])] == ["x", "x (2)"]


def test_observing_is_grpo(tmp_path: Path) -> None:
    config = {"trainer": {"alpha": 0.0, "grams": "x"}, "credit": {"estimator": "hicra"}, "model": {"layers": 2}}
    RunWriter.create(tmp_path / "run", config=config, seeds={}).commit(1, {"reward": 0.5})
    runs = read_runs([tmp_path / "run"])
    assert runs[0].role == "baseline"
    rows = {row.name: row.cells for row in run_rows(runs)}
    assert rows["Method"] == ("grpo (alpha 0, observed)",)
    assert "Model" not in rows  # a table of settings is no name


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        read_runs([])
    with pytest.raises(RunDirError, match="not a run directory"):
        read_runs([tmp_path])
    RunWriter.create(tmp_path / "fresh", config={}, seeds={})
    with pytest.raises(RunDirError, match="nothing to report yet"):
        read_runs([tmp_path / "fresh"])
    run = make_run(tmp_path / "run", steps=1, rows=False)
    with pytest.raises(ConfigError, match="names"):
        read_runs([run], ["a", "b"])


def test_every_benchmark_of_an_evaluation_has_its_panels(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", config={}, seeds={})
    one = {"aime24/accuracy": 0.2, "aime24/accuracy_low": 0.1, "aime24/accuracy_high": 0.3, "aime24/pass_at_8": 0.5}
    writer.eval(0, {"accuracy": 0.3, "mine/accuracy": 0.4, "mine/truncated": 0.1, "mine/n": 9, **one})
    writer.commit(1, {"reward": 0.1})
    panels = panels_of(build_figures(read_runs([tmp_path / "run"])))
    titles = {key: panel.title for key, panel in panels.items() if key.startswith("eval-")}
    assert titles == {
        "eval-mine-accuracy": "mine, accuracy",
        "eval-mine-truncated": "mine, cut off",
        "eval-aime24-accuracy": "aime24, accuracy",
        "eval-aime24-pass_at_8": "aime24, pass@8",
    }
    (curve,) = panels["eval-aime24-accuracy"].curves
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.low[0], curve.high[0]) == (0.1, 0.3)
