"""Controls that credit as many tokens as HICRA, but not the planning ones.

**Placebo grams** (arXiv 2509.03646): random n-grams in place of the Strategic Grams. Each gram of the set gets a
partner with as many words, the same `at`, and about as many occurrences in a corpus. No partner contains a gram of the
set or lies in one, and only occurrences clear of the set's own are counted (at labelling time `HicraCredit` credits no
true planning token either). As the policy changes, a placebo loses its share of tokens, for nothing rewards its
wording: draw it anew from recent completions.

**Rate-matched random mask** (ours): in each completion the labelled occurrences keep their number and lengths and go to
other places, every arrangement equally likely. So each completion has exactly as many credited tokens as with HICRA, in
runs of the same lengths, and what a difference to HICRA shows is *where* they are. A Bernoulli draw for each token
would match the rate on average only, credit single tokens in place of phrases, and lose that some completions plan more
than others. Random places may fall on planning tokens, as often as chance has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra import _shapes
from hicra.errors import DataError
from hicra.grams.gramset import Gram, GramSet
from hicra.grams.text import TextRules, text_rules, words

if TYPE_CHECKING or _shapes.CHECKED:
    from jaxtyping import Bool, Int
    from torch import Tensor

_NEAR = 0.1  # partners may differ by this share in occurrences ...
_CHOICES = 16  # ... or be among this many nearest, so that a draw has something to draw from


# --- placebo ----------------------------------------------------------------------------------------------------------
def placebo_grams(grams: GramSet, texts: Iterable[str], *, seed: int = 0) -> GramSet:
    """Random n-grams of a corpus, one for each gram of a set, matched in words and in frequency.

    Frequency is that of labelled occurrences (leftmost, then longest); for a gram that only counts at the start of a
    clause or sentence, of those that start a stretch between breaks. The shares of the corpus's words that the set and
    its placebo cover are in the result's provenance.

    Args:
        grams: the set to be controlled for.
        texts: the corpus: solutions, or recent completions of the policy. Its order does not matter.
        seed: of the draw.

    Returns:
        A set of as many grams, named ``<name>-placebo-seed<seed>``, without clusters and functions.

    Raises:
        DataError: the corpus is empty, or has too few different n-grams.
    """
    if grams.patterns:
        raise DataError(
            f"the set {grams.name!r} holds {grams.patterns} patterns, and a pattern has no partner of as many words",
            expected="phrases only",
            mend="take the rate-matched random mask as the control, or a set without the patterns",
        )
    corpus = _Corpus(texts, text_rules(name=grams.rules))
    real = [(tuple(g.text.split(" ")), g.at) for g in grams]
    counts, covered = corpus.occurrences(real)
    inside = {part for gram, _ in real for part in _parts(gram)}
    real_texts = {gram for gram, _ in real}
    rng = np.random.default_rng(seed)
    pools: dict[tuple[int, bool], _Pool] = {}
    taken: list[tuple[str, ...]] = []
    placebo: list[Gram] = []
    # frequent grams first: they weigh most and have the fewest candidates
    for index in sorted(range(len(real)), key=lambda i: (-counts[i], real[i])):
        gram, at = real[index]
        key = (len(gram), at != "any")
        if key not in pools:
            pools[key] = corpus.candidates(len(gram), starts_only=at != "any", avoid=covered)
        for candidate in pools[key].near(counts[index], rng):
            parts = set(_parts(candidate))
            if candidate in inside or parts & real_texts:
                continue
            if any(candidate in _parts(t) or t in parts for t in taken):
                continue
            break
        else:
            raise DataError(
                f"the corpus has no placebo of {len(gram)} words for the gram {' '.join(gram)!r}",
                expected="many different n-grams that overlap no gram of the set",
                got=f"{corpus.size} words",
                mend="give more texts",
            )
        taken.append(candidate)
        placebo.append(Gram(" ".join(candidate), at=at))
    matched, placebo_covered = corpus.occurrences([(tuple(g.text.split(" ")), g.at) for g in placebo])
    return GramSet.from_grams(
        placebo,
        name=f"{grams.name}-placebo-seed{seed}",
        text_version=grams.text_version,
        rules=grams.rules,
        provenance={
            "control": "placebo",
            "parent": grams.name,
            "parent_hash": grams.hash,
            "seed": seed,
            "corpus_words": corpus.size,
            "occurrences": {"parent": sum(counts), "placebo": sum(matched)},
            "share_of_words": {
                "parent": float(covered.mean()),
                "placebo": float((placebo_covered & ~covered).mean()),
            },
        },
    )


def _parts(gram: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every contiguous part of a gram, itself included."""
    for i in range(len(gram)):
        for j in range(i + 1, len(gram) + 1):
            yield gram[i:j]


