"""HICRA never makes the loss wait for the device: what it asks is counted against what TRL itself asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("trl")
from trl import GRPOConfig, GRPOTrainer

from hicra.engines import generation
from hicra.engines.trl import HICRAConfig, HICRATrainer
from tests.tiny_trl import IGNORED, trainer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]

READS = {"item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero", "unique"}
"""Methods that bring a tensor to the host, or whose shape only the device knows."""

DYNAMIC = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal"}
"""The same one floor down: what an index by a mask, or a comparison, comes to."""


class Waits(TorchFunctionMode):
    """Counts what would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.off = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in READS and not self.off:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class Below(TorchDispatchMode):
    """Counts the same below Python's methods."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits, self.found = waits, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        indices = args[1] if name in ("aten::index", "aten::index_put", "aten::index_put_") else ()
        by_mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if (name in DYNAMIC or by_mask) and not self.waits.off:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def counted(kind: type, config: type, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[Any]:
    """What each micro-batch's loss asked of the device."""
    micro_batches: list[tuple[list[str], list[str]]] = []

    class Counted(kind):  # type: ignore[misc, valid-type]
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            waits = Waits()
            below = Below(waits)
            read = generation.OnHost.read

            def for_free(copy: Any) -> Any:
                """On a GPU it reads pinned memory that was filled before TRL's own last wait."""
                waits.off = True
                try:
                    return read(copy)
                finally:
                    waits.off = False

            monkeypatch.setattr(generation.OnHost, "read", for_free)
            with below, waits:
                loss = super()._compute_loss(model, inputs)
            monkeypatch.setattr(generation.OnHost, "read", read)
            micro_batches.append((sorted(waits.found), sorted(below.found)))
            return loss

    trainer(Counted, config, folder, **settings).train()
    return micro_batches


@pytest.mark.parametrize(
    ("estimator", "settings"),
    [
        ("hicra", {}),
        ("hicra", {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 4}),
        ("hicra", {"loss_type": "grpo", "beta": 0.05}),
        ("placebo", {"max_steps": 1}),
        ("random_mask", {"max_steps": 1}),
    ],
    ids=["plain", "two steps, twice", "kl", "placebo", "random"],
)
def test_the_loss_asks_no_more_of_the_device_than_trls(
    estimator: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = counted(GRPOTrainer, GRPOConfig, tmp_path / "grpo", monkeypatch, **settings)
    ours = counted(HICRATrainer, HICRAConfig, tmp_path / "hicra", monkeypatch, estimator=estimator, **settings)
    assert len(ours) == len(theirs) > 0
    assert ours == theirs
    assert all(asked for asked, _ in theirs)  # TRL does wait, for its own metrics: the counter counts


def test_the_counters_count(tmp_path: Path) -> None:
    waits = Waits()
    below = Below(waits)
    value = torch.tensor([1.0, -1.0])
    with below, waits:
        value.sum().item()
        value.tolist()
        value[value > 0]
        bool((value > 0).any())
    assert {"item", "tolist", "__bool__"} <= set(waits.found)
    assert len(below.found) >= 3  # item, the index by a mask, the truth value


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks a GPU")
def test_on_a_gpu_nothing_is_waited_for() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        copy = generation.OnHost(torch.ones(3, device="cuda").cumsum(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert copy.read() == [1.0, 2.0, 3.0]
