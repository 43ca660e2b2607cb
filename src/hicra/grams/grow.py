"""Neighbours of the moves that a set has: what a set might grow by, each with its evidence.

A candidate is an n-gram in enough distinct problems that begins a clause in at least `CLAUSE_SHARE` of its occurrences
and that the set does not hold. Three kinds of evidence make it a proposal:

- ``near``      its vector is near that of a gram of the set: cosine >= `Settings.near`
- ``context``   it is followed by what follows the set's grams: with p(w | c) the share of word w behind candidate c,
  q(w) behind the set's grams and b(w) in the corpus, ``context = sum_w p(w | c) log (q(w) / b(w))`` in nats
- ``frame``     grams of the set differ in one word only; that word becomes a slot: one of the inventory where most of
  the words are in it, else a list of them and of those of the whole inventory that stand there in the corpus

Nothing is taken into the set here; see `hicra.grams.grow_file` for how proposals are accepted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hicra.errors import DataError
from hicra.grams.gramset import At, Function, Gram, GramSet
from hicra.grams.pattern import is_pattern, parse
from hicra.grams.slots import inventory

if TYPE_CHECKING:
    from hicra.grams.count import Counts
    from hicra.grams.embed import Encoder
    from hicra.grams.sources import Sources

Kind = Literal["near", "context", "frame"]
NAN = float("nan")
CLAUSE_SHARE = 0.2
MOST_LISTED = 40
"""Words of a list that takes a slot's place; those in most problems are taken."""


@dataclass(frozen=True)
class Settings:
    """When a candidate becomes a proposal.

    Attributes:
        min_problems: distinct problems that hold it.
        n_max: words of the longest candidate.
        near: least cosine to a gram of the set.
        context: least `context`, nats.
        fillers: grams of the set that share a frame.
        embedded: so many candidates are embedded, those in most problems.
    """

    min_problems: int = 5
    n_max: int = 5
    near: float = 0.75
    context: float = 1.0
    fillers: int = 3
    embedded: int = 5_000


@dataclass(frozen=True)
class Proposal:
    """What the set might grow by.

    Attributes:
        kind: what speaks for it first.
        text, at, cluster, function: of the gram that it would be.
        problems, df, tf: distinct problems, solutions and occurrences in the corpus; of a frame those of the wordings
            that the set does not hold, problems and solutions of the most frequent of them.
        clause: share of the occurrences that begin a clause.
        likeness: cosine to the nearest gram of the set; nan without an encoder, and for frames.
        context: see the module; nan where too little of what follows is counted, and for frames.
        fillers: grams of the set that have the frame; 0 for other kinds.
        share: of a frame's occurrences those that the set holds already; nan for other kinds.
        evidence: the same in words.
    """

    kind: Kind
    text: str
    at: At
    cluster: str | None
    function: Function | None
    problems: int
    df: int
    tf: int
    clause: float
    likeness: float
    context: float
    fillers: int
    share: float
    evidence: str

    @property
    def gram(self) -> Gram:
        """The gram that it would be."""
        return Gram(self.text, self.at, self.cluster, self.function)


