"""Arrays that outgrow memory: kept while there is room, in Parquet files of a scratch folder from then on."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hicra.errors import DataError

Arrays = dict[str, Any]  # columns of one length

BUCKETS = 256
_SETTINGS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}


class Shelf:
    """Named groups of columns within a budget of memory; what does not fit lies on disk.

    Args:
        folder: where a scratch folder is made, the system's place for temporary files if None; `close` removes it.
        memory: bytes that may stay in memory.
    """

    def __init__(self, folder: str | Path | None, memory: int) -> None:
        try:
            if folder is not None:
                Path(folder).mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="hicra-count-", dir=folder))
        except OSError as error:
            raise DataError(f"cannot make a scratch folder in {folder}", got=str(error)) from error
        self._memory = memory
        self._kept: dict[str, Arrays] = {}
        self._used = 0
        self._lock = threading.Lock()
        self.spilled = 0
        """Bytes that went to disk so far."""

    def put(self, name: str, columns: Arrays) -> None:
        """Store columns under a name, in place of what it held. They become read-only, as those from a file are: what
        numba compiles for one kind of arrays it would compile anew for the other."""
        size = _size(columns)
        for column in columns.values():
            column.flags.writeable = False
        with self._lock:
            self._used -= _size(self._kept.pop(name, {}))
            fits = self._used + size <= self._memory
            if fits:
                self._kept[name] = columns
                self._used += size
        if not fits:
            self.write_parts(name, [columns])

    def get(self, name: str) -> Arrays:
        """What was put last, read-only."""
        kept = self._kept.get(name)
        return _read(self.folder / f"{name}.parquet") if kept is None else kept

    def write_parts(self, name: str, parts: Sequence[Arrays]) -> None:
        """Store several groups of the same columns in one file; `get_part` reads them one by one."""
        self.spilled += sum(map(_size, parts))
        self._write(self.folder / f"{name}.parquet", parts)

    def get_part(self, name: str, part: int) -> Arrays:
        """One of the groups that `write_parts` stored."""
        return _read(self.folder / f"{name}.parquet", part)

    def delete(self, name: str) -> None:
        """Forget a name and remove its file."""
        with self._lock:
            self._used -= _size(self._kept.pop(name, {}))
        (self.folder / f"{name}.parquet").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget everything and remove the scratch folder."""
        self._kept.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, path: Path, parts: Sequence[Arrays]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, pa.from_numpy_dtype(column.dtype)) for name, column in parts[0].items()])
        try:
            with pq.ParquetWriter(path, schema, **_SETTINGS) as writer:
                for part in parts:
                    arrays = [pa.array(column) for column in part.values()]
                    writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=1 << 30)
        except OSError as error:
            raise DataError(
                f"cannot spill to {path}",
                got=str(error),
                mend="free some space, or name a folder on a larger disk: spill_dir=...",
            ) from error


class Buckets:
    """Texts as word ids, gathered by problem: all solutions to one problem end up in one bucket.

    A batch is two groups of columns: `rows`, one row a text, with the hash of its problem in `p0` and its length in
    `length`, and `places`, one row a word.
    """

    def __init__(self, shelf: Shelf, memory: int) -> None:
        self._shelf, self._memory = shelf, memory
        self._waiting: list[tuple[Arrays, Arrays]] = []
        self._bytes = 0
        self._files = 0
        self._rest: list[tuple[Arrays, Arrays]] = []
        self._places = np.zeros(BUCKETS, np.int64)

    def add(self, rows: Arrays, places: Arrays) -> None:
        """Take a batch in; too many of them in memory are written to disk together."""
        self._waiting.append((rows, places))
        self._bytes += _size(rows) + _size(places)
        if self._bytes > self._memory:
            parts = self._part()
            self._shelf.write_parts(f"batch-rows-{self._files}", [rows for rows, _ in parts])
            self._shelf.write_parts(f"batch-places-{self._files}", [places for _, places in parts])
            self._files += 1

    def finish(self, pieces: int, longest: int) -> list[range]:
        """End the taking in.

        Returns:
            Ranges of buckets, about `pieces` of them and more if one would hold more than `longest` words.
        """
        if self._waiting:
            self._rest = self._part()
        size = max(1, min(int(self._places.sum()) // pieces, longest))
        ranges, first, filled = [], 0, 0
        for bucket in range(BUCKETS):
            filled += int(self._places[bucket])
            if filled >= size or (bucket == BUCKETS - 1 and filled):
                ranges.append(range(first, bucket + 1))
                first, filled = bucket + 1, 0
        return ranges

    def read(self, buckets: range) -> tuple[Arrays, Arrays]:
        """All that came in for some buckets: rows and places."""
        parts = [part for bucket in buckets for part in self._of(bucket)]
        return _joined([rows for rows, _ in parts]), _joined([places for _, places in parts])

    def clear(self) -> None:
        """Forget everything, files too."""
        self._rest.clear()
        for i in range(self._files):
            self._shelf.delete(f"batch-rows-{i}")
            self._shelf.delete(f"batch-places-{i}")

    def _of(self, bucket: int) -> Iterator[tuple[Arrays, Arrays]]:
        for i in range(self._files):
            yield self._shelf.get_part(f"batch-rows-{i}", bucket), self._shelf.get_part(f"batch-places-{i}", bucket)
        if self._rest:
            yield self._rest[bucket]

    def _part(self) -> list[tuple[Arrays, Arrays]]:
        """The waiting batches by bucket."""
        rows = _joined([rows for rows, _ in self._waiting])
        places = _joined([places for _, places in self._waiting])
        self._waiting.clear()
        self._bytes = 0
        bucket = (rows["p0"] >> np.uint64(56)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        places = gathered(places, rows["length"], order)
        rows = {name: column[order] for name, column in rows.items()}
        row_end = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        place_end = np.concatenate([[0], np.cumsum(rows["length"], dtype=np.int64)])[row_end]
        self._places += np.diff(place_end, prepend=0)
        return [
            ({k: v[row_lo:row_hi] for k, v in rows.items()}, {k: v[lo:hi] for k, v in places.items()})
            for row_lo, row_hi, lo, hi in zip([0, *row_end[:-1]], row_end, [0, *place_end[:-1]], place_end, strict=True)
        ]


def gathered(places: Arrays, length: Any, order: Any) -> Arrays:
    """The words of some texts in another order.

    Args:
        places: columns over words.
        length: words of each text.
        order: indices of the texts that are wanted.
    """
    from hicra.grams._levels import gather

    begin = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    out = {}
    for name, column in places.items():
        out[name] = np.empty(int(length[order].sum(dtype=np.int64)), column.dtype)
        gather(column, begin, order, out[name])
    return out


def _size(columns: Arrays) -> int:
    return sum(column.nbytes for column in columns.values())


def _joined(groups: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}


def _read(path: Path, part: int | None = None) -> Arrays:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read(use_threads=False) if part is None else file.read_row_group(part, use_threads=False)
    return {name: table[name].to_numpy() for name in table.column_names}
