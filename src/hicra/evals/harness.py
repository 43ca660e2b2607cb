"""Answering benchmarks with a model: inspect-ai asks, samples, logs and resumes; we grade and write results.

A folder holds one evaluation of one model:

    settings.json           the model, how it was sampled, which items: a folder cannot be mixed with others
    logs/*.eval             inspect-ai's logs, one a benchmark: every question and answer; `inspect view` shows them
    <benchmark>.parquet     the results file of a benchmark that is complete (`hicra.evals.results`)

The same call goes on where a killed one stopped: answers that are in a log, or in inspect-ai's own buffer of the last
few, are not asked for again. An answer that failed for good (after `retries`) is asked for again by the next call;
until then its benchmark has no results file, because a table with holes in it would look like one without.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError, DataError, HicraError, require
from hicra.evals.benchmarks import answers_digest, problems_digest
from hicra.evals.grading import Grade, Graded, Tally, tally
from hicra.evals.logs import Logged, read_answers
from hicra.evals.models import ModelName, open_model
from hicra.evals.results import Answer, write_results
from hicra.evals.task import Asked, Sampling, make_task
from hicra.traces.disk import explained, write_atomic

SETTINGS = "settings.json"
LOGS = "logs"


@dataclass(frozen=True, slots=True)
class Labels:
    """What the rows of the results files say of the model.

    Attributes:
        method: how it was trained: base, GRPO, HICRA.
        model: what was trained.
        seed: of the training run.
    """

    method: str
    model: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to try.

    Attributes:
        connections: requests at a time, or the batch of a local model.
        retries: of one request, after 429s, 5xxs and lost connections, with growing pauses.
        timeout: seconds that one request may take, all retries together; None: no limit.
    """

    connections: int = 32
    retries: int = 5
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one benchmark.

    Attributes:
        name: of the benchmark.
        wanted: answers that belong to it.
        tally: grades of those that are there.
        path: its results file, None while answers are missing.
        log: inspect-ai's log, None where there is none yet.
        errors: what failed, each text once with how often.
    """

    name: str
    wanted: int
    tally: Tally
    path: Path | None
    log: Path | None
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no answer is missing."""
        return self.path is not None


def evaluate(
    model: ModelName,
    asked: Sequence[Asked],
    out: Path,
    *,
    labels: Labels,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
    on_start: Callable[[str, int, int], None] = lambda name, done, wanted: None,
    on_answer: Callable[[str, Graded], None] = lambda name, graded: None,
) -> list[Outcome]:
    """Answer benchmarks, or go on answering them, and write a results file for each that is complete.

    Args:
        model: see `hicra.evals.models.name_model`.
        asked: the benchmarks, each once.
        out: the folder; made if it is not there.
        labels: of the results' rows.
        sampling: how answers are sampled.
        limits: how hard to try.
        on_start: hears name, answers that are there, answers wanted, for each benchmark.
        on_answer: hears every new answer, from inspect-ai's loop.

    Raises:
        ConfigError: a benchmark twice, pictures for a model without eyes, or a folder with another evaluation in it.
        DataError: a log that cannot be read.
        KeyboardInterrupt: it was stopped; what is answered is in the logs.
        MissingExtraError: inspect-ai is not installed.
        RunDirError: the folder cannot be written.
    """
    require("inspect_ai", "eval")
    sampling, limits = sampling or Sampling(), limits or Limits()
    names = [a.name for a in asked]
    if len(set(names)) != len(names) or not names:
        raise ConfigError("benchmarks", expected="at least one, each once", got=", ".join(names) or "none")
    if model.provider == "hf" and (blind := [a.name for a in asked if any(p.images for p in a.problems)]):
        raise ConfigError(
            f"pictures do not reach a model that inspect-ai runs by transformers: {', '.join(blind)}",
            mend="--engine vllm, or vllm serve MODEL and --base-url http://127.0.0.1:8000/v1",
        )
    with explained(out, "nothing was written"):
        (out / LOGS).mkdir(parents=True, exist_ok=True)
    with _alone(out):
        _keep_settings(out, model, asked, sampling)
        for a in asked:
            done = sum(row.grade is not None for row in _latest(out, a)[1])
            on_start(a.name, done, len(a.problems) * a.samples)
        open_ones = [a for a in asked if _missing(_latest(out, a)[1], a)]
        if open_ones:
            _run(model, open_ones, out, sampling, limits, on_answer)
        return [_outcome(out, a, labels) for a in asked]


