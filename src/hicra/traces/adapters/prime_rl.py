"""prime-rl's token exports: ``token_exports/step_12/rank_0.jsonl``, written where the trainer's token export is on.

One line a training sequence, prompt and completion together; lists of one length: ``token_ids``, ``loss_mask`` (the
policy's own tokens), ``rewards``, ``advantages``, ``inference_logprobs``, ``trainer_logprobs``, ``entropy`` (nats; the
value at place t is about token t). There is no text and no group: text takes the model's tokenizer, and sequences with
the same prompt tokens are a group. A folder gets an empty file ``STABLE`` once it is complete (older versions: never).
Read in prime-rl's `trainer/rl/token_export.py`, schema version 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from hicra.errors import DataError
from hicra.traces.adapters.files import Row, TornError, first_row, json_rows, numbers, token_ids, torn
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

SCHEMA_VERSION = 1

_FIELDS = {"schema_version", "token_ids", "loss_mask", "trainer_logprobs"}


def find(path: Path) -> list[Path]:
    """``step_<N>/rank_<R>.jsonl`` in the folder, in its ``token_exports/``, or the one file; by step and rank."""
    if path.is_file():
        files = [path] if re.fullmatch(r"rank_\d+\.jsonl", path.name) else []
    else:
        inside = path / "token_exports" if (path / "token_exports").is_dir() else path
        found = [*inside.glob("step_*/rank_*.jsonl"), *path.glob("rank_*.jsonl")]
        files = sorted((f for f in found if _step(f) is not None), key=lambda f: (_step(f) or 0, f.name))
    return files if any(first_row(file).keys() >= _FIELDS for file in files[:3]) else []


def read(source: Source) -> Iterator[Step]:
    """The steps; folders that are not complete yet are left out where they are the last one."""
    steps: dict[int, list[Path]] = {}
    for path in source.files:
        steps.setdefault(_step(path) or 0, []).append(path)
    marked = any((path.parent / "STABLE").exists() for path in source.files)
    for step, paths in steps.items():
        last = step == max(steps)
        if last and marked and not (paths[0].parent / "STABLE").exists():
            source.note(f"step {step} is still being written (it has no STABLE file) and was left out")
            return
        rows = []
        for path in paths:
            try:
                rows += [sample for where, row in json_rows(path) if (sample := _sampled(where, row)) is not None]
            except TornError as error:
                if not last:
                    raise torn(path) from error
                source.note(f"step {step} is still being written and was left out")
                return
        if rows:
            yield Step(step, rows)


def _sampled(where: str, row: Row) -> Sampled | None:
    version = row.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{where}: a token export of another version",
            expected=f"schema_version {SCHEMA_VERSION}",
            got=repr(version),
        )
    ids = token_ids(row.get("token_ids"), where, "token_ids")
    mask = row.get("loss_mask")
    if not isinstance(mask, list) or len(mask) != len(ids):
        raise DataError(f"{where}: 'loss_mask' does not go with 'token_ids'", expected=f"{len(ids)} flags")
    if True not in mask:
        return None
    start = mask.index(True)
    own = [bool(flag) for flag in mask[start:]]

    def column(name: str) -> list[float | None] | None:
        values = numbers(row.get(name), where, name)
        if values is not None and len(values) != len(ids):
            raise DataError(f"{where}: {name!r} has {len(values)} values", expected=f"{len(ids)}, one a token")
        return None if values is None or all(v is None for v in values[start:]) else values[start:]

    rewards, advantages = column("rewards"), column("advantages")
    logprobs = column("trainer_logprobs") or column("inference_logprobs")
    return Sampled(
        where=where,
        prompt="",
        completion=None,
        reward=next((r for r in rewards or [] if r is not None), math.nan),
        advantage=None if advantages is None else [a or 0.0 for a in advantages],
        token_ids=ids[start:],
        mask=None if all(own) else own,
        logprobs=logprobs,
        entropies=column("entropy"),
        prompt_token_ids=ids[:start],
    )


def _step(path: Path) -> int | None:
    match = re.fullmatch(r"step_(\d+)", path.parent.name)
    return int(match[1]) if match else None


PRIME_RL = Adapter(
    "prime-rl",
    "token_exports/step_<N>/rank_<R>.jsonl with schema_version, token_ids, loss_mask, trainer_logprobs on each line",
    find,
    read,
)