class _Corpus:
    """Texts as one array of word ids, with the number of words that follow each in its stretch between breaks."""

    def __init__(self, texts: Iterable[str], rules: TextRules) -> None:
        if isinstance(texts, str):
            raise DataError("texts is one string", expected="a list of texts", got=repr(texts)[:80])
        ids: dict[str, int] = defaultdict(lambda: len(ids))
        flat: list[int] = []
        lengths: list[int] = []
        for text in texts:
            for stretch in words(text, rules):
                flat.extend(ids[word] for word in stretch)
                lengths.append(len(stretch))
        if not flat:
            raise DataError("the corpus for the placebo grams is empty", expected="texts with words", got="none")
        self.vocabulary = list(ids)
        self.ids: dict[str, int] = dict(ids)
        self.words = np.array(flat, np.int64)
        ends = np.repeat(np.cumsum(lengths), lengths)
        self.left = ends - np.arange(len(flat))  # words from here to the end of the stretch
        self.starts = np.repeat(np.cumsum(lengths) - lengths, lengths) == np.arange(len(flat))

    @property
    def size(self) -> int:
        return len(self.words)

    def occurrences(
        self, grams: Sequence[tuple[tuple[str, ...], str]]
    ) -> tuple[list[int], np.ndarray[Any, np.dtype[np.bool_]]]:
        """Occurrences of each gram as the labeller finds them, and the words that they cover (N,)."""
        by_first: dict[int, list[tuple[tuple[int, ...], bool, int]]] = defaultdict(list)
        for index, (gram, at) in enumerate(grams):
            coded = tuple(self.ids.get(word, -1) for word in gram)
            if -1 not in coded:
                by_first[coded[0]].append((coded, at != "any", index))
        for entries in by_first.values():
            entries.sort(key=lambda entry: -len(entry[0]))
        counts = [0] * len(grams)
        covered = np.zeros(self.size, np.bool_)
        first = np.zeros(len(self.vocabulary), np.bool_)
        first[list(by_first)] = True
        stream: list[int] = self.words.tolist()
        free_from = 0
        for i in np.flatnonzero(first[self.words]).tolist():
            for coded, starts_only, index in by_first[stream[i]]:
                n = len(coded)
                if n > self.left[i] or (starts_only and not self.starts[i]):
                    continue
                if tuple(stream[i : i + n]) == coded:
                    if i + n > free_from:  # else it lies in a match that began before
                        counts[index] += 1
                        covered[i : i + n] = True
                        free_from = i + n
                    break
        return counts, covered

    def candidates(self, n: int, *, starts_only: bool, avoid: np.ndarray[Any, np.dtype[np.bool_]]) -> _Pool:
        """The different n-grams that occur clear of the words to avoid, with their counts."""
        busy = np.concatenate([[0], np.cumsum(avoid)])
        at = np.flatnonzero(self.left >= n)
        at = at[busy[at + n] == busy[at]]
        if starts_only:
            at = at[self.starts[at]]
        code = np.zeros(len(at), np.int64)
        for k in range(n):  # exact: the ids of the k-grams so far are packed anew before each further word
            code = np.unique(code * len(self.vocabulary) + self.words[at + k], return_inverse=True)[1]
        _, first, counts = np.unique(code, return_index=True, return_counts=True)
        grams = [tuple(self.vocabulary[w] for w in self.words[i : i + n]) for i in at[first].tolist()]
        order = sorted(range(len(grams)), key=lambda j: (counts[j], grams[j]))  # whatever the order of the texts
        return _Pool([grams[j] for j in order], counts[order])