def grow(
    grams: GramSet,
    traces: Sources,
    *,
    encoder: Encoder | None = None,
    settings: Settings | None = None,
    spill_dir: str | Path | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[Proposal]:
    """Propose neighbours of a set's grams.

    Args:
        grams: the set; its text rules cut the corpus.
        traces: the corpus.
        encoder: for likeness in meaning; without one there are no proposals of the kind ``near``.
        settings: thresholds.
        spill_dir: for what does not fit into memory.
        progress: told the stage, how much is done and of how much.

    Returns:
        Proposals: frames, near ones, contexts, each kind by problems, most first.

    Raises:
        DataError: the corpus holds no n-gram in enough problems.
    """
    from hicra.grams.count import count_ngrams

    chosen = settings or Settings()
    tell = progress or (lambda stage, done, total: None)
    counts = count_ngrams(
        traces, n_max=chosen.n_max + 1, min_problems=chosen.min_problems, rules=grams.rules, spill_dir=spill_dir,
        progress=lambda stage, done: tell(stage, done, None),
    )  # fmt: skip
    if not len(counts):
        raise DataError(
            f"no phrase occurs in {chosen.min_problems} distinct problems",
            expected="solutions to some dozens of problems at least",
            got=f"{counts.n_problems:,} problems",
            mend="give more traces, or --min-problems 2",
        )
    table = _Table(counts, grams)
    found = [*_frames(grams, table, chosen), *_phrases(grams, table, chosen, encoder, tell)]
    return sorted(found, key=lambda p: (get_args(Kind)[::-1].index(p.kind), -p.problems, p.text))


class _Table:
    """The counts by text, and what follows."""

    def __init__(self, counts: Counts, grams: GramSet) -> None:
        self.counts, self.grams = counts, grams
        self.row = {text: i for i, text in enumerate(counts.text.tolist())}
        self.known = [parse(g.text) for g in grams if is_pattern(g.text)]
        self.after: dict[str, Counter[str]] = defaultdict(Counter)  # gram -> word -> occurrences
        for text, tf in zip(counts.text.tolist(), counts.tf.tolist(), strict=True):
            head, _, word = text.rpartition(" ")
            if head:
                self.after[head][word] += tf

    def holds(self, text: str) -> bool:
        """Whether the set holds a phrase, or a pattern that it is."""
        return text in self.grams or any(p.fill(text.split(" ")) is not None for p in self.known)

    def numbers(self, rows: list[int]) -> dict[str, Any]:
        """Counts of wordings taken together; the numbers of problems and solutions are those of the commonest."""
        c = self.counts
        tf = int(c.tf[rows].sum())
        return {
            "problems": int(c.problems[rows].max()),
            "df": int(c.df[rows].max()),
            "tf": tf,
            "clause": round(float(c.clause[rows].sum() / max(1, tf)), 3),
        }


# --- phrases ----------------------------------------------------------------------------------------------------------
def _phrases(
    grams: GramSet, table: _Table, settings: Settings, encoder: Encoder | None, tell: Callable[..., None]
) -> list[Proposal]:
    """Candidates that are near a gram, or that are followed by what follows grams."""
    c = table.counts
    fits = (c.n <= settings.n_max) & (c.n > 1) & (c.clause >= CLAUSE_SHARE * c.tf)
    rows = [int(i) for i in np.flatnonzero(fits) if not table.holds(str(c.text[i]))]
    rows.sort(key=lambda i: (-int(c.problems[i]), str(c.text[i])))
    context = _contexts(table, rows)
    rows = rows[: settings.embedded]
    phrases = [g for g in grams if not is_pattern(g.text)]
    nearest: list[tuple[float, Gram | None]] = [(NAN, None)] * len(rows)
    if encoder is not None and rows and phrases:
        texts = [str(c.text[i]) for i in rows]
        vectors = encoder.encode([*texts, *(g.text for g in phrases)], lambda done, total: tell("embed", done, total))
        ours, theirs = vectors[: len(rows)], vectors[len(rows) :]
        for start in range(0, len(rows), 1024):
            cosine = ours[start : start + 1024] @ theirs.T
            for k, j in enumerate(cosine.argmax(1).tolist()):
                nearest[start + k] = (float(cosine[k, j]), phrases[j])
    found = []
    for i, (likeness, gram) in zip(rows, nearest, strict=True):
        score, said = context.get(i, (NAN, ""))
        near = likeness >= settings.near
        if not near and not score >= settings.context:
            continue
        reasons = [f"near {gram.text!r} ({likeness:.2f})"] if gram is not None else []
        reasons += [said] if said else []
        found.append(
            Proposal(
                kind="near" if near else "context",
                text=str(c.text[i]),
                at="clause",
                cluster=gram.cluster if gram is not None and near else None,
                function=gram.function if gram is not None else None,
                **table.numbers([i]),
                likeness=round(likeness, 3),
                context=round(score, 3),
                fillers=0,
                share=NAN,
                evidence="; ".join(reasons),
            )
        )
    return found


def _contexts(table: _Table, rows: list[int]) -> dict[int, tuple[float, str]]:
    """`context` of each candidate of which at least half of what follows is counted, and the words that make it."""
    c = table.counts
    behind: Counter[str] = Counter()
    for gram in table.grams:
        behind.update(table.after.get(gram.text, {}))
    total, words = behind.total(), float(c.n_words)
    if not total:
        return {}
    gain = {}
    for word, tf in behind.items():
        share = (int(c.tf[table.row[word]]) + 0.5) / words
        gain[word] = float(np.log((tf + 0.5) / (total + 1) / share))
    least = min(gain.values())
    found = {}
    for i in rows:
        follows = table.after.get(str(c.text[i]), Counter())
        seen = follows.total()
        if 2 * seen < int(c.tf[i]):
            continue
        terms = {word: tf / seen * gain.get(word, least) for word, tf in follows.items()}
        top = sorted((w for w in terms if terms[w] > 0), key=lambda w: (-terms[w], w))[:3]
        said = f"followed by {', '.join(map(repr, top))}, as grams of the set are" if top else ""
        found[i] = (sum(terms.values()), said)
    return found


# --- frames -----------------------------------------------------------------------------------------------------------
Frame = tuple[str, str]  # the words before the place, the words behind it


def _frames(grams: GramSet, table: _Table, settings: Settings) -> list[Proposal]:
    """Grams that differ in one word, as a pattern."""
    in_set: dict[Frame, dict[str, Gram]] = defaultdict(dict)
    for gram in grams:
        if not is_pattern(gram.text):
            for frame, word in _places(gram.text):
                in_set[frame][word] = gram
    in_set = {frame: words for frame, words in in_set.items() if len(words) >= settings.fillers}
    in_corpus: dict[Frame, dict[str, int]] = defaultdict(dict)
    for text, i in table.row.items():
        for frame, word in _places(text):
            if frame in in_set:
                in_corpus[frame][word] = i
    found = []
    for frame, members in in_set.items():
        proposal = _frame(frame, members, in_corpus.get(frame, {}), table)
        if proposal is not None and proposal.problems >= settings.min_problems:
            found.append(proposal)
    return found


def _places(text: str) -> list[tuple[Frame, str]]:
    """The frames of a phrase of three words or more, each with the word that it leaves out."""
    words = text.split(" ")
    if len(words) < 3:
        return []
    return [((" ".join(words[:i]), " ".join(words[i + 1 :])), word) for i, word in enumerate(words)]


def _frame(frame: Frame, members: Mapping[str, Gram], counted: Mapping[str, int], table: _Table) -> Proposal | None:
    slot, takes = _slot_for(set(members), counted, table)
    text = parse(f"{frame[0]} {slot} {frame[1]}".strip()).text
    new = [i for word, i in counted.items() if word not in members and word in takes]
    if not new or text in table.grams:
        return None
    old = [i for word, i in counted.items() if word in members]
    votes = Counter((g.cluster, g.function) for g in members.values())
    cluster, function = min(votes, key=lambda v: (-votes[v], str(v)))
    positions = {g.at for g in members.values()}
    at: At = "any" if positions == {"any"} else "sentence" if positions == {"sentence"} else "clause"
    old_tf = int(table.counts.tf[old].sum())
    numbers = table.numbers(new)
    added = sorted(new, key=lambda i: -int(table.counts.problems[i]))[:5]
    shown = [str(table.counts.text[i]) for i in added]
    return Proposal(
        kind="frame",
        text=text,
        at=at,
        cluster=cluster,
        function=function,
        **numbers,
        likeness=NAN,
        context=NAN,
        fillers=len(members),
        share=round(old_tf / max(1, old_tf + numbers["tf"]), 3),
        evidence=f"in the set with {', '.join(sorted(members)[:6])}; new: {', '.join(shown)}",
    )


def _slot_for(words: set[str], counted: Mapping[str, int], table: _Table) -> tuple[str, frozenset[str]]:
    """A slot of the inventory that has two thirds of the words, the smallest; else a list. And the words it takes."""
    fitting = [
        (len(taken), name) for name, taken in inventory().items() if 3 * len(words & set(taken)) >= 2 * len(words)
    ]
    if fitting:
        name = min(fitting)[1]
        return f"<{name}>", frozenset(inventory()[name])
    known = frozenset().union(*inventory().values())  # other words are what the corpus is about
    common = sorted(known & counted.keys(), key=lambda w: (-int(table.counts.problems[counted[w]]), w))[:MOST_LISTED]
    listed = sorted(words | set(common))
    return f"<{'|'.join(listed)}>", frozenset(listed)
