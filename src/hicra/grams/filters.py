"""The rules of the profiles: which n-grams are kept, where they count, and which clusters.

Every rule has a name, keeps or drops by signals alone, and says why in one sentence. In order:

1. ``length``   words within the profile's range                                  before embedding
2. ``likely``   probable enough to steer, from its numbers                        before embedding
3. ``steers``   probable enough to steer, from numbers and meaning                after embedding
4. ``cluster``  among the top clusters by document frequency                      after clustering

Profile ``paper`` has 1 and 4 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.grams import judge as judges
from hicra.grams.judge import probability
from hicra.grams.signals import Signals, measure

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.corpus import ClusterFrequency
    from hicra.grams.count import Counts
    from hicra.grams.functions import Encodes
    from hicra.grams.profiles import Profile

    Mask = npt.NDArray[np.bool_]

Row = Mapping[str, Any]
"""One gram's signals by name."""


@dataclass(frozen=True)
class Rule:
    """A named rule.

    Attributes:
        name: of the rule.
        keep: signals -> bool (K,).
        says: the signals of one gram that the rule drops -> why, one sentence.
    """

    name: str
    keep: Callable[[Signals], Any]
    says: Callable[[Row], str]


def signals(counts: Counts) -> Signals:
    """The signals of every counted n-gram (`hicra.grams.signals`) and ``likely``: how probable they make steering.

    Returns:
        Arrays (K,) by name; ``likely`` is the greatest over the places where the gram could count: one that never
        begins a clause is no candidate for clause starts.
    """
    found = measure(counts)
    found["likely"] = likely(found, judges.load("numbers").log_odds(found))
    return found


def likely(seen: Signals, odds: judges.LogOdds) -> npt.NDArray[np.float64]:
    """The probability (K,) of steering at the best of the places where a gram could count."""
    clause = np.where(seen["begins_clause"], odds.clause, -np.inf)
    sentence = np.where(seen["begins_sentence"], odds.sentence, -np.inf)
    found: npt.NDArray[np.float64] = probability(np.max([odds.inside, clause, sentence], axis=0))
    return found


def rules(profile: Profile) -> tuple[Rule, ...]:
    """The rules that need no vectors, in their order."""
    length = Rule(
        "length",
        lambda s: (s["n"] >= profile.n_min) & (s["n"] <= profile.n_max),
        lambda row: f"it has {row['n']:.0f} words, the profile takes {profile.n_min} to {profile.n_max}",
    )
    from_numbers = Rule(
        "likely",
        lambda s: s["likely"] >= profile.likely,
        lambda row: (
            f"from its numbers it steers with a probability of {row['likely']:.2f} "
            f"(looked at from {profile.likely:.2f}): {facts(row)}"
        ),
    )
    return (length, from_numbers) if profile.judged else (length,)


def judge(seen: Signals, vectors: npt.NDArray[np.float32], encoder: Encodes, profile: Profile) -> Signals:
    """What the vectors add to the signals.

    Args:
        seen: signals (K,) of the grams that were embedded.
        vectors: (K, D) unit rows.
        encoder: the one that made them.
        profile: nothing is added where it is not `judged`.

    Returns:
        Probabilities (K,) that an occurrence steers: ``steers_inside`` a clause, ``steers_clause`` and
        ``steers_sentence`` where one begins, and ``steers``, that of the places where the gram would count.
    """
    if not profile.judged:
        return {}
    chosen = judges.load("meaning")
    likeness = vectors @ np.asarray(encoder.encode(list(chosen.prototypes)), np.float32).T
    inside, clause, sentence = (probability(x) for x in chosen.log_odds(seen, likeness))
    found = {"steers_inside": inside, "steers_clause": clause, "steers_sentence": sentence}
    return found | {"steers": _best(seen, found, profile)[1]}


