"""What the tests of the verl engine train: the lab's tiny model, and batches as verl's agent loop leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def save_model(folder: Path) -> None:
    """A tiny Llama with random weights, the lab's tokenizer and the lab's grams."""
    from hicra.lab.model import ModelSize, build_model
    from hicra.lab.phrases import gram_set
    from hicra.lab.tokenizer import build_tokenizer
    from hicra.lab.world import World

    tokenizer = build_tokenizer(World())
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    build_model(tokenizer, ModelSize(width=32, layers=1, heads=2, feed_forward=48)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    gram_set(World()).save(folder / "grams.json")


def save_lab(folder: Path) -> None:
    """What a run of the whole trainer reads: ``model``, ``words.json``, ``train.parquet`` and ``reward.py``.

    The model's weights are random, so its phrases would be too rare: the grams are single words.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hicra import GramSet
    from hicra.lab.tokenizer import vocabulary
    from hicra.lab.world import World

    (folder / "model").mkdir()
    save_model(folder / "model")
    words = [word for word in vocabulary(World()) if word.isalpha()]
    GramSet.from_grams(words[::9], name="words").save(folder / "words.json")
    rows = [
        {
            "data_source": "lab",
            "prompt": [{"role": "user", "content": problem.prompt}],
            "reward_model": {"style": "rule", "ground_truth": problem.id},
            "extra_info": {"index": i},
        }
        for i, problem in enumerate(World().sample(8, 0, "train"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    (folder / "reward.py").write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):\n"
        '    """Share of words with three or six letters: never all equal, a function of the text alone."""\n'
        "    words = solution_str.split()\n"
        "    return sum(len(word) % 3 == 0 for word in words) / max(1, len(words))\n"
    )


def verl_config(model: Path, *overrides: str) -> Any:
    """verl's own configuration with its defaults, as the command line would make it."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={model}",
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.rollout.n=2",
                "algorithm.adv_estimator=grpo",
                "algorithm.norm_adv_by_std_in_grpo=false",
                "critic.enable=false",
                "data.train_batch_size=2",
                "data.max_response_length=20",
                "trainer.logger=[console]",
                "trainer.v1.trainer_mode=hicra_sync",
                "transfer_queue.enable=true",
                "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",  # more of them wait for more machines
                *overrides,
            ],
        )


def jagged(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows of different lengths as one column of the queue."""
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


PROMPTS = ("use 2 3 4 make 1 0 :", "use 5 6 7 make 3 7 :")
COMPLETIONS = (
    "let 's multiply then add 2 * 3 = 6 + 4 = 1 0 yes <eos>",
    "so answer 1 0 wait that is wrong we can scale a sum 2 + 3 = 5 * 4",  # no end: cut off at the limit
    "drill 5 + 6 vs 7 miss miss <eos>",
    "let me check this 5 * 7 = 3 5 so i stop here 3 7 <eos>",
)
REWARDS = (1.0, 0.0, 0.0, 0.5)
TOOL = (3, slice(4, 7))
"""Completion and tokens that a tool wrote: `5 * 7`."""


class Batch:
    """Four completions of two prompts, as verl's agent loop and its actor leave them in the queue.

    Args:
        tokenizer: the lab's.
        seed: of log-probs and entropies.
    """

    def __init__(self, tokenizer: Any, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.keys = [f"uid-{i // 2}_{i % 2}_0" for i in range(4)]
        self.responses = [torch.tensor(tokenizer(text)["input_ids"]) for text in COMPLETIONS]
        self.masks = [torch.ones_like(row) for row in self.responses]
        self.masks[TOOL[0]][TOOL[1]] = 0
        lengths = [len(row) for row in self.responses]
        self.logprobs = [-torch.rand(n, generator=draw) for n in lengths]
        self.entropies = [torch.rand(n, generator=draw) for n in lengths]
        self.scores = [torch.zeros(n) for n in lengths]
        for row, reward in zip(self.scores, REWARDS, strict=True):
            row[-1] = reward
        self.prompts = [torch.tensor(tokenizer(PROMPTS[i // 2])["input_ids"]) for i in range(4)]
        self.talks = [[{"role": "user", "content": PROMPTS[i // 2]}] for i in range(4)]

    def columns(self) -> dict[str, Any]:
        """Everything under the names of the queue."""
        from tensordict import NonTensorData, NonTensorStack

        return {
            "prompts": jagged(self.prompts),
            "responses": jagged(self.responses),
            "response_mask": jagged(self.masks),
            "rm_scores": jagged(self.scores),
            "old_log_probs": jagged(self.logprobs),
            "entropy": jagged(self.entropies),
            "uid": NonTensorStack(*[key.rsplit("_", 2)[0] for key in self.keys]),
            "raw_prompt": NonTensorStack(*[NonTensorData(talk) for talk in self.talks]),
        }

    def put(self, partition: str, *, without: Sequence[str] = ()) -> Any:
        """The batch in the queue, and verl's handle on it."""
        import transfer_queue
        from tensordict import TensorDict

        columns = {name: column for name, column in self.columns().items() if name not in without}
        return transfer_queue.kv_batch_put(
            keys=self.keys,
            partition_id=partition,
            fields=TensorDict(columns, batch_size=4),
            tags=[{"status": "success"} for _ in self.keys],
        )


def column(batch: Any, name: str) -> torch.Tensor:
    """(N,) values of a column of the queue."""
    import transfer_queue

    found = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[name])
    values: torch.Tensor = found[name].values()
    return values


def trainer(name: str, config: Any, step: int = 1) -> Any:
    """verl's trainer of that name as it is before its workers start: made by its own constructor."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    made = get_trainer_cls(name)(config)
    made._init_tokenizer()
    made.global_steps = step
    return made
