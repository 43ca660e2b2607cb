"""Train the tagger of `hicra.labels.tagger`.

    python scripts/train_tagger.py DATA_FOLDER            # writes src/hicra/labels/data/tagger.safetensors

DATA_FOLDER holds ``traces/*.jsonl.zst`` and ``gold/planning_spans_*.jsonl``; the second round of annotation is in this
repository (``annotations/``). Traces and excerpts without a licence are left out. In three steps:

1. from unlabelled solutions: the words that occur in most problems, and two partitions of them by the contexts that
   they occur in (positive pointwise mutual information of neighbours, 96 singular vectors, k-means);
2. from annotated excerpts: linear models over the features of `hicra.labels._tagger_features`. The target of a word is
   the share of the passes that marked it, so what they differ about pulls to neither side;
3. out of fold, so that they see honest scores: the smoothing over neighbours, and the threshold, the one with the most
   recall among those of precision >= .92.

No list of phrases goes in. The known moves are the wordings that the finished tagger finds in most problems.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams.gramset import Gram, GramSet
from hicra.grams.text import TEXT_VERSION, text_rules
from hicra.grams.text import words as words_of
from hicra.labels import _tagger_features as features
from hicra.labels import _tagger_score as scoring
from hicra.labels import _tagger_words as reading
from hicra.labels.quality import WORD, Excerpt, over
from hicra.labels.tagger import (
    FORMAT,
    FORMAT_VERSION,
    FUNCTIONS,
    Array,
    Model,
    TaggerMachine,
    _table,
    load_model,
    moves_of,
    tag,
)
from hicra.labels.vocab import byte_vocab
from hicra.traces.schema import Trace
from scripts.fit_judge import UNLICENSED, annotated, licensed_traces

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src" / "hicra" / "labels" / "data" / "tagger.safetensors"
SET = ROOT / "src" / "hicra" / "grams" / "data" / "tagger.json"

WORDS, ENDINGS = 6000, 128
"""Words with an id of their own, and ids for the endings of others."""
COARSE, FINE = 64, 512
"""Classes of words."""
STRENGTH = 1.0
"""Of the weights' L2 penalty, inverse."""
FLOOR = -8.0
"""Log-odds are cut here, below and above."""
PRECISION = 0.92
"""What the threshold has to reach out of fold."""
MOVES = 6
"""Problems in which a wording must occur to be a known move."""
FOLDS = 5


# --- 1. words and their classes ---------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of the vocabulary and the classes of all ids, PAD and endings included."""

    words: tuple[bytes, ...]
    coarse: Array
    fine: Array

    @cached_property
    def table(self) -> tuple[Array, Array]:
        """Of the words' hashes."""
        hashes = np.array([reading.word_hash(word) for word in self.words], np.uint64)
        return _table(hashes, np.arange(1, len(self.words) + 1, dtype=np.int32))


def read(texts: Sequence[str], lexicon: Lexicon | None, pads: int = 0) -> tuple[Array, ...]:
    """Ids, flags, first and last byte, hashes of the words of some texts; then the bytes and where each text begins."""
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"".join(coded), np.uint8)
    bounds = np.concatenate([[0], np.cumsum([len(c) for c in coded])]).astype(np.int64)
    slots, ids = lexicon.table if lexicon else (np.zeros(2, np.uint64), np.full(2, -1, np.int32))
    size, others = (len(lexicon.words) + 1, ENDINGS) if lexicon else (1, 1)
    room = len(data) // 2 + 2 * (pads + 1) * (len(texts) + 2)
    out = [np.empty(room, kind) for kind in (np.int32, np.int32, np.int64, np.int64, np.uint64)]
    vocab, rules = byte_vocab(), text_rules()
    n = reading.read(
        data, bounds, np.empty(0, np.bool_), vocab.data, vocab.offset, rules.table, rules.start, False, pads, slots,
        ids, size, others, *out,
    )  # fmt: skip
    return (*(part[:n] for part in out), data, bounds)


