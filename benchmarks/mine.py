"""Mining: the naive way beside ours, time against characters, memory.

    python benchmarks/mine.py [--sizes 10000 100000] [--whole 50000] [--naive 500 2000 8000] [--plot FILE.png] [--json]
    python benchmarks/mine.py --sizes --whole 1000000 --naive    # 1.4 G characters: some five minutes and 5 GB of disk

Claims: 50,000 traces in under 40 s and 3 GB; a million traces of 1.2 G characters in under 10 minutes and 4 GB; time
grows with the characters; at least 500 times as fast as the naive way.

The corpora are resampled: each trace has the style and the length of a real one and is made of lines of real ones of
that style; three traces share a problem. The real ones are those of ../shared/data/traces where that is there, else the
bundled sample (whose few words make counting look faster than it is). `--sizes` are read and counted, `--whole` mined.
Every figure comes from a fresh process that reads the traces from a file; its wall time, CPU seconds and largest memory
are those of the whole process, embeddings are computed and not taken from a cache.

The naive way is that of the public re-implementations of the paper (https://github.com/huggingface/trl, commit 4915fb2,
trl/trainer/strategic_grams.py, and https://github.com/teilomillet/textpolicy): words are what stands between blanks, in
lower case; n-grams of 3 to 5 are counted in a dictionary, every distinct one is embedded with the usual call of
sentence-transformers (32 at a time, float32), and KMeans with 100 clusters runs on all the vectors. "With our words" it
takes hicra's text rules, which break n-grams at numbers and formulas: a third to a half of the n-grams, in a way that
nobody has published. Embedding is timed on a sample of the n-grams and KMeans on a sample of vectors; both are
extrapolated, and marked so. Traces are real ones where there are enough. Each ratio comes twice: of the work alone,
with the libraries of both ways loaded and their encoders in memory (ours mines a second time in its process), and with
loading them, which takes either way some seconds whatever the corpus.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hicra.grams.corpus import Corpus
from hicra.grams.text import words
from hicra.traces.read import read_traces, sample_traces
from hicra.traces.schema import Trace

REAL = Path(__file__).parents[1].parent / "shared" / "data" / "traces"
KMEANS_ITERATIONS = 130  # scikit-learn's defaults took 102, 129, 139 and 160 on the 97,052 vectors of 500 traces


def real_traces() -> list[Trace]:
    return list(read_traces(REAL) if REAL.is_dir() else sample_traces())


def resampled(real: list[Trace], size: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of new traces, as in the module's text."""
    rng = random.Random(seed)
    lines: dict[str | None, list[str]] = {}
    for trace in real:
        lines.setdefault(trace.style, []).extend(line for line in trace.solution.split("\n") if line)
    for i in range(size):
        like = rng.choice(real)
        if i % 3 == 0:
            problem = f"{rng.choice(real).problem} (variant {i})"
        room, text = len(like.solution), []
        while room > 0:
            text.append(rng.choice(lines[like.style]))
            room -= len(text[-1]) + 1
        yield {
            "id": str(i),
            "problem": problem,
            "solution": "\n".join(text),
            "correct": True,
            "source": like.source,
            "style": like.style,
        }


def usable(real: list[Trace], style: str | None) -> list[Trace]:
    """Traces that are not known to be wrong, of one style or of all."""
    return [trace for trace in real if trace.correct is not False and style in (None, trace.style)]


