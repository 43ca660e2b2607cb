"""Sets of training prompts by name: where they lie and what their columns are called. No texts are shipped.

    dapo          DAPO-Math-17k, English, without repetitions: whole-number answers            arXiv 2503.14476
    deepscaler    DeepScaleR-Preview: competition problems, answers in LaTeX
    virl39k       ViRL39K: questions about pictures, answers in boxes                          arXiv 2504.08837

A set is read from the folder that HICRA_PROMPTS names (``dapo.jsonl``, ``.jsonl.gz``, ``.jsonl.zst`` or ``.parquet``),
else from the Hugging Face hub. A file of yours has one row a prompt:

    prompt        the problem, as text (or a conversation: a list of {"role", "content"})
    answer        the reference answer, LaTeX as it would stand in a box
    id            (optional) the problem's name in run directories; else a hash of the prompt
    images        (optional) pictures: paths beside the file, or encoded pictures (Parquet)

The names that a set itself uses for these columns are understood too; other columns are handed to reward functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "HICRA_PROMPTS"
"""Environment variable that names a folder with files ``<set>.jsonl`` or ``<set>.parquet``."""

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")


@dataclass(frozen=True, slots=True)
class PromptSet:
    """What is known of a set of prompts.

    Attributes:
        name: how recipes call it.
        repository, split, config: where it lies on the hub.
        prompt, answer: its columns; `images` and `id` where it has them.
        rows: how many there are; another number is a warning.
        license: of the texts.
    """

    name: str
    repository: str
    split: str
    config: str | None
    prompt: str
    answer: str
    rows: int
    license: str
    images: str | None = None
    id: str | None = None


PROMPT_SETS: dict[str, PromptSet] = {
    s.name: s
    for s in (
        PromptSet("dapo", "open-r1/DAPO-Math-17k-Processed", "train", "en", "prompt", "solution", 14_116, "Apache-2.0"),
        PromptSet(
            "deepscaler",
            "agentica-org/DeepScaleR-Preview-Dataset",
            "train",
            None,
            "problem",
            "answer",
            40_315,
            "MIT",
        ),
        PromptSet(
            "virl39k", "TIGER-Lab/ViRL39K", "train", None, "question", "answer", 38_870, "MIT", images="image", id="qid"
        ),
    )
}


def local_copy(name: str) -> Path | None:
    """The file of a set in the folder that HICRA_PROMPTS names, or None."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or name not in PROMPT_SETS:
        return None
    return next((path for end in ENDINGS if (path := Path(folder) / f"{name}{end}").is_file()), None)


def column(names: Sequence[str], wanted: str, known: str | None) -> str | None:
    """The column that is meant among `names`: the one asked for, else the set's own."""
    return wanted if wanted in names else known if known in names else None
