"""What would be labelled: a look at a tokenizer, a gram set and some completions, before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hicra.errors import DataError
from hicra.labels.labeller import Labeller

LOW_SHARE, HIGH_SHARE = 0.005, 0.40
"""Planning shares outside of these are taken for a mistake: wrong language, wrong tokenizer, a set that labels all."""


@dataclass
class Audit:
    """Counts over all completions that were looked at.

    Attributes:
        completions, tokens, planning_tokens: totals.
        shares: planning share of each completion.
        gram_counts: occurrences by gram text.
        by_style: tokens and planning tokens by the completions' style.
        altered: completions whose tokens' bytes are not the text's (the tokenizer changes the text, e.g. lower-cases
            it).
        warnings: what a person should look at before training, in words.
    """

    grams: str
    grams_hash: str
    set_size: int
    tokenizer: str
    tokenizer_kind: str
    lossy: bool
    completions: int = 0
    tokens: int = 0
    planning_tokens: int = 0
    shares: list[float] = field(default_factory=list)
    gram_counts: Counter[str] = field(default_factory=Counter)
    by_style: dict[str, list[int]] = field(default_factory=dict)
    altered: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Planning tokens over all tokens."""
        return self.planning_tokens / self.tokens if self.tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        quartiles = np.quantile(self.shares, [0.25, 0.5, 0.75]).tolist() if self.shares else []
        return {
            "grams": self.grams,
            "grams_hash": self.grams_hash,
            "set_size": self.set_size,
            "tokenizer": self.tokenizer,
            "tokenizer_kind": self.tokenizer_kind,
            "lossy": self.lossy,
            "completions": self.completions,
            "tokens": self.tokens,
            "planning_tokens": self.planning_tokens,
            "planning_share": self.share,
            "planning_share_quartiles": quartiles,
            "completions_without": sum(share == 0 for share in self.shares),
            "grams_seen": len(self.gram_counts),
            "altered": self.altered,
            "by_style": {
                style: {"tokens": tokens, "planning_share": planning / max(1, tokens)}
                for style, (tokens, planning) in sorted(self.by_style.items())
            },
            "gram_counts": dict(self.gram_counts.most_common()),
            "warnings": self.warnings,
        }


def share_warning(share: float, grams: str, tokenizer: str) -> str | None:
    """What is odd about a planning share, or None."""
    if LOW_SHARE <= share <= HIGH_SHARE:
        return None
    way = "under" if share < LOW_SHARE else "over"
    bound = LOW_SHARE if share < LOW_SHARE else HIGH_SHARE
    cause = (
        "the grams may be of another language or domain, or the tokenizer not the one that made the ids"
        if share < LOW_SHARE
        else "the gram set labels nearly everything, so the extra credit singles out nothing"
    )
    return (
        f"{share:.2%} of the tokens are planning tokens, {way} {bound:.1%} "
        f"(gram set {grams!r}, tokenizer {tokenizer!r}): {cause}"
    )


def audit(
    completions: Iterable[tuple[str, str | None]],
    labeller: Labeller,
    encode: Callable[[str], Sequence[int]],
    *,
    limit: int = 2_000,
) -> Audit:
    """Label some completions and count.

    Args:
        completions: (text, style or None) of each.
        labeller: with the tokenizer's vocabulary.
        encode: the tokenizer's text -> ids, without special tokens.
        limit: look at this many completions at most.

    Raises:
        DataError: there is no completion, or none has a token.
    """
    vocab = labeller.vocab
    grams = labeller.grams
    result = Audit(grams.name, grams.hash, len(grams), labeller.tokenizer_name, vocab.kind, vocab.lossy)
    for i, (text, style) in enumerate(completions):
        if i >= limit:
            break
        ids = np.asarray(encode(text), np.int64)
        labels = labeller.label(ids)
        planning = int(labels.mask.sum())
        result.completions += 1
        result.tokens += len(ids)
        result.planning_tokens += planning
        if len(ids):
            result.shares.append(planning / len(ids))
        tally = result.by_style.setdefault(style or "unknown", [0, 0])
        tally[0] += len(ids)
        tally[1] += planning
        result.gram_counts.update(grams[int(g)].text for g in labels.gram_id[labels.begin])
        if not vocab.lossy and b"".join(vocab[int(t)] for t in ids).strip() != text.encode("utf-8", "replace").strip():
            result.altered += 1
    if not result.tokens:
        raise DataError(
            "there is nothing to audit", expected="completions with text", got=f"{result.completions} completions"
        )
    odd = share_warning(result.share, grams.name, labeller.tokenizer_name)
    if odd:
        result.warnings.append(odd)
    if result.altered:
        result.warnings.append(
            f"the tokens of {result.altered} of {result.completions} completions do not spell the completion's text: "
            "the tokenizer normalises it, so labels follow what the model sees, not what was written"
        )
    top, count = result.gram_counts.most_common(1)[0] if result.gram_counts else ("", 0)
    if count > 0.5 * result.gram_counts.total() and len(result.gram_counts) > 1:
        result.warnings.append(f"{top!r} is {count / result.gram_counts.total():.0%} of all occurrences")
    return result
