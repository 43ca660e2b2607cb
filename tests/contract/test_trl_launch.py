"""Launch files against accelerate's own classes, and vLLM by configuration against TRL's own trainer."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("trl")
from accelerate.commands import launch
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, make_tiny, trainer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]
FILES = sorted((Path(__file__).parents[2] / "recipes" / "launch").glob("*.yaml"))


def launched(path: Path) -> Any:
    """What `accelerate launch` makes of a file."""
    arguments = launch.launch_command_parser().parse_args(["--config_file", str(path), "-m", "hicra.cli"])
    known = set(vars(arguments))
    config = ClusterConfig.from_yaml_file(yaml_file=str(path))
    for part in (config.fsdp_config, config.deepspeed_config):
        assert set(part) <= known, "an option that accelerate does not have"
    done, defaults, _ = launch._validate_launch_command(arguments)
    if done.use_deepspeed:  # as `accelerate launch` goes on
        done.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return done


def test_there_are_launch_files_and_their_comments_name_them() -> None:
    assert [path.name for path in FILES] == ["ddp.yaml", "fsdp2.yaml", "zero2.yaml", "zero3.yaml"]
    for path in FILES:
        assert f"recipes/launch/{path.name}" in path.read_text("utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_understands_every_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launched(path)
    assert (arguments.num_processes, arguments.mixed_precision) == (8, "bf16")
    deepspeed = path.stem.startswith("zero")
    assert arguments.use_deepspeed == deepspeed
    assert arguments.use_fsdp == (path.stem == "fsdp2")
    assert arguments.multi_gpu == (path.stem == "ddp")
    env = prepare_deepspeed_cmd_env(arguments)[1] if deepspeed else prepare_multi_gpu_env(arguments)
    for name, value in env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    if path.stem == "fsdp2":
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2
        assert plugin.reshard_after_forward is True
        assert plugin.cpu_ram_efficient_loading is True
        assert plugin.activation_checkpointing is False
        assert str(plugin.state_dict_type).endswith("FULL_STATE_DICT")
    if deepspeed:
        plugin = DeepSpeedPlugin()
        made = plugin.deepspeed_config
        assert plugin.zero_stage == made["zero_optimization"]["stage"] == int(path.stem[-1])
        assert made["gradient_accumulation_steps"] == made["gradient_clipping"] == "auto"
        assert made["zero_optimization"]["offload_optimizer"]["device"] == ("cpu" if path.stem == "zero3" else "none")
        assert made["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] == (path.stem == "zero3")


def test_a_misspelt_option_is_found(tmp_path: Path) -> None:
    text = FILES[1].read_text("utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("fsdp_offload_params", "fsdp_ofload_params"))
    with pytest.raises(AssertionError, match="does not have"):
        launched(wrong)


# --- vLLM ------------------------------------------------------------------------------------------------------------
SERVER = {"use_vllm": True, "vllm_mode": "server", "vllm_server_host": "127.0.0.1", "vllm_server_port": 8123}


class Served:
    """In the place of TRL's client of vLLM: tokens at random, with the log-probs of a uniform policy."""

    made: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        Served.made = settings
        self.synced = 0
        self.vllm_client = SimpleNamespace(
            get_server_info=lambda: {"model_config": {"logprobs_mode": "processed_logprobs"}}
        )
        self._generator = torch.Generator().manual_seed(3)

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: Any, images: Any, num_generations: int, profiler: Any) -> Any:
        size = len(make_tiny().make_tokenizer())
        rows = [torch.randint(3, size, (12,), generator=self._generator).tolist() for _ in prompts]
        return prompts, rows, [[[-3.37]] * 12 for _ in rows], None


def test_without_vllm_trl_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="vLLM is not"):
        trainer(HICRATrainer, HICRAConfig, tmp_path, **SERVER)


@pytest.mark.parametrize("mode", ["sequence_mask", "token_truncate"])
def test_vllm_as_a_server_is_a_matter_of_configuration(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's own trainer with its importance sampling; alpha 0 is GRPO, above it HICRA with metrics and records."""
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Served)
    settings = {**SERVER, "vllm_importance_sampling_mode": mode}
    ends = []
    for kind, config, own in (
        (GRPOTrainer, GRPOConfig, {}),
        (HICRATrainer, HICRAConfig, {"alpha": 0.0}),
        (HICRATrainer, HICRAConfig, {"alpha": 0.4}),
    ):
        made = trainer(kind, config, tmp_path / str(len(ends)), **settings, **own)
        made.train()
        assert made.vllm_generation.synced == 3
        assert (Served.made["mode"], Served.made["server_port"]) == ("server", 8123)
        ends.append({name: value.clone() for name, value in made.model.state_dict().items()})
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []
    assert any(not torch.equal(ends[0][name], ends[2][name]) for name in ends[0])
    line = RunReader(made.args.run_path).metrics()[-1]
    assert line["n_planning"] > 0
    assert line["added_mass"] > 0
    assert "sampling/importance_sampling_ratio/mean" in line


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"vllm_importance_sampling_clip_min": 5.0}, "must be less than"),
        (
            {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": None},
            "At least one of",
        ),
    ],
)
def test_trls_own_checks_of_vllm_settings_run(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        HICRAConfig(output_dir="x", use_cpu=True, bf16=False, **SERVER, **settings)
