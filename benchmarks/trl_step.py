"""What HICRA adds to an optimizer step of TRL, in one run.

    python benchmarks/trl_step.py [--steps 8] [--tokens 256] [--hidden 256] [--layers 4] [--rollouts 64] [--json]

Claim: the time spent inside our overrides is at most 1 % of a step. It is measured twice:

* by a clock that runs while one of our overrides does and stands still while it is in TRL's own method (`share`);
* as the difference between TRL's trainer and ours, which take turns step by step in one process, so that what else the
  machine does falls on both; quoted with its spread, which is usually larger than the difference.

The completions are pieces of the bundled traces, handed over by a rollout function: real planning shares, and no time
for generation in the step, so that a share of a real step, most of which is generation, is smaller still.
The first two steps of each trainer (compilation of the labeller, allocation) are not counted.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import itertools

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.trl import HICRAConfig, HICRAMixin
from hicra.engines.trl_record import RecordMixin
from hicra.engines.trl_resume import ExactResumeMixin
from hicra.traces.read import sample_traces

WARM_UP = 2


# --- the clock -------------------------------------------------------------------------------------------------------
class Clock:
    """Seconds spent in our code: runs between entering one of our methods and entering or re-entering TRL's."""

    def __init__(self) -> None:
        self.ours = 0.0
        self.by_method: dict[str, float] = {}
        self._stack: list[str | None] = [None]
        self._since = time.perf_counter()

    def _switch(self) -> None:
        now = time.perf_counter()
        if (name := self._stack[-1]) is not None:
            self.ours += now - self._since
            self.by_method[name] = self.by_method.get(name, 0.0) + now - self._since
        self._since = now

    def enter(self, name: str | None) -> None:
        self._switch()
        self._stack.append(name)

    def leave(self) -> None:
        self._switch()
        self._stack.pop()


def timed_class(clock: Clock) -> type:
    """HICRATrainer with the clock switched on before each of our overrides and off before each of TRL's methods."""
    ours = {**vars(ExactResumeMixin), **vars(RecordMixin), **vars(HICRAMixin)}
    names = [n for n, f in ours.items() if callable(f) and hasattr(GRPOTrainer, n) and n[:2] != "__" and n != "train"]

    def layer(kind: str, base: type, label: Any) -> type:
        def method(name: str) -> Any:
            def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                clock.enter(label(name))
                try:
                    return getattr(super(made, self), name)(*args, **kwargs)
                finally:
                    clock.leave()

            return functools.wraps(getattr(GRPOTrainer, name))(call)

        made: type = type(kind, (base,), {name: method(name) for name in names})
        return made

    theirs = layer("Theirs", GRPOTrainer, lambda _: None)
    with_hicra = type("WithHICRA", (HICRAMixin, theirs), {})
    return layer("Timed", with_hicra, lambda name: name)


# --- taking turns ----------------------------------------------------------------------------------------------------
class Turns(TrainerCallback):
    """Lets trainers in threads of one process make a step each in turn; a step ends where the next one begins."""

    def __init__(self, mine: threading.Semaphore, other: threading.Semaphore) -> None:
        self.mine, self.other = mine, other
        self.seconds: list[float] = []
        self._began: float | None = None

    def _hand_over(self) -> None:
        if self._began is not None:
            self.seconds.append(time.perf_counter() - self._began)
            self.other.release()

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._hand_over()
        self.mine.acquire()
        self._began = time.perf_counter()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self._hand_over()
        self.other.release()


# --- what is trained -------------------------------------------------------------------------------------------------
def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=8_000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")


def cut_completions(options: argparse.Namespace) -> None:
    """Fill in the tokenizer and the pieces of the bundled traces that serve as completions, `options.tokens` each."""
    texts = [trace.solution for trace in sample_traces()]
    options.tokenizer = make_tokenizer(texts)
    flat = [t for text in texts for t in options.tokenizer(text)["input_ids"]]
    options.pieces = [flat[i : i + options.tokens] for i in range(0, len(flat) - options.tokens, options.tokens)]


def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(t % 3 == 0 for t in ids) / max(1, len(ids)) for ids in completion_ids]


