"""``hicra train``: a model, as a recipe says it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hicra.cli.console import err, print_json, visible
from hicra.engines.memory import GIB
from hicra.engines.recipe import Recipe, load_recipe
from hicra.engines.rewards import find_reward
from hicra.errors import ConfigError

if TYPE_CHECKING:
    from hicra.engines.memory import Need
    from hicra.engines.trl_config import HICRAConfig


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML), or verl's overrides (YAML) to check.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything but the weights, and stop.")] = False,
    arm: Annotated[
        str | None, typer.Option("--arm", help="Another estimator in the recipe's place: grpo, placebo, ...")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting on top, such as trainer.seed=1. May be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end, for a machine.")] = False,
) -> None:
    """Train a model with HICRA as a recipe says it, and write a run directory."""
    if recipe.suffix in (".yaml", ".yml"):
        _verl(recipe, dry_run=dry_run, as_json=as_json)
        return
    plan = load_recipe(recipe, arm=arm, settings=settings or ())
    sys.path.append(str(plan.folder))  # reward functions may lie beside the recipe
    rewards = [find_reward(name) for name in plan.reward.functions]
    with contextlib.redirect_stdout(sys.stderr):  # trainers print to stdout, which is for results
        config = plan.training_config(elsewhere=dry_run)
        summary = _dry(plan, config) if dry_run else _train(plan, config, rewards, resume=resume)
    if as_json:
        print_json(summary)
    elif not dry_run:
        err.print(f"[bold]run directory[/] {summary['run_dir']}", highlight=False, soft_wrap=True)
        if (seconds := sum(line.get("seconds") or 0.0 for line in summary.get("evaluations", ()))) > 0:
            err.print(f"[dim]evaluations took {seconds:,.0f} s[/]", highlight=False)
        err.print(f"[dim]hicra report {summary['run_dir']} shows it[/]", highlight=False, soft_wrap=True)


def _verl(recipe: Path, *, dry_run: bool, as_json: bool) -> None:
    from hicra.engines.recipe_verl import check

    if not dry_run:
        raise ConfigError(
            "verl starts itself", expected="--dry-run", mend=f"recipes/verl/run.sh {recipe.stem} (docs/recipes.md)"
        )
    with contextlib.redirect_stdout(sys.stderr):  # verl prints what it finds
        summary = check(recipe)
    if as_json:
        print_json(summary)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in summary.items():
        table.add_row(f"[dim]{name}[/]", visible(str(value)))
    err.print(table)


def _dry(plan: Recipe, config: HICRAConfig) -> dict[str, Any]:
    """Check everything but the weights and what lies on the hub, and estimate the memory."""
    from hicra.engines.dataset import load_prompts
    from hicra.engines.memory import estimate
    from hicra.engines.prompts import local_copy

    distant = [s for s in plan.data.sources if plan.file(s) is None and local_copy(s) is None]
    prompts = None if distant else len(load_prompts(plan))
    evaluated = [] if plan.evaluation is None else plan.evaluation.problems
    _show(plan, config, prompts)
    needs = {}
    lengths = [config.max_completion_length, *([plan.context.raise_to] if plan.context else [])]
    for length in lengths:
        need = estimate(plan, config, length)
        if need is not None:
            _show_need(need, plan, length)
            needs[str(length)] = {
                "gib": {k: round(v / GIB, 2) for k, v in need.parts.items()},
                "total_gib": round(need.total / GIB, 1),
                "fits": need.fits,
                "notes": need.notes,
            }
    if not needs:
        err.print(f"[yellow]no estimate of memory: the shape of {visible(plan.model.name)} is not known here[/]")
    launch = asdict(plan.launch)
    facts = {"prompts": prompts, "on_the_hub": distant, "evaluation": evaluated, "memory": needs, "launch": launch}
    return {"recipe": plan.to_dict(), "run_dir": str(config.run_path), "dry_run": True, **facts}


def _show_need(need: Need, plan: Recipe, length: int) -> None:
    launch = plan.launch
    table = Table.grid(padding=(0, 2))
    for name, size in need.parts.items():
        table.add_row(f"[dim]  {name}[/]", f"{size / GIB:7.1f} GiB")
    verdict = "fits" if need.fits else "[red]does not fit[/]"
    table.add_row("  the larger phase", f"{need.total / GIB:7.1f} GiB of {launch.gpu_memory:g}, {verdict}")
    where = f"{launch.gpus + launch.vllm_gpus} GPU{'s' if launch.gpus + launch.vllm_gpus > 1 else ''}"
    err.print(f"[dim]memory of each GPU (estimate)[/] {where}, sharding {launch.sharding}, {length:,} tokens")
    err.print(table)
    for note in need.notes:
        err.print(f"[dim]  {visible(note)}[/]", highlight=False)


def _train(plan: Recipe, config: HICRAConfig, rewards: list[Any], *, resume: bool) -> dict[str, Any]:
    from hicra.engines.context import ContextRule
    from hicra.engines.dataset import load_prompts
    from hicra.engines.evaluation import add_evaluation
    from hicra.engines.trl import HICRATrainer
    from hicra.traces.rundir import RunReader

    prompts = load_prompts(plan)
    held_out = None if plan.data.eval is None else load_prompts(plan, evaluation=True)
    benches = [] if plan.evaluation is None else plan.evaluation.benches(plan.folder)
    summary: dict[str, Any] = {"recipe": plan.to_dict(), "run_dir": str(config.run_path), "prompts": len(prompts)}
    if config.process_index == 0:
        _show(plan, config, len(prompts))
    model = plan.file(plan.model.name)
    trainer = HICRATrainer(
        str(model) if model is not None else plan.model.name,
        rewards,
        config,
        train_dataset=prompts,
        eval_dataset=held_out,
    )
    trainer.run_notes = {"recipe": plan.to_dict()}
    if plan.context is not None:
        ContextRule(trainer, plan.context)
    if plan.evaluation is not None:
        add_evaluation(trainer, plan.evaluation, benches=benches, chat=plan.data.chat, system=plan.data.system)
    trainer.train(resume_from_checkpoint=True if resume else None)
    if not config.record:
        return summary | {"steps": int(trainer.state.global_step)}
    reader = RunReader(config.run_path)
    steps = reader.metrics()
    return summary | {"steps": len(steps), "last": steps[-1] if steps else None, "evaluations": reader.evals()}


def _show(plan: Recipe, config: HICRAConfig, prompts: int | None) -> None:
    """What is about to be done, in a few lines."""
    table = Table.grid(padding=(0, 2))
    completions = config.generation_batch_size * (plan.launch.gpus if config.world_size == 1 else 1)
    how = "observed, alpha 0" if config.observe else f"{config.estimator}, alpha {config.alpha:g}"
    steps = f"{config.max_steps} steps" if config.max_steps > 0 else f"{config.num_train_epochs:g} epochs"
    data = " + ".join(plan.data.sources)
    length = f"{config.max_completion_length:,} tokens"
    if plan.context is not None:
        length += f", {plan.context.raise_to:,} once over {plan.context.clipped:.0%} are cut off"
    lines = {
        "model": plan.model.name,
        "data": f"{data}, {prompts} prompts" if prompts is not None else f"{data}, on the hub: not looked at",
        "reward": ", ".join(plan.reward.functions),
        "credit": f"{how}, grams {config.grams}",
        "batch": f"{completions} completions of {completions // config.num_generations} prompts a generation",
        "completions": length,
        "evaluation": "none"
        if plan.evaluation is None
        else f"{', '.join(plan.evaluation.problems)}, every {plan.evaluation.every} steps",
        "length": f"{steps}; checkpoints at multiples of {config.steps_between_boundaries}",
        "run": str(config.run_path),
    }
    for name, value in lines.items():
        table.add_row(f"[dim]{name}[/]", visible(value))
    err.print(table)