def _best(seen: Signals, steers: Signals, profile: Profile) -> tuple[Any, Any]:
    """Where each gram counts, (K,) of At, and the probability that an occurrence there steers, (K,)."""
    clause_share, sentence_share = probability(seen["clause"]), probability(seen["sentence"])
    inside, clause, sentence = (steers[f"steers_{place}"] for place in ("inside", "clause", "sentence"))
    # of the occurrences that begin a clause, some begin a sentence
    both = np.clip(sentence_share / np.maximum(clause_share, 1e-12), 0, 1)
    at_clause = both * sentence + (1 - both) * clause
    anywhere = clause_share * at_clause + (1 - clause_share) * inside
    # the widest place where occurrences steer: each kind of them, or (where one kind is rare) all taken together
    wide = (np.minimum(inside, at_clause) >= profile.steers) | (
        (inside >= profile.steers) & (anywhere >= profile.steers)
    )
    at_clauses = seen["begins_clause"] & (at_clause >= profile.steers)
    at = np.where(wide, "any", np.where(at_clauses, "clause", "sentence")).astype(object)
    nowhere = np.minimum(inside, at_clause)  # below the threshold, else it would be wide
    narrow = np.where(seen["begins_sentence"], sentence, nowhere)
    value = np.where(wide, anywhere, np.where(at_clauses, at_clause, narrow))
    return at, value


def late_rules(profile: Profile) -> tuple[Rule, ...]:
    """The rules that come after `judge`."""
    if not profile.judged:
        return ()
    return (
        Rule(
            "steers",
            lambda s: s["steers"] >= profile.steers,
            lambda row: (
                f"where it occurs, it steers with a probability of {row['steers']:.2f} at best "
                f"(kept from {profile.steers:.2f}): {facts(row)}"
            ),
        ),
    )


def positions(seen: Signals, profile: Profile) -> npt.NDArray[np.object_]:
    """Where each gram counts, (K,): the widest of ``any``, ``clause``, ``sentence`` whose occurrences steer.

    ``any`` asks that occurrences inside a clause steer like those that begin one; a bare "so" does not. Without a judge
    all grams count anywhere. Rows that were never judged (nan) get ``sentence``; they are dropped already.
    """
    if not profile.judged:
        return np.full(len(seen["text"]), "any", np.object_)
    with np.errstate(invalid="ignore"):
        at: npt.NDArray[np.object_] = _best(seen, seen, profile)[0]
    return at


def keep_clusters(profile: Profile, frequency: ClusterFrequency, n_problems: int) -> tuple[Mask, Callable[[int], str]]:
    """The clusters that stay: the profile's top share by document frequency, if in enough problems.

    Args:
        frequency: of C clusters.
        n_problems: in the corpus.

    Returns:
        Mask (C,), and a function that says of a dropped cluster why. At a tie at the edge all tied clusters stay.
    """
    count = frequency.problems if profile.frequency == "problems" else frequency.solutions
    edge = np.sort(count)[::-1][max(1, round(profile.top * len(count))) - 1] if len(count) else 0
    enough = frequency.problems >= profile.cluster_problems * n_problems
    keep = (count >= edge) & enough

    def says(cluster: int) -> str:
        if not enough[cluster]:
            return (
                f"its cluster is in {frequency.problems[cluster]:,} of {n_problems:,} problems, "
                f"the profile wants {profile.cluster_problems:.2%}"
            )
        return (
            f"its cluster is in {count[cluster]:,} {profile.frequency}, "
            f"the top {profile.top:.0%} of the clusters are in {edge:,} or more"
        )

    return keep, says


def keeps(row: Row, profile: Profile) -> str:
    """Why a gram is in, one sentence.

    Args:
        row: its signals, after `judge`.
    """
    if not profile.judged:
        return "its cluster is among the most frequent"
    return (
        f"an occurrence steers with a probability of {row['steers']:.2f} (kept from {profile.steers:.2f}): {facts(row)}"
    )


def facts(row: Row, most: int = 3) -> str:
    """The numbers that speak loudest for and against a gram, in words."""
    terms = [(name, value) for name, value in judges.load("numbers").terms(row) if abs(value) >= 0.1]
    loud = ", ".join(f"{_WORDS.get(name, name)} {value:+.1f}" for name, value in terms[:most])
    return loud or "nothing speaks loudly for or against it"


_WORDS = {
    "spread": "share of problems",
    "evenness": "evenness over groups",
    "burst": "repeats within a solution",
    "clause": "clause starts",
    "sentence": "sentence starts",
    "surplus": "solutions over statements",
    "maths_adjacent": "maths beside it",
    "maths_near": "maths near it",
    "maths_after": "maths after it",
    "left_top": "one word mostly before it",
    "right_top": "one word mostly after it",
    "n": "length",
    "one_word": "one word",
    "two_words": "two words",
}
