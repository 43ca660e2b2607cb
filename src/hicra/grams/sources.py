"""What is mined: traces from several places as one stream, with an account of what was left out and why."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hicra.errors import DataError
from hicra.traces.read import read_traces, trace_files
from hicra.traces.schema import Trace

Traces = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Iterable[Trace] | Iterable[Mapping[str, Any]]

_PLACES = 20  # broken rows that are remembered one by one


@dataclass
class Tally:
    """What was read.

    Attributes:
        used: traces that were handed on.
        wrong: traces left out because their answer is known to be wrong.
        unknown: traces handed on though nobody knows whether their answer is right.
        broken: rows that could not be read.
        broken_rows: what is wrong with the first of them, file and line in front.
        licences, sources, styles: traces handed on by these fields; None is counted as ``"unknown"``. A source counts
            up to its first colon.
    """

    used: int = 0
    wrong: int = 0
    unknown: int = 0
    broken: int = 0
    broken_rows: list[str] = field(default_factory=list)
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what another reader read, too."""
        self.used += other.used
        self.wrong += other.wrong
        self.unknown += other.unknown
        self.broken += other.broken
        self.broken_rows = [*self.broken_rows, *other.broken_rows][:_PLACES]
        self.licences += other.licences
        self.sources += other.sources
        self.styles += other.styles

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a set's provenance; broken rows as a number only, for their text is anybody's."""
        return {
            "traces": self.used,
            "left_out_as_wrong": self.wrong,
            "of_unknown_outcome": self.unknown,
            "broken_rows": self.broken,
            **{
                name: dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:50])
                for name, counts in (("licences", self.licences), ("sources", self.sources), ("styles", self.styles))
            },
        }


class Sources:
    """Successful traces, one after the other; `tally` counts while they are read.

    Args:
        traces: a path or pattern of `read_traces`, several of them, or rows: `Trace` objects or mappings.
        columns: our name -> theirs, as for `read_traces`.
        strict: raise at the first broken row in place of leaving it out.
        wrong: also hand on traces whose answer is known to be wrong.

    Attributes:
        columns, strict, wrong: as given.
        paths: what was given, where it was paths.
        tally: of the reading that began last.

    Raises:
        DataError: a path leads nowhere, or there are no traces given.
    """

    def __init__(
        self, traces: Traces, *, columns: Mapping[str, str] | None = None, strict: bool = False, wrong: bool = False
    ) -> None:
        self.columns, self.strict, self.wrong = columns, strict, wrong
        self.tally = Tally()
        self.paths: list[str | os.PathLike[str]] = []
        self._rows: Iterator[Any] = iter(())
        if isinstance(traces, str | os.PathLike):
            self.paths = [traces]
        elif isinstance(traces, Mapping) or not isinstance(traces, Iterable):
            self._rows = iter(read_traces(traces))  # says what is wrong with it
        else:
            self._rows = iter(traces)
            first = next(self._rows, None)
            if first is None:
                raise DataError("there is nothing to mine", expected="paths or traces", got="none")
            self._rows = itertools.chain([first], self._rows)
            if isinstance(first, str | os.PathLike):
                self.paths, self._rows = list(self._rows), iter(())
        for path in self.paths:
            trace_files(path)  # a wrong name is told before the first file is read

    def __iter__(self) -> Iterator[Trace]:
        """Read everything, once: rows that came as an iterator are gone then."""
        self.tally = tally = Tally()
        for trace in self._all():
            if trace.correct is False and not self.wrong:
                tally.wrong += 1
                continue
            tally.used += 1
            tally.unknown += trace.correct is None
            tally.licences[trace.license or "unknown"] += 1
            tally.sources[(trace.source or "unknown").partition(":")[0]] += 1
            tally.styles[trace.style or "unknown"] += 1
            yield trace
        if not tally.used:
            raise DataError(
                "there is no successful trace to mine",
                expected="traces whose `correct` is true, or not given",
                got=f"{tally.wrong:,} traces, all of them wrong",
                mend="wrong=True (--wrong on the command line) mines wrong solutions too",
            )

    def _all(self) -> Iterator[Trace]:
        on_broken = None if self.strict else self._broken
        for path in self.paths:
            yield from read_traces(path, columns=self.columns, on_broken=on_broken)
        first = next(self._rows, None)
        if isinstance(first, Trace):
            yield first
            yield from self._rows
        elif first is not None:
            yield from read_traces(itertools.chain([first], self._rows), columns=self.columns, on_broken=on_broken)

    def _broken(self, error: DataError) -> None:
        self.tally.broken += 1
        if len(self.tally.broken_rows) < _PLACES:
            self.tally.broken_rows.append(error.problem)
