"""verl without an accelerator: what its whole trainer needs to take real steps on this machine.

verl has three doors for other hardware and other engines, and all of this goes through them: a platform
(`set_platform`), a rollout engine (`RolloutReplicaRegistry`, and the registry of its adapters in the workers), and the
environment variables that choose the training engine. One function of torch is wrapped: verl asks for the process group
``cpu:gloo,<device>:<backend>``, which names the CPU twice here.

Loaded in each of verl's processes by ``VERL_USE_EXTERNAL_MODULES=tests.verl.cpu_verl,hicra.engines.verl``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import types
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from verl.checkpoint_engine import CheckpointEngineRegistry
from verl.checkpoint_engine.base import CheckpointEngine
from verl.plugin.platform import platform_manager
from verl.plugin.platform.platform_base import PlatformBase
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from tests.verl.cpu_names import ENGINE

os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")  # verl's FSDP engine is registered for this name alone
os.environ.setdefault("VERL_ENGINE_VENDOR", "nvidia")


class _Module(types.ModuleType):
    """`torch.cpu` with what verl asks of `torch.cuda`; memory counters are 0."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(torch.cpu, name):
            return getattr(torch.cpu, name)
        known = {"mem_get_info": (2**34, 2**34), "get_device_name": "CPU"}
        return lambda *_, **__: known.get(name, 0)


class PlatformCPU(PlatformBase):
    """A machine without an accelerator. Ray's resource GPU is a number of worker places here."""

    device_name = vendor_name = "cpu"
    device_module = _Module("cpu")

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return True

    def current_device(self) -> Any:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_resource_options(self, num_gpus: float) -> dict[str, Any]:
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None: ...


class Server:
    """One replica: the model itself, which samples a request at a time. A Ray actor with the methods verl calls.

    Args:
        path: the model's folder.
        limit: tokens that a completion may have.
        seed: of its draws.
    """

    def __init__(self, path: str, limit: int, seed: int) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self._limit, self._step = limit, 0

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        config, temperature = self._model.config, float(sampling_params["temperature"])
        ids = torch.tensor([list(prompt_ids)])
        drawn = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=int(sampling_params.get("max_tokens", self._limit)),
            do_sample=temperature > 0,
            **({"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}),
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        token_ids = drawn.sequences[0, ids.shape[1] :]
        logprobs = (torch.cat(drawn.logits) / (temperature or 1.0)).log_softmax(-1)
        return TokenOutput(
            token_ids=token_ids.tolist(),
            log_probs=logprobs.gather(1, token_ids[:, None])[:, 0].tolist(),
            stop_reason="completed",
            extra_fields={"global_steps": self._step},
        )

    async def set_weights(self, weights: dict[str, torch.Tensor], step: int | None) -> None:
        missing, unknown = self._model.load_state_dict(weights, strict=False)
        tied = {"lm_head.weight"} if self._model.config.tie_word_embeddings else set()
        assert not unknown and set(missing) <= tied, (missing, unknown)  # noqa: PT018
        self._step = int(step or 0)

    async def nothing(self, **_: Any) -> None:
        """What there is no memory and no queue for: sleep, abort and the like."""

    wake_up = sleep = abort_all_requests = resume_generation = nothing
    clear_kv_cache = release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


def _name(replica: int) -> str:
    return f"{ENGINE}-{replica}"


class Replica(RolloutReplica):  # type: ignore[misc]
    """verl's handle on a server."""

    async def launch_servers(self) -> None:
        import ray

        server = ray.remote(Server).options(name=_name(self.replica_rank), num_cpus=1)
        self._server_handle = server.remote(self.model_config.path, int(self.config.response_length), self.replica_rank)
        self._server_address = _name(self.replica_rank)
        self.servers = [self._server_handle]


class Adapter(BaseRollout):  # type: ignore[misc]
    """In a worker: hands the new weights to the server."""

    def __init__(self, *args: Any, replica_rank: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.replica_rank = replica_rank

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(
        self, weights: Any, wire_format: str = "named_tensors", global_steps: int | None = None, **_: Any
    ) -> None:
        import ray

        assert wire_format == "named_tensors"
        if torch.distributed.get_rank() == 0:
            copied = {name: tensor.detach().float().cpu().clone() async for name, tensor in _one_by_one(weights)}
            await ray.get_actor(_name(self.replica_rank)).set_weights.remote(copied, global_steps)


async def _one_by_one(weights: Any) -> AsyncIterator[tuple[str, torch.Tensor]]:
    """verl's weights come from a generator in one mode and from an asynchronous one in another."""
    if hasattr(weights, "__aiter__"):
        async for pair in weights:
            yield pair
    else:
        for pair in weights:
            yield pair


@CheckpointEngineRegistry.register("file")
class ThroughAFile(CheckpointEngine):  # type: ignore[misc]
    """Weights on their way from the actor to a rollout engine on other devices: one file an update.

    Args:
        folder: where; a fresh one for each run.
    """

    def __init__(self, bucket_size: int, is_master: bool = False, *, folder: str) -> None:
        self._folder = Path(folder)

    def prepare(self) -> dict[str, Any]:
        return {}

    @classmethod
    def build_topology(cls, actors: int, rollouts: int, metadata: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def init_process_group(self, **_: Any) -> None: ...

    def finalize(self) -> None: ...

    async def send_weights(self, weights: Any, global_steps: int | None = None) -> None:
        from safetensors.torch import save_file

        part = self._folder / "part"
        save_file({name: tensor.detach().cpu().clone() for name, tensor in weights}, part)
        part.rename(self._file(global_steps))

    async def receive_weights(self, global_steps: int | None = None) -> AsyncIterator[tuple[str, torch.Tensor]]:
        from safetensors.torch import load_file

        while not self._file(global_steps).exists():
            await asyncio.sleep(0.05)
        for pair in load_file(self._file(global_steps)).items():
            yield pair

    def _file(self, step: int | None) -> Path:
        return self._folder / f"{step}.safetensors"


platform_manager.set_platform(PlatformCPU())
RolloutReplicaRegistry.register(ENGINE, lambda: Replica)
_ROLLOUT_REGISTRY[ENGINE, "async"] = f"{__name__}.Adapter"

_init_process_group = torch.distributed.init_process_group


def _once(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
    return _init_process_group("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)


torch.distributed.init_process_group = _once  # type: ignore[assignment]
