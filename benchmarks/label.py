"""Labelling speed: the byte-level automaton against a sliding window over decoded tokens, in one run.

    python benchmarks/label.py [--tokens 4000000] [--grams 1500] [--patterns 100] [--only-ours] [--json]

Claims: at least 20 M tokens/s on one core for 1,500 grams, with patterns among them too; at least 1,000 times the
sliding window; building takes under 1 s with a vocabulary of 150 k tokens; the automaton takes under 10 MB. The tagger:
1 M tokens/s on one core.

The patterns are grams of the set with a word behind or before them turned into a slot or an option, taking slots of
the inventory in turn, beside those of the shipped set `patterns`: the set keeps its size. Phrases alone and
phrases with patterns are timed in turns, so that what else the machine does meets both.

The text is the bundled sample, repeated; the tokenizer is a byte-level BPE trained on it, filled up to 150 k tokens
with word pieces that do not occur, as most of a real vocabulary does not. The sliding window decodes every window of
up to 8 tokens and searches it for each gram; the cached window decodes each token once and looks windows up in a hash
set. Both are timed on a slice.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from hicra.grams.gramset import Gram, GramSet
from hicra.grams.text import words
from hicra.labels.labeller import Labeller
from hicra.traces.read import sample_traces


def byte_level_bpe(texts: list[str], vocabulary: int):
    """A byte-level BPE tokenizer trained on the texts and filled up to `vocabulary` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    state = json.loads(bpe.to_str())
    pieces = state["model"]["vocab"]
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    while len(pieces) < vocabulary:
        piece = "Ġ" + "".join(rng.choice(letters, rng.integers(3, 12)))
        pieces.setdefault(piece, len(pieces))
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token="<|end|>")


def gram_set(texts: list[str], size: int) -> GramSet:
    """The paper's list, filled up with 3- to 5-grams drawn at random from those that occur in at least two texts.

    (Taking the most common ones instead would label every sixth token, three times the share of real planning tokens.)
    """
    paper = [g.text for g in GramSet.load("paper")]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(
            {
                " ".join(stretch[i : i + n])
                for stretch in words(text)
                for n in (3, 4, 5)
                for i in range(len(stretch) - n + 1)
            }
        )
    more = sorted(gram for gram, documents in counts.items() if documents > 1 and gram not in paper)
    random.Random(0).shuffle(more)
    return GramSet.from_grams([*paper, *more][:size])


def with_patterns(grams: GramSet, size: int) -> GramSet:
    """The set with `size` of its phrases of two words or more made patterns: those of the shipped set, then ones that
    take a slot beside their last word."""
    found = {p.text: p for p in list(GramSet.load("patterns"))[:size]}
    phrases = [g.text for g in grams if " " in g.text]
    random.Random(1).shuffle(phrases)
    slots = itertools.cycle(["<det>", "<verb>", "[<adv>]", "<modal>", "<pron>", "<be>", "<noun>"])
    for phrase in phrases:
        if len(found) >= size:
            break
        words = phrase.split(" ")
        made = Gram(" ".join([*words[:-1], next(slots), words[-1]][: len(words) + 1]))
        found.setdefault(made.text, made)
    rest = [g for g in grams if g.text not in found][: len(grams) - len(found)]
    return GramSet.from_grams([*found.values(), *rest], name="with patterns")


def sliding_window(ids: np.ndarray, tokenizer, grams: GramSet, longest: int = 8) -> np.ndarray:
    """The naive way: decode every window of up to `longest` tokens and look each gram up in its text."""
    phrases = [g.text for g in grams]
    mask = np.zeros(len(ids), bool)
    for i in range(len(ids)):
        for j in range(i + 1, min(i + longest, len(ids)) + 1):
            text = tokenizer.decode(ids[i:j]).lower()
            if any(phrase in text for phrase in phrases):
                mask[i:j] = True
    return mask


