"""What a run of the TRL engine does and writes: advantages, metrics, run directory, warnings, errors."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")
from trl import GRPOConfig, GRPOTrainer

from hicra.credit.apply import HicraCredit
from hicra.credit.config import CreditConfig
from hicra.dynamics.semantic import entropy_bits
from hicra.engines.generation import ROW
from hicra.engines.trl import HICRAConfig, HICRAMixin, HICRATrainer
from hicra.errors import ConfigError, DataError, HicraWarning, RunDirError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, dataset, make_tiny, model, reward, trainer

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]

ODD_SHARE = pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning")

WINDOWS: dict[str, dict[str, Any]] = {
    "one": {},
    "of two steps, twice": {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 8},
    "two a step": {"steps_per_generation": 1},
    "odd": {"steps_per_generation": 3, "max_steps": 6},
}


def run(folder: Path, kind: type = HICRATrainer, **settings: Any) -> tuple[Any, RunReader]:
    made = trainer(kind, HICRAConfig, folder, **settings)
    made.train()
    return made, RunReader(made.args.run_path)


def environment(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Completions "so wait so | wait so now | wait now so": the middle is written by an environment."""
    tokenizer = make_tiny().make_tokenizer()
    ids = tokenizer("so wait so wait so now wait now so")["input_ids"]
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": [[*ids, 3 + i % 7] for i, _ in enumerate(prompts)],
        "logprobs": [[-3.4] * 10 for _ in prompts],
        "env_mask": [[1] * 3 + [0] * 3 + [1] * 4 for _ in prompts],
    }


# --- advantages and rows through shuffle, split and buffer ----------------------------------------------------------
class Undo(HICRATrainer):
    """Checks in the loss that undoing HICRA leaves one advantage a row, and that rows are those of the generation."""

    seen = 0

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        a, p, alpha = inputs["advantages"], inputs["planning_mask"], self.args.alpha
        assert a.shape == p.shape
        undone = torch.where(p, torch.where(a > 0, a / (1 + alpha), a / (1 - alpha)), a)
        assert torch.allclose(undone.amax(1), undone.amin(1), atol=1e-6)
        fresh = Labeller("paper", self._tokenizer).label(inputs["completion_ids"], inputs["completion_mask"])
        assert torch.equal(fresh.mask, p)
        generation = self._hicra_generations["train"]
        assert torch.equal(generation.rows_of(inputs[ROW])[0].mask, p)
        assert torch.allclose(generation.advantages[inputs[ROW]], undone[:, 0], atol=1e-6)
        Undo.seen += int(p.sum())
        return super()._compute_loss(model, inputs)


@pytest.mark.parametrize("window", WINDOWS)
def test_credit_stays_with_its_tokens(window: str, tmp_path: Path) -> None:
    Undo.seen = 0
    run(tmp_path, Undo, alpha=0.3, **WINDOWS[window])
    assert Undo.seen > 0


@pytest.mark.parametrize("window", WINDOWS)
def test_recorded_log_probs_and_entropies_are_those_of_the_tokens(window: str, tmp_path: Path) -> None:
    """At learning rate 0 the model never changes, so a forward of our own must find the same numbers for every row."""
    _, reader = run(tmp_path, learning_rate=0.0, temperature=0.8, **WINDOWS[window])
    policy = model(tmp_path / "model").eval()
    tokenizer = make_tiny().make_tokenizer()
    rows = reader.rollouts().to_pylist()
    assert rows
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"]
        with torch.no_grad():
            logits = policy(torch.tensor([prompt + row["token_ids"]])).logits[0, len(prompt) - 1 : -1] / 0.8
        log_p = logits.log_softmax(-1)
        assert np.allclose(row["logprob"], log_p.gather(1, torch.tensor(row["token_ids"])[:, None])[:, 0], atol=1e-4)
        assert np.allclose(row["entropy"], -(log_p.exp() * log_p).sum(-1), atol=1e-4)
        assert row["completion"] == "".join(row["token_text"])
        assert row["completion"] == tokenizer.decode(row["token_ids"])


