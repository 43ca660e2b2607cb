"""Counting and embedding on a Ray cluster: what `Corpus` and `Encoder` do, with tasks in place of threads.

    scatter   one task a file: traces are hashed and sent to the part of the corpus that their problem belongs to
    gather    one task a part: repeats dropped, words numbered; a part stays where it was made
    words     each part counts its words' problems; sums, sharded by the word, keep those in enough problems
    level n   each part places the kept n-grams, adds up what their places tell and counts the (n + 1)-grams with a kept
              half; sums, sharded by the key, keep those in enough problems

A problem is in one part, so distinct problems of parts add up. Each part sends a key once, with its sums (map-side
combine). What comes back to the driver are the kept grams and nothing else. Numbers are those of the local engine,
whatever the files, parts and shards (a test compares them).

Counting runs on Ray's tasks and not on Ray Data: a shuffle here moves a few arrays for each pair of part and shard, and
what is shuffled must not be parted further, or a problem would count twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError, DataError, require
from hicra.grams.corpus import ClusterFrequency, Groups, Progress, grouping
from hicra.grams.embed import Encoder
from hicra.grams.sources import Tally
from hicra.grams.text import ENGLISH
from hicra.traces.read import trace_files

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.count import Counts
    from hicra.grams.vector_cache import Vectors

    Integers = npt.NDArray[np.int64]

PART_BYTES = 1 << 28
"""Bytes of the input files for each part of a corpus, if nothing else is said: a part has to fit into a worker."""
MOST_SHARDS = 256
"""Shards of a sum; each part sends one object to each, and too many objects are a burden to Ray."""


class RayCorpus:
    """Traces, encoded, in the memory of a Ray cluster; used like a `Corpus`.

    Attributes:
        groups, group_problems, n_solutions, n_problems, n_statements, n_characters, skipped: as of a `Corpus`.
        tally: what the files held.
        shuffled: bytes that went from task to task, by step (before Ray compresses or spills them).
    """

    def __init__(self, ray: ModuleType, parts: int) -> None:
        self._ray, self._shards = ray, min(parts, MOST_SHARDS)
        self._n_parts = parts
        self._parts: list[Any] = []
        self.tally = Tally()
        self.rules = ENGLISH
        self.groups: tuple[str, ...] = ()
        self.group_problems = np.zeros(0, np.int64)
        self.n_solutions = self.n_problems = self.n_statements = self.n_characters = self.n_words = 0
        self.skipped: Mapping[str, int] = {}
        self.shuffled: Counter[str] = Counter()

    @classmethod
    def encode(
        cls,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        columns: Mapping[str, str] | None = None,
        strict: bool = False,
        wrong: bool = False,
        groups: Groups = "source",
        parts: int | None = None,
        progress: Progress | None = None,
    ) -> RayCorpus:
        """Read traces, one task a file, on the cluster that `ray.init` found (a new local one if there is none).

        Args:
            paths: what `read_traces` takes as a path, or several; every node of the cluster must see the files.
            columns, strict, wrong: as of `hicra.grams.sources.Sources`.
            groups: as of `Corpus.encode`.
            parts: pieces that the corpus is held in; default: one for each `PART_BYTES` of the
                files, and at least one a CPU of the cluster.
            progress: called with ``"read"`` and the solutions read so far.

        Raises:
            MissingExtraError: Ray is not installed.
            DataError: there is nothing to count; a broken row under `strict`.
            ConfigError: an unknown grouping.
        """
        ray = require("ray", "ray")
        grouping(groups)
        if parts is not None and parts < 1:
            raise ConfigError("no part, no corpus", expected="parts >= 1, or None", got=repr(parts))
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        files = [str(file) for path in given for file in trace_files(path)]
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        if parts is None:
            size = sum(os.path.getsize(file) for file in files)
            parts = max(int(ray.cluster_resources().get("CPU", 1)), -(-size // PART_BYTES))
        corpus = cls(ray, parts)
        corpus._read(files, (columns, strict, wrong, groups), progress)
        return corpus

    def count(
        self,
        *,
        n_max: int = 6,
        min_problems: int | float | tuple[int, float] = (5, 0.002),
        progress: Progress | None = None,
    ) -> Counts:
        """Count the n-grams; see `hicra.grams.count.count_ngrams`."""
        from hicra.grams._count import Level, counts_of, extended
        from hicra.grams.count import check_settings, least

        check_settings(n_max, min_problems)
        minimum = least(min_problems, self.n_problems)
        symbols, words = self._keep_words(minimum)
        text, last_word = words, np.arange(len(words) + 1)
        keys: list[Integers] = []
        levels = []
        for n in range(1, n_max + 1):
            sums, by_group, tops, kept = self._level(n, len(text), minimum, symbols, keys, n < n_max)
            levels.append(Level(n, text, sums, by_group, tops[0], tops[1]))
            if progress:
                progress("count", n)
            if not len(kept):
                break
            keys.append(kept)
            text, last_word = extended(text, words, kept, last_word)
        return counts_of(self, levels, n_max, minimum, self.n_words)

    def cluster_frequency(
        self, texts: Sequence[str], at: Sequence[str], cluster: npt.NDArray[np.integer[Any]]
    ) -> ClusterFrequency:
        """See `Corpus.cluster_frequency`."""
        sent = self._ray.put((list(texts), list(at), np.asarray(cluster), self.groups))
        found = self._get([self._task("frequency")(part, sent) for part in self._parts])
        return ClusterFrequency(*(sum(columns) for columns in zip(*found, strict=True)))

    def close(self) -> None:
        """Let the cluster forget the corpus."""
        self._parts.clear()

    def __len__(self) -> int:
        return self.n_solutions

    def __enter__(self) -> RayCorpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- steps -------------------------------------------------------------------------------------------------------
    def _read(self, files: list[str], options: tuple[Any, ...], progress: Progress | None) -> None:
        scattered = [self._task("scatter", self._n_parts + 1)(file, *options, self._n_parts) for file in files]
        for *_, told in scattered:
            tally, size = self._get([told])[0]
            self.tally.add(tally)
            self.shuffled["texts"] += size
            if progress:
                progress("read", self.tally.used)
        gathered = [self._task("gather", 2)(*(pieces[i] for pieces in scattered)) for i in range(self._n_parts)]
        told = self._get([told for _, told in gathered])
        self._parts = [part for part, _ in gathered]
        for name in ("n_solutions", "n_problems", "n_statements", "n_characters"):
            setattr(self, name, sum(summary[name] for summary in told))
        self.skipped = {kind: sum(summary["skipped"][kind] for summary in told) for kind in ("duplicates", "empty")}
        if not self.n_solutions:
            from hicra.grams._encode import nothing_to_count

            raise nothing_to_count(self.tally.used, self.skipped["empty"])
        from hicra.grams._encode import group_names

        self.groups = tuple(group_names(sum((summary["solutions"] for summary in told), Counter())))

    def _keep_words(self, minimum: int) -> tuple[Any, list[str]]:
        """The words in enough problems: their symbols, on the cluster, and their texts."""
        from hicra.grams.text import spelling, variants

        made = [self._task("words", self._shards + 1)(part, self.groups, self._shards) for part in self._parts]
        told = self._get([told for *_, told in made])
        self.n_words = sum(summary["words"] for summary in told)
        self.group_problems = sum(summary["group_problems"] for summary in told)
        self.shuffled["words"] = sum(summary["bytes"] for summary in told)
        reduce = self._task("sum_words")
        found = self._get([reduce(minimum, *(tables[r] for tables in made)) for r in range(self._shards)])
        symbols = sorted(word for words in found for word in words)
        symbols = [word for word in symbols if variants(spelling(word), lossy=False) == [word]]
        return self._ray.put(symbols), [spelling(word) for word in symbols]

    def _level(
        self, n: int, size: int, minimum: int, symbols: Any, keys: list[Integers], further: bool
    ) -> tuple[Integers, Integers, Integers, Integers]:
        """Sums (size, ...), problems by group, tops (2, size) of the n-grams; keys of the kept (n + 1)-grams."""
        from hicra.grams._levels import LAST_TEXT

        sent = self._ray.put((keys, self.groups))
        made = [self._task("count_part", self._shards + 1)(part, symbols, sent, self._shards) for part in self._parts]
        reduce = self._task("sum_level")
        summed = [reduce(minimum, *(pieces[r] for pieces in made)) for r in range(self._shards)]
        self.shuffled[f"level {n}"] = sum(self._get([told for *_, told in made]))
        sums, by_group = np.zeros((size, LAST_TEXT), np.int64), np.zeros((size, len(self.groups)), np.int64)
        tops = np.zeros((2, size), np.int64)
        kept = [np.zeros(0, np.int64)]
        for found in self._get(summed):
            sums[found["ids"] - 1], by_group[found["ids"] - 1] = found["sums"], found["by_group"]
            for side in range(2):
                ids, most = found["tops"][side]
                np.maximum.at(tops[side], ids - 1, most)
            kept.append(found["kept"])
        return sums, by_group, tops, np.sort(np.concatenate(kept)) if further else kept[0]

    def _task(self, name: str, returns: int = 1) -> Callable[..., Any]:
        remote: Callable[..., Any] = self._ray.remote(_function(name)).options(num_returns=returns).remote
        return remote

    def _get(self, refs: list[Any]) -> list[Any]:
        """Results, or the HicraError that a task met."""
        try:
            found: list[Any] = self._ray.get(refs)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DataError | ConfigError):
                raise error.cause from error
            raise
        return found


class RayEncoder(Encoder):
    """An `Encoder` whose batches are computed by actors of a Ray cluster; vectors are not kept on disk.

    The batches are those of `Encoder`, so that float32 vectors are the same on the same kind of CPU.

    Args:
        name: the name or folder of a sentence-transformers model; every node must find it.
        dtype: see `Encoder`.
        actors: how many; default: one a GPU of the cluster, or one a CPU where it has none.
        batch: see `Encoder`.
    """

    def __init__(self, name: str, *, dtype: Any = "float32", actors: int | None = None, batch: int = 128) -> None:
        super().__init__(name, dtype=dtype, cache=False, batch=batch)
        self._actors = actors
        self._running: list[Any] = []  # they end when nothing holds them any more

    def encode(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """See `Encoder.encode`."""
        from hicra.grams.embed import _unit

        ray = require("ray", "ray")
        if isinstance(texts, str) or not len(texts):
            raise DataError("there is nothing to encode", expected="a list of phrases", got=repr(texts)[:80])
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        unique = sorted(set(texts))
        batches = list(self._batches(unique))
        models = self._models(ray)
        sent = [models[i % len(models)].vectors.remote([unique[k] for k in rows]) for i, rows in enumerate(batches)]
        vectors = np.zeros((0, 0), np.float32)
        done = 0
        for rows, found in zip(batches, sent, strict=True):
            unit = _unit(ray.get(found))
            if not len(vectors):
                vectors = np.zeros((len(unique), unit.shape[1]), np.float32)
            vectors[rows] = unit
            done += len(rows)
            if progress:
                progress(done, len(unique))
        position = {text: i for i, text in enumerate(unique)}
        return vectors[[position[text] for text in texts]]

    def _models(self, ray: ModuleType) -> list[Any]:
        if not self._running:
            has = ray.cluster_resources()
            gpus = int(has.get("GPU", 0))
            # no CPU is reserved: between two calls the models wait, and tasks must not wait for them
            model = ray.remote(_function("Model")).options(num_cpus=0, num_gpus=1 if gpus else 0)
            actors = self._actors or gpus or int(has.get("CPU", 1))
            self._running = [model.remote(self.name, self.dtype) for _ in range(actors)]
        return self._running


def _function(name: str) -> Any:
    from hicra.grams import _ray_tasks

    return getattr(_ray_tasks, name)
