"""Count what a corpus says: every n-gram of enough distinct problems, with what tells steering from content.

Definitions. A *solution* is a distinct pair (problem, text): repeated lines count once. A *problem* is its text,
lower-cased and with white space run together; a trace without one is a problem of its own. The *document frequency over
problems* of a gram is the number of distinct problems of which at least one solution holds it: sixteen rollouts of one
prompt are one piece of evidence. A gram is kept if that number reaches the minimum; the numbers of a kept gram are
exact. An n-gram cannot reach it unless both (n-1)-grams in it do (the a-priori rule), so counting goes up level by
level.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError, DataError
from hicra.grams.corpus import MEMORY, Corpus, Groups, Progress
from hicra.grams.text import ENGLISH, TEXT_VERSION
from hicra.traces.schema import Trace

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]

FORMAT = "hicra-counts"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Counts:
    """The n-grams of a corpus that occur in enough distinct problems: K rows, sorted by text, and totals.

    An occurrence is a place in a solution where the words of the gram follow each other with no break between them
    (`hicra.grams.text`); occurrences may overlap. All columns are of shape (K,) and int64 but for `text`.

    Attributes:
        text: the gram, normalised: an object array of strings.
        n: its words.
        tf: occurrences.
        df: solutions that hold it.
        problems: distinct problems with a solution that holds it.
        clause: occurrences that begin a clause (those that begin a sentence among them).
        sentence: occurrences that begin a sentence.
        statements: distinct problems whose own statement holds it.
        maths_adjacent: occurrences with maths, a number or an identifier directly before or after, in one sentence.
        maths_near: occurrences with some before or after, at most 3 words in between, in one sentence (`corpus.NEAR`).
        maths_after: occurrences with some after, at most 3 words in between, sentences not minded.
        left_top: occurrences after the word that most often comes before it, no break in between. Neighbours are
            the words that are kept themselves.
        right_top: occurrences before the word that most often comes after it, likewise.
        problems_by_group: (K, S) distinct problems with a solution of that group that holds it.
        groups: (S,) names of the groups, sorted.
        group_problems: (S,) distinct problems with a solution of that group.
        n_solutions: distinct solutions that were counted.
        n_problems: distinct problems that they solve.
        n_statements: distinct problems that have a statement.
        n_words: words of the solutions, rare ones too; identifiers and numbers are no words.
        n_characters: characters of the solutions.
        n_max: the longest n-gram that was counted.
        min_problems: the minimum that `problems` had to reach.
        skipped: what was handed in and not counted: ``duplicates`` (lines) and ``empty`` (solutions without a word).
        text_version: version of the text rules.
        rules: their name.
    """

    text: npt.NDArray[np.object_]
    n: Integers
    tf: Integers
    df: Integers
    problems: Integers
    clause: Integers
    sentence: Integers
    statements: Integers
    maths_adjacent: Integers
    maths_near: Integers
    maths_after: Integers
    left_top: Integers
    right_top: Integers
    problems_by_group: Integers
    groups: tuple[str, ...]
    group_problems: Integers
    n_solutions: int
    n_problems: int
    n_statements: int
    n_words: int
    n_characters: int
    n_max: int
    min_problems: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    text_version: int = TEXT_VERSION
    rules: str = ENGLISH

    def __len__(self) -> int:
        return len(self.text)

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Counts:
        """The same totals with some rows only; `rows` is a mask (K,) or ascending indices."""
        columns = {name: getattr(self, name)[rows] for name in (*COLUMNS, "problems_by_group")}
        return Counts(**{f.name: columns.get(f.name, getattr(self, f.name)) for f in fields(self)})

    def save(self, path: str | Path) -> Path:
        """Write the counts as Parquet: the columns, one more for each group, the totals in the schema's metadata.

        Raises:
            DataError: the file cannot be written (an older one stays as it is).
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        part = path.with_name(path.name + ".part")
        columns = {name: pa.array(getattr(self, name)) for name in COLUMNS}
        columns |= {f"problems[{i}]": pa.array(self.problems_by_group[:, i]) for i in range(len(self.groups))}
        columns["text"] = pa.array(self.text, pa.string())
        totals = {name: getattr(self, name) for name in _TOTALS}
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, **totals, "skipped": dict(self.skipped)}
        head |= {"groups": list(self.groups), "group_problems": self.group_problems.tolist(), "rules": self.rules}
        try:
            pq.write_table(pa.table(columns, metadata={"hicra": json.dumps(head)}), part, compression="zstd")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DataError(f"cannot write the counts {path}", got=str(error)) from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Counts:
        """Read what `save` wrote.

        Raises:
            DataError: there is no such file, or it holds no counts of this format.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:  # its own columns only: a folder named a=b adds none
                table = file.read()
            head: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"hicra", b"{}"))
        except (OSError, pa.ArrowException, ValueError) as error:
            raise DataError(f"cannot read the counts {path}", got=str(error).splitlines()[0]) from error
        if (head.get("format"), head.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise DataError(
                f"{path} holds no counts",
                expected=f"{FORMAT} {FORMAT_VERSION}",
                got=f"{head.get('format')} {head.get('format_version')}",
            )
        columns = {name: table[name].to_numpy() for name in COLUMNS}
        groups = tuple(head["groups"])
        by_group = [table[f"problems[{i}]"].to_numpy() for i in range(len(groups))]
        return cls(
            **columns,
            problems_by_group=np.stack(by_group, 1) if groups else np.zeros((table.num_rows, 0), np.int64),
            groups=groups,
            group_problems=np.array(head["group_problems"], np.int64),
            skipped=head["skipped"],
            rules=head.get("rules", ENGLISH),
            **{name: head[name] for name in _TOTALS},
        )


COLUMNS = (
    "text", "n", "tf", "df", "problems", "clause", "sentence", "statements",
    "maths_adjacent", "maths_near", "maths_after", "left_top", "right_top",
)  # fmt: skip
"""Names of the columns of shape (K,)."""

_TOTALS = (
    "n_solutions", "n_problems", "n_statements", "n_words", "n_characters", "n_max", "min_problems", "text_version",
)  # fmt: skip


def count_ngrams(
    traces: Iterable[Trace],
    *,
    n_max: int = 6,
    min_problems: int | float | tuple[int, float] = (5, 0.002),
    groups: Groups = "source",
    spill_dir: str | Path | None = None,
    workers: int | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
    rules: str = ENGLISH,
) -> Counts:
    """Count the n-grams of 1 ... `n_max` words in a corpus of any size.

    Args:
        traces: read once; whether they are correct is not looked at.
        n_max: the longest n-gram.
        min_problems: in how many distinct problems a gram must occur to be kept: a number, a share of the problems
            (a float below 1, rounded up), or a pair of both, of which the greater one counts.
        groups, spill_dir, workers, memory: see `Corpus.encode`.
        progress: called with ``"read"`` and the solutions so far, then with ``"count"`` and each length that is done.
        rules: name of the text rules.

    Raises:
        DataError: nothing to count; the scratch folder cannot be written.
        ConfigError: a setting is out of range.
    """
    check_settings(n_max, min_problems)
    with Corpus.encode(
        traces, groups=groups, spill_dir=spill_dir, workers=workers, memory=memory, progress=progress, rules=rules
    ) as corpus:
        return corpus.count(n_max=n_max, min_problems=min_problems, progress=progress)


def check_settings(n_max: int, min_problems: int | float | tuple[int, float]) -> None:
    """Raise ConfigError unless these are settings of `count_ngrams`."""
    if not 1 <= n_max <= 16:
        raise ConfigError("n_max is out of range", expected="1 <= n_max <= 16", got=repr(n_max))
    pair = min_problems if isinstance(min_problems, tuple) else (min_problems,)
    if not pair or any(m < 0 or (isinstance(m, float) and m >= 1) for m in pair):
        raise ConfigError(
            "min_problems is out of range",
            expected="a number of problems (an integer >= 0), a share of them (a float below 1), or a pair of these",
            got=repr(min_problems),
        )


def least(min_problems: int | float | tuple[int, float], n_problems: int) -> int:
    """The minimum as a number of problems, at least 1."""
    pair = min_problems if isinstance(min_problems, tuple) else (min_problems,)
    # a share of 1/3 of 3 problems is one problem, however 1/3 is rounded
    return max(1, *(m if isinstance(m, int) else ceil(round(m * n_problems, 9)) for m in pair))
