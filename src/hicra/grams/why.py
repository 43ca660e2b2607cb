"""Why is this phrase in the set, or why not?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hicra.grams.evidence import Evidence
from hicra.grams.gramset import Gram, GramSet
from hicra.grams.pattern import Slot, is_pattern, normalise_any, parse
from hicra.grams.text import ENGLISH, text_rules

if TYPE_CHECKING:
    from hicra.grams.embed import Encoder

_AT = {"any": "anywhere", "clause": "where a clause begins", "sentence": "where a sentence begins"}


@dataclass(frozen=True)
class Answer:
    """What there is to say about a phrase.

    Attributes:
        text: the phrase, normalised.
        verdict: ``"in"`` the set, ``"out"`` (a candidate that was dropped) or ``"unknown"`` (no candidate, or there is
            no evidence of the run that made the set).
        reasons: sentences, the one that decides first.
        cluster: other wordings of its cluster, those in most problems first.
        inside: grams of the set that the phrase holds: these words of it are labelled.
        pattern: the pattern of the set that the phrase is an occurrence of, or None where the set holds it as it is.
        slots: what fills the pattern's slots, (slot, words) in order.
        nearest: (gram of the set, likeness in 0..1), likest first; only for phrases that are not in the set.
        numbers: the candidate's row of the evidence, empty where there is none.
    """

    text: str
    verdict: Literal["in", "out", "unknown"]
    reasons: tuple[str, ...]
    cluster: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    nearest: tuple[tuple[str, float], ...] = ()
    numbers: dict[str, Any] | None = None
    pattern: str | None = None
    slots: tuple[tuple[str, str], ...] = ()


def why(
    phrase: str,
    grams: GramSet,
    evidence: Evidence | None = None,
    *,
    encoder: Encoder | None = None,
    nearest: int = 5,
) -> Answer:
    """Say why a phrase is in a set or not.

    Args:
        phrase: in any spelling that `normalise_gram` takes, or a pattern.
        grams: the set.
        evidence: of the mining run that made the set.
        encoder: for the grams that are nearest in meaning; without one, likeness is that of the spelling.
        nearest: name so many grams of the set.

    Raises:
        DataError: the phrase holds no word, or a break that no gram can reach across.
    """
    text, _ = normalise_any(phrase, None if grams.rules == ENGLISH else text_rules(name=grams.rules))
    row = None if evidence is None else evidence.row(text)
    inside = tuple(g.text for g in grams if g.text != text and _holds(text, g.text))
    if text in grams:
        gram = grams[grams.index(text)]
        others = () if gram.cluster is None else tuple(g.text for g in grams if g.cluster == gram.cluster)
        if row is not None and evidence is not None and gram.cluster is not None:
            known = {t: i for i, t in enumerate(evidence.members(gram.cluster))}
            others = tuple(sorted(others, key=lambda t: known.get(t, len(known))))
        reasons = _why_in(gram, grams, row, evidence)
        return Answer(text, "in", reasons, tuple(t for t in others if t != text), inside, (), row)
    for gram in grams:  # of several patterns the first one labels it, and a set's order is that of its texts
        filled = parse(gram.text).fill(text.split(" ")) if is_pattern(gram.text) else None
        if filled is not None:
            others = () if gram.cluster is None else tuple(g.text for g in grams if g.cluster == gram.cluster)
            return Answer(
                text, "in", (_occurs(gram, filled), *_why_in(gram, grams, None, None)),
                tuple(t for t in others if t != gram.text), tuple(t for t in inside if t != gram.text), (), row,
                gram.text, filled,
            )  # fmt: skip
    near = tuple(_nearest(text, grams, encoder)[:nearest])
    if row is not None and evidence is not None:
        reasons = (_decided(text, row, evidence), *_counted(row, evidence))
        return Answer(text, "out", reasons, (), inside, near, row)
    return Answer(text, "unknown", (_why_unknown(text, grams, evidence),), (), inside, near)


def _holds(text: str, gram: str) -> bool:
    """Whether a phrase holds a gram, or an occurrence of it, word by word."""
    if not is_pattern(gram):
        return f" {gram} " in f" {text} "
    if is_pattern(text):
        return False
    words, pattern = text.split(" "), parse(gram)
    lengths = {len(frame) for frame in pattern.frames()}
    windows = (words[i : i + n] for n in lengths for i in range(len(words) - n + 1) if n < len(words))
    return any(pattern.fill(window) is not None for window in windows)


def _occurs(gram: Gram, filled: tuple[tuple[str, str], ...]) -> str:
    """That a phrase is an occurrence of a pattern, and how."""
    said = ", ".join(f"<{slot}> is {words!r}" for slot, words in filled)
    return f"it is an occurrence of the pattern {gram.text!r}" + (f": {said}" if said else "")


def _stands_for(text: str, most: int = 8) -> str:
    """What a pattern's slots take, in words."""
    slots = {part.name: part.choices for part in parse(text).parts if isinstance(part, Slot)}
    slots |= {
        p.name: p.choices for part in parse(text).parts if isinstance(part, tuple) for p in part if isinstance(p, Slot)
    }

    def listed(choices: tuple[str, ...] | None) -> str:
        if choices is None:
            return "any word"
        rest = f" and {len(choices) - most} more" if len(choices) > most else ""
        return f"{', '.join(choices[:most])}{rest}"

    return "; ".join(f"<{name}>: {listed(choices)}" for name, choices in slots.items())