@pytest.mark.parametrize("window", WINDOWS)
def test_every_completion_is_recorded_once_and_groups_are_whole(window: str, tmp_path: Path) -> None:
    made, reader = run(tmp_path, **WINDOWS[window])
    a = made.args
    micro_batches = a.max_steps * a.gradient_accumulation_steps
    generations = micro_batches // (a.steps_per_generation * a.num_iterations)
    completions = reader.completions().to_pylist()
    assert len(completions) == generations * a.generation_batch_size
    groups = Counter(row["group_id"] for row in completions)
    assert set(groups.values()) == {a.num_generations}
    assert len({(row["group_id"], row["prompt_id"]) for row in completions}) == len(groups)
    kept = Counter(row["group_id"] for row in reader.rollouts().to_pylist())
    assert set(kept.values()) == {a.num_generations}
    assert reader.steps == list(range(1, a.max_steps + 1))
    for row in completions:
        siblings = [r["reward"] for r in completions if r["group_id"] == row["group_id"]]
        assert row["advantage"] == pytest.approx(row["reward"] - sum(siblings) / len(siblings), abs=1e-6)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 4), (4, 4), (7, 4), (8, 8), (64, 8)])
def test_text_is_kept_for_whole_groups_up_to_the_limit(limit: int, kept: int, tmp_path: Path) -> None:
    _, reader = run(tmp_path, max_steps=1, rollouts_per_step=limit)
    assert reader.rollouts().num_rows == kept
    assert reader.completions().num_rows == 8


# --- metrics --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("window", WINDOWS)
def test_metrics_are_what_the_rows_say(window: str, tmp_path: Path) -> None:
    _, reader = run(tmp_path, **WINDOWS[window])
    k = len(GramSet.load("paper"))
    for line in reader.metrics():
        assert all(math.isfinite(line[name]) for name in ("loss", "grad_norm", "learning_rate"))
        rows = reader.completions([line["step"]]).to_pylist()
        if not rows:  # within a generation
            assert "planning_share" not in line
            continue
        total = {name: sum(row[name] for row in rows) for name in rows[0] if name.startswith(("n_", "sum_"))}
        n_p, n_e = total["n_planning"], total["n_execution"]
        assert line["planning_share"] == pytest.approx(n_p / (n_p + n_e))
        assert line["perplexity_planning"] == pytest.approx(math.exp(-total["sum_logprob_planning"] / n_p), rel=1e-6)
        assert line["perplexity_execution"] == pytest.approx(math.exp(-total["sum_logprob_execution"] / n_e), rel=1e-6)
        assert line["entropy_planning"] == pytest.approx(total["sum_entropy_planning"] / n_p, rel=1e-6)
        for name in ("reward", "length", "truncated"):
            assert line[name] == pytest.approx(sum(row[name] for row in rows) / len(rows))
        counts = np.zeros(k, int)
        for row in rows:
            counts[np.array(row["gram_ids"], int)] += np.array(row["gram_counts"], int)
        assert line["semantic_entropy_bits"] == pytest.approx(entropy_bits(counts))
        assert line["n_occurrences"] == counts.sum()
        mass = sum(0.2 * abs(row["advantage"]) * row["n_planning"] for row in rows)
        whole = sum(abs(row["advantage"]) * (row["n_planning"] + row["n_execution"]) for row in rows)
        assert line["added_mass"] == pytest.approx(mass, abs=1e-5)
        assert line["added_mass_share"] == pytest.approx(mass / whole, abs=1e-6)
        assert line["alpha"] == pytest.approx(0.2)


