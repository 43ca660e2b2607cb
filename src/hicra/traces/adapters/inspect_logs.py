"""inspect-ai's evaluation logs, ``.eval`` (a zip of JSON) or ``.json``: one log is one evaluation of one model.

Several logs are the steps of a course, where each is of another checkpoint: the step is taken from the log's metadata
or task arguments (``step``), else from a number after "step" or "checkpoint" in the model's name, else logs are
numbered by their time. Epochs of a sample are a group. Rewards are scores: C, P, I, N are 1, 0.5, 0, 0, as in inspect.
Token log-probs are there where the model was asked for them. Logs from inspect-ai 0.3; members of newer ``.eval`` files
are compressed by zstd, which Python's zipfile reads from 3.14 on only: they are unpacked here.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra.errors import DataError
from hicra.traces.adapters.files import TornError, content_text, is_last, torn
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

_ZSTD = 93
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error)
_STEP = re.compile(r"(?:step|checkpoint|ckpt|iter)[-_ /=]?(\d+)", re.I)


@dataclass(frozen=True, slots=True)
class _Log:
    path: Path
    header: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        return _mapping(self.header.get("eval"))

    @property
    def created(self) -> str:
        return str(self.spec.get("created") or "")

    @property
    def finished(self) -> bool:
        """Whether the evaluation has ended, well or not; a log that is being written has no status, or "started"."""
        return self.header.get("status") not in (None, "started")

    @property
    def step(self) -> int | None:
        for place in ("metadata", "task_args"):
            value = _mapping(self.spec.get(place)).get("step")
            if type(value) is int and 0 <= value < 2**31:
                return value
        match = _STEP.search(str(self.spec.get("model") or "")) or _STEP.search(self.path.stem)
        return int(match[1][-9:]) if match else None


def find(path: Path) -> list[Path]:
    """``.eval`` files, and ``.json`` files that begin as inspect's logs do."""
    inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [p for p in inside if p.suffix == ".eval" or (p.suffix == ".json" and _begins_a_log(p))]


def read(source: Source) -> Iterator[Step]:
    """One step a log."""
    logs = []
    for path in source.files:
        try:
            log = _Log(path, _header(path))
        except TornError as error:
            if not is_last(path, source.files):
                raise torn(path) from error
            source.note(f"{path.name} is still being written and was left out")
            continue
        if log.finished:
            logs.append(log)
        else:
            source.note(f"{path.name}: the evaluation has not ended; it was left out")
    numbered = all(log.step is not None for log in logs) and len({log.step for log in logs}) == len(logs)
    if not numbered and len(logs) > 1:
        source.note("the logs do not say (apart) of which step they are: numbered by the time they were made")
    logs.sort(key=lambda log: (log.step or 0) if numbered else 0)
    if not numbered:
        logs.sort(key=lambda log: (log.created, log.path.name))
    for place, log in enumerate(logs, start=1):
        rows = [sample for where, row in _samples(log.path) if (sample := _sampled(where, row, source)) is not None]
        if rows:
            yield Step(log.step or 0 if numbered else place, rows)
        else:
            source.note(f"{log.path.name} holds no scored sample")


def _sampled(where: str, row: Mapping[str, Any], source: Source) -> Sampled | None:
    choices = [choice for choice in _list(_mapping(row.get("output")).get("choices")) if isinstance(choice, Mapping)]
    if not choices:
        source.note("samples without an answer (errors, limits) are left out")
        return None
    attached = _mapping(row.get("attachments"))
    messages = [m for m in _list(row.get("messages")) if isinstance(m, Mapping) and m.get("role") == "assistant"]
    spoken = messages or [_mapping(choices[0].get("message"))]
    completion = "\n\n".join(_said(m.get("content"), attached) for m in spoken)
    pieces = logprobs = None
    tokens = [t for t in _list(_mapping(choices[0].get("logprobs")).get("content")) if isinstance(t, Mapping)]
    if tokens and len(spoken) == 1:
        pieces = [str(token.get("token")) for token in tokens]
        logprobs = [_finite(token.get("logprob")) for token in tokens]
        completion = "".join(pieces)
    elif tokens:
        source.note("samples of several turns: their log-probs are of the last turn alone and are left out")
    given = row.get("input")
    prompt: str | list[dict[str, Any]] = _resolved(given, attached)
    if isinstance(given, list):
        talk = [m for m in given if isinstance(m, Mapping)]
        prompt = [{"role": str(m.get("role")), "content": _said(m.get("content"), attached)} for m in talk]
    name = f"{row.get('id')}"
    return Sampled(
        where=where,
        prompt=prompt,
        completion=completion,
        reward=_reward(_mapping(row.get("scores")), source, where),
        prompt_id=name,
        group=name,
        pieces=pieces,
        logprobs=logprobs,
        truncated=choices[0].get("stop_reason") in ("max_tokens", "model_length"),
    )