def _why_in(gram: Gram, grams: GramSet, row: dict[str, Any] | None, evidence: Evidence | None) -> tuple[str, ...]:
    what = f"the pattern {gram.text!r}" if is_pattern(gram.text) else "it"
    reasons = [f"{what} is in the set {grams.name!r} and counts {_AT[gram.at]}"]
    if is_pattern(gram.text) and (slots := _stands_for(gram.text)):
        reasons.append(slots)
    if row is not None and evidence is not None:
        reasons += [_decided(gram.text, row, evidence), *_counted(row, evidence)]
    else:
        source = grams.provenance.get("source")
        reasons.append(
            f"source of the set: {source}" if source else "there is no evidence of the run that made the set"
        )
    if gram.cluster is not None:
        size = sum(g.cluster == gram.cluster for g in grams)
        share = ""
        if row is not None and evidence is not None and row["cluster_problems"] == row["cluster_problems"]:
            total = _total(evidence)
            share = f", which are in {int(row['cluster_problems']):,} problems" + (
                f" ({row['cluster_problems'] / total:.1%})" if total else ""
            )
        reasons.append(f"it is one of {size} wordings of {gram.cluster!r}{share}")
    if gram.function is not None:
        reasons.append(f"its function is {gram.function}")
    return tuple(reasons)


def _decided(text: str, row: dict[str, Any], evidence: Evidence) -> str:
    """What the rule that decided says of a candidate."""
    from hicra.grams.filters import keeps, late_rules, rules, signals
    from hicra.grams.judge import fingerprint
    from hicra.grams.profiles import Profile

    if row["reason"]:
        return str(row["reason"])
    settings: dict[str, Any] = dict(evidence.facts["profile"])
    if isinstance(settings["min_problems"], list):
        settings["min_problems"] = tuple(settings["min_problems"])
    profile = Profile(**settings)
    if profile.judged and evidence.facts["judge"] != fingerprint():
        verdict = f"the rule {row['rule']!r} dropped it" if row["rule"] else "all rules kept it"
        return f"{verdict} (by a judge that this version of hicra no longer has)"
    counts = evidence.counts_of(text)
    i = counts.text.tolist().index(text)
    measured = {name: values[i] for name, values in signals(counts).items()}
    measured |= {name: row[name] for name in row if name.startswith("steers")}
    for rule in (*rules(profile), *late_rules(profile)):
        if rule.name == row["rule"]:
            return rule.says(measured)
    return keeps(measured, profile)


def _counted(row: dict[str, Any], evidence: Evidence) -> list[str]:
    total = _total(evidence)
    share = f" ({row['problems'] / total:.2%})" if total else ""
    said = f"it occurs {int(row['tf']):,} times in {int(row['df']):,} solutions to {int(row['problems']):,} problems"
    starts = f"{row['clause'] / max(1, row['tf']):.0%} of the occurrences begin a clause"
    return [f"{said}{share}; {starts}"]


def _why_unknown(text: str, grams: GramSet, evidence: Evidence | None) -> str:
    if evidence is None:
        return f"it is not in the set {grams.name!r}; there is no evidence of the run that made the set"
    counted = evidence.facts.get("counted", {})
    longest, least = counted.get("n_max"), counted.get("min_problems")
    n = len(text.split(" "))
    if longest is not None and n > longest:
        return f"it has {n} words; n-grams of up to {longest} words were counted"
    of = f" of {_total(evidence):,}" if _total(evidence) else ""
    return f"it occurs in fewer than {least} distinct problems{of}, so it was not counted as a candidate"


def _total(evidence: Evidence) -> int:
    return int(evidence.facts.get("counted", {}).get("n_problems", 0))


def _nearest(text: str, grams: GramSet, encoder: Encoder | None) -> list[tuple[str, float]]:
    """Grams of the set with their likeness to a phrase, likest first."""
    texts = [g.text for g in grams if not is_pattern(g.text)]
    if not texts:
        return []
    likeness: Sequence[float]
    if encoder is not None:
        vectors = encoder.encode([text, *texts])
        likeness = (vectors[1:] @ vectors[0]).tolist()
    else:
        wanted = _trigrams(text)
        likeness = [_dice(wanted, _trigrams(t)) for t in texts]
    return sorted(zip(texts, likeness, strict=True), key=lambda pair: (-pair[1], pair[0]))


def _trigrams(text: str) -> Counter[str]:
    padded = f"  {text} "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))


def _dice(a: Counter[str], b: Counter[str]) -> float:
    """Shared trigrams: 2 |a and b| / (|a| + |b|)."""
    return 2 * (a & b).total() / (a.total() + b.total())
