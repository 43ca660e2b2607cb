"""Held-out evaluation during training: the same problems, prompts, checker and statistics as ``hicra eval``, sampled by
the trainer's own generation (transformers, or vLLM with the weights of the moment).

    accuracy     avg@k: mean over items of the share of right answers          95 % interval over items, `evals.stats`
    pass_at_j    mean over items of 1 - C(k-c, j) / C(k, j)                    the same
    truncated    share of answers that the length limit ended; accuracy counts them as not right,
                 accuracy_finished leaves them out

Everything goes into the run directory: one ``eval`` line of metrics.jsonl (names with ``BENCHMARK/`` in front where
there are several, and ``accuracy`` is then their mean) and one row an answer in ``evals/step-000050.parquet``, which
``hicra compare`` reads. Training goes on as if nothing had happened: its random states are put back, its metrics and
buffers are not touched.

TRL's trainers only: verl has a validation loop of its own (docs/recipes.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.errors import ConfigError

if TYPE_CHECKING:
    from hicra.evals.benchmarks import Problem
    from hicra.evals.grading import Grade
    from hicra.evals.results import Answer


@dataclass(frozen=True)
class EvaluationSettings:
    """`[evaluation]` of a recipe: what is asked, and when. Sampling defaults are the paper's (arXiv 2509.03646).

    Attributes:
        problems: names of benchmarks, or ``name=file`` with a file in the schema of `hicra.evals.benchmarks`.
        every: optimizer steps between evaluations.
        at_start, at_end: evaluate before the first step, and after the last one wherever it falls.
        samples: k, answers to each item; None: the benchmark's own number in the paper, 1 for other files.
        pass_k: j of each pass@j, at most k; None: k itself where it is above 1.
        first: only so many items of each.
        temperature, top_p: of the sampler; temperature 0 takes the likeliest token, once.
        max_completion_length: longest answer in tokens; None: as in training.
        prompt: a template with ``{problem}``; None: the one of ``hicra eval``.
        seed: of the sampler, where generation runs in this process.
        batch: answers that one process generates at a time; None: as many as in training, all with vLLM.

    Raises:
        ConfigError: numbers out of range.
    """

    problems: list[str]
    every: int = 50
    at_start: bool = True
    at_end: bool = True
    samples: int | None = None
    pass_k: list[int] | None = None
    first: int | None = None
    temperature: float = 0.6
    top_p: float = 0.95
    max_completion_length: int | None = None
    prompt: str | None = None
    seed: int = 0
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("every", "samples", "first", "max_completion_length", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"[evaluation] {name} is out of range", expected="1 or more", got=str(value))
        if not (self.temperature >= 0 and 0 < self.top_p <= 1):
            raise ConfigError(
                "[evaluation] sampling is out of range",
                expected="temperature >= 0, 0 < top_p <= 1",
                got=f"temperature {self.temperature}, top_p {self.top_p}",
            )

    def benches(self, folder: Path | None = None) -> list[Bench]:
        """The benchmarks, loaded and checked.

        Args:
            folder: where files are looked for first.

        Raises:
            ConfigError: no such benchmark or file, or numbers of answers that do not go together.
            DataError: a broken file.
        """
        from hicra.evals.asking import choose
        from hicra.evals.benchmarks import load
        from hicra.evals.prompts import BOXED, fill

        template = BOXED if self.prompt is None else self.prompt
        fill(template, "")
        found = []
        for name, (own, path) in choose(self.problems).items():
            samples = own if self.samples is None else self.samples
            wanted = ([samples] if samples > 1 else []) if self.pass_k is None else self.pass_k
            if any(not 1 <= k <= samples for k in wanted) or (self.temperature == 0 and samples > 1):
                raise ConfigError(
                    f"[evaluation] {name}: {samples} answers an item do not go with the rest",
                    expected="1 <= pass_k <= samples, and one sample at temperature 0",
                    got=f"pass_k {wanted}, temperature {self.temperature}",
                )
            beside = None if path is None or folder is None else folder / path
            problems = load(name, beside if beside is not None and beside.exists() else path)[: self.first]
            found.append(Bench(name, problems, [fill(template, p.problem) for p in problems], samples, list(wanted)))
        return found


@dataclass(frozen=True)
class Bench:
    """One benchmark as it is asked: I problems, their prompts, k answers each, and the j of pass@j."""

    name: str
    problems: list[Problem]
    prompts: list[str]
    samples: int
    pass_k: list[int]


@dataclass(frozen=True)
class Drawn:
    """One answer: which item (index), which sample, its text, its length in tokens, whether the limit ended it."""

    item: int
    sample: int
    text: str
    length: int
    truncated: bool


@dataclass
class Evaluator:
    """Asks the policy of a trainer.

    Args:
        trainer: a `HICRATrainer`, or any `GRPOTrainer` of TRL.
        settings: what and how.
        benches: from `EvaluationSettings.benches`.
        chat: lay the prompt out by the chat template.
        system: a system message (makes it a conversation).

    Raises:
        ConfigError: a trainer whose generation is not one turn of the policy: tools, environments, a `rollout_func`, or
            an asynchronous trainer.
    """

    trainer: Any
    settings: EvaluationSettings
    benches: Sequence[Bench]
    chat: bool = False
    system: str | None = None
    last: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        given = [
            name for name in ("tools", "rollout_func", "environment_factories") if getattr(self.trainer, name, None)
        ]
        if given or not hasattr(self.trainer, "_generate_single_turn"):
            raise ConfigError(
                "evaluation during training asks the policy once and alone",
                expected="a GRPO trainer without tools, environments or a rollout function",
                got=", ".join(given) or type(self.trainer).__name__,
                mend="evaluate the checkpoints with `hicra eval`",
            )

    def __call__(self, step: int) -> dict[str, float]:
        """Evaluate and record; every process has to call this. Returns the metrics, the same on every process."""
        from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped, unused-ignore]

        self.last = step
        began = time.perf_counter()
        metrics: dict[str, float] = {}
        answers: list[Answer] = []
        with self._aside(step):
            for bench in self.benches:
                drawn = self._draw(bench)
                if self.trainer.args.process_index == 0:
                    found, rows = measure(bench, drawn)
                    prefix = f"{bench.name}/" if len(self.benches) > 1 else ""
                    metrics |= {prefix + name: value for name, value in found.items()}
                    answers += rows
        if len(self.benches) > 1 and metrics:
            metrics |= overall(metrics, [bench.name for bench in self.benches])
        metrics["seconds"] = time.perf_counter() - began
        shared = [metrics]
        broadcast_object_list(shared)
        metrics = shared[0]
        self._record(step, metrics, answers)
        return metrics

    # --- sampling ----------------------------------------------------------------------------------------------------
    def _draw(self, bench: Bench) -> list[Drawn]:
        """k answers to each item, from all processes; in the order of items and samples."""
        from accelerate.utils import gather_object  # type: ignore[import-untyped, unused-ignore]

        trainer = self.trainer
        world, rank = trainer.args.world_size, trainer.args.process_index
        ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
        own: list[Drawn] = []
        for items, first, count in rounds(share(len(bench.problems), world, rank), bench.samples, self._batch):
            prompts = [self._prompt(bench.prompts[i]) for i in items for _ in range(count)]
            ids, images, fields = trainer._tokenize_prompts(prompts)
            completions, _ = trainer._generate_single_turn(ids, images, fields, count)
            texts = trainer.processing_class.batch_decode(completions, skip_special_tokens=True)
            for i, (tokens, text) in enumerate(zip(completions, texts, strict=True)):
                cut = not tokens or tokens[-1] not in ends
                own.append(Drawn(items[i // count], first + i % count, text, len(tokens), cut))
        # items that were asked twice to keep all processes in step count once
        unique = {(d.item, d.sample): d for d in gather_object(own)}
        return [unique[key] for key in sorted(unique)]

    def _prompt(self, text: str) -> Any:
        if not self.chat and self.system is None:
            return text
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": text}]

    @property
    def _batch(self) -> int | None:
        args = self.trainer.args
        if self.settings.batch is not None or args.use_vllm:
            return self.settings.batch
        return int(args.per_device_train_batch_size * args.steps_per_generation)

    @contextmanager
    def _aside(self, step: int) -> Iterator[None]:
        """Other sampling settings and random states, a model in evaluation mode; all of it is put back."""
        import torch

        trainer, settings = self.trainer, self.settings
        training = trainer.model.training
        device = trainer.accelerator.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), _sampling(trainer, settings):
            torch.manual_seed((settings.seed * 1_000_003 + step) * 4_099 + trainer.args.process_index)
            trainer.model.eval()
            try:
                yield
            finally:
                trainer.model.train(training)

    # --- recording ---------------------------------------------------------------------------------------------------
    def _record(self, step: int, metrics: dict[str, float], answers: list[Answer]) -> None:
        from transformers import Trainer

        from hicra.evals.results import write_results

        trainer = self.trainer
        writer = getattr(trainer, "run_writer", None)
        if writer is not None and trainer.args.process_index == 0:
            folder = Path(writer.path) / "evals"
            folder.mkdir(exist_ok=True)
            write_results(folder / f"step-{step:06d}.parquet", answers)
            writer.eval(step, metrics)
        # not TRL's own log: it would take what has been gathered for the next line of training
        owed = trainer.control.should_log
        Trainer.log(trainer, {f"eval_{name}": value for name, value in metrics.items() if math.isfinite(value)})
        trainer.control.should_log = owed  # transformers takes any log for the step's


def measure(bench: Bench, drawn: Sequence[Drawn]) -> tuple[dict[str, float], list[Answer]]:
    """Metrics of one benchmark, and a row for each answer.

    Args:
        bench: what was asked.
        drawn: every sample of every item.
    """
    from hicra.evals.grading import Grade, grade, tally
    from hicra.evals.results import Answer, collect
    from hicra.evals.stats import estimate

    problems = [bench.problems[d.item] for d in drawn]
    grades: list[Grade] = grade([d.text for d in drawn], problems, truncated=[d.truncated for d in drawn])
    answers = [
        Answer(p.id, d.sample, g is Grade.RIGHT, benchmark=bench.name, truncated=d.truncated)
        for p, d, g in zip(problems, drawn, grades, strict=True)
    ]
    rows = [(i, {"item": a.item, "sample": a.sample, "correct": a.correct}) for i, a in enumerate(answers)]
    result = collect(rows, bench.name)[0]
    metrics: dict[str, float] = {}
    for name, k in [("accuracy", None), *((f"pass_at_{k}", k) for k in bench.pass_k)]:
        found = estimate(result, k=k)
        metrics |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    numbers = tally(grades)
    n = len(drawn)
    metrics["accuracy_finished"] = numbers.accuracy_of_finished
    metrics["truncated"] = sum(d.truncated for d in drawn) / n
    metrics["no_answer"] = numbers.no_answer / n
    metrics["length"] = sum(d.length for d in drawn) / n
    return metrics | {"n": n, "n_items": len(bench.problems), "sampled_tokens": sum(d.length for d in drawn)}, answers


def overall(metrics: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    """Mean accuracy over B benchmarks, each counting alike; its interval combines theirs as independent ones (MOVER:
    Zou and Donner 2008): low = mean - sqrt(sum (value - low)^2) / B, and alike upwards.
    """
    values, lows, highs = ([metrics[f"{n}/accuracy{end}"] for n in names] for end in ("", "_low", "_high"))
    mean = sum(values) / len(names)
    down, up = (math.dist(values, ends) / len(names) for ends in (lows, highs))
    return {
        "accuracy": mean,
        "accuracy_low": mean - down,
        "accuracy_high": mean + up,
        "n": sum(metrics[f"{name}/n"] for name in names),
        "n_items": sum(metrics[f"{name}/n_items"] for name in names),
    }


def share(items: int, world: int, rank: int) -> list[int]:
    """Items of one process: as many for each, so that all of them generate equally often; some are asked twice.

    >>> [share(5, 2, rank) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """
    each = -(-items // world)
    return [(rank + world * i) % items for i in range(each)]


def rounds(items: Sequence[int], samples: int, batch: int | None) -> Iterator[tuple[Sequence[int], int, int]]:
    """(items, first sample, samples each) of one generation after another, of at most `batch` answers.

    >>> list(rounds([7, 8, 9], 3, 4))
    [([7], 0, 3), ([8], 0, 3), ([9], 0, 3)]
    >>> list(rounds([7, 8], 3, 2))
    [([7], 0, 2), ([7], 2, 1), ([8], 0, 2), ([8], 2, 1)]
    """
    count = samples if batch is None else min(samples, batch)
    width = len(items) if batch is None else max(1, batch // count)
    for start in range(0, len(items), width):
        for first in range(0, samples, count):
            yield items[start : start + width], first, min(count, samples - first)


@contextmanager
def _sampling(trainer: Any, settings: EvaluationSettings) -> Iterator[None]:
    """The trainer's generation with the evaluation's temperature, top-p and length; training's are put back."""
    import copy

    limit = settings.max_completion_length or trainer.max_completion_length
    if trainer.args.use_vllm:
        engine = trainer.vllm_generation
        wanted = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_completion_length": limit,
        }
        before = {name: getattr(engine, name) for name in wanted}
        try:
            vars(engine).update(wanted)
            yield
        finally:
            vars(engine).update(before)
        return
    greedy = settings.temperature == 0
    wanted = {
        "do_sample": not greedy,
        "temperature": None if greedy else settings.temperature,
        "top_p": None if greedy else settings.top_p,
        "max_new_tokens": limit,
    }
    if greedy:
        wanted |= {"top_k": None, "min_p": None}
    config, kwargs = trainer.generation_config, trainer.generation_kwargs
    trainer.generation_config, trainer.generation_kwargs = copy.deepcopy(config), {**kwargs, **wanted}
    vars(trainer.generation_config).update(wanted)
    try:
        yield
    finally:
        trainer.generation_config, trainer.generation_kwargs = config, kwargs


def add_evaluation(
    trainer: Any,
    settings: EvaluationSettings,
    *,
    benches: Sequence[Bench] | None = None,
    chat: bool = False,
    system: str | None = None,
) -> Evaluator:
    """Make a trainer evaluate as it goes. Call it before `train`.

    Args:
        trainer, settings, chat, system: as for `Evaluator`.
        benches: loaded ones; default: those of the settings.

    Raises:
        ConfigError, DataError: as `Evaluator` and `EvaluationSettings.benches`.
    """
    from transformers import TrainerCallback

    evaluator = Evaluator(trainer, settings, settings.benches() if benches is None else benches, chat, system)

    class Evaluations(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 0 and settings.at_start:
                evaluator(0)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step, last = int(state.global_step), int(state.max_steps)
            if step % settings.every == 0 or (step == last and settings.at_end):
                evaluator(step)

    trainer.add_callback(Evaluations())
    return evaluator