def test_a_log_line_covers_all_steps_since_the_last_and_is_reduced_once(tmp_path: Path) -> None:
    calls: list[int] = []
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, logging_steps=3, max_steps=6, record=False)
    reduce = made.accelerator.reduce
    k = len(made.credit.grams)
    made.accelerator.reduce = lambda t, **kw: calls.append(t.numel()) or reduce(t, **kw)
    made.train()
    assert sum(n > k for n in calls) == 2  # one vector with the gram counts a log line
    lines = [line for line in made.state.log_history if "hicra/planning_share" in line]
    assert [line["step"] for line in lines] == [3, 6]
    assert not made.args.run_path.exists()
    recorded, reader = run(tmp_path / "recorded", logging_steps=3, max_steps=6)
    steps = reader.metrics()
    again = [line for line in recorded.state.log_history if "hicra/planning_share" in line]
    for line, same, part in zip(lines, again, (steps[:3], steps[3:]), strict=True):
        assert line["hicra/n_planning"] == same["hicra/n_planning"] == sum(step["n_planning"] for step in part)
        n = sum(step["n_planning"] + step["n_execution"] for step in part)
        assert line["hicra/planning_share"] == pytest.approx(line["hicra/n_planning"] / n)
        assert same["loss"] == pytest.approx(sum(step["loss"] for step in part) / 3, abs=1e-6)


@ODD_SHARE
def test_alarms_are_logged_recorded_and_noted_once(tmp_path: Path) -> None:
    """Nobody is done after one token: every batch is cut off."""
    made, reader = run(tmp_path, max_steps=3, logging_steps=1, max_completion_length=1)
    cut = [m["truncated"] >= 0.98 for m in reader.metrics()]
    assert any(cut)
    assert [m["alarm/all_truncated"] for m in reader.metrics()] == [float(c) for c in cut]
    logged = [line["hicra/alarm/all_truncated"] for line in made.state.log_history if "loss" in line]
    assert logged == [float(c) for c in cut]
    assert [text for _, text in reader.notes() if text.startswith("alarm:")] == [
        "alarm: 100% of the step's completions hit the length limit"
    ]


def test_evaluation_has_its_own_metrics_and_leaves_those_of_training_alone(tmp_path: Path) -> None:
    made, reader = run(
        tmp_path,
        eval_strategy="steps",
        eval_steps=1,
        eval_dataset=dataset(8),
        max_steps=2,
        per_device_eval_batch_size=4,
    )
    evals = reader.evals()
    assert [line["step"] for line in evals] == [1, 2]
    for line in evals:
        assert {"planning_share", "perplexity_execution", "reward", "length", "truncated", "loss"} <= line.keys()
    for line in reader.metrics():
        rows = reader.completions([line["step"]])
        assert rows.num_rows == 8
        tokens = rows["n_planning"].to_numpy().sum() + rows["n_execution"].to_numpy().sum()
        assert line["n_planning"] + line["n_execution"] == tokens
    logged = [line for line in made.state.log_history if "eval_hicra/n_execution" in line]
    # eight prompts, four completions each, and none of them in the training's sums
    assert all(line["eval_hicra/n_execution"] > rows["n_execution"].to_numpy().sum() for line in logged)


@ODD_SHARE
def test_environment_tokens_belong_to_nobody(tmp_path: Path) -> None:
    _, reader = run(tmp_path, rollout_func=environment, max_steps=1)
    for row in reader.rollouts().to_pylist():
        assert row["planning"] == [True] * 3 + [False] * 3 + [True] * 3 + [False]
        assert [v is None for v in row["logprob"]] == [False] * 3 + [True] * 3 + [False] * 4
        assert [v is None for v in row["entropy"]] == [False] * 3 + [True] * 3 + [False] * 4
        assert row["advantage"][3:6] == [0.0] * 3
    for row in reader.completions().to_pylist():
        assert (row["n_planning"], row["n_execution"]) == (6, 1)
        assert sum(row["gram_counts"]) == 6


