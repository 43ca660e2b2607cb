"""Runs of other tools: which tool wrote the files, and their completions step by step; one format a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hicra.errors import ConfigError, DataError
from hicra.traces.adapters.inspect_logs import INSPECT
from hicra.traces.adapters.plain import PLAIN, find_any
from hicra.traces.adapters.prime_rl import PRIME_RL
from hicra.traces.adapters.sampled import Adapter, Options, Sampled, Source, Step
from hicra.traces.adapters.trl import TRL
from hicra.traces.adapters.verl import VERL
from hicra.traces.rundir import RUN

__all__ = ["ADAPTERS", "Adapter", "Foreign", "Options", "Sampled", "Step", "open_run"]

ADAPTERS: Mapping[str, Adapter] = {a.name: a for a in (TRL, PRIME_RL, VERL, INSPECT, PLAIN)}
"""By name, in the order in which they are tried: the plain one takes what no other one knows."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A run of another tool.

    Attributes:
        adapter: what reads it.
        source: its files; `source.notes` fills while the steps are read.
    """

    adapter: Adapter
    source: Source

    def steps(self) -> Iterator[Step]:
        """Its steps, ascending, one in memory at a time.

        Raises:
            DataError: a broken row (with its place), steps out of order, or no completion at all.
        """
        empty = True
        for step in self.adapter.read(self.source):
            empty = False
            yield step
        if empty:
            raise DataError(
                f"{self.source.path}: no completion that can be read",
                expected=self.adapter.looks_for,
                got="; ".join(self.source.notes) or "files without rows",
            )


def open_run(path: str | os.PathLike[str], format: str | None = None, options: Options | None = None) -> Foreign:
    """Find out which tool wrote `path`.

    Args:
        path: a file, or the folder that the tool wrote into.
        format: a name of `ADAPTERS`; None looks at names and first rows.
        options: what the files do not say.

    Raises:
        ConfigError: no such format.
        DataError: nothing there, a run directory of ours, or nothing that any adapter knows.
    """
    where, options = Path(path), options or Options()
    if format is not None and format not in ADAPTERS:
        raise ConfigError(f"no such format {format!r}", expected=f"one of {', '.join(ADAPTERS)}")
    if not where.exists():
        raise DataError(f"{where}: no such file or directory")
    if (where / RUN).is_file():
        raise DataError(
            f"{where}: is a run directory already", expected="the output of another tool", mend=f"hicra report {where}"
        )
    for adapter in [ADAPTERS[format]] if format else ADAPTERS.values():
        by_name = adapter is PLAIN and (format or "completion" in options.columns)
        files = find_any(where) if by_name else adapter.find(where)
        if files:
            return Foreign(adapter, Source(where, files, options))
    there = sorted(p.name for p in where.iterdir()) if where.is_dir() else [where.name]
    looked = [ADAPTERS[format]] if format else list(ADAPTERS.values())
    raise DataError(
        f"{where}: no rollouts of a tool that hicra knows",
        expected="".join(f"\n            {a.name}: {a.looks_for}" for a in looked),
        got=(", ".join(there[:8]) + (f", and {len(there) - 8} more" if len(there) > 8 else "")) or "an empty folder",
        mend="for other files: one JSON object a line with step, prompt, completion, reward (docs/other_tools.md)",
    )
