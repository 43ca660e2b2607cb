"""HICRA in verl: three trainers under verl's own registry.

    python -m verl.trainer.main_ppo trainer.v1.trainer_mode=hicra_sync algorithm.adv_estimator=grpo \\
        +algorithm.hicra.alpha=0.2 ...

verl imports this module by itself, in each of its processes, by the entry point ``verl.plugins`` of this package. It
says nothing where that fails; ``VERL_USE_EXTERNAL_MODULES=hicra.engines.verl`` imports it and shows the error.

| trainer.v1.trainer_mode | verl's own |
|---|---|
| `hicra_sync` | `sync` |
| `hicra_colocate_async` | `colocate_async` |
| `hicra_separate_async` | `separate_async` |
"""

from __future__ import annotations

from hicra.engines.verl_config import VerlSettings
from hicra.engines.verl_trainer import HICRAMixin
from hicra.errors import require

__all__ = ["HICRAColocateAsync", "HICRAMixin", "HICRASeparateAsync", "HICRASync", "VerlSettings"]

require("verl.trainer.ppo.v1", "verl")
from verl.trainer.ppo.v1 import (  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)


@register_trainer("hicra_sync")
class HICRASync(HICRAMixin, PPOTrainerSync):  # type: ignore[misc]
    """verl's synchronous trainer with HICRA (arXiv 2509.03646)."""

    verl_mode = "sync"


@register_trainer("hicra_colocate_async")
class HICRAColocateAsync(HICRAMixin, PPOTrainerColocateAsync):  # type: ignore[misc]
    """verl's asynchronous trainer on shared devices, with HICRA."""

    verl_mode = "colocate_async"


@register_trainer("hicra_separate_async")
class HICRASeparateAsync(HICRAMixin, PPOTrainerSeparateAsync):  # type: ignore[misc]
    """verl's asynchronous trainer on devices of its own, with HICRA."""

    verl_mode = "separate_async"