def batches(traces: Iterable[Trace], size: int = 4000) -> Iterator[list[Trace]]:
    """Traces in lists."""
    batch: list[Trace] = []
    for trace in traces:
        batch.append(trace)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def lexicon(traces: Sequence[Trace]) -> Lexicon:
    """The vocabulary of a corpus, and its classes."""
    words = _common(traces)
    plain = Lexicon(words, np.zeros(0), np.zeros(0))
    size = len(words) + 1 + ENDINGS
    counts: Any = 0
    for batch in batches(traces):
        ids, flags, *_ = read([t.solution for t in batch], plain, pads=2)
        counts = counts + _contexts(ids, flags, size)
    vectors = _vectors(counts)
    from sklearn.cluster import KMeans

    unit = vectors[1:] / np.linalg.norm(vectors[1:], axis=1, keepdims=True).clip(1e-6)
    coarse, fine = (
        np.concatenate([[0], 1 + KMeans(k, n_init=1, max_iter=30, random_state=0).fit(unit).labels_])
        for k in (COARSE, FINE)
    )
    return Lexicon(words, coarse.astype(np.uint8), fine.astype(np.uint16))


def _common(traces: Sequence[Trace]) -> tuple[bytes, ...]:
    """The words that occur in the solutions to most problems."""
    seen: list[Array] = []
    spelled: dict[int, bytes] = {}
    number: dict[str, int] = {}
    for batch in batches(traces):
        _, _, first, last, hashes, data, bounds = read([t.solution for t in batch], None)
        problem = np.array(
            [number.setdefault(t.problem.strip().lower() or t.id, len(number)) for t in batch], np.uint64
        )
        pairs = np.stack([hashes, problem[np.searchsorted(bounds, first, "right") - 1]], 1)
        seen.append(np.unique(pairs, axis=0))
        for key, i in zip(*np.unique(hashes, return_index=True), strict=True):
            spelled.setdefault(int(key), data[first[i] : last[i] + 1].tobytes())
    keys, problems = np.unique(np.unique(np.concatenate(seen), axis=0)[:, 0], return_counts=True)
    rank = np.lexsort((keys, -problems))
    found: list[bytes] = []
    for i in rank:
        word = spelled[int(keys[i])].decode("utf-8", "replace").lower().replace("\u2019", "'").encode()
        if reading.word_hash(word) == int(keys[i]):  # spelled in symbols of its own otherwise: rare, left out
            found.append(word)
        if len(found) == WORDS:
            break
    return tuple(found)


def _contexts(ids: Array, flags: Array, size: int) -> Any:
    """(size, contexts) counts: which words stand at -2, -1, 1, 2, and what lies in the gaps before and after."""
    blocks = []
    for offset in (-2, -1, 1, 2):
        here, there = ids[2:-2], ids[2 + offset : len(ids) - 2 + offset]
        both = (here != 0) & (there != 0)
        ones = np.ones(int(both.sum()), np.float32)
        blocks.append(sparse.csr_matrix((ones, (here[both], there[both])), (size, size)))
    for gap in (flags[1:-1], flags[2:]):
        columns = [np.bincount(ids[1:-1][gap >> k & 1 == 1], minlength=size) for k in range(reading.FLAGS)]
        columns.append(np.bincount(ids[1:-1][gap == 0], minlength=size))
        blocks.append(sparse.csr_matrix(np.stack(columns, 1).astype(np.float32) * 3))
    return sparse.hstack(blocks).tocsr()


