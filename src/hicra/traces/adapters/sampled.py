"""What an adapter makes of another tool's output: steps of completions, with what that tool happened to keep.

Nothing here is labelled, and no text is tokenised: what is missing stays None, and whoever joins these rows with a
gram set and a tokenizer (`hicra.engines.imported`) says what that switches off.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Sampled:
    """One completion as another tool kept it; T is its number of tokens.

    Attributes:
        where: file and line (or row), for messages.
        prompt: text, or the messages of a conversation (``{"role", "content"}``).
        completion: text; None where only token ids are known.
        reward: total reward; NaN where there is none.
        prompt_id: the tool's own name of the prompt.
        group: completions of one prompt sampled together share it; None: the prompt itself says.
        advantage: of the completion, before hicra; a list of T where the tool has one a token.
        token_ids: (T,) ids; None where the tool kept text only.
        pieces: (T,) each token as text, where that is what the tool kept.
        mask: (T,) which tokens are the policy's own; None: all.
        logprobs: (T,) log p(token), nats; None, or None in places, where unknown.
        entropies: (T,) next-token entropy, nats; as `logprobs`.
        truncated: ended by the length limit; None where the tool does not say.
        prompt_token_ids: ids of the prompt.
    """

    where: str
    prompt: str | list[dict[str, Any]]
    completion: str | None
    reward: float
    prompt_id: str | None = None
    group: Hashable = None
    advantage: float | list[float] | None = None
    token_ids: list[int] | None = None
    pieces: list[str] | None = None
    mask: list[bool] | None = None
    logprobs: list[float | None] | None = None
    entropies: list[float | None] | None = None
    truncated: bool | None = None
    prompt_token_ids: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One training step.

    Attributes:
        number: the step.
        rows: its completions, in the tool's order.
        metrics: what the tool measured beside.
    """

    number: int
    rows: Sequence[Sampled]
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may have to say because the files do not.

    Attributes:
        columns: our field -> the name in the data (plain files).
        rewards: reward column -> weight; empty: all of them, each with weight 1.
        scorer: which score of an evaluation log is the reward; None: the first.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    rewards: Mapping[str, float] = field(default_factory=dict)
    scorer: str | None = None


@dataclass(slots=True)
class Source:
    """The files of a run of another tool, and what was noticed while reading them.

    Attributes:
        path: what was handed in.
        files: what the adapter found there, in order.
        notes: remarks that a reader of the result should see, each said once.
    """

    path: Path
    files: Sequence[Path]
    options: Options = field(default_factory=Options)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a remark, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Adapter:
    """One file format.

    Attributes:
        name: what ``--format`` calls it.
        looks_for: what makes a path one of these, in words.
        find: path -> the files of that kind in it, none if it is not one of these. Looks at names and at the first
            row; reads no more.
        read: source -> its steps, in ascending order, one in memory at a time.
    """

    name: str
    looks_for: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Source], Iterator[Step]]
