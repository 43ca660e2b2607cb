"""Patterns: grams with slots, optional words and forms of words.

| written | stands for |
|---|---|
| ``<det>`` | one word of the slot ``det`` (`hicra.grams.slots`) |
| ``<word>`` | any one word |
| ``<find|work out>`` | one of these |
| ``<find~>`` | a form of the word: find, finds, finding, found; of a contraction: ``<let's~>`` is let's or let us |
| ``[again]``, ``[<adv>]`` | what is in the brackets, or nothing |

All else is words, as in other grams. A gram's text is a pattern if it holds ``<`` or ``[``: text rules take both for
breaks, so no phrase holds one. `Pattern.frames` expands what changes the number of words (options, choices of several
words); a frame is a sequence of choices of one word each, and that is what is compiled and matched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hicra.errors import DataError
from hicra.grams.slots import ANY_WORD, describe, forms, inventory
from hicra.grams.text import TextRules, normalise_gram

MOST_FRAMES = 256
LONGEST = 16

Choice = frozenset[str] | None
"""The words that may stand at one place; None: any word."""
_TOKEN = re.compile(r"<[^<>\[\]]*>|\[|\]|[^<>\[\]]+|[<>]")


@dataclass(frozen=True)
class Slot:
    """A place with choices.

    Attributes:
        name: what is written between ``<`` and ``>``.
        choices: words, or phrases of several words, sorted; None: any one word.
    """

    name: str
    choices: tuple[str, ...] | None


Part = str | Slot | tuple["Part", ...]  # a word, a slot, what is in brackets


@dataclass(frozen=True)
class Pattern:
    """A gram's text, read.

    Attributes:
        text: in the one spelling that gram sets keep.
        parts: words, slots, and tuples for what is in brackets.
    """

    text: str
    parts: tuple[Part, ...]

    def frames(self) -> tuple[tuple[Choice, ...], ...]:
        """The sequences of choices of one word that the pattern stands for, without repeats."""
        found = dict.fromkeys(tuple(choice for choice, _ in steps) for steps in _expand(self.parts))
        return tuple(frame for frame in found if frame)

    def fill(self, words: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
        """What fills the slots where the pattern is these words: (slot, words) in order; None where it is not."""
        for steps in _expand(self.parts):
            if len(steps) == len(words) > 0 and all(
                choice is None or word in choice for (choice, _), word in zip(steps, words, strict=True)
            ):
                filled: dict[int, tuple[str, list[str]]] = {}
                for (_, slot), word in zip(steps, words, strict=True):
                    if slot is not None:
                        filled.setdefault(slot[0], (slot[1], []))[1].append(word)
                return tuple((name, " ".join(phrase)) for name, phrase in filled.values())
        return None


def is_pattern(text: str) -> bool:
    """Whether a gram's text has slots or optional words."""
    return "<" in text or "[" in text


@lru_cache(maxsize=1 << 14)
def parse(text: str, rules: TextRules | None = None) -> Pattern:
    """Read a pattern.

    Raises:
        DataError: brackets that do not fit, an unknown slot or form, a phrase that no text can match, too many frames,
            frames that are too long, or one of nothing but ``<word>``.
    """
    parts, rest = _sequence(_TOKEN.findall(text), text, rules, inside=False)
    assert not rest
    pattern = Pattern(_spelled(parts), parts)
    count = _count(parts)
    if count > MOST_FRAMES:
        raise DataError(
            f"the pattern {text!r} stands for too many sequences of words",
            expected=f"at most {MOST_FRAMES} (each option doubles them)",
            got=str(count),
            mend="write several patterns",
        )
    for frame in pattern.frames():
        if all(choice is None for choice in frame) or len(frame) > LONGEST:
            raise DataError(
                f"the pattern {text!r} says too little or too much",
                expected=f"1 to {LONGEST} words, one of them at least not <{ANY_WORD}>, with and without its options",
                got=" ".join(f"<{ANY_WORD}>" if choice is None else min(choice) for choice in frame),
            )
    if not pattern.frames():
        raise DataError(f"the pattern {text!r} holds no word")
    return pattern


def normalise_any(text: str, rules: TextRules | None = None) -> tuple[str, str | None]:
    """`normalise_gram`, for patterns too."""
    return (parse(text, rules).text, None) if is_pattern(text) else normalise_gram(text, rules)