def _vectors(counts: Any, size: int = 96) -> Array:
    """Positive pointwise mutual information (contexts smoothed by the power .75), factored."""
    from sklearn.utils.extmath import randomized_svd

    rows = np.asarray(counts.sum(1)).ravel() + 1
    contexts = (np.asarray(counts.sum(0)).ravel() + 1) ** 0.75
    contexts /= contexts.sum()
    cells = counts.tocoo()
    value = np.log(cells.data / (rows[cells.row] * contexts[cells.col]))
    kept = value > 0
    matrix = sparse.csr_matrix((value[kept], (cells.row[kept], cells.col[kept])), counts.shape)
    left, strength, _ = randomized_svd(matrix, size, n_iter=3, random_state=0)
    return np.asarray(left * np.sqrt(strength))


# --- 2. annotated words -----------------------------------------------------------------------------------------------
class Examples:
    """The words of excerpts, their features and their targets.

    Attributes:
        excerpts: those with a word.
        excerpt: (W,) of each word, its excerpt.
        keys: (W, F) uint32 features.
        steers: (W,) share of the passes that marked the word.
        function: (W, 3) share of the passes that gave it a function.
        begins: (W,) share of the passes with a span that begins here.
        flags, chars: (W,) and (W, 2): gaps, and characters.
    """

    def __init__(self, excerpts: Sequence[Excerpt], words: Lexicon) -> None:
        self.excerpts = [e for e in excerpts if len(read([e.text], words)[0])]
        parts: dict[str, list[Array]] = defaultdict(list)
        for number, e in enumerate(self.excerpts):
            ids, flags, first, last, _, data, _ = read([e.text], words, features.REACH)
            real = ids != 0
            keys = np.empty((int(real.sum()), features.TEMPLATES), np.uint64)
            used = features.all_keys(
                ids, words.coarse[ids].astype(np.int32), words.fine[ids].astype(np.int32), flags, keys
            )
            char_of = np.cumsum((data & 0xC0) != 0x80) - 1
            chars = np.stack([char_of[first[real]], char_of[last[real]] + 1], 1)
            function, begins = np.zeros((len(chars), 3)), np.zeros(len(chars))
            for marked in (e.first, e.second):
                for span in marked:
                    inside = np.flatnonzero((chars[:, 0] < span.end) & (chars[:, 1] > span.start))
                    function[inside, FUNCTIONS.index(span.function)] += 0.5  # type: ignore[arg-type]
                    begins[inside[:1]] += 0.5
            parts["keys"].append((keys[:, :used] >> np.uint64(32)).astype(np.uint32))
            parts["chars"].append(chars)
            parts["flags"].append(flags[real])
            parts["function"].append(function.clip(0, 1))
            parts["begins"].append(begins.clip(0, 1))
            parts["excerpt"].append(np.full(len(chars), number))
        self.keys, self.chars, self.flags, self.function, self.begins, self.excerpt = (
            np.concatenate(parts[name]) for name in ("keys", "chars", "flags", "function", "begins", "excerpt")
        )
        self.steers = self.function.sum(1).clip(0, 1)
        self.licensed = np.array([e.source != UNLICENSED for e in self.excerpts])[self.excerpt]

    def words_hit(self, probability: Array) -> tuple[Array, Array, Array, Array]:
        """For the measure's own words: the largest probability of ours that overlap, marked, core, excerpt."""
        rows: list[tuple[Array, ...]] = []
        for number, e in enumerate(self.excerpts):
            mine = np.flatnonzero(self.excerpt == number)
            words = np.array([m.span() for m in WORD.finditer(e.text)]).reshape(-1, 2)
            best = np.zeros(len(words))
            at = np.searchsorted(words[:, 1], self.chars[mine, 0], "right")
            for i, j in zip(mine, at, strict=True):
                while j < len(words) and words[j, 0] < self.chars[i, 1]:
                    best[j] = max(best[j], probability[i])
                    j += 1
            spans = [(int(a), int(z)) for a, z in words]
            first, second = over(spans, e.first), over(spans, e.second)
            rows.append((best, first | second, first & second, np.full(len(words), number)))
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def design(keys: Array, known: Array) -> Any:
    """(W, K) indicators of the known features (sorted)."""
    at = np.searchsorted(known, keys).clip(max=len(known) - 1)
    hit = known[at] == keys
    ends = np.concatenate([[0], np.cumsum(hit.sum(1))])
    return sparse.csr_matrix(
        (np.ones(int(hit.sum()), np.float32), at[hit].astype(np.int32), ends), (len(keys), len(known))
    )


