"""One arm of an experiment: train the warm-started model with GRPO or HICRA, evaluating as it goes.

    python -m hicra.lab.arm EXPERIMENT ARM

runs it in a process of its own, on one thread. What it needs is in the experiment's folder (see experiment.py), what
it does can be followed in its run directory. Killed at any moment, it goes on from its last checkpoint when it is
started again.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.errors import ConfigError
from hicra.lab.layout import Layout
from hicra.lab.settings import ARMS, LabSettings

if TYPE_CHECKING:
    from hicra.lab.evaluate import Evaluation
    from hicra.lab.trainer import LabTrainer


def train_arm(layout: Layout, settings: LabSettings, arm: str) -> None:
    """Train one arm to its end, from its last checkpoint if there is one; nothing is done if it had ended.

    Args:
        layout: the experiment's folder; its warm start and its grams must be there.
        settings: the experiment.
        arm: "grpo" or "hicra".

    Raises:
        ConfigError: there is no such arm.
    """
    if arm not in ARMS:
        raise ConfigError(f"the lab has no arm {arm!r}", expected=" or ".join(ARMS), got=arm)
    if layout.finished(arm):
        return
    from hicra.engines.resume import last_complete_checkpoint

    resume = last_complete_checkpoint(layout.checkpoints(arm), 1) is not None
    if not resume:  # whatever a killed process left behind before its first checkpoint
        shutil.rmtree(layout.run(arm), ignore_errors=True)
    trainer = build_trainer(layout, settings, arm)
    trainer.train(resume_from_checkpoint=resume)
    layout.finish(arm, trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class)


def build_trainer(layout: Layout, settings: LabSettings, arm: str) -> LabTrainer:
    """The trainer of an arm, with its data, its rewards and its evaluations."""
    import torch
    from datasets import Dataset

    from hicra.lab.base import load_model
    from hicra.lab.rewards import faithful_answer, soft_overlong
    from hicra.lab.trainer import LabTrainer

    training = settings.training
    torch.manual_seed(settings.seed)
    model, tokenizer = load_model(layout.warm_start)
    rng = random.Random(settings.seed)
    problems = [settings.world.draw(rng, "train") for _ in range(training.steps * training.prompts)]
    columns = {"prompt": [p.prompt for p in problems], "problem": [p.id for p in problems]}
    overlong = soft_overlong(
        max_tokens=training.max_tokens,
        soft_tokens=training.soft_tokens,
        price=training.overlong_price,
        eos_token_id=tokenizer.eos_token_id,
    )
    trainer = LabTrainer(
        model=model,
        reward_funcs=[faithful_answer, overlong],
        args=trainer_config(layout, settings, arm),
        train_dataset=Dataset.from_dict({**columns, "prompt_id": columns["problem"]}),
        processing_class=tokenizer,
    )
    trainer.run_notes = {"lab": settings.to_dict(), "arm": arm}
    trainer.add_callback(_evaluations(trainer, layout, settings, arm))
    return trainer


def trainer_config(layout: Layout, settings: LabSettings, arm: str) -> Any:
    """The `HICRAConfig` of an arm: the paper's settings, one batch and one update a step, on the CPU."""
    from hicra.engines.trl import HICRAConfig

    training = settings.training
    return HICRAConfig(
        output_dir=str(layout.checkpoints(arm)),
        run_dir=str(layout.run(arm)),
        grams=str(layout.grams),
        alpha=0.0 if arm == "grpo" else training.alpha,
        alpha_schedule="constant" if arm == "grpo" else training.alpha_schedule,
        observe=arm == "grpo",
        rollouts_per_step=4 * training.group_size,
        max_steps=training.steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant",
        adam_beta2=0.99,
        max_grad_norm=1.0,
        per_device_train_batch_size=training.prompts * training.group_size,
        num_generations=training.group_size,
        max_completion_length=training.max_tokens,
        temperature=1.0,
        seed=settings.seed,
        shuffle_dataset=False,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        save_steps=training.save_every,
        save_total_limit=1,
        logging_steps=training.steps,
        disable_tqdm=True,
        report_to=[],
    )


def heldout_problems(settings: LabSettings) -> Sequence[Any]:
    """The unseen problems that both arms are judged on: the same for every seed."""
    return settings.world.sample(settings.training.eval_problems, 0, "heldout")


def _evaluations(trainer: LabTrainer, layout: Layout, settings: LabSettings, arm: str) -> Any:
    """A callback that evaluates before the first step, now and then, and after the last."""
    from transformers import TrainerCallback

    training = settings.training
    problems = heldout_problems(settings)

    def judge(step: int) -> Evaluation:
        from hicra.lab.evaluate import evaluate
        from hicra.labels.labeller import Labeller

        tokenizer = trainer.processing_class
        return evaluate(
            trainer.accelerator.unwrap_model(trainer.model),
            tokenizer,
            Labeller(trainer.credit.grams, tokenizer),
            problems,
            samples=training.eval_samples * (2 if step in (0, training.steps) else 1),
            max_tokens=training.max_tokens,
            seed=1000 * settings.seed + step,  # the same draws for both arms
        )

    def record(step: int) -> None:
        found = judge(step)
        found.save_items(layout.items(arm, step))
        assert trainer.run_writer is not None
        trainer.run_writer.eval(step, found.metrics)

    class Evaluations(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 0:
                record(0)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step = int(state.global_step)
            if step % training.eval_every == 0 or step == training.steps:
                record(step)

    return Evaluations()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: no run goes on unseen, and none is written by two."""
    import os
    import time

    while os.getppid() == parent:
        time.sleep(0.3)
    os._exit(1)  # at once: the run directory and the checkpoints bear it at any moment


def main(arguments: Sequence[str]) -> None:
    """`python -m hicra.lab.arm EXPERIMENT ARM`."""
    import os
    import threading
    import warnings

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    folder, arm = arguments
    layout = Layout(Path(folder))
    train_arm(layout, layout.load_settings(), arm)


if __name__ == "__main__":
    main(sys.argv[1:])