def frames_of(text: str) -> tuple[tuple[Choice, ...], ...]:
    """The frames of a gram's normalised text; a phrase is its own only frame."""
    return parse(text).frames() if is_pattern(text) else (tuple(frozenset((word,)) for word in text.split(" ")),)


# --- reading ----------------------------------------------------------------------------------------------------------
def _sequence(
    tokens: list[str], text: str, rules: TextRules | None, *, inside: bool
) -> tuple[tuple[Part, ...], list[str]]:
    """Parts up to the closing bracket (`inside`) or the end, and the tokens behind it."""
    parts: list[Part] = []
    while tokens:
        token, tokens = tokens[0], tokens[1:]
        if token == "[" and not inside:
            option, tokens = _sequence(tokens, text, rules, inside=True)
            if not option:
                raise DataError(f"the pattern {text!r} has empty brackets")
            parts.append(option)
        elif token == "]" and inside:
            return tuple(parts), tokens
        elif token in ("[", "]", "<", ">"):
            raise DataError(
                f"the pattern {text!r} has brackets that do not fit",
                expected="<slot>, and [optional words] that hold no further square brackets",
            )
        elif token.startswith("<"):
            parts.append(_slot(token[1:-1], rules))
        elif token.strip():
            parts += normalise_gram(token, rules)[0].split(" ")
    if inside:
        raise DataError(f"the pattern {text!r} has a bracket that is not closed", expected="]")
    return tuple(parts), []


def _slot(written: str, rules: TextRules | None) -> Slot:
    items = sorted({item.strip().lower() for item in written.split("|")})
    if len(items) == 1 and not items[0].endswith("~"):
        name = items[0]
        if name == ANY_WORD:
            return Slot(name, None)
        if name not in inventory():
            known = ", ".join(f"<{name}> {what}" for name, what in describe().items())
            raise DataError(f"there is no slot <{name}>", expected=known, mend="list the words: <one|two>")
        return Slot(name, inventory()[name])
    spelled: dict[str, tuple[str, ...]] = {}
    for item in items:
        bare = normalise_gram(item.removesuffix("~"), rules)[0]
        spelled[bare + "~" if item.endswith("~") else bare] = forms(bare) if item.endswith("~") else (bare,)
    return Slot("|".join(sorted(spelled)), tuple(sorted({c for choices in spelled.values() for c in choices})))


def _spelled(parts: tuple[Part, ...]) -> str:
    def one(part: Part) -> str:
        if isinstance(part, tuple):
            return f"[{_spelled(part)}]"
        return f"<{part.name}>" if isinstance(part, Slot) else part

    return " ".join(map(one, parts))


# --- expanding --------------------------------------------------------------------------------------------------------
_Step = tuple[Choice, tuple[int, str] | None]  # the choices of a word; number and name of the slot that it belongs to


def _expand(parts: tuple[Part, ...]) -> Iterator[tuple[_Step, ...]]:
    """All sequences of steps, those with the options first."""
    numbers = itertools.count()
    for chosen in itertools.product(*(_alternatives(part, numbers) for part in parts)):
        yield tuple(itertools.chain.from_iterable(chosen))


def _alternatives(part: Part, numbers: Iterator[int]) -> list[tuple[_Step, ...]]:
    if isinstance(part, str):
        return [((frozenset((part,)), None),)]
    if isinstance(part, tuple):
        inner = [_alternatives(p, numbers) for p in part]
        return [*(tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*inner)), ()]
    slot = (next(numbers), part.name)
    if part.choices is None:
        return [((None, slot),)]
    single = frozenset(c for c in part.choices if " " not in c)
    found: list[tuple[_Step, ...]] = [((single, slot),)] if single else []
    for phrase in part.choices:
        if " " in phrase:
            found.append(tuple((frozenset((word,)), slot) for word in phrase.split(" ")))
    return found


def _count(parts: tuple[Part, ...]) -> int:
    """How many sequences `_expand` yields."""
    count = 1
    for part in parts:
        if isinstance(part, tuple):
            count *= _count(part) + 1
        elif isinstance(part, Slot) and part.choices is not None:
            phrases = sum(" " in c for c in part.choices)
            count *= phrases + (phrases < len(part.choices))
    return count