def known_features(keys: Array) -> Array:
    """Those that occur twice at least."""
    found, times = np.unique(keys, return_counts=True)
    return found[times >= 2]


def logistic(x: Any, target: Array, *, strength: float = STRENGTH, steps: int = 80) -> tuple[Array, float]:
    """Weights and bias of an L2-penalised logistic regression with targets in [0, 1] (L-BFGS)."""
    turned, target = x.T.tocsr(), target.astype(np.float32)

    def loss(theta: Array) -> tuple[float, Array]:
        weight = theta[:-1].astype(np.float32)
        z = x @ weight + np.float32(theta[-1])
        value = strength * (np.logaddexp(0, z) - target * z).sum(dtype=np.float64) + 0.5 * float(weight @ weight)
        rest = (1 / (1 + np.exp(-z)) - target).astype(np.float32)
        slope = strength * (turned @ rest) + weight
        return float(value), np.append(slope, strength * rest.sum(dtype=np.float64)).astype(np.float64)

    options = {"maxiter": steps, "maxcor": 8, "ftol": 1e-6}
    theta = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options=options).x
    return theta[:-1], float(theta[-1])


@dataclass(frozen=True, eq=False)
class Heads:
    """The linear models: features (K,), weights (K, 5) and biases (5,) as `Model` has them, not yet rounded."""

    known: Array
    weights: Array
    bias: Array

    @classmethod
    def fit(cls, examples: Examples, take: Array, *, steers_only: bool = False) -> Heads:
        """From the words that `take` (W,) names."""
        rows = np.flatnonzero(take)
        known = known_features(examples.keys[rows])
        x = design(examples.keys[rows], known)
        weights, bias = np.zeros((len(known), scoring.HEADS)), np.zeros(scoring.HEADS)
        weights[:, 0], bias[0] = logistic(x, examples.steers[rows])
        if not steers_only:
            marked = examples.steers[rows] > 0
            share = examples.function[rows][marked] / examples.function[rows][marked].sum(1, keepdims=True)
            for k in range(3):
                weights[:, 1 + k], bias[1 + k] = logistic(x[marked], share[:, k])
            inner = marked[1:] & marked[:-1] & (examples.excerpt[rows][1:] == examples.excerpt[rows][:-1])
            after = 1 + np.flatnonzero(inner)
            weights[:, 4], bias[4] = logistic(x[after], examples.begins[rows][after])
        return cls(known, weights, bias)

    def log_odds(self, examples: Examples, take: Array) -> Array:
        """Of the first head, for some words."""
        return np.asarray(design(examples.keys[take], self.known) @ self.weights[:, 0] + self.bias[0])


# --- 3. smoothing and threshold, out of fold --------------------------------------------------------------------------
def folds(count: int, seed: int = 0) -> Array:
    """A fold for each excerpt, at random."""
    return np.random.default_rng(seed).permutation(count) % FOLDS


def crossed(examples: Examples, fold: Array, *, among: Array | None = None) -> Array:
    """(W,) log-odds of each word by heads fitted to the other folds' licensed excerpts (of those `among`)."""
    found = np.zeros(len(examples.keys))
    usable = examples.licensed if among is None else examples.licensed & among[examples.excerpt]
    for f in range(int(fold.max()) + 1):
        out = fold[examples.excerpt] == f
        if out.any():
            found[out] = Heads.fit(examples, usable & ~out, steers_only=True).log_odds(examples, out)
    return found


