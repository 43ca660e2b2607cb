"""The whole analysis on run directories in which it is known what happens."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hicra.dynamics.analyze import analyze
from hicra.dynamics.conditional import conditional_entropy
from hicra.dynamics.overlap import overlap
from hicra.dynamics.result import Analysis, Settings
from hicra.dynamics.semantic import cluster_counts, entropy_bits
from hicra.errors import ConfigError, RunDirError
from hicra.traces import RunReader
from tests.planted import CLUSTERS, GRAMS, World, bent, write
from tests.run_dirs import make_run
from tests.rundir_rows import completion_row, new_run, rollout_row

QUICK = Settings(draws=4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    worlds = {
        "flat": World(),
        "phases": World(
            nll=bent(0.8, 0.4, 0.0, 0.3),
            skew=bent(2.5, 0.3, 0.4, 1.0),
            reward=bent(0.2, 0.7, 0.3, 1.0),
            share=0.16,
        ),
        "collapse": World(entropy=bent(0.5, 0.02, 0.4, 0.9)),
        "stuffing": World(share=bent(0.06, 0.3, 0.5, 0.9), reward=bent(0.2, 0.9, 0.5, 0.9)),
        "all alike": World(reward=bent(0.5, 1.0, 0.3, 0.6)),
        "cut off": World(truncated=bent(0.05, 1.0, 0.5, 0.7), length=bent(60.0, 180.0, 0.4, 0.7)),
    }
    return {name: write(folder / name, world, seed=3) for name, world in worlds.items()}


@pytest.fixture(scope="module")
def found(runs) -> Analysis:
    return analyze(list(runs.values()), settings=QUICK)


def of(found: Analysis, name: str):
    return next(run for run in found.runs if run.name == name)


def test_nothing_is_found_where_nothing_happens(found) -> None:
    flat = of(found, "flat")
    assert flat.alarms == []
    assert not flat.phases.first.seen
    assert not flat.phases.second.seen
    assert flat.phases.second.says.startswith("no second phase seen")
    assert flat.missing == {}
    assert flat.notes == []


def test_planted_phases(found) -> None:
    run = of(found, "phases")
    assert run.phases.first.seen
    assert run.phases.first.end == pytest.approx(1 + 0.3 * 39, abs=4)
    assert run.phases.second.seen
    assert 8 <= run.phases.second.begin <= 27
    assert set(run.phases.alongside) == {"reward", "length", "conditional_rarefied", "nll_execution"}
    assert run.phases.alongside["reward"].low > 0
    assert run.phases.alongside["length"].low < 0 < run.phases.alongside["length"].high
    assert run.alarms == []
    gauge = run.series["competence"].value
    assert gauge[:6].max() < 0.4
    assert gauge[-5:].mean() > 0.8


@pytest.mark.parametrize(
    ("name", "alarms"),
    [
        ("collapse", {"entropy_collapse"}),
        ("stuffing", {"planning_runaway"}),
        ("all alike", {"vanishing_advantages"}),
        ("cut off", {"all_truncated", "length_blow_up"}),
    ],
)
def test_planted_trouble(found, name: str, alarms: set[str]) -> None:
    raised = of(found, name).alarms
    assert {a.name for a in raised} == alarms
    assert all(a.step > 12 for a in raised)


def test_token_entropy_may_collapse_while_semantic_entropy_stays(found) -> None:
    run = of(found, "collapse")
    assert run.series["entropy"].value[-5:].mean() < 0.1 * run.series["entropy"].value[:5].mean()
    semantic = run.series["semantic_gram_rarefied"].value
    assert semantic[-10:].mean() == pytest.approx(semantic[:10].mean(), abs=0.3)


def test_series_are_those_of_the_rows(runs, found) -> None:
    run, reader = of(found, "phases"), RunReader(runs["phases"])
    step = reader.steps[16]
    rows = reader.completions([step]).to_pylist()
    at = run.steps.index(step)
    tokens = sum(r["n_planning"] + r["n_execution"] for r in rows)
    assert run.series["planning_share"].value[at] == pytest.approx(sum(r["n_planning"] for r in rows) / tokens)
    logprob = sum(r["sum_logprob_execution"] for r in rows) / sum(r["n_execution"] for r in rows)
    assert run.series["logprob_execution"].value[at] == pytest.approx(logprob)
    assert run.series["reward"].value[at] == pytest.approx(np.mean([r["reward"] for r in rows]))
    counts = np.zeros(GRAMS, int)
    for r in rows:
        counts[r["gram_ids"]] += r["gram_counts"]
    assert run.series["semantic_gram_plug_in"].value[at] == pytest.approx(entropy_bits(counts))
    clusters = cluster_counts(counts, np.arange(GRAMS) % CLUSTERS)
    assert run.series["semantic_cluster_plug_in"].value[at] == pytest.approx(entropy_bits(clusters))
    groups = np.array([r["reward"] for r in rows]).reshape(-1, 4)
    assert run.pass_k == 4
    assert run.series["pass_at_k"].value[at] == pytest.approx(groups.max(axis=1).mean())


def test_what_is_read_from_tokens(runs, found) -> None:
    run, reader = of(found, "phases"), RunReader(runs["phases"])
    step = reader.steps[5]
    rows = reader.rollouts([step]).to_pylist()
    entropy = np.concatenate([r["entropy"] for r in rows])
    planning = np.concatenate([r["planning"] for r in rows])
    at = run.series["planning_in_top"].steps.tolist().index(step)
    expected = overlap(entropy.astype(np.float32), planning, 0.3)
    assert run.series["planning_in_top"].value[at] == pytest.approx(expected.planning_in_top[0])
    grams, after = [], []
    for r in rows:
        for i in np.flatnonzero(r["begin"]):
            follows = slice(i + 4, i + 7)
            if i + 7 <= len(r["planning"]) and not any(r["planning"][follows]):
                grams.append(r["gram_id"][i])
                after.append("".join(r["token_text"][follows]))
    codes = np.unique(after, return_inverse=True)[1]
    at = run.series["conditional_plug_in"].steps.tolist().index(step)
    assert run.series["conditional_plug_in"].value[at] == pytest.approx(conditional_entropy(grams, codes).plug_in)
    pooled = run.overlap
    every = reader.rollouts(columns=["planning"])["planning"]
    assert pooled.tokens == sum(map(len, every.to_pylist()))
    assert pooled.share.tolist() == list(QUICK.top_shares)
    assert (np.diff(pooled.planning_in_top) > 0).all()
    assert pooled.planning_in_top[3] > 0.4  # planning tokens have twice the entropy


def test_flow(runs, found) -> None:
    run, reader = of(found, "phases"), RunReader(runs["phases"])
    flow = run.flow
    assert flow.level == "cluster"
    assert len(flow.moves) == CLUSTERS
    rows = reader.rollouts(columns=["gram_id", "begin"]).to_pylist()
    sequences = [np.array(r["gram_id"])[r["begin"]] % CLUSTERS for r in rows]
    index = {name: i for i, name in enumerate(flow.moves)}
    a, b = index["move 0"], index["move 1"]
    assert flow.all.counts[a, b] == sum(((s[:-1] == 0) & (s[1:] == 1)).sum() for s in sequences)
    assert flow.all.counts[-1].sum() == len(rows)
    assert flow.early.counts.sum() + flow.late.counts.sum() < flow.all.counts.sum()
    assert all(m.within.low < 1.6 for m in flow.odds)
    assert all(m.adjusted_p > 0.01 for m in flow.odds)  # moves and rewards are drawn apart


def test_sensitivity(found) -> None:
    run = of(found, "phases")
    assert set(run.sensitivity) == {
        "semantic_gram_rarefied",
        "semantic_cluster_rarefied",
        "planning_share",
        *(f"{name}_{kind}" for name in ("entropy", "relative_perplexity") for kind in ("planning", "execution")),
    }
    for name in ("entropy_planning", "relative_perplexity_execution"):
        # from the kept rollouts, three groups of five
        assert run.sensitivity[name].series.value == pytest.approx(run.series[name].value, rel=0.5), name
    assert np.median(run.sensitivity["relative_perplexity_execution"].shape) > 0.7
    share = run.sensitivity["planning_share"].series
    assert (share.high <= share.value).all()
    assert share.high.mean() < share.value.mean()


def test_runs_on_one_gram_set_are_rarefied_alike(found) -> None:
    assert len({json.dumps(run.rarefied_to) for run in found.runs}) == 1
    assert found.runs[0].rarefied_to["gram"] >= 15


def test_compasses(found) -> None:
    by_name = {c.series: c for c in found.compasses}
    assert set(by_name) >= {"entropy", "pass_at_k", "semantic_gram_rarefied"}
    level = by_name["pass_at_k"].level
    assert level.runs == 6
    assert level.low < level.rho < level.high


def test_it_is_json(found) -> None:
    text = found.to_json()
    assert "NaN" not in text
    read = json.loads(text)
    assert read["version"] == 1
    assert read["runs"][1]["name"] == "phases"
    assert read["runs"][1]["series"]["reward"]["value"][0] == found.runs[1].series["reward"].value[0]
    assert read["settings"]["draws"] == 4


def test_it_is_the_same_every_time(runs, found) -> None:
    again = analyze(runs["stuffing"], settings=QUICK).runs[0]
    before = of(found, "stuffing")
    assert dataclasses.asdict(again.phases.first) == dataclasses.asdict(before.phases.first)
    for name in ("entropy", "length", "planning_in_top", "pass_at_k"):
        assert again.series[name].low.tolist() == before.series[name].low.tolist(), name


def test_a_run_being_written_can_be_analysed(runs, tmp_path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(runs["flat"], torn)
    for kind in ("completions", "rollouts"):
        last = sorted((torn / kind).glob("*.parquet"))[-1]
        last.write_bytes(last.read_bytes()[:-200])
    (torn / "completions" / "step-000041.rank-0.parquet").write_bytes(b"PAR1")  # not committed yet
    with (torn / "metrics.jsonl").open("ab") as log:
        log.write(b'{"event": "metrics", "st')
    run = analyze(torn, settings=QUICK).runs[0]
    assert len(run.notes) == 2
    assert "step 40 is passed over" in run.notes[0]
    assert run.series["reward"].steps[-1] == 39
    assert run.series["planning_in_top"].steps[-1] == 39


def test_a_run_without_entropies_says_what_is_missing(tmp_path) -> None:
    run = analyze(make_run(tmp_path / "run", steps=4, entropies=False), settings=QUICK).runs[0]
    assert run.missing["overlap"] == "no rollouts with token entropies were kept"
    assert run.missing["entropy_planning"] == "the run has no token entropies"
    assert "relative_perplexity_execution" in run.missing
    assert "the run has no log-probs" in run.phases.first.says
    assert "conditional_plug_in" in run.series
    assert "planning_share" in run.series


def test_a_run_without_rewards_says_nothing_of_success(tmp_path) -> None:
    writer = new_run(tmp_path / "run")
    for step in range(1, 5):
        rows = [{"reward": float("nan")}] * 24
        writer.write_rows(
            step,
            [completion_row(i, **row) for i, row in enumerate(rows)],
            [rollout_row(i, **row) for i, row in enumerate(rows)],
        )
        writer.commit(step, {})
    run = analyze(tmp_path / "run", settings=QUICK).runs[0]
    assert {"reward", "no_signal", "pass_at_k"} <= set(run.missing)
    assert run.flow.all.counts.sum() > 0
    assert np.isnan(run.flow.success.anywhere).all()
    assert run.flow.odds == []


def test_a_run_of_metrics_alone(tmp_path) -> None:
    run = analyze(make_run(tmp_path / "run", steps=6, rows=False), settings=QUICK).runs[0]
    assert run.series["length"].known.all()
    assert np.isnan(run.series["length"].low).all()
    assert run.missing["pass_at_k"] == "the run kept no completions"
    assert run.overlap is None
    assert run.flow is None
    json.loads(Analysis([run], []).to_json())


def test_a_run_without_rollouts_or_grams(tmp_path) -> None:
    writer = new_run(tmp_path / "run", grams=None)
    for step in (1, 2):
        writer.write_rows(step, [completion_row(i, gram_ids=[], gram_counts=[]) for i in range(4)])
        writer.commit(step, {"reward": 0.5})
    run = analyze(tmp_path / "run", settings=QUICK).runs[0]
    assert run.missing["flow"] == "no rollouts were kept"
    assert run.missing["overlap"] == "no rollouts were kept"
    assert run.sensitivity == {}
    assert "entropy_planning" in run.missing
    json.loads(Analysis([run], []).to_json())


def test_a_fresh_run_with_nothing_committed(tmp_path) -> None:
    new_run(tmp_path / "run")
    run = analyze(tmp_path / "run").runs[0]
    assert run.steps == []
    assert run.series == {}


def test_bad_arguments(tmp_path, runs) -> None:
    with pytest.raises(ConfigError, match="no run to analyse"):
        analyze([])
    with pytest.raises(ConfigError, match="names and runs"):
        analyze(runs["flat"], names=["a", "b"])
    with pytest.raises(RunDirError, match="not a run directory"):
        analyze(tmp_path)
    for bad in ({"top_share": 0.0}, {"drop": 1.0}, {"ngram": 0}, {"top_shares": (0.5, 2.0)}):
        with pytest.raises(ConfigError, match="out of range"):
            Settings(**bad)
