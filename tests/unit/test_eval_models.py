"""Names of models, prompts, and which benchmarks an evaluation is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hicra.errors import ConfigError
from hicra.evals.asking import ask, choose
from hicra.evals.local import NO_TEMPLATE
from hicra.evals.models import PROVIDERS, ModelName, name_model
from hicra.evals.prompts import fill
from hicra.evals.task import Sampling, seed_of


def folder(place: Path) -> Path:
    place.mkdir()
    (place / "config.json").write_text("{}")
    return place


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "checkpoint-40")
    monkeypatch.chdir(tmp_path)
    assert name_model("Qwen/Qwen3-4B") == ModelName("hf/Qwen/Qwen3-4B")
    assert name_model("Qwen/Qwen3-4B", engine="vllm") == ModelName("vllm/Qwen/Qwen3-4B")
    assert name_model("vllm/Qwen/Qwen3-4B").provider == "vllm"
    assert name_model("hf/google/gemma-3-4b-it") == ModelName("hf/google/gemma-3-4b-it")
    assert name_model("checkpoint-40") == ModelName(f"hf/{place}")
    assert name_model("checkpoint-40", engine="vllm") == ModelName(f"vllm/{place}")
    assert name_model("checkpoint-40", base_url="http://127.0.0.1:8000/v1") == ModelName(
        "openai-api/endpoint/checkpoint-40", "http://127.0.0.1:8000/v1"
    )


def test_the_providers_are_those_of_inspect() -> None:
    pytest.importorskip("inspect_ai")
    from inspect_ai._util.registry import registry_find, registry_info
    from inspect_ai.model._providers import providers  # noqa: F401

    known = {registry_info(m).name.split("/")[-1] for m in registry_find(lambda info: info.type == "modelapi")}
    assert {"hf", "vllm", "openai", "openai-api"} <= known
    assert known - PROVIDERS == {"mockllm", "none"}


def test_chat_templates(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x{{ messages }}"}))
    assert name_model("a/b", chat_template="none").args == {"chat_template": NO_TEMPLATE}
    assert name_model("a/b", chat_template=str(tmp_path / "t.jinja")).args == {"chat_template": "{{ messages }}"}
    named = name_model("a/b", chat_template=str(tmp_path / "tokenizer_config.json"))
    assert named.args == {"chat_template": "x{{ messages }}"}
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="has no chat_template"):
        name_model("a/b", chat_template=str(tmp_path / "tokenizer_config.json"))
    with pytest.raises(ConfigError, match="is no file"):
        name_model("a/b", chat_template="nothing.jinja")
    for model, url in (("m", "http://x/v1"), ("openai/gpt", None)):
        with pytest.raises(ConfigError, match="applies the chat template itself"):
            name_model(model, base_url=url, chat_template="none")


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        ("", {}, "has no name"),
        ("m", {}, "there is no model 'm'"),
        ("./nowhere/model", {}, "there is no model"),
        ("a/b", {"engine": "tgi"}, "hf or vllm"),
        ("m", {"base_url": "127.0.0.1:8000"}, "is no URL"),
    ],
)
def test_names_that_are_none(model: str, more: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        name_model(model, **more)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_text("")
    with pytest.raises(ConfigError, match=r"got: +weights.bin"):
        name_model(str(tmp_path))


def test_prompts() -> None:
    assert fill("Say {problem} in {braces}.", "{problem} {x}") == "Say {problem} {x} in {braces}."
    for template in ("nothing", "{problem} {problem}"):
        with pytest.raises(ConfigError, match="once"):
            fill(template, "x")


def test_choosing() -> None:
    assert choose([], "paper") == {
        "aime24": (32, None),
        "aime25": (32, None),
        "math500": (1, None),
        "amc23": (4, None),
        "minerva": (1, None),
        "olympiadbench": (1, None),
    }
    assert choose(["aime24,mine=a/b.jsonl", " other "]) == {
        "aime24": (32, None),
        "mine": (1, Path("a/b.jsonl")),
        "other": (1, None),
    }
    assert choose(["aime24=x.jsonl"], "paper")["aime24"] == (32, Path("x.jsonl"))
    for benches, preset, says in (
        ([], None, "no benchmark"),
        ([], "mine", "no preset"),
        (["../x=y"], None, "letters"),
        (["=y"], None, "letters"),
    ):
        with pytest.raises(ConfigError, match=says):
            choose(benches, preset)


def test_asking(tmp_path: Path) -> None:
    rows = [{"id": i, "problem": f"{i} + {{problem}}", "answer": str(i)} for i in range(3)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ask("mine", 2, tmp_path / "mine.jsonl", first=2, prompt="Q: {problem}")
    assert [asked.message(p) for p in asked.problems] == ["Q: 0 + {problem}", "Q: 1 + {problem}"]
    assert asked.grader(asked.problems[1], r"\boxed{1}", False, None).grade == "right"
    assert asked.grader(asked.problems[1], r"\boxed{2}", True, None).grade == "cut_off"
    with pytest.raises(ConfigError, match="at least 1 sample"):
        ask("mine", 0, tmp_path / "mine.jsonl")
    with pytest.raises(ConfigError, match="place for the problem"):
        ask("mine", 1, tmp_path / "mine.jsonl", prompt="Q")


def test_seeds_differ_and_defaults_are_the_papers() -> None:
    seeds = {seed_of(s, item, k) for s in range(3) for item in ("a", "b") for k in range(5)}
    assert len(seeds) == 30
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert (Sampling().temperature, Sampling().top_p) == (0.6, 0.95)