def drawn(traces: list[Trace], size: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of traces, drawn without replacement."""
    for trace in random.Random(seed).sample(traces, size):
        yield {name: getattr(trace, name) for name in ("id", "problem", "solution", "correct", "source", "style")}


def write(rows: Iterator[dict[str, Any]], path: Path) -> None:
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


# --- ours, in a process of its own
def count(path: str, workers: int | None) -> dict[str, Any]:
    """Read and count one file; seconds of each part."""
    start = time.perf_counter()
    with Corpus.encode(read_traces(path), workers=workers) as corpus:
        encoded = time.perf_counter()
        counts = corpus.count()
        done = time.perf_counter()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "traces": len(corpus),
            "characters": counts.n_characters,
            "words": counts.n_words,
            "problems": counts.n_problems,
            "grams": len(counts),
            "spilled_gb": corpus.shelf.spilled / 1e9,
            "read_s": encoded - start,
            "count_s": done - encoded,
            "wall_s": done - start,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_gb": peak_gb(),
        }


def mined(path: str, workers: int | None, again: bool = False) -> dict[str, Any]:
    """The whole pipeline on one file, no vectors cached; seconds of each stage, and of doing it `again`."""
    from hicra.grams.embed import Encoder
    from hicra.grams.mine import mine

    since: dict[str, float] = {}
    peaks: dict[str, float] = {}  # when the stage after it began

    def progress(stage: str, *_: object) -> None:
        if stage not in since:
            peaks[f"peak_before_{stage}_gb"] = peak_gb()
            since[stage] = time.perf_counter()

    start = time.perf_counter()
    encoder = Encoder(cache=False)
    grams = mine(path, encoder=encoder, workers=workers, progress=progress)
    done = time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    if again:
        mine(path, encoder=encoder, workers=workers)
    begins = [start, *list(since.values())[1:], done]
    return {
        "grams": len(grams),
        "clusters": len(grams.clusters),
        **{f"{stage}_s": b - a for stage, a, b in zip(since, begins[:-1], begins[1:], strict=True)},
        "wall_s": done - start,
        **({"again_s": time.perf_counter() - done} if again else {}),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        **peaks,
        "peak_gb": peak_gb(),
    }


def peak_gb() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def in_a_fresh_process(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# --- the naive way
def by_whitespace(text: str) -> list[list[str]]:
    """One stretch of words: whatever stands between blanks, in lower case."""
    return [text.lower().split()]


NAIVE = {"naive": by_whitespace, "naive with our words": words}


def naive(path: str, stretches: Callable[[str], Iterable[Sequence[str]]], sample: int = 2048) -> dict[str, Any]:
    """Seconds of the naive way on the traces of one file; embedding and KMeans extrapolated."""
    import numpy as np
    from sklearn.cluster import KMeans

    from hicra.grams.embed import DEFAULT_ENCODER
    from hicra.grams.packaged_model import folder

    traces = list(read_traces(path))
    start = time.perf_counter()
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder(DEFAULT_ENCODER)), device="cpu")
    loaded = time.perf_counter() - start
    start = time.perf_counter()
    documents: Counter[str] = Counter()
    for trace in traces:
        documents.update(
            {
                " ".join(stretch[i : i + n])
                for stretch in stretches(trace.solution)
                for n in (3, 4, 5)
                for i in range(len(stretch) - n + 1)
            }
        )
    counted = time.perf_counter() - start
    some = random.Random(0).sample(sorted(documents), min(sample, len(documents)))
    model.encode(some[:32], batch_size=32, show_progress_bar=False)
    start = time.perf_counter()
    vectors = model.encode(some, batch_size=32, show_progress_bar=False)
    per_gram = (time.perf_counter() - start) / len(some)
    rng = np.random.default_rng(0)
    many = rng.standard_normal((50_000, vectors.shape[1]), dtype=np.float32)
    start = time.perf_counter()
    KMeans(100, n_init=1, random_state=0, max_iter=KMEANS_ITERATIONS, tol=0).fit(many)
    per_row = (time.perf_counter() - start) / len(many)
    return {
        "traces": len(traces),
        "grams": len(documents),
        "load_s": loaded,
        "count_s": counted,
        "embed_s (extrapolated)": per_gram * len(documents),
        "kmeans_s (extrapolated)": per_row * len(documents),
        "total_s": loaded + counted + (per_gram + per_row) * len(documents),
    }


def plot(rows: list[dict[str, Any]], path: str) -> None:
    """CPU seconds against characters, and the line through the origin that fits best; the wall clock beside it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    x, y = [row["characters"] / 1e6 for row in rows], [row["cpu_s"] for row in rows]
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)
    axes.loglog([min(x), max(x)], [slope * min(x), slope * max(x)], lw=1, color="grey", label="linear")
    axes.plot(x, y, "o", label="CPU")
    axes.plot(x, [row["wall_s"] for row in rows], "x", color="silver", label="wall clock, two shared cores")
    axes.set_title(f"{1 / slope:.1f} M characters a second and core", fontsize=10)
    axes.set_xlabel("characters of solutions, millions")
    axes.set_ylabel("seconds to read and count")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 30_000, 50_000, 100_000])
    parser.add_argument("--naive", type=int, nargs="*", default=[500, 2_000, 8_000])
    parser.add_argument("--whole", type=int, nargs="*", default=[50_000])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--plot")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", help="where the corpora are written; the system's temporary folder if not given")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, path = options.one
        if way in NAIVE:
            print(json.dumps(naive(path, NAIVE[way])))
        else:
            ways = {"count": count, "mine": mined, "mine, again": partial(mined, again=True)}
            print(json.dumps(ways[way](path, options.workers)))
        return

    real = real_traces()
    rows: dict[str, list[dict[str, Any]]] = {"count": [], "mine": [], "mine, again": [], **{way: [] for way in NAIVE}}
    workers = ["--workers", str(options.workers)] if options.workers else []

    def measure(way: str, path: Path, **facts: Any) -> dict[str, Any]:
        row = facts | in_a_fresh_process("--one", way, str(path), *workers)
        rows[way].append(row)
        if not options.json:
            print(way, {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        return row

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "traces.jsonl"
        for size in sorted({*options.sizes, *options.whole}):
            write(resampled(real, size), path)
            for way, sizes in (("count", options.sizes), ("mine", options.whole)):
                if size in sizes:
                    measure(way, path, size=size)
        for size in options.naive:
            for style in (None, "long-cot"):
                traces = usable(real, style)
                if style and size > max(len(traces), 2_000):
                    continue  # more would only repeat them
                enough = size <= len(traces)
                write(drawn(traces, size) if enough else resampled(traces or real, size), path)
                facts = {"size": size, "style": style or "all", "real": enough}
                fast = measure("mine, again", path, **facts)
                for way in NAIVE:
                    slow = measure(way, path, **facts)
                    slow["ratio"] = (slow["total_s"] - slow["load_s"]) / fast["again_s"]
                    slow["ratio with loading"] = slow["total_s"] / fast["wall_s"]
                    if not options.json:
                        says = f"{size:,} traces, {facts['style']}: {slow['ratio']:,.0f} times as fast as {way}"
                        print(
                            f"{says}, {slow['ratio with loading']:,.0f} with loading libraries (extrapolated)",
                            flush=True,
                        )
    if options.plot:
        plot(rows["count"], options.plot)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