# --- estimators -----------------------------------------------------------------------------------------------------
def test_the_entropy_shaped_advantage_uses_the_entropies_of_the_loss(tmp_path: Path) -> None:
    beta, kappa = 0.03, 3.0
    made, reader = run(
        tmp_path,
        estimator="entropy_advantage",
        entropy_beta=beta,
        entropy_kappa=kappa,
        steps_per_generation=4,
        num_iterations=2,
        max_steps=4,
    )
    before = {(r["group_id"], r["reward"]): r["advantage"] for r in reader.completions().to_pylist()}
    rows = reader.rollouts().to_pylist()
    assert rows
    for row in rows:
        a = before[row["group_id"], row["reward"]]
        expected = a + np.minimum(beta * np.array(row["entropy"]), abs(a) / kappa)
        assert np.allclose(row["advantage"], expected, atol=1e-5)
    # what is added in the loss must not stay in TRL's buffer, or a second pass would add it twice
    assert all(batch["advantages"].dim() == 1 for batch in made._buffered_inputs)
    assert all(not any(key.startswith("hicra_seen") for key in batch) for batch in made._buffered_inputs)


def test_a_placebo_is_drawn_anew_on_time_and_credits_no_planning_token(tmp_path: Path) -> None:
    tokenizer = make_tiny().make_tokenizer()
    grams = GramSet.from_grams(["wait"], name="real")
    credit = HicraCredit(
        CreditConfig(estimator="placebo", placebo_redraw_every=2),
        labeller=Labeller(grams, tokenizer),
        control_grams=GramSet.from_grams(["carry"], name="first"),
    )
    _, reader = run(tmp_path, credit=credit, max_steps=3)
    assert credit.control_grams is not None
    assert credit.control_grams.name != "first"
    assert [step for step, text in reader.notes() if "placebo" in text] == [3]
    for row in reader.rollouts([1]).to_pylist():
        alike = [a for a, word in zip(row["advantage"], row["token_text"], strict=True) if "carry" not in word]
        assert len(set(alike)) == 1
    assert reader.grams is not None
    assert reader.grams["name"] == "real"


def test_the_warm_up_counts_optimizer_steps(tmp_path: Path) -> None:
    _, reader = run(tmp_path, alpha=0.4, alpha_schedule="warmup", alpha_warmup_steps=2, max_steps=4)
    assert [line["alpha"] for line in reader.metrics()] == pytest.approx([0.0, 0.2, 0.4, 0.4])
    assert [line["added_mass"] > 0 for line in reader.metrics()] == [False, True, True, True]


