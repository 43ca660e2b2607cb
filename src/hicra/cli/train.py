"""``hicra train``: a model, as a recipe says it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hicra.cli.console import err, print_json, visible
from hicra.engines.recipe import Recipe, load_recipe
from hicra.engines.rewards import find_reward

if TYPE_CHECKING:
    from hicra.engines.trl_config import HICRAConfig


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, as those in recipes/.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything but the weights, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end, for a machine.")] = False,
) -> None:
    """Train a model with HICRA as a recipe says it, and write a run directory."""
    plan = load_recipe(recipe)
    sys.path.append(str(plan.folder))  # reward functions may lie beside the recipe
    rewards = [find_reward(name) for name in plan.reward.functions]
    with contextlib.redirect_stdout(sys.stderr):  # trainers print to stdout, which is for results
        config = plan.training_config()
        summary = _train(plan, config, rewards, resume=resume, dry_run=dry_run)
    if as_json:
        print_json(summary)
    elif not dry_run:
        err.print(f"[bold]run directory[/] {summary['run_dir']}", highlight=False, soft_wrap=True)
        if (seconds := sum(line.get("seconds") or 0.0 for line in summary.get("evaluations", ()))) > 0:
            err.print(f"[dim]evaluations took {seconds:,.0f} s[/]", highlight=False)
        err.print(f"[dim]hicra report {summary['run_dir']} shows it[/]", highlight=False, soft_wrap=True)


def _train(plan: Recipe, config: HICRAConfig, rewards: list[Any], *, resume: bool, dry_run: bool) -> dict[str, Any]:
    from hicra.engines.dataset import load_prompts

    prompts = load_prompts(plan)
    held_out = None if plan.data.eval is None else load_prompts(plan, evaluation=True)
    benches = [] if plan.evaluation is None else plan.evaluation.benches(plan.folder)
    summary: dict[str, Any] = {"recipe": plan.to_dict(), "run_dir": str(config.run_path), "prompts": len(prompts)}
    if config.process_index == 0:
        _show(plan, config, len(prompts))
    if dry_run:
        return summary | {"dry_run": True}

    from hicra.engines.evaluation import add_evaluation
    from hicra.engines.trl import HICRATrainer
    from hicra.traces.rundir import RunReader

    model = plan.file(plan.model.name)
    trainer = HICRATrainer(
        str(model) if model is not None else plan.model.name,
        rewards,
        config,
        train_dataset=prompts,
        eval_dataset=held_out,
    )
    trainer.run_notes = {"recipe": plan.to_dict()}
    if plan.evaluation is not None:
        add_evaluation(trainer, plan.evaluation, benches=benches, chat=plan.data.chat, system=plan.data.system)
    trainer.train(resume_from_checkpoint=True if resume else None)
    if not config.record:
        return summary | {"steps": int(trainer.state.global_step)}
    reader = RunReader(config.run_path)
    steps = reader.metrics()
    return summary | {"steps": len(steps), "last": steps[-1] if steps else None, "evaluations": reader.evals()}


def _show(plan: Recipe, config: HICRAConfig, prompts: int) -> None:
    """What is about to be done, in a few lines."""
    table = Table.grid(padding=(0, 2))
    completions = config.generation_batch_size
    how = "observed, alpha 0" if config.observe else f"{config.estimator}, alpha {config.alpha:g}"
    steps = f"{config.max_steps} steps" if config.max_steps > 0 else f"{config.num_train_epochs:g} epochs"
    lines = {
        "model": plan.model.name,
        "data": f"{plan.data.train}, {prompts} prompts",
        "reward": ", ".join(plan.reward.functions),
        "credit": f"{how}, grams {config.grams}",
        "batch": f"{completions} completions of {completions // config.num_generations} prompts a generation",
        "length": f"{steps}; checkpoints at multiples of {config.steps_between_boundaries}",
        "run": str(config.run_path),
    }
    for name, value in lines.items():
        table.add_row(f"[dim]{name}[/]", visible(value))
    err.print(table)