def make_trainer(kind: type, config: type, folder: Path, options: argparse.Namespace, turns: Turns, **own: Any) -> Any:
    torch.manual_seed(0)
    tokenizer, pieces = options.tokenizer, options.pieces
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": options.hidden,
        "intermediate_size": 3 * options.hidden,
        "num_hidden_layers": options.layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        **getattr(options, "shape", {}),
    }
    model = Qwen2ForCausalLM(
        Qwen2Config(
            **shape,
            max_position_embeddings=options.tokens + 64,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        first = int(trainer.state.global_step) * len(prompts)
        ids = [pieces[(first + i) % len(pieces)] for i in range(len(prompts))]
        return {
            "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": ids,
            "logprobs": [[-1.0] * len(row) for row in ids],
        }

    args = config(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        num_generations=8,
        max_completion_length=options.tokens,
        max_steps=options.steps + WARM_UP,
        logging_steps=1,
        learning_rate=1e-5,
        report_to="none",
        save_strategy="no",
        use_cpu=not getattr(options, "gpu", False),
        bf16=getattr(options, "gpu", False),
        activation_checkpointing=False,
        disable_tqdm=True,
        loss_type="dapo",
        **own,
    )
    prompts = Dataset.from_dict({"prompt": [f"Problem {i}: find the sum." for i in range(64)]})
    made = kind(
        model=model,
        reward_funcs=reward,
        args=args,
        train_dataset=prompts,
        processing_class=tokenizer,
        callbacks=[turns],
        rollout_func=rollout,
    )
    from transformers.trainer_callback import PrinterCallback

    made.remove_callback(PrinterCallback)
    return made


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    first, second = threading.Semaphore(1), threading.Semaphore(0)
    turns = {"parent": Turns(first, second), "hicra": Turns(second, first)}
    clock = Clock()
    parent = make_trainer(GRPOTrainer, GRPOConfig, folder / "parent", options, turns["parent"])
    ours = make_trainer(
        timed_class(clock), HICRAConfig, folder / "hicra", options, turns["hicra"], rollouts_per_step=options.rollouts
    )
    marks: list[float] = []
    begin = turns["hicra"].on_step_begin

    def marked(*args: Any, **kwargs: Any) -> None:
        marks.append(clock.ours)
        begin(*args, **kwargs)

    turns["hicra"].on_step_begin = marked  # type: ignore[method-assign]
    threads = [threading.Thread(target=trainer.train) for trainer in (parent, ours)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    marks.append(clock.ours)
    spent = [b - a for a, b in itertools.pairwise(marks)][WARM_UP:]
    steps = {name: turn.seconds[WARM_UP:] for name, turn in turns.items()}
    difference = [h - p for p, h in zip(steps["parent"], steps["hicra"], strict=True)]
    lines = [line for line in ours.state.log_history if "hicra/planning_share" in line]
    return {
        "parameters": sum(p.numel() for p in ours.model.parameters()),
        "completions": 16,
        "tokens_each": options.tokens,
        "steps": len(spent),
        "rollouts_kept": options.rollouts,
        "planning_share": statistics.mean(line["hicra/planning_share"] for line in lines),
        "parent_s": spread(steps["parent"]),
        "hicra_s": spread(steps["hicra"]),
        "difference_s": spread(difference),
        "in_overrides_s": spread(spent),
        "share": sum(spent) / sum(steps["hicra"]),
        "share_worst": max(s / h for s, h in zip(spent, steps["hicra"], strict=True)),
        "by_method_share": {
            name: round(value / sum(turns["hicra"].seconds), 5) for name, value in sorted(clock.by_method.items())
        },
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rollouts", type=int, default=64, help="completions kept with text each step")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cut_completions(options)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{found['parameters'] / 1e6:.1f} M parameters, {found['completions']} completions of {options.tokens} tokens,"
    )
    print(f"{found['planning_share']:.1%} planning tokens, {found['steps']} steps each, in turn, one thread")
    for name in ("parent_s", "hicra_s", "difference_s", "in_overrides_s"):
        s = found[name]
        print(f"  {name:16s} median {s['median']:8.4f}   range {s['min']:8.4f} .. {s['max']:8.4f}")
    print(f"  inside our overrides: {found['share']:.2%} of a step (worst step {found['share_worst']:.2%})")
    for name, share in found["by_method_share"].items():
        print(f"    {name:40s} {share:.3%}")


if __name__ == "__main__":
    main()