def neighbours(examples: Examples, z: Array) -> Array:
    """(W, columns) what the smoothing looks at, in the order of `Smoothing.fit`."""
    n, s = len(z), scoring.SMOOTH
    here, flags, excerpt = np.arange(n), examples.flags, examples.excerpt
    z = z.clip(FLOOR, -FLOOR)
    near, across, blocked = [], [], []
    for offset in range(-s, s + 1):
        there = (here + offset).clip(0, n - 1)
        inside = (here + offset == there) & (excerpt[there] == excerpt)
        broken = np.zeros(n, bool)
        for step in range(min(0, offset) + 1, max(0, offset) + 1):
            at = (here + step).clip(0, n - 1)
            beyond = (here + step != at) | (excerpt[at] != excerpt)
            broken |= np.where(beyond, False, (flags[at] & features._FIRM) > 0)
        value = np.where(inside, z[there], FLOOR)
        near.append(value if offset == 0 else np.where(broken, FLOOR, value))
        across.append(np.where(broken, value, FLOOR) if offset else np.zeros(n))
        blocked.append(broken * 1.0 if offset else np.zeros(n))
    gaps = []
    for offset in range(-1, 3):
        there = (here + offset).clip(0, n - 1)
        inside = (here + offset == there) & (excerpt[there] == excerpt)
        value = np.where(inside, flags[there], 0)
        bits = [1 << g for g in range(9)] + [reading.NAME, reading.CAPITAL]
        gaps += [(value & bit > 0) * 1.0 for bit in bits]
    return np.stack([*near, *across, *blocked, *gaps], 1)


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Weights (columns,) of `neighbours`, and the bias."""

    weight: Array
    bias: float

    @classmethod
    def fit(cls, examples: Examples, z: Array, take: Array) -> Smoothing:
        """From log-odds out of fold."""
        x = neighbours(examples, z)[take]
        mean, scale = x.mean(0), x.std(0)
        scale = np.where(scale < 1e-6, 1.0, scale)
        weight, bias = logistic(
            sparse.csr_matrix((x - mean) / scale, dtype=np.float32), examples.steers[take], steps=300
        )
        weight = np.where(x.std(0) < 1e-6, 0.0, weight / scale)
        return cls(weight, bias - float(weight @ mean))

    def probability(self, examples: Examples, z: Array) -> Array:
        """(W,)."""
        return np.asarray(1 / (1 + np.exp(-(neighbours(examples, z) @ self.weight + self.bias))))

    def tensors(self) -> dict[str, Array]:
        """As `_tagger_score.smooth` takes them: the bias lies in `blocked`'s middle."""
        width = 2 * scoring.SMOOTH + 1
        near, across, blocked = (self.weight[i * width : (i + 1) * width].copy() for i in range(3))
        blocked[scoring.SMOOTH] = self.bias
        gaps = self.weight[3 * width :].reshape(4, scoring.GAPS).copy()
        return {"near": near, "across": across, "blocked": blocked, "gaps": gaps}


