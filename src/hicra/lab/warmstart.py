"""The supervised warm start: teach a tiny model to write like the imperfect writer.

Next-token cross-entropy on comparisons of numerals first, then on the writer's solutions of training problems mixed
with drills; prompts carry no loss.
Batches are bucketed by length, and the loss of each is divided by a constant, so that every token weighs the same
whatever batch it fell into.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hicra.errors import ConfigError
from hicra.lab.world import Problem, World
from hicra.lab.writer import Habits, write_comparisons, write_drill, write_solution

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Progress = Callable[[int, int, float], None]
"""Called after each batch with the batches done, the batches in all, and the loss in nats per token."""

_TOKENS_A_ROW = 60.0  # about the mean length; only fixes the scale of the loss
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class WarmStart:
    """How long and how the warm start goes.

    Attributes:
        comparisons: texts of comparisons, seen before all others.
        samples: texts after these, each seen once.
        drills: share of the samples that are drills.
        batch: texts a batch.
        learning_rate: its peak, after a short warm-up; over the last part it falls linearly.
        seed: of the model's weights, of the texts and of their order.
    """

    comparisons: int = 7_000
    samples: int = 32_000
    drills: float = 0.4
    batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch < 1:
            raise ConfigError(
                "the warm start has nothing to learn from", got=f"samples={self.samples}, batch={self.batch}"
            )
        if not 0 <= self.drills <= 1:
            raise ConfigError("the share of drills is no probability", expected="0 to 1", got=str(self.drills))


def write_corpus(world: World, habits: Habits, plan: WarmStart) -> list[tuple[str, str]]:
    """`(prompt, text)` pairs on training problems, in the order of the curriculum. A drill's prompt begins with
    `drill` where a problem's begins with `use`.
    """
    rng = random.Random(plan.seed)
    drawn = (world.draw(rng, "train") for _ in range(plan.comparisons))
    corpus = [(_drill_prompt(problem), write_comparisons(rng)) for problem in drawn]
    for _ in range(plan.samples):
        problem = world.draw(rng, "train")
        if rng.random() < plan.drills:
            corpus.append((_drill_prompt(problem), write_drill(rng, world, problem)))
        else:
            corpus.append((problem.prompt, write_solution(rng, world, problem, habits)))
    return corpus


def _drill_prompt(problem: Problem) -> str:
    return problem.prompt.replace("use", "drill", 1)


def warm_start(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    corpus: list[tuple[str, str]],
    plan: WarmStart,
    *,
    progress: Progress | None = None,
) -> None:
    """Train the model in place on the corpus, once through."""
    import torch

    words = tokenizer.get_vocab()
    rows = [
        (len(prompt.split()), [words[word] for word in f"{prompt} {text}".split()] + [words[str(tokenizer.eos_token)]])
        for prompt, text in corpus
    ]
    rng = random.Random(plan.seed)
    first, rest = rows[: plan.comparisons], rows[plan.comparisons :]
    batches = _bucket(first, plan.batch, rng) + _bucket(rest, plan.batch, rng)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    model.train()
    for done, batch in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, done / 30, _remaining(done, len(batches)))
        ids_BT, targets_BT = _pad(batch, words[str(tokenizer.pad_token)])
        hidden = model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        total = torch.nn.functional.cross_entropy(
            model.lm_head(hidden).flatten(0, 1), targets_BT[:, 1:].flatten(), ignore_index=_IGNORED, reduction="sum"
        )
        optimizer.zero_grad()
        (total / (len(batch) * _TOKENS_A_ROW)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(done, len(batches), float(total.detach()) / int((targets_BT[:, 1:] != _IGNORED).sum()))
    model.eval()


def _remaining(done: int, total: int) -> float:
    """The factor of the learning rate towards the end: 1, then over the last two fifths down to a fiftieth."""
    return max(0.02, (total - done) / (0.4 * total))


_Row = tuple[int, list[int]]  # length of the prompt, token ids


def _bucket(rows: list[_Row], size: int, rng: random.Random) -> list[list[_Row]]:
    """Batches of rows of about equal length, in random order."""
    ordered = sorted(rows, key=lambda row: len(row[1]) + rng.random())
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    rng.shuffle(batches)
    return batches


def _pad(batch: list[_Row], pad: int):  # type: ignore[no-untyped-def]
    """Token ids and targets (B, T), padded on the right; prompts and padding are no targets."""
    import torch

    longest = max(len(ids) for _, ids in batch)
    ids_BT = torch.tensor([ids + [pad] * (longest - len(ids)) for _, ids in batch])
    targets_BT = torch.tensor(
        [[_IGNORED] * prompt + ids[prompt:] + [_IGNORED] * (longest - len(ids)) for prompt, ids in batch]
    )
    return ids_BT, targets_BT