class _Pool:
    """n-grams in ascending order of count; each is handed out once."""

    def __init__(self, grams: list[tuple[str, ...]], counts: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.grams, self.counts = grams, counts
        self.free = np.ones(len(grams), np.bool_)

    def near(self, count: int, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
        """Candidates in random order among those of about that count, then ever farther ones; what is drawn is gone."""
        target = max(count, 1)
        low = int(np.searchsorted(self.counts, np.floor(target * (1 - _NEAR)), "left"))
        high = int(np.searchsorted(self.counts, np.ceil(target * (1 + _NEAR)), "right"))
        while True:
            choice = np.flatnonzero(self.free[low:high]) + low
            if len(choice) < _CHOICES:
                distance = np.abs(np.log(self.counts / target))
                distance[~self.free] = np.inf
                nearest = np.argsort(distance, kind="stable")[:_CHOICES]
                choice = np.union1d(choice, nearest[self.free[nearest]])
            if not len(choice):
                return
            drawn = int(rng.choice(choice))
            self.free[drawn] = False
            yield self.grams[drawn]


# --- random mask ------------------------------------------------------------------------------------------------------
def random_mask(
    planning_mask: Bool[Tensor, "B T"],
    begin: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    token_ids: Int[Tensor, "B T"],
    *,
    seed: int = 0,
    step: int = 0,
) -> Bool[Tensor, "B T"]:
    """Each completion's occurrences at random places: as many tokens, in runs as long.

    The completion's occurrences and its single execution tokens are shuffled as wholes. The draw is a pure function of
    seed, step and the completion's own token ids: no state to save for a resume, and neither padding nor the order of
    the batch matters.

    Args:
        planning_mask, begin: (B, T), from the labeller.
        mask: (B, T) completion tokens; what is outside (padding, tool output) is neither moved nor credited.
        token_ids: (B, T).
        seed, step: of the draw; give the optimizer step, so that a completion that comes again gets another mask.

    Returns:
        (B, T), inside `mask`, with as many true tokens a row as ``planning_mask & mask``.
    """
    inside = mask.bool()
    flags = planning_mask & inside
    before = flags.new_zeros(flags.shape)
    before[:, 1:] = flags[:, :-1]
    starts = inside & (~flags | begin | ~before)  # of an occurrence, or of a token on its own
    item = starts.long().cumsum(1)
    rank = inside.long().cumsum(1)  # position among the completion's own tokens, from 1
    content = (_mix(token_ids.long() + _mix(rank)) * inside).sum(1, keepdim=True)
    draw = _mix(rank.new_full((1, 1), seed) + _mix(rank.new_full((1, 1), step)))
    key = _mix(_mix(content + draw) + _mix(item))
    key = (key & _TOP).masked_fill(~inside, _TOP + 1)  # the rest goes to the end
    order = key.argsort(dim=1, stable=True)  # tokens of one item share a key and stay together
    return flags.gather(1, order).gather(1, (rank - 1).clamp(min=0)) & inside


_TOP = (1 << 62) - 1
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as a signed 64-bit number; 2**64 over the golden ratio


def _mix(x: Int[Tensor, " ..."]) -> Int[Tensor, " ..."]:
    """A 64-bit hash of each number (the finaliser of splitmix64), in wrapping integer arithmetic on any device."""
    x = x + _GOLDEN
    x = (x ^ (x >> 30 & (1 << 34) - 1)) * (0xBF58476D1CE4E5B9 - (1 << 64))
    x = (x ^ (x >> 27 & (1 << 37) - 1)) * (0x94D049BB133111EB - (1 << 64))
    return x ^ (x >> 31 & (1 << 33) - 1)