def best_threshold(examples: Examples, probability: Array, among: Array, precision: float = PRECISION) -> float:
    """The threshold of most recall among those that reach the precision on some excerpts (E,)."""
    value, marked, core, excerpt = examples.words_hit(probability)
    value, marked, core = (part[among[excerpt]] for part in (value, marked, core))
    order = np.argsort(-value, kind="stable")
    right = np.cumsum(marked[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero((right >= precision) & (np.cumsum(core[order]) > 0))
    return float(value[order][good[-1]]) if len(good) else 0.99


def tagged_out_of_fold(examples: Examples, fold: Array, z: Array) -> tuple[Array, list[list[tuple[int, int]]]]:
    """Probabilities (W,) and spans of each excerpt, with smoothing and threshold of the other folds."""
    probability = np.zeros(len(z))
    spans: list[list[tuple[int, int]]] = [[] for _ in examples.excerpts]
    for f in range(int(fold.max()) + 1):
        out = fold[examples.excerpt] == f
        smoothing = Smoothing.fit(examples, z, examples.licensed & ~out)
        found = smoothing.probability(examples, z)
        probability[out] = found[out]
        threshold = best_threshold(examples, found, fold != f)
        for i in np.flatnonzero(out & (found >= threshold)):
            spans[examples.excerpt[i]].append((int(examples.chars[i, 0]), int(examples.chars[i, 1])))
    return probability, spans


# --- the file ---------------------------------------------------------------------------------------------------------
def rounded(heads: Heads) -> dict[str, Array]:
    """8-bit weights: one scale for the first head, one for the three functions, one for begins; zeros left out."""
    unit = np.ones(scoring.HEADS)
    for columns in ([0], [1, 2, 3], [4]):
        unit[columns] = np.abs(heads.weights[:, columns]).max() / 127
    weights = np.rint(heads.weights / unit).astype(np.int8)
    kept = np.abs(weights).max(1) > 0
    bias = np.rint(heads.bias / unit).astype(np.int32)
    return {
        "keys": heads.known[kept], "weights": weights[kept], "bias": bias, "scale": np.array([unit[0], FLOOR]),
    }  # fmt: skip


def write(path: Path, tensors: dict[str, Array], about: dict[str, Any]) -> None:
    """The file, whole or not at all."""
    from safetensors.numpy import save

    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "text_version": TEXT_VERSION, **about}
    plain = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in head.items()}
    part = path.with_name(path.name + ".part")
    part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, plain))
    part.replace(path)


def known_moves(model: Model, traces: Iterable[Trace]) -> GramSet:
    """Wordings that the tagger finds in many problems, with their commonest function."""
    machine = TaggerMachine(byte_vocab(), model, moves_of([]))
    problems: dict[str, set[bytes]] = defaultdict(set)
    functions: dict[str, Counter[int]] = defaultdict(Counter)

    for trace in traces:
        problem = hashlib.md5(trace.problem.strip().lower().encode("utf-8", "replace")).digest()[:6]
        for span in tag(trace.solution, machine):
            stretches = words_of(span.text)
            if len(stretches) == 1 and len(stretches[0]) <= 10:
                text = " ".join(stretches[0])
                problems[text].add(problem)
                functions[text][FUNCTIONS.index(span.function)] += 1
    taken = sorted(text for text, found in problems.items() if len(found) >= MOVES and text.isascii())
    known = [Gram(text, function=FUNCTIONS[functions[text].most_common(1)[0][0]]) for text in taken]
    return moves_of(gram for gram in known if not gram.text.startswith("other "))


def main(folder: Path) -> None:
    """Train and write."""
    traces = list(licensed_traces(folder))
    words = lexicon(traces)
    examples = Examples([e for e in annotated(folder) if e.source != UNLICENSED], words)
    print(
        f"{len(words.words)} words, {len(examples.excerpts)} excerpts, {len(examples.keys)} annotated words", flush=True
    )
    fold = folds(len(examples.excerpts))
    z = crossed(examples, fold)
    smoothing = Smoothing.fit(examples, z, examples.licensed)
    threshold = best_threshold(examples, smoothing.probability(examples, z), np.ones(len(fold), bool))
    heads = Heads.fit(examples, examples.licensed)
    tensors = {
        "words": np.frombuffer(b"\n".join(words.words), np.uint8), "coarse": words.coarse, "fine": words.fine,
        **rounded(heads), **smoothing.tensors(),
    }  # fmt: skip
    about: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "excerpts": len(examples.excerpts),
        "words_annotated": len(examples.keys),
        "made_by": "scripts/train_tagger.py",
        "note": "fitted to planning spans that a language model marked in two passes",
    }
    write(TARGET, tensors, about)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB, {len(tensors['keys'])} features, threshold {threshold:.3f}")
    moves = known_moves(load_model(TARGET), traces[::3])
    moves.save(SET)
    print(f"{SET}: {len(moves)} moves")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
