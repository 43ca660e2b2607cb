"""Why a phrase is in a mined set, and why not: what mining knew of every candidate.

A candidate is an n-gram that occurs in enough distinct problems to be counted. Mining writes one row for each beside
the set, ``<name>.evidence.parquet``: its counts, what the judge gave it, the rule that dropped it, its cluster and what
became of that. What a rule says of a candidate is worked out from these when somebody asks (`hicra.grams.why`). The
file carries the set's hash, so that evidence of another set is told apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import DataError
from hicra.grams.text import ENGLISH
from hicra.traces.disk import write_atomic

if TYPE_CHECKING:
    from hicra.grams.count import Counts

FORMAT = "hicra-evidence"
FORMAT_VERSION = 1

WORDS = ("text", "at", "rule", "reason", "cluster", "function")
"""Columns of strings: the candidate; where it would count; the rule that dropped it, null for what is in the set; why
its cluster was dropped, where that was it; its cluster and function, null where it has none."""
_TOTALS = (
    "n_solutions",
    "n_problems",
    "n_statements",
    "n_words",
    "n_characters",
    "n_max",
    "min_problems",
    "text_version",
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What mining knew of K candidates.

    Attributes:
        columns: arrays (K,) by name, sorted by ``text``: those of `WORDS` (objects, None for null), and numbers: the
            counts, ``problems[i]`` for each group, what the judge gave, ``cluster_problems`` (distinct problems that
            hold a gram of its cluster; nan where it has none).
        facts: of the whole run: ``grams`` (name of the set), ``grams_hash``, ``counted`` (totals), ``profile``,
            ``judge``, ``corpus``, ``funnel``.
    """

    columns: Mapping[str, np.ndarray[Any, Any]]
    facts: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.columns["text"])

    def row(self, text: str) -> dict[str, Any] | None:
        """What is known of a candidate, by its normalised text; None where it was not counted."""
        texts = self.columns["text"]
        i = int(np.searchsorted(texts, text))
        if i == len(texts) or texts[i] != text:
            return None
        return {name: column[i] for name, column in self.columns.items()}

    def counts_of(self, text: str) -> Counts:
        """The counts of a candidate and of its words, as far as these were counted: what its signals are made of."""
        from hicra.grams.count import COLUMNS, Counts

        wanted = sorted({text, *text.split(" ")})
        at = np.searchsorted(self.columns["text"], wanted)
        rows = [i for i, w in zip(at.tolist(), wanted, strict=True) if i < len(self) and self.columns["text"][i] == w]
        counted = self.facts["counted"]
        groups = tuple(counted["groups"])
        by_group = [self.columns[f"problems[{i}]"][rows] for i in range(len(groups))]
        made: dict[str, Any] = {name: self.columns[name][rows] for name in COLUMNS}
        made |= {name: counted[name] for name in (*_TOTALS, "skipped")} | {"rules": counted.get("rules", ENGLISH)}
        made["problems_by_group"] = np.stack(by_group, 1) if groups else np.zeros((len(rows), 0), np.int64)
        made["group_problems"] = np.array(counted["group_problems"], np.int64)
        return Counts(groups=groups, **made)

    def members(self, cluster: str) -> list[str]:
        """Texts of the candidates of a cluster, those in most problems first."""
        rows = np.flatnonzero(self.columns["cluster"] == cluster)
        problems = self.columns["problems"][rows]
        return [str(self.columns["text"][i]) for i in rows[np.argsort(-problems, kind="stable")]]

    def save(self, path: str | Path) -> Path:
        """Write as Parquet, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        arrays = {
            name: pa.array(column, pa.string() if name in WORDS else None) for name, column in self.columns.items()
        }
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, **self.facts}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(arrays, metadata={"hicra": json.dumps(head)}), sink, compression="zstd")
        try:
            write_atomic(path, sink.getvalue())
        except OSError as error:
            raise DataError(f"cannot write the evidence {path}", got=str(error)) from error
        return path

    @classmethod
    def of(cls, counts: Counts, more: Mapping[str, np.ndarray[Any, Any]], facts: Mapping[str, Any]) -> Evidence:
        """Evidence made of counts and of further columns and facts."""
        from hicra.grams.count import COLUMNS

        columns = {name: getattr(counts, name) for name in COLUMNS}
        columns |= {f"problems[{i}]": counts.problems_by_group[:, i] for i in range(len(counts.groups))}
        return cls({**columns, **more}, {**facts, "counted": totals(counts)})

    @classmethod
    def load(cls, path: str | Path) -> Evidence:
        """Read what `save` wrote.

        Raises:
            DataError: there is no such file, or it holds no evidence.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
            facts: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"hicra", b"{}"))
        except (OSError, pa.ArrowException, ValueError) as error:
            raise DataError(f"cannot read the evidence {path}", got=str(error).splitlines()[0]) from error
        if (facts.pop("format", None), facts.pop("format_version", None)) != (FORMAT, FORMAT_VERSION):
            raise DataError(f"{path} holds no evidence of a mining run", expected=f"{FORMAT} {FORMAT_VERSION}")
        return cls({name: table[name].to_numpy() for name in table.column_names}, facts)


def totals(counts: Counts) -> dict[str, Any]:
    """What was counted in all, as plain values."""
    return {
        **{name: getattr(counts, name) for name in _TOTALS},
        "rules": counts.rules,
        "groups": list(counts.groups),
        "group_problems": counts.group_problems.tolist(),
        "skipped": dict(counts.skipped),
    }


def evidence_path(grams_path: str | Path) -> Path:
    """Where the evidence of a set is: ``grams.json`` -> ``grams.evidence.parquet``."""
    path = Path(grams_path)
    return path.with_name(f"{path.name.removesuffix('.json')}.evidence.parquet")
