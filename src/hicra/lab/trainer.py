"""The lab's trainer: HICRA's TRL trainer, the very same that trains real models, with the fast sampler in place of
`model.generate`.

Importing this module imports TRL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hicra.engines.trl import HICRATrainer
from hicra.errors import ConfigError
from hicra.lab.sampler import Sampler


class FastGeneration:
    """Mixin for `trl.GRPOTrainer` and its subclasses: completions are drawn by `hicra.lab.sampler.Sampler`. Put it
    first.

    Draws come from torch's global generator, whose state TRL's checkpoints hold, so a resumed run goes on with the
    same draws.

    Raises:
        ConfigError: the settings ask for a way of sampling that the fast sampler leaves out.
    """

    if TYPE_CHECKING:  # what the trainer brings along

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0, "use_vllm": False}
        other = {name: getattr(self.args, name) for name, value in plain.items() if getattr(self.args, name) != value}
        if other or self.args.generation_kwargs:
            raise ConfigError(
                "the fast sampler draws from the whole distribution",
                expected=", ".join(f"{name}={value}" for name, value in plain.items()),
                got=f"{other}, generation_kwargs={self.args.generation_kwargs}",
                mend="use the trainer without FastGeneration",
            )
        self._sampler = Sampler(self.accelerator.unwrap_model(self.model))

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        drawn = self._sampler.sample(
            prompt_ids,
            self.args.max_completion_length,
            eos_token_id=self._tokenizer.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
            temperature=self.args.temperature,
        )
        return drawn.ids(), None


class LabTrainer(FastGeneration, HICRATrainer):
    """`HICRATrainer` on the fast sampler."""

    _tag_names = ["trl", "grpo", "hicra", "hicra-lab"]  # noqa: RUF012