def _reward(scores: Mapping[str, Any], source: Source, where: str) -> float:
    chosen = source.options.scorer
    if chosen is not None and scores and chosen not in scores:
        raise DataError(f"{where}: no score {chosen!r}", expected=f"one of {', '.join(map(repr, scores))}")
    if not scores:
        source.note("samples without a score have no reward")
        return math.nan
    name = chosen or next(iter(scores))
    if len(scores) > 1 and chosen is None:
        source.note(f"the reward is the score {name!r}; the logs have {', '.join(scores)} (choose by --scorer)")
    value = _mapping(scores[name]).get("value")
    if isinstance(value, str):
        found = _LETTERS.get(value, _LETTERS.get(value.lower()))
        try:
            return float(value) if found is None else found
        except ValueError:
            value = None
    if isinstance(value, bool | int | float):
        return float(value)
    source.note(f"scores {name!r} that are no single number have no reward")
    return math.nan


def _said(content: Any, attached: Mapping[str, Any]) -> str:
    """Text of a message, its reasoning between think tags."""
    if isinstance(content, list):
        parts = []
        for part in content:
            if isinstance(part, Mapping) and part.get("type") == "reasoning" and not part.get("redacted"):
                parts.append(f"<think>{_resolved(part.get('reasoning'), attached)}</think>")
            else:
                parts.append(_resolved(content_text([part]), attached))
        return "".join(parts)
    return _resolved(content, attached)


def _resolved(text: Any, attached: Mapping[str, Any]) -> str:
    if not isinstance(text, str):
        return ""
    found = attached.get(text.removeprefix("attachment://")) if text.startswith("attachment://") else text
    return found if isinstance(found, str) else text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _begins_a_log(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return head.lstrip().startswith(b"{") and b'"version"' in head and b'"eval"' in head and b'"status"' in head


def _header(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".json":
        return _json_log(path)
    with _opened(path) as archive:
        names = archive.namelist()
        for name in ("header.json", "_journal/start.json"):
            if name in names:
                return dict(_member(archive, path, name))
    raise DataError(f"{path}: no inspect log", expected="header.json or _journal/start.json in the archive")


def _samples(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".json":
        for i, sample in enumerate(_list(_json_log(path).get("samples"))):
            yield f"{path}: sample {i + 1}", _mapping(sample)
        return
    with _opened(path) as archive:
        for name in sorted(set(archive.namelist())):
            if name.startswith("samples/") and name.endswith(".json"):
                yield f"{path}: {name}", _member(archive, path, name)


def _json_log(path: Path) -> Mapping[str, Any]:
    raw = path.read_bytes()
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        if raw.rstrip().endswith(b"}"):
            raise DataError(f"{path}: broken JSON", got=str(error)) from error
        raise TornError from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: no inspect log", expected="a JSON object", got=type(found).__name__)
    return found


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        with path.open("rb") as file:
            head = file.read(4)
        if b"PK\x03\x04".startswith(head):
            raise TornError from error
        raise DataError(f"{path}: no inspect log", expected="a zip archive", got=str(error)) from error


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> Mapping[str, Any]:
    """One JSON document of the archive."""
    import pyarrow as pa

    try:
        info = archive.getinfo(name)
        raw = _unzstd(path, info) if info.compress_type == _ZSTD else archive.read(name)
        found = json.loads(raw)
    except (ValueError, RuntimeError, OSError, EOFError, *_DAMAGE, pa.ArrowException) as error:
        raise DataError(f"{path}: {name} is damaged", got=(str(error).splitlines() or ["nothing"])[0]) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: {name} is no JSON object", got=type(found).__name__)
    return found


def _unzstd(path: Path, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member compressed by method 93; its data follow the local header's name and extra field."""
    import pyarrow as pa

    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))
        file.seek(name + extra, 1)
        packed = file.read(info.compress_size)
    with pa.CompressedInputStream(pa.PythonFile(io.BytesIO(packed), "r"), "zstd") as unzipped:
        return bytes(unzipped.read())


INSPECT = Adapter("inspect", "<log>.eval, or a .json log with version, status, eval and samples", find, read)
