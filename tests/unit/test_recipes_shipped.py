"""The recipes that come along: each one through TRL's own configuration, with its arms and its estimate of memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("trl")

from hicra.cli.train import train
from hicra.engines.memory import GIB, SHAPES, estimate, from_config, shape_of
from hicra.engines.recipe import load_recipe
from hicra.errors import ConfigError

RECIPES = Path(__file__).parents[2] / "recipes"
MODELS = [p for p in sorted((RECIPES / "models").glob("*.toml")) if p.stem not in ("text", "vision")]

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_every_recipe_is_what_the_paper_says(path: Path) -> None:
    recipe = load_recipe(path)
    config = recipe.training_config(elsewhere=True)
    assert (config.epsilon, config.epsilon_high, config.beta) == (0.2, 0.28, 0.0)
    assert (config.loss_type, config.scale_rewards, config.alpha) == ("dapo", "none", 0.2)
    assert recipe.context is not None
    # 16k and 32k with 1024 tokens of prompt
    assert (config.max_completion_length + 1024, recipe.context.raise_to + 1024) == (16 * 1024, 32 * 1024)
    assert recipe.context.clipped == 0.2
    assert config.vllm_max_model_length >= recipe.context.raise_to + 1024
    assert config.generation_batch_size * recipe.launch.gpus == 512
    assert config.filter_groups is ("llama3" in path.stem)
    assert recipe.data.sources == (["virl39k"] if "vl" in path.stem else ["dapo", "deepscaler"])
    assert config.model_init_kwargs == {"dtype": "float32"}
    for length in (config.max_completion_length, recipe.context.raise_to):
        need = estimate(recipe, config, length)
        assert need is not None
        assert need.fits
    assert (RECIPES / "verl" / f"{path.stem}.yaml").exists()


@pytest.mark.parametrize("arm", ["grpo", "placebo", "random_mask", "entropy_bonus", "entropy_advantage", "top_entropy"])
def test_the_controls_beside_hicra(arm: str) -> None:
    recipe = load_recipe(RECIPES / "models" / "qwen2_5_7b_base.toml", arm=arm, settings=["trainer.seed=3"])
    config = recipe.training_config(elsewhere=True)
    assert recipe.output == f"runs/qwen2.5-7b-base-{arm}"
    assert config.seed == 3
    assert config.observe is (arm == "grpo")
    expected = "grpo" if arm in ("grpo", "entropy_bonus", "top_entropy") else arm
    assert config.credit_config().estimator == expected
    assert config.entropy_coef == (0.01 if arm == "entropy_bonus" else 0.0)


def test_settings_on_top_and_what_they_cannot_be(tmp_path: Path) -> None:
    path = RECIPES / "models" / "qwen3_4b_base.toml"
    recipe = load_recipe(path, settings=["hicra.alpha=0.1", "output=elsewhere", "data.train=dapo"])
    assert (recipe.hicra["alpha"], recipe.output, recipe.data.sources) == (0.1, "elsewhere", ["dapo"])
    with pytest.raises(ConfigError, match="there is no arm 'grop'"):
        load_recipe(path, arm="grop")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(path, settings=["hicra alpha"])
    with pytest.raises(ConfigError, match="unknown key 'alfa'"):
        load_recipe(path, settings=["hicra.alfa=1"]).training_config(elsewhere=True)
    (tmp_path / "round.toml").write_text('base = "round.toml"\n')
    with pytest.raises(ConfigError, match="base leads nowhere"):
        load_recipe(tmp_path / "round.toml")
    (tmp_path / "lost.toml").write_text('base = "nothing.toml"\n')
    with pytest.raises(ConfigError, match="there is no recipe"):
        load_recipe(tmp_path / "lost.toml")


# --- memory ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-4B-Base", 4_022_468_096),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656),
    ],
)
def test_parameters_of_the_shapes(name: str, published: int) -> None:
    assert SHAPES[name].parameters == pytest.approx(published, rel=1e-4)


def recipe_of(folder: Path, launch: str = "", trainer: str = "", init: str = "") -> Path:
    """A toy of 2 layers, width 8, feed-forward 16, 2 heads and 1 key/value head of 4, 100 tokens, tied."""
    config = {
        "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 100, "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text(json.dumps(config))
    (folder / "rows.jsonl").write_text('{"prompt": "1 + 1 =", "answer": "2"}\n')
    path = folder / "toy.toml"
    path.write_text(
        f'output = "out"\n[model]\nname = "model"\n{init}\n[data]\ntrain = "rows.jsonl"\n'
        f"[launch]\n{launch}\n[trainer]\n"
        "per_device_train_batch_size = 4\ngradient_accumulation_steps = 2\nnum_generations = 4\n"
        f'max_completion_length = 976\nreport_to = "none"\n{trainer}\n'
    )
    return path


def test_the_estimate_by_hand(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_of(tmp_path))
    shape = shape_of("model", tmp_path / "model")
    assert shape is not None
    # a layer: 8 * 4 * (2*2 + 2*1) = 192 of attention, 3 * 8 * 16 = 384, 16 of norms; twice, and 800 + 8
    n = 2 * (192 + 384 + 16) + 808
    assert shape.parameters == n == 1992
    need = estimate(recipe, recipe.training_config(elsewhere=True))
    assert need is not None
    tokens = 4 * (1024 + 976)
    # TRL's default is checkpointing: inputs of 2 layers, and one layer of 5*8 + 2*8 + 2*4 + 3*16 = 112 channels
    assert need.parts == {
        "weights": 4 * n,
        "gradients": 4 * n,
        "Adam": 8 * n,
        "activations": 2 * 2 * tokens * 8 + 4 * tokens * 112,
        "generation": 4 * 2 * 4 * (4 * 2) * 2000,  # 4 L K bytes a token, 8 completions together
    }
    assert need.total == pytest.approx(1.1 * sum(need.parts.values()))
    assert need.room == 80 * GIB
    assert need.fits


def test_sharding_and_precision(tmp_path: Path) -> None:
    def parts(launch: str, trainer: str = "", init: str = "") -> dict[str, float]:
        recipe = load_recipe(recipe_of(tmp_path, launch, trainer, init))
        need = estimate(recipe, recipe.training_config(elsewhere=True))
        assert need is not None
        return need.parts

    n = 1992
    half = parts("", init='init = { dtype = "bfloat16" }')
    assert (half["weights"], half["gradients"], half["Adam"]) == (2 * n, 2 * n, 4 * n)
    two = parts('gpus = 4\nsharding = "zero2"')
    assert (two["weights"], two["gradients"], two["Adam"]) == (4 * n, n, 2 * n)
    three = parts('gpus = 4\nsharding = "zero3"')
    assert (three["weights"], three["gradients"], three["Adam"], three["gathered layers"]) == (n, n, 2 * n, 2 * n)
    whole = parts("", "gradient_checkpointing = false")
    assert whole["activations"] == 2 * 4 * 8000 * 112


def test_vllm_beside_the_trainer(tmp_path: Path) -> None:
    vllm = 'use_vllm = true\nvllm_mode = "colocate"\nvllm_gpu_memory_utilization = 0.25'
    recipe = load_recipe(recipe_of(tmp_path, "gpu_memory = 1.0", vllm))
    need = estimate(recipe, recipe.training_config(elsewhere=True))
    assert need is not None
    assert need.parts["vLLM"] == 0.25 * GIB
    # (2^28 - 2 * 1992) / (4 * 2 * 4 * 2000)
    assert "cache for 4194 whole completions" in need.notes[0]
    recipe = load_recipe(recipe_of(tmp_path, "gpu_memory = 0.002", vllm + "\nvllm_enable_sleep_mode = true"))
    need = estimate(recipe, recipe.training_config(elsewhere=True), 100_000)
    assert need is not None
    assert "vLLM" not in need.parts
    assert not need.fits
    assert "no room for a single whole completion" in need.notes[1]


def test_shapes_of_other_configurations() -> None:
    found = from_config({"text_config": {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 4,
                                         "num_attention_heads": 2, "vocab_size": 10, "head_dim": 16},
                         "vision_config": {"depth": 2, "hidden_size": 4, "intermediate_size": 8}})  # fmt: skip
    assert found is not None
    assert (found.kv_heads, found.head, found.further) == (2, 16, 2 * (4 * 16 + 3 * 32))
    assert from_config({"model_type": "mamba"}) is None
    assert shape_of("nobody/nothing") is None


def test_a_dry_run_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    train(RECIPES / "models" / "qwen2_5_7b_base.toml", dry_run=True, arm="grpo", as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary["on_the_hub"] == ["dapo", "deepscaler"]
    assert set(summary["memory"]) == {"15360", "31744"}
    assert summary["memory"]["15360"]["fits"] is True
    assert summary["launch"]["gpus"] == 16


def test_verls_recipes_are_verls(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="verl starts itself"):
        train(RECIPES / "verl" / "qwen3_4b_base.yaml")
    pytest.importorskip("trl")
    import importlib.util

    if importlib.util.find_spec("verl") is None:
        with pytest.raises(ConfigError, match="make test-verl"):
            train(RECIPES / "verl" / "qwen3_4b_base.yaml", dry_run=True)
