"""Strategic Grams from a corpus, start to end.

1. read     successful traces; broken rows and wrong answers are left out and counted       `sources`
2. count    n-grams with their document frequency over distinct problems                    `corpus`, `count`
3. filter   the profile's rules on those numbers                                            `filters`
4. judge    what is left is embedded; rules on numbers and meaning together                 `embed`, `filters`
5. cluster  wordings of one move                                                            `cluster`
6. select   clusters by their document frequency over problems                              `filters`
7. assign   a function to each cluster                                                      `functions`

Candidates are sorted by text before they are embedded, and everything before that counts sets: the order of the traces,
how they are parted into files and repeated lines leave no mark on the result (with float32 embeddings; bfloat16 keeps
this on one machine). Nothing is drawn at random.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.grams._mining import Progress, Run
from hicra.grams.corpus import Corpus, Groups
from hicra.grams.embed import Encoder
from hicra.grams.evidence import evidence_path
from hicra.grams.gramset import GramSet
from hicra.grams.profiles import PROFILES, Profile
from hicra.grams.scratch import scratch
from hicra.grams.sources import Sources, Tally, Traces
from hicra.grams.text import ENGLISH, text_rules
from hicra.traces.read import trace_files

if TYPE_CHECKING:
    from hicra.grams.ray_engine import RayCorpus

ENGINES = ("local", "ray")


def mine(
    traces: Traces,
    *,
    profile: str | Profile = "refined",
    encoder: Encoder | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    groups: Groups = "source",
    strict: bool = False,
    wrong: bool = False,
    engine: str = "local",
    workers: int | None = None,
    work_dir: str | Path | None = None,
    progress: Progress | None = None,
    rules: str = ENGLISH,
) -> GramSet:
    """Mine a gram set.

    Args:
        traces: a path or pattern of `hicra.traces.read_traces`, several of them, or rows (`Trace` objects, mappings, a
            data set of `datasets`). Solutions known to be wrong are left out; those of unknown outcome are taken.
        profile: ``"refined"``, ``"paper"`` or a `Profile`; every threshold is one of its fields.
        encoder: default: the embedded model, with its cache.
        out: write the set here (JSON) and the evidence for each candidate beside it (``.evidence.parquet``). Both
            appear whole or not at all, the set last.
        name: of the set; default: the name of `out`, or ``"mined"``.
        columns: our name -> theirs, e.g. ``{"solution": "generation"}``.
        groups: what the profile balances over: ``"source"`` (up to its first colon), ``"style"``, or a function of a
            trace.
        strict: raise at the first broken row. Otherwise such rows are left out, counted and told in a warning.
        wrong: also mine solutions known to be wrong.
        engine: ``"local"``, or ``"ray"`` (paths only).
        workers: processes or threads; default: one a core.
        work_dir: where scratch files go if the corpus does not fit into memory; default: the system's place.
        progress: is told how far it is.
        rules: name of the text rules, ``"english-maths"`` or ``"code-agent"`` (`hicra.grams.text`); the latter only
            with the engine ``"local"``.

    Returns:
        The set. Its provenance holds the profile, the corpus in numbers, the encoder and how many candidates each step
        left. Killed on the way, a second call counts again and goes on embedding where the first one was.

    Raises:
        DataError: there are no traces, no successful ones, too few for the profile, or a broken row under `strict`;
            or the result cannot be written.
        ConfigError: an unknown profile or engine.
        MissingExtraError: the extra `mine` (or `ray`) is not installed.
    """
    chosen = profile_named(profile) if isinstance(profile, str) else profile
    if engine not in ENGINES:
        raise ConfigError("unknown engine", expected=" | ".join(ENGINES), got=repr(engine))
    text_rules(name=rules)
    if engine == "ray" and rules != ENGLISH:
        raise ConfigError(f"the engine ray knows the text rules {ENGLISH} only", got=rules, mend='engine="local"')
    sources = Sources(traces, columns=columns, strict=strict, wrong=wrong)
    target = None if out is None else Path(out)
    if target is not None:
        _check_target(target, sources)
    encoder = encoder or Encoder()
    encoder.check()
    if engine == "ray":
        encoder = _on_ray(encoder, sources)
    run = Run(chosen, encoder, progress or (lambda stage, done, total: None))
    try:
        with _corpus(engine, sources, groups, workers, work_dir, run.reading, rules) as corpus:
            run.count(corpus)
            run.filter()
            run.judge()
            run.cluster(corpus)
        run.select()
        run.assign()
    finally:  # what was left out may be why it failed
        _warn(sources.tally)
    grams = run.grams(name or (target.stem if target else "mined"), sources.tally)
    if target is not None:
        run.evidence(grams, sources.tally).save(evidence_path(target))
        grams.save(target)
    return grams


def profile_named(name: str) -> Profile:
    """The profile of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROFILES:
        raise ConfigError(f"there is no profile {name!r}", expected=" | ".join(PROFILES))
    return PROFILES[name]


@contextmanager
def _corpus(
    engine: str,
    sources: Sources,
    groups: Groups,
    workers: int | None,
    work_dir: str | Path | None,
    progress: Callable[[str, int], None],
    rules: str,
) -> Iterator[Corpus | RayCorpus]:
    """The corpus, encoded; `sources` has its account afterwards."""
    if engine == "ray":
        from hicra.grams.ray_engine import RayCorpus

        options: dict[str, Any] = {"columns": sources.columns, "strict": sources.strict, "wrong": sources.wrong}
        with RayCorpus.encode(sources.paths, groups=groups, progress=progress, **options) as spread:
            sources.tally = spread.tally
            yield spread
        return
    with (
        scratch(work_dir) as spill,
        Corpus.encode(
            sources, groups=groups, spill_dir=spill, workers=workers, progress=progress, rules=rules
        ) as corpus,
    ):
        yield corpus


def _on_ray(encoder: Encoder, sources: Sources) -> Encoder:
    """The encoder whose batches the cluster computes; one that was handed over as a model stays as it is."""
    if not sources.paths:
        raise ConfigError(
            'engine="ray" reads files', expected="paths that every node sees", got="rows", mend="write them to files"
        )
    from hicra.grams.ray_engine import RayEncoder

    if isinstance(encoder, RayEncoder) or not encoder.by_name:
        return encoder
    return RayEncoder(encoder.name, dtype=encoder.dtype, batch=encoder.batch)


def _check_target(target: Path, sources: Sources) -> None:
    """Tell what would fail at the end before anything is read."""
    folder = target.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(
            f"cannot write the gram set {target}",
            expected="a folder that can be written",
            got="one that cannot" if folder.is_dir() else f"there is no folder {folder}",
        )
    if target.suffix != ".json" or target.is_dir():
        raise DataError(f"cannot write the gram set {target}", expected="the name of a .json file", got=target.name)
    mine = {target.resolve(), evidence_path(target).resolve()}
    for path in sources.paths:
        for file in trace_files(path):
            if file.resolve() in mine:
                raise DataError(
                    f"the output {target} lies among the traces: {file} would be read as one of them",
                    mend="write it to another folder, or name the files of traces one by one",
                )


def _warn(tally: Tally) -> None:
    if tally.broken:
        shown = "\n  ".join(tally.broken_rows[:5])
        rest = f"\n  and {tally.broken - 5:,} more" if tally.broken > 5 else ""
        rows = "1 broken row was" if tally.broken == 1 else f"{tally.broken:,} broken rows were"
        warnings.warn(
            f"{rows} left out (strict raises at the first):\n  {shown}{rest}",
            HicraWarning,
            stacklevel=3,
        )
