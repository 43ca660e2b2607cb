"""Several gram sets as one.

The first set decides: a gram that several sets hold keeps the position, cluster and function that the earliest of them
gives it; what that one leaves open (no cluster, no function) a later one fills in. Clusters are groups of wordings of
one move, so a later set's cluster becomes the earlier one with which it shares most grams; clusters of one name are
one. What each set brought, and on how many grams they disagreed, is in the result's provenance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from hicra.errors import DataError
from hicra.grams.gramset import Gram, GramSet


def merge(sets: Sequence[GramSet], *, name: str | None = None) -> GramSet:
    """Merge gram sets, the most trusted first.

    Args:
        sets: two or more, all made for one version of the text rules.
        name: of the result; default: the names joined by ``+``.

    Returns:
        A set with every gram of any of them. Its provenance lists the sets (name, hash, grams, how many of these were
        new, provenance) and the number of grams on which a later set disagreed.

    Raises:
        DataError: fewer than two sets, or sets of different text rules.
    """
    if len(sets) < 2:
        raise DataError("there is nothing to merge", expected="two or more gram sets", got=str(len(sets)))
    if len({(s.rules, s.text_version) for s in sets}) > 1:
        raise DataError(
            "the sets were made for different text rules",
            expected="the same rules in one version",
            got=", ".join(f"{s.name}: {s.rules} version {s.text_version}" for s in sets),
            mend="make both for the same rules: mine the other one again, or write its grams anew",
        )
    found: dict[str, Gram] = {}
    parents = []
    disagreements: set[str] = set()
    for part in sets:
        cluster = _clusters_as_known(part, found)
        new = 0
        for gram in part:
            moved = replace(gram, cluster=cluster.get(gram.cluster) if gram.cluster else None)
            before = found.get(gram.text)
            if before is None:
                found[gram.text] = moved
                new += 1
                continue
            found[gram.text] = replace(
                before, cluster=before.cluster or moved.cluster, function=before.function or moved.function
            )
            if found[gram.text] != replace(
                moved, cluster=moved.cluster or before.cluster, function=moved.function or before.function
            ):
                disagreements.add(gram.text)
        parents.append(
            {"name": part.name, "hash": part.hash, "grams": len(part), "new": new, "provenance": dict(part.provenance)}
        )
    return GramSet.from_grams(
        found.values(),
        name=name or "+".join(s.name for s in sets),
        text_version=sets[0].text_version,
        rules=sets[0].rules,
        provenance={"merged": parents, "disagreements": len(disagreements)},
    )


def _clusters_as_known(part: GramSet, found: dict[str, Gram]) -> dict[str, str]:
    """The name under which each of a set's clusters goes on: of the known one that shares most grams, else its own."""
    shared: dict[str, Counter[str]] = defaultdict(Counter)
    for gram in part:
        known = found.get(gram.text)
        if gram.cluster is not None and known is not None and known.cluster is not None:
            shared[gram.cluster][known.cluster] += 1
    names = {}
    for cluster in part.clusters:
        most = shared[cluster]
        names[cluster] = min(most, key=lambda known: (-most[known], known)) if most else cluster
    return names