def _run(
    model: ModelName,
    asked: Sequence[Asked],
    out: Path,
    sampling: Sampling,
    limits: Limits,
    on_answer: Callable[[str, Graded], None],
) -> None:
    from inspect_ai import eval_set

    opened = open_model(model, limits.connections)
    _seed_local(model, sampling, out, asked)
    settings: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.top_k is not None:
        settings |= {"top_k": sampling.top_k} if model.provider == "hf" else {"extra_body": {"top_k": sampling.top_k}}
    elif model.provider == "hf":
        settings["top_k"] = 0  # transformers' own default is 50
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):  # stdout is for results; inspect-ai prints a line there
            _, logs = eval_set(
                [make_task(a, sampling, on_answer) for a in asked],
                log_dir=str(out / LOGS),
                model=opened,
                retry_attempts=1,
                retry_immediate=False,
                log_dir_allow_dirty=True,  # benchmarks of an earlier call
                display="none",
                ctl_server=False,
                fail_on_error=True,
                continue_on_fail=True,
                log_images=False,
                log_buffer=min(10, max(1, sum(len(a.problems) * a.samples for a in asked) // 100)),
                max_connections=limits.connections,
                max_samples=max(2 * limits.connections, 8),
                max_retries=limits.retries,
                timeout=limits.timeout,
                **settings,
            )
    except HicraError:
        raise
    except Exception as error:
        raise ConfigError(
            f"inspect-ai stopped: {type(error).__name__}: {str(error)[:500]}", mend="the same command goes on from here"
        ) from error
    rows = [row for a in asked for row in _latest(out, a)[1]]
    if any(log.status == "cancelled" for log in logs) or any(row.cancelled for row in rows):
        raise KeyboardInterrupt  # which inspect-ai has taken note of, and swallowed


def _seed_local(model: ModelName, sampling: Sampling, out: Path, asked: Sequence[Asked]) -> None:
    """Seed transformers' sampler: with the same state after a resume, it would repeat answers that are there."""
    if sampling.seed is None or model.provider != "hf":
        return
    import torch

    there = sum(len(_latest(out, a)[1]) for a in asked)
    torch.manual_seed(sampling.seed + 1_000_003 * there)


def _latest(out: Path, asked: Asked) -> tuple[Path | None, list[Logged]]:
    """The benchmark's newest log and what is in it."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    newest: tuple[str, Path] | None = None
    for about in list_eval_logs(str(out / LOGS)):
        header = read_eval_log(about, header_only=True)
        if header.eval.task == asked.name and (newest is None or header.eval.created >= newest[0]):
            newest = header.eval.created, Path(str(about.name).removeprefix("file://"))
    if newest is None:
        return None, []
    wanted = {p.id for p in asked.problems}
    return newest[1], [a for a in read_answers(newest[1]) if a.item in wanted and a.sample < asked.samples]


def _missing(rows: Sequence[Logged], asked: Asked) -> int:
    return len(asked.problems) * asked.samples - sum(row.grade is not None for row in rows)


def _outcome(out: Path, asked: Asked, labels: Labels) -> Outcome:
    log, rows = _latest(out, asked)
    graded = [row for row in rows if row.grade is not None]
    errors: dict[str, int] = {}
    for row in rows:
        if row.error is not None:
            errors[row.error] = errors.get(row.error, 0) + 1
    path = None
    if not _missing(rows, asked):
        path = out / f"{asked.name}.parquet"
        clusters = {p.id: p.cluster for p in asked.problems}
        answers = [
            Answer(
                row.item,
                row.sample,
                row.grade is Grade.RIGHT,
                labels.model,
                labels.method,
                asked.name,
                labels.seed,
                clusters[row.item],
                row.cut_off,
            )
            for row in sorted(graded, key=lambda row: (row.item, row.sample))
        ]
        with explained(path, "the answers are in the logs"):
            write_results(path, answers)
    counts = tally([row.grade for row in graded if row.grade is not None])
    return Outcome(asked.name, len(asked.problems) * asked.samples, counts, path, log, errors)


def _keep_settings(out: Path, model: ModelName, asked: Sequence[Asked], sampling: Sampling) -> None:
    """Write settings.json, or hold these settings against the ones that are there."""
    path = out / SETTINGS
    benches = {
        a.name: {
            "samples": a.samples,
            "items": len(a.problems),
            "problems_sha256": problems_digest(a.problems),
            "answers_sha256": answers_digest(a.problems),
            "asked": a.about,
        }
        for a in asked
    }
    # the endpoint's address may change between two calls, its model may not
    mine: dict[str, Any] = {"model": {"name": model.name, "args": model.args}, "sampling": asdict(sampling)}
    there: dict[str, Any] = {}
    if path.is_file():
        try:
            there = json.loads(path.read_text("utf-8"))
            known = dict(there["benchmarks"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged", expected="JSON that hicra eval wrote", got=str(error)[:120]
            ) from error
        _hold(path, {k: there.get(k) for k in mine}, json.loads(json.dumps(mine)))
        for name, about in benches.items():
            if name in known:
                before = dict(known[name])
                if isinstance(before.get("samples"), int) and before["samples"] < about["samples"]:
                    before["samples"] = about["samples"]  # more samples of the same
                _hold(path, {name: before}, {name: about})
        benches = known | benches
    from inspect_ai import __version__ as inspect_version

    from hicra import __version__

    about = {"hicra": __version__, "inspect_ai": inspect_version, **mine, "benchmarks": benches}
    with explained(path, "no answer was asked for"):
        write_atomic(path, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def _hold(path: Path, there: dict[str, Any], mine: dict[str, Any]) -> None:
    changed = [
        f"{group}.{key}: {(there[group] or {}).get(key)!r} -> {value!r}"
        for group, values in mine.items()
        for key, value in values.items()
        if (there[group] or {}).get(key) != value
    ]
    if changed:
        raise ConfigError(
            f"{path.parent} holds another evaluation",
            expected="the settings it was begun with",
            got="; ".join(text[:300] for text in changed),
            mend="give another folder with -o",
        )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One evaluation at a time in a folder."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another evaluation is working in {out}", mend="wait for it, or stop it") from error
        yield
