"""The warm-started model on disk: made once, found again by the hash of what it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hicra.grams.sentence_model import without_bars
from hicra.lab.model import build_model
from hicra.lab.settings import LabSettings
from hicra.lab.tokenizer import build_tokenizer
from hicra.lab.warmstart import Progress, warm_start, write_corpus

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_STAMP = "warm_start.json"


def has_base(folder: Path, settings: LabSettings) -> bool:
    """Whether the folder holds a finished warm start of just these settings."""
    try:
        stamp = json.loads((folder / _STAMP).read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return isinstance(stamp, dict) and stamp.get("hash") == settings.warm_start_hash


def make_base(folder: Path, settings: LabSettings, progress: Progress | None = None) -> None:
    """Write a corpus, warm a model up on it and save it (safetensors and JSON); the folder appears whole or not at
    all.
    """
    plan = settings.warm_start
    tokenizer = build_tokenizer(settings.world)
    model = build_model(tokenizer, settings.model, seed=plan.seed)
    corpus = write_corpus(settings.world, settings.habits, plan)
    warm_start(model, tokenizer, corpus, plan, progress=progress)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    save_model(model, tokenizer, part)
    stamp = {"hash": settings.warm_start_hash, "settings": settings.to_dict()}
    (part / _STAMP).write_text(json.dumps(stamp, indent=1), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save both the way transformers loads them: `AutoModelForCausalLM.from_pretrained(folder)` works."""
    folder.mkdir(parents=True, exist_ok=True)
    with without_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_model(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The inverse of `save_model`."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    with without_bars():
        model = LlamaForCausalLM.from_pretrained(folder, local_files_only=True)
    return model, PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
