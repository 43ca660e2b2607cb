"""Names of models, and what inspect-ai is to open for them.

    MODEL with --base-url URL     a model behind an OpenAI-compatible endpoint, by the name that the endpoint knows
    a folder                      a model on this disk, by transformers; with --engine vllm by vLLM
    org/name                      the same, from the Hugging Face hub
    hf/..., vllm/..., openai/...  inspect-ai's own names, as its documentation has them

The key for an endpoint is read from the environment variable HICRA_API_KEY, else OPENAI_API_KEY; without either a
placeholder is sent, which local servers accept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError, require
from hicra.evals.local import NO_TEMPLATE, prepare

ENGINES = ("hf", "vllm")
"""What runs a model on this machine: transformers or vLLM."""

PROVIDERS = frozenset(
    (
        *("anthropic", "azureai", "bedrock", "cloudflare", "deepseek", "fireworks", "google", "grok", "groq", "hf"),
        *("hf-inference-providers", "litellm-proxy", "llama-cpp-python", "meta", "mistral", "moonshot", "nnterp"),
        *("ollama", "openai", "openai-api", "openai-api-completions", "openrouter", "perplexity", "sagemaker"),
        *("sambanova", "sglang", "together", "transformer_lens", "vllm", "vllm-completions"),
    )
)
"""First parts of inspect-ai's names of models. ``google/...`` is therefore Google's API, and a model of that hub
organisation is ``hf/google/...``."""

ENDPOINT = "endpoint"
"""Name of the service behind --base-url, in the logs."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """What inspect-ai's `get_model` is to be called with.

    Attributes:
        name: inspect-ai's name of the model.
        base_url: of an endpoint.
        args: further arguments of the provider.
    """

    name: str
    base_url: str | None = None
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        """First part of the name."""
        return self.name.split("/", 1)[0]


def name_model(
    model: str, *, base_url: str | None = None, engine: str = "hf", chat_template: str | None = None
) -> ModelName:
    """What a name stands for (see the module's text).

    Args:
        model: the name.
        base_url: of an OpenAI-compatible endpoint, e.g. ``http://127.0.0.1:8000/v1``.
        engine: one of `ENGINES`, for folders and names of the hub.
        chat_template: a file with a Jinja template, or ``none`` for the bare prompt; by default the model's own.

    Raises:
        ConfigError: an unknown engine, a folder without a model, or settings that do not go together.
    """
    if engine not in ENGINES:
        raise ConfigError("unknown engine", expected=" or ".join(ENGINES), got=engine)
    if not model.strip():
        raise ConfigError("the model has no name", expected="a folder, a name on the hub, or a name of inspect-ai")
    template = _template(chat_template)
    if base_url is not None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError("--base-url is no URL", expected="http://... or https://...", got=base_url)
        if template is not None:
            raise ConfigError("an endpoint applies the chat template itself", mend="give it to the server")
        return ModelName(f"openai-api/{ENDPOINT}/{model}", base_url)
    place = Path(model)
    if place.is_dir():
        if not (place / "config.json").is_file():
            raise ConfigError(
                f"{place} holds no model",
                expected="config.json, weights and a tokenizer, as save_pretrained writes them",
                got=", ".join(sorted(p.name for p in place.iterdir())[:8]) or "an empty folder",
            )
        found = ModelName(f"{engine}/{place.resolve()}")
    elif model.split("/", 1)[0] in PROVIDERS and "/" in model:
        found = ModelName(model)
    elif "/" in model and not model.startswith(("/", ".")):
        found = ModelName(f"{engine}/{model}")
    else:
        raise ConfigError(
            f"there is no model {model!r}",
            expected="a folder, a name on the hub (org/name), a name of inspect-ai (hf/..., vllm/..., openai/...), "
            "or --base-url with the name that an endpoint knows",
        )
    if template is not None:
        if found.provider not in ENGINES:
            raise ConfigError("this provider applies the chat template itself", got=f"{found.name}, --chat-template")
        found.args["chat_template"] = template
    return found


def open_model(model: ModelName, connections: int) -> Any:
    """inspect-ai's model.

    Args:
        model: see `name_model`.
        connections: requests at a time; the batch of a model that transformers runs.

    Raises:
        ConfigError: it cannot be opened.
        MissingExtraError: inspect-ai is not installed.
    """
    get_model = require("inspect_ai.model", "eval").get_model
    arguments = dict(model.args)
    key = None
    if model.provider == "openai-api":
        key = os.environ.get("HICRA_API_KEY") or os.environ.get("OPENAI_API_KEY") or "none"
    if model.provider == "hf":
        require("transformers", "train")
        arguments.setdefault("batch_size", connections)
    try:
        opened = get_model(model.name, base_url=model.base_url, api_key=key, memoize=False, **arguments)
    except Exception as error:  # every provider has its own kinds
        raise ConfigError(
            f"the model {model.name} cannot be opened: {str(error)[:500]}",
            mend="look at its name; a model of the hub needs the network once",
        ) from error
    if model.provider == "hf":
        prepare(opened)
    return opened


def _template(given: str | None) -> str | None:
    if given is None:
        return None
    if given == "none":
        return NO_TEMPLATE
    place = Path(given)
    if not place.is_file():
        raise ConfigError("--chat-template is no file", expected="a Jinja template, or none", got=given)
    text = place.read_text("utf-8")
    if place.suffix == ".json":  # tokenizer_config.json and chat_template.json have it under this key
        found = json.loads(text).get("chat_template")
        if not isinstance(found, str):
            raise ConfigError(f"{place} has no chat_template", expected="a string under that key")
        return found
    return text