# --- other people's trainers ----------------------------------------------------------------------------------------
def test_the_mixin_goes_on_top_of_other_trainers_and_configs(tmp_path: Path) -> None:
    from dataclasses import dataclass

    @dataclass
    class TheirConfig(GRPOConfig):  # type: ignore[misc]
        bonus: float = 0.0

    class TheirTrainer(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            output["advantages"] = output["advantages"] + self.args.bonus
            return output

    @dataclass
    class MyConfig(HICRAConfig, TheirConfig):
        pass

    class Mine(HICRAMixin, TheirTrainer):
        pass

    made = trainer(Mine, MyConfig, tmp_path, bonus=5.0, max_steps=1)
    made.train()
    assert all(row["advantage"] > 3 for row in RunReader(made.args.run_path).completions().to_pylist())


def test_a_plain_grpo_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HICRAConfig"):
        trainer(HICRATrainer, GRPOConfig, tmp_path)


def test_a_second_fresh_run_does_not_overwrite_the_first(tmp_path: Path) -> None:
    run(tmp_path, max_steps=1)
    with pytest.raises(RunDirError, match="holds a run already"):
        run(tmp_path, max_steps=1)


# --- warnings and errors --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("gram", "share", "settings"), [("zebra", "0.00%", {}), ("so", "42.86%", {"rollout_func": environment})]
)
def test_odd_planning_shares_are_reported_once(gram: str, share: str, settings: Any, tmp_path: Path) -> None:
    odd = GramSet.from_grams([gram], name="odd")
    path = odd.save(tmp_path / "odd.json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, reader = run(tmp_path, grams=str(path), max_steps=2, **settings)
    told = [str(w.message) for w in caught if issubclass(w.category, HicraWarning)]
    assert len(told) == 1
    assert told[0].startswith(f"of the first batch, {share} of the tokens are planning tokens")
    assert "'odd'" in told[0]
    assert "tokenizer" in told[0]
    assert [text for _, text in reader.notes() if not text.startswith("alarm:")] == told


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_names_its_function_and_the_step(bad: float, tmp_path: Path) -> None:
    calls: list[int] = []

    def flaky(completion_ids: Any, **_: Any) -> list[float]:
        calls.append(1)
        return [float(bad) if len(calls) == 2 and i == 3 else float(i % 3) for i, _ in enumerate(completion_ids)]

    with pytest.raises(DataError, match=r"'flaky' returned (nan|inf|-inf) at step 2"):
        run(tmp_path, reward_funcs=[reward, flaky])
    assert RunReader(tmp_path / "out" / "hicra_run").steps == [1]


def test_async_rewards_are_checked_too(tmp_path: Path) -> None:
    async def flaky(completion_ids: Any, **_: Any) -> list[float]:
        return [math.nan for _ in completion_ids]

    with pytest.raises(DataError, match="'flaky' returned nan at step 1"):
        run(tmp_path, reward_funcs=[flaky])


def test_none_means_that_a_reward_does_not_apply(tmp_path: Path) -> None:
    def sometimes(completion_ids: Any, **_: Any) -> list[float | None]:
        return [None if i % 4 == 0 else float(i % 3) for i, _ in enumerate(completion_ids)]

    _, reader = run(tmp_path, reward_funcs=[sometimes], max_steps=1)
    rows = reader.completions().to_pylist()
    assert [math.isnan(row["reward"]) for row in rows] == [True, False, False, False] * 2
    scored = [row["reward"] for row in rows if not math.isnan(row["reward"])]
    assert reader.metrics()[0]["reward"] == pytest.approx(sum(scored) / len(scored))


@ODD_SHARE
def test_a_model_that_gives_no_log_probs_is_stopped_before_it_is_updated(tmp_path: Path) -> None:
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, rollout_func=environment, max_steps=2)
    with torch.no_grad():
        made.model.model.norm.weight.fill_(math.nan)
    before = made.model.model.embed_tokens.weight.clone()
    with pytest.raises(DataError, match="log-probability that is not finite at step 1"):
        made.train()
    assert torch.equal(before, made.model.model.embed_tokens.weight)


def test_entropies_that_are_no_numbers_are_told_and_left_out(tmp_path: Path) -> None:
    """Some models set the logits of unused rows to minus infinity, and p log p of these is no number."""

    class Base(GRPOTrainer):  # type: ignore[misc]
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            logprobs, entropies, rest = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            return logprobs, None if entropies is None else entropies * math.nan, rest

    class Mine(HICRAMixin, Base):
        pass

    with pytest.warns(HicraWarning, match="token entropies are not finite"):
        _, reader = run(tmp_path, Mine, max_steps=1)
    line = reader.metrics()[0]
    assert line["entropy_planning"] is None
    assert line["perplexity_planning"] > 1


def test_a_trainer_that_drops_completions_after_scoring_is_refused(tmp_path: Path) -> None:
    class Dropping(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            return {k: v[:4] if isinstance(v, torch.Tensor) and v.ndim else v for k, v in output.items()}

    class Mine(HICRAMixin, Dropping):
        pass

    with pytest.raises(ConfigError, match="other completions than those it scored"):
        run(tmp_path, Mine, max_steps=1)


def test_ids_that_the_tokenizer_has_no_text_for_plan_nothing(tmp_path: Path) -> None:
    """Many models have more rows in their embedding than their tokenizer has tokens, and may sample them."""
    tokenizer = make_tiny().make_tokenizer()
    wide = make_tiny().make_model(len(tokenizer) + 40)
    _, reader = run(tmp_path, model=wide, max_steps=1)
    for row in reader.rollouts().to_pylist():
        assert max(row["token_ids"]) >= len(tokenizer)
        assert not any(p for t, p in zip(row["token_ids"], row["planning"], strict=True) if t >= len(tokenizer))