def cached_window(ids: np.ndarray, tokenizer, grams: GramSet, longest: int = 24) -> np.ndarray:
    """The same with sense: fragments decoded once, windows looked up in a hash set."""
    known = {g.text for g in grams}
    fragments = [tokenizer.decode([int(i)]) for i in ids]
    mask = np.zeros(len(ids), bool)
    for i in range(len(ids)):
        for j in range(i + 1, min(i + longest, len(ids)) + 1):
            if "".join(fragments[i:j]).lower().strip(" ,.!?:;\n") in known:
                mask[i:j] = True
    return mask


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds of this process: all ways run on one thread, and a shared machine disturbs these least."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4_000_000)
    parser.add_argument("--grams", type=int, default=1_500)
    parser.add_argument("--vocabulary", type=int, default=150_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--patterns", type=int, default=100, help="so many of the grams are patterns in a second set")
    parser.add_argument("--only-ours", action="store_true", help="leave the naive ways out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    texts = [trace.solution for trace in sample_traces()]
    tokenizer = byte_level_bpe(texts, options.vocabulary)
    grams = gram_set(texts, options.grams)
    rows = tokenizer(texts)["input_ids"]
    once = np.concatenate([np.array(row, np.int64) for row in rows])
    copies = -(-options.tokens // len(once))
    ids = np.tile(once, copies)
    lengths = np.tile([len(row) for row in rows], copies)
    offsets = np.concatenate([[0], np.cumsum(lengths)])

    Labeller(grams, tokenizer).label(ids[:10])  # compile, or load what an earlier run compiled
    from hicra.labels import vocab

    def build(chosen: GramSet = grams) -> None:
        vocab._CACHE.clear()
        Labeller(chosen, tokenizer)

    patterned = with_patterns(grams, options.patterns)
    build_seconds, build_patterned = timed(build, 3), timed(lambda: build(patterned), 3)
    labeller, other = Labeller(grams, tokenizer), Labeller(patterned, tokenizer)
    seconds, seconds_patterned = [], []
    for _ in range(options.repeats):
        seconds += timed(lambda: labeller.label(ids, offsets=offsets), 1)
        seconds_patterned += timed(lambda: other.label(ids, offsets=offsets), 1)
    labels = labeller.label(ids, offsets=offsets)
    tagger = Labeller("tagger", tokenizer)
    some = ids[: len(once)]
    tagger.label(some[:100])
    seconds_tagger = timed(lambda: tagger.label(some, offsets=offsets[: len(rows) + 1]), options.repeats)

    peers = {}
    rate = len(ids) / statistics.median(seconds)
    ways = (("sliding_window", sliding_window, 1_500), ("cached_window", cached_window, 20_000))
    for name, way, tokens in () if options.only_ours else ways:
        middle = len(once) // 2
        piece = once[middle : middle + tokens]
        marked: list[np.ndarray] = []
        took = timed(lambda way=way, piece=piece, marked=marked: marked.append(way(piece, tokenizer, grams)), 3)
        ours, theirs = labeller.label(piece).mask, marked[0]
        peer_rate = len(piece) / statistics.median(took)
        peers |= {
            f"{name}_tokens_per_s": round(peer_rate),
            f"{name}_ratio": round(rate / peer_rate),
            f"{name}_recall_of_ours": round(float((ours & theirs).sum() / max(1, ours.sum())), 3),
            f"{name}_precision_by_ours": round(float((ours & theirs).sum() / max(1, theirs.sum())), 3),
        }
    result = {
        "tokens": len(ids),
        "grams": len(grams),
        "vocabulary": len(labeller.vocab),
        "bytes_per_token": round(float(np.diff(labeller.vocab.offset)[once].mean()), 2),
        "planning_share": round(float(labels.mask.mean()), 4),
        "million_tokens_per_s": round(rate / 1e6, 1),
        "million_tokens_per_s_range": [round(len(ids) / s / 1e6, 1) for s in (max(seconds), min(seconds))],
        "tagger_million_tokens_per_s": round(len(some) / statistics.median(seconds_tagger) / 1e6, 2),
        "tagger_million_tokens_per_s_range": [
            round(len(some) / s / 1e6, 2) for s in (max(seconds_tagger), min(seconds_tagger))
        ],
        "tagger_planning_share": round(float(tagger.label(some, offsets=offsets[: len(rows) + 1]).mask.mean()), 4),
        **peers,
        "build_s": round(statistics.median(build_seconds), 3),
        "build_s_range": [round(min(build_seconds), 3), round(max(build_seconds), 3)],
        "automaton_mb": round(labeller.automaton.nbytes / 1e6, 2),
        "automaton_states": len(labeller.automaton.go),
        "patterns": patterned.patterns,
        "patterns_planning_share": round(float(other.label(ids, offsets=offsets).mask.mean()), 4),
        "patterns_million_tokens_per_s": round(len(ids) / statistics.median(seconds_patterned) / 1e6, 1),
        "patterns_million_tokens_per_s_range": [
            round(len(ids) / s / 1e6, 1) for s in (max(seconds_patterned), min(seconds_patterned))
        ],
        "patterns_build_s": round(statistics.median(build_patterned), 3),
        "patterns_automaton_mb": round(other.automaton.nbytes / 1e6, 2),
        "patterns_automaton_states": len(other.automaton.go),
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:32} {value}")


if __name__ == "__main__":
    main()
