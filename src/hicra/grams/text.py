"""The one definition of text: how bytes become words, spaces and breaks.

Mining counts and labelling matches over the *same* stream of symbols, so that a gram found in a corpus is found again
in a completion. The rules are a table: a finite-state transducer that reads bytes from left to right, never looks
ahead and emits at most one symbol a byte (plus an apostrophe or a hyphen that it held back until it saw what
follows).

Rules of version 1:

- A word is a run of letters. ASCII and Latin-1 letters are lower-cased; other scripts' letters stay as they are. An
  apostrophe (straight or curly) or a hyphen *between* letters belongs to the word; elsewhere an apostrophe is a space
  and a hyphen a break.
- White space, quotes, parentheses and the Markdown marks ``* _ ` ~`` are spaces. Spaces run together.
- A comma or a long dash is a space that also opens a clause. A single newline is a space that also opens a sentence.
- A blank line, ``. ! ? : ;``, digits, maths and all other signs break: no gram reaches across. What follows a break
  opens a sentence. A word glued to a digit or an underscore (``x2``, ``wait_for``) is an identifier, not a word.
- Maths is ``$...$``, ``$$...$$``, ``\\(...\\)``, ``\\[...\\]``; unclosed maths ends at the blank line. ``\\command``
  is maths. A ``$`` before a number is money as soon as a space and a letter, a closing parenthesis, the end of the
  line or of the sentence follow.
- A sentence start is a clause start too. The start of the text starts both.

These are the rules named ``english-maths``. Another language or domain is another object of the same kind, made by
another function and named in the gram sets that were made for it: ``code-agent`` (`hicra.grams.text_agent`) takes
code, tool calls and transcripts for execution. Grams of different rules do not mix.

Tokenisers that lose white space (WordPiece, word-level ones) write ``let ' s``: there (`lossy=True`) apostrophes and
hyphens are letters of their own and `variants` spells a gram in each spacing that such a tokeniser can produce.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hicra.errors import DataError

TEXT_VERSION = 1
"""The version of the rules that this package runs; gram sets carry the version that they were made for."""

ENGLISH, AGENT = "english-maths", "code-agent"
VERSIONS = {ENGLISH: TEXT_VERSION, AGENT: 1}
"""The rules that there are, and the version of each that this package runs."""

# --- what a transition emits
NONE, SPACE, COMMA, NEWLINE, BREAK = 0, 1, 2, 3, 4
JUNK = 5  # a letter that no gram holds: glues an identifier to the word before it
LEAD = 6  # nothing yet: the first byte of a character that needs its other bytes to be known
MARK = 7  # nothing yet: an apostrophe or a hyphen after a letter, held back
LETTER = 8  # one symbol; plus 1 if the held-back apostrophe goes before it, plus 2 if the hyphen does
WIDE = 4  # added to LETTER where the character began some bytes ago (at LEAD)

CLAUSE, SENTENCE = 1, 2
"""Bits of what a separator opens; `OPENS[code]` for the separators SPACE, COMMA, NEWLINE, BREAK."""
OPENS = (0, 0, CLAUSE, CLAUSE | SENTENCE, CLAUSE | SENTENCE)

# --- classes of characters
_LETTER, _DIGIT, _APOS, _HYPH, _UNDER, _SPACE, _QUOTE, _CLOSE, _COMMA, _NEWLINE, _STOP, _SIGN, _DOLLAR, _SLASH = range(
    14
)
_ASCII = {
    **dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), _LETTER),
    **dict.fromkeys(map(ord, "0123456789"), _DIGIT),
    **dict.fromkeys(map(ord, " \t\r\v\f"), _SPACE),
    **dict.fromkeys(map(ord, '"(*`~'), _QUOTE),
    **dict.fromkeys(map(ord, ".!?:;"), _STOP),
    ord(")"): _CLOSE,
    ord("'"): _APOS,
    ord("-"): _HYPH,
    ord("_"): _UNDER,
    ord(","): _COMMA,
    ord("\n"): _NEWLINE,
    ord("$"): _DOLLAR,
    ord("\\"): _SLASH,
}  # every other ASCII byte is a sign: it breaks
_GENERAL_PUNCTUATION = {  # third byte of U+2000..U+203F, the block of E2 80
    **dict.fromkeys([*range(0x80, 0x8C), 0x8D, 0xAF], _SPACE),
    **dict.fromkeys([0x90, 0x91], _HYPH),
    **dict.fromkeys(range(0x92, 0x96), _COMMA),  # figure, en and em dash
    **dict.fromkeys([0x98, 0x99, 0x9B], _APOS),
    **dict.fromkeys([0x9C, 0x9D, 0x9E, 0x9F, 0xB9, 0xBA], _QUOTE),
}

# --- states
_CONTEXTS = ("gap", "newline", "word", "apos", "hyph", "under", "glue")
_LEADS = ("", "C2", "C3", "E2", "E280", "E2xx")
_MATHS = ("$", "$$", "\\(", "\\[", "money")
_STATES: tuple[tuple[str, str], ...] = (
    *itertools.product(_CONTEXTS, _LEADS),
    ("slash", ""),  # after a backslash
    ("command", ""),  # in the letters after it
    ("dollar", ""),  # after a dollar sign
    ("amount", ""),  # ... and a number
    ("amount space", ""),  # ... and a space
    ("$$ closing", ""),  # after the first of two closing dollars
    ("money stop", ""),  # after a full stop in what may have been money
    ("money stop space", ""),
    *itertools.product(_MATHS, ("in", "line", "slash")),  # inside, after a newline inside, after a backslash inside
)
_ID = {state: i for i, state in enumerate(_STATES)}
START_STATE = _ID["gap", ""]

_Step = tuple[tuple[str, str], int, int]  # next state, what is emitted, symbol


def _on(context: str, kind: int, symbol: int, wide: bool, lossy: bool) -> _Step:
    """What a known character does in ordinary text. `symbol` is its lower-cased form where it is a letter."""
    if kind == _APOS and context == "glue":  # 1980's
        return ("glue", ""), NONE, 0
    if lossy and kind in (_APOS, _HYPH):
        kind, symbol = _LETTER, ord("'") if kind == _APOS else ord("-")
    inside = context in ("word", "apos", "hyph", "under")
    if kind == _LETTER:
        if context == "glue":
            return ("glue", ""), NONE, 0
        if context == "under":
            return ("glue", ""), JUNK, 0
        prefix = {"apos": 1, "hyph": 2}.get(context, 0)
        return ("word", ""), LETTER + prefix + (WIDE if wide else 0), symbol
    if kind == _DIGIT:
        return ("glue", ""), NONE if context == "glue" else JUNK if context in ("word", "under") else BREAK, 0
    if kind == _UNDER and context in ("glue", "word"):
        return ("under" if context == "word" else "glue", ""), NONE, 0
    if kind in (_APOS, _HYPH) and context == "word":
        return ("apos" if kind == _APOS else "hyph", ""), MARK, 0
    # from here on a separator: what was held back is dropped, an identifier or a dangling hyphen breaks
    breaks = context in ("glue", "hyph") or kind in (_HYPH, _STOP, _SIGN, _DOLLAR, _SLASH)
    if kind == _NEWLINE:
        return ("newline", ""), BREAK if breaks or context == "newline" else NEWLINE, 0
    if kind == _DOLLAR:
        return ("dollar", ""), BREAK, 0
    if kind == _SLASH:
        return ("slash", ""), BREAK, 0
    # spaces after a newline leave it open whether a blank line is coming
    state = "newline" if context == "newline" and kind == _SPACE else "gap"
    emitted = BREAK if breaks else COMMA if kind == _COMMA else SPACE
    if not inside and not breaks and kind == _SPACE:
        emitted = NONE
    return (state, ""), emitted, 0


def _plain(byte: int) -> tuple[int, int]:
    """Class and symbol of a one-byte character, or of a byte of a script whose letters are kept as they are."""
    if byte >= 0x80:
        return _LETTER, byte
    kind = _ASCII.get(byte, _SIGN)
    return kind, byte + 32 if 65 <= byte <= 90 else byte


def _text_step(context: str, lead: str, byte: int, lossy: bool, on: Callable[..., _Step] = _on) -> _Step:
    """One byte of ordinary text, one-byte characters and the multi-byte ones that mean something to the rules.

    `on` says what a character does once it is known, see `_on`.
    """
    continuation = 0x80 <= byte <= 0xBF
    if lead == "":
        if byte in (0xC2, 0xC3, 0xE2):
            return (context, f"{byte:X}"), LEAD, 0
        kind, symbol = _plain(byte)
        return on(context, kind, symbol, False, lossy)
    if not continuation:  # broken UTF-8: break, and let no half word match
        kind, symbol = _plain(byte)
        state, _, _ = on("glue" if kind == _LETTER else "gap", kind, symbol, False, lossy)
        return state, BREAK, 0
    if lead == "E2":
        return (context, "E280" if byte == 0x80 else "E2xx"), NONE, 0
    if lead == "C3":  # U+00C0..U+00FF become one symbol, their Latin-1 code; no valid UTF-8 reads like that
        code = byte + 0x40
        if code in (0xD7, 0xF7):  # times, divided by
            return on(context, _SIGN, 0, True, lossy)
        return on(context, _LETTER, code + 32 if code < 0xDF else code, True, lossy)
    if lead == "C2":
        kind = {0xA0: _SPACE, 0xAB: _QUOTE, 0xBB: _QUOTE}.get(byte, _SIGN)
    else:
        kind = _GENERAL_PUNCTUATION.get(byte, _SIGN) if lead == "E280" else _SIGN
    return on(context, kind, 0, True, lossy)


def _maths_step(kind_of_maths: str, where: str, byte: int) -> _Step:
    """One byte inside maths: nothing is emitted but at the way out."""
    stay = (kind_of_maths, "in")
    if where == "slash" and byte != ord("\n"):
        closes = (kind_of_maths, byte) in (("\\(", ord(")")), ("\\[", ord("]")))
        return ("gap", "") if closes else stay, NONE, 0
    if byte == ord("\n"):
        if where == "line" or kind_of_maths == "money":
            return ("newline", ""), BREAK, 0
        return (kind_of_maths, "line"), NONE, 0
    if where == "line" and byte in b" \t\r":
        return (kind_of_maths, "line"), NONE, 0
    if byte == ord("\\"):
        return (kind_of_maths, "slash"), NONE, 0
    if byte == ord("$"):
        if kind_of_maths in ("$", "money"):
            return ("gap", ""), NONE, 0
        if kind_of_maths == "$$":
            return ("$$ closing", ""), NONE, 0
    if kind_of_maths == "money" and byte in b".!?":
        return ("money stop", ""), NONE, 0
    return stay, NONE, 0


def _odd_step(state: str, byte: int, lossy: bool) -> _Step:
    """The few states around a backslash or a dollar sign."""
    kind, symbol = _plain(byte)
    if state == "slash":
        if byte in b"([":
            return ("\\" + chr(byte), "in"), NONE, 0
        if kind == _LETTER and byte < 0x80:
            return ("command", ""), NONE, 0
        if byte >= 0x80 or kind in (_SPACE, _NEWLINE, _DIGIT):
            return _text_step("gap", "", byte, lossy)
        return ("gap", ""), NONE, 0  # an escaped sign, a dollar among them
    if state == "command":
        return (("command", ""), NONE, 0) if kind == _LETTER and byte < 0x80 else _text_step("gap", "", byte, lossy)
    if state == "dollar":
        if kind == _DIGIT:
            return ("amount", ""), NONE, 0
        return (("$$", "in"), NONE, 0) if kind == _DOLLAR else _maths_step("$", "in", byte)
    if state == "$$ closing":
        return (("gap", ""), NONE, 0) if kind == _DOLLAR else _maths_step("$$", "in", byte)
    if state == "amount" and (kind == _DIGIT or byte in b".,%"):
        return ("amount", ""), NONE, 0
    if state in ("amount", "amount space"):
        if kind == _SPACE:
            return ("amount space", ""), NONE, 0
        is_money = kind in (_CLOSE, _NEWLINE) or byte in b'!?:;"'
        if state == "amount space":
            is_money = is_money or kind in (_LETTER, _QUOTE)
            if byte in (0xC2, 0xC3, 0xE2) or kind == _LETTER:
                return _text_step("gap", "", byte, lossy)
        return _on("gap", kind, symbol, False, lossy) if is_money else _maths_step("money", "in", byte)
    # "money stop", "money stop space": a capital after a full stop and a space shows that it was money
    if kind == _SPACE:
        return ("money stop space", ""), NONE, 0
    if state == "money stop space" and 65 <= byte <= 90:
        return _on("gap", kind, symbol, False, lossy)
    return _maths_step("money", "in", byte)


@dataclass(frozen=True, eq=False)
class TextRules:
    """Rules of a name and version, compiled.

    Whatever the rules, the states of ordinary text come first and in one order, letters lead from a gap, a newline or
    a word into a word, and a space leads out of one: inner loops count on it.

    Attributes:
        name: of the rules.
        version: number of the rules.
        lossy: whether apostrophes and hyphens are letters of their own (see the module's text).
        table: uint32 array (states, 256); ``next state | emitted << 8 | symbol << 16`` of each state and byte.
        start: the state where a text begins.
    """

    name: str
    version: int
    lossy: bool
    table: np.ndarray[Any, np.dtype[np.uint32]]
    start: int = START_STATE


@lru_cache(maxsize=8)
def text_rules(version: int | None = None, *, name: str = ENGLISH, lossy: bool = False) -> TextRules:
    """Compile rules (cached).

    Args:
        version: of the rules; None for the one that this package runs.
        name: ``"english-maths"`` or ``"code-agent"``.
        lossy: for tokenisers that lose white space.

    Raises:
        DataError: this package does not know these rules, or not in that version; or `lossy` for rules that need to see
            lines and spaces.
    """
    if name not in VERSIONS:
        raise DataError(f"unknown text rules: {name!r}", expected=" | ".join(VERSIONS))
    if version not in (None, VERSIONS[name]):
        raise DataError(
            f"unknown version of the text rules: {version!r}",
            expected=f"version {VERSIONS[name]} of {name}",
            mend="mine the grams again with this version of hicra, or install the version that made them",
        )
    if name == AGENT:
        from hicra.grams.text_agent import rules

        return rules(lossy=lossy)
    table = np.zeros((len(_STATES), 256), np.uint32)
    for (state_name, sub), i in _ID.items():
        for byte in range(256):
            if state_name in _CONTEXTS:
                step = _text_step(state_name, sub, byte, lossy)
            elif state_name in _MATHS:
                step = _maths_step(state_name, sub, byte)
            else:
                step = _odd_step(state_name, byte, lossy)
            table[i, byte] = packed(step, _ID)
    table.flags.writeable = False
    return TextRules(name, VERSIONS[name], lossy, table)


def packed(step: _Step, number: dict[tuple[str, str], int]) -> int:
    """An entry of a table."""
    state, emitted, symbol = step
    return number[state] | emitted << 8 | symbol << 16


def normalise(text: str | bytes, rules: TextRules | None = None) -> str:
    """The text as the rules read it: words parted by single spaces, a newline for each break.

    Runs the same table as counting and labelling, in plain Python; for whole corpora use the counting kernels.
    """
    rules = rules or text_rules()
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    out = bytearray()
    state = rules.start
    for byte in data:
        step = int(rules.table[state, byte])
        state, emitted, symbol = step & 0xFF, step >> 8 & 0xFF, step >> 16
        if emitted >= LETTER:
            prefix = emitted - LETTER & 3
            if prefix:
                out += b"'" if prefix == 1 else b"-"
            out.append(symbol)
        elif emitted == JUNK:
            out.append(0)
        elif emitted == BREAK:
            out += b"\n"
        elif emitted in (SPACE, COMMA, NEWLINE):
            out += b" "
    return spelling(re.sub(rb" ?\n[ \n]*", b"\n", re.sub(rb" +", b" ", bytes(out))).strip(b" \n"))


def spelling(symbols: bytes) -> str:
    """Symbols as text: one byte for each Latin-1 letter, raw UTF-8 for the other scripts, unmixed again."""
    pieces = re.split(rb"([\xc4-\xf4][\x80-\xbf]+)", symbols)
    return "".join(p.decode("utf-8" if i % 2 else "latin-1", "replace") for i, p in enumerate(pieces))


def words(text: str | bytes, rules: TextRules | None = None) -> list[list[str]]:
    """The words of a text, one list a stretch between breaks. Identifiers (words glued to digits) are left out.

    >>> words("Wait, that's $x^2$ wrong. So we")
    [['wait', "that's"], ['wrong'], ['so', 'we']]
    """
    stretches: list[list[str]] = []
    for line in normalise(text, rules).split("\n"):
        stretch: list[str] = []
        for word in line.split(" "):
            if "\0" in word:  # an identifier ends its stretch
                stretches.append(stretch)
                stretch = []
            elif word:
                stretch.append(word)
        stretches.append(stretch)
    return [stretch for stretch in stretches if stretch]


def normalise_gram(text: str, rules: TextRules | None = None) -> tuple[str, str | None]:
    """Bring a gram into the form in which it is matched.

    Args:
        text: of the gram.
        rules: that it is for; default: those of this module.

    Returns:
        The normalised text and a remark on what was taken off beyond case and spacing, or None.

    Raises:
        DataError: nothing is left, or the gram holds a break (no text can match it).
    """
    bare = re.sub(r"\s*['‘’]\s*", "'", text.strip())  # let 's, as word tokenisers write it
    taken = []
    stripped = re.sub(r"^#+\s*", "", bare)
    if stripped != bare:
        taken.append("leading #")
    bare = re.sub(r"\s*[?.!:;,]+$", "", stripped)
    if bare != stripped:
        taken.append(f"trailing {stripped[len(bare) :].strip()}")
    stretches = words(bare, rules)
    if not stretches:
        raise DataError(f"the gram {text!r} holds no word", expected="a phrase of one or more words")
    phrase = " ".join(stretches[0])
    if normalise(f"a {bare} a", rules) != f"a {phrase} a":  # between words, so that breaks at its ends show too
        raise DataError(
            f"the gram {text!r} holds a break (a full stop, a digit, maths ...)",
            expected="a phrase that one stretch of text can hold",
            got=" | ".join(map(" ".join, stretches)),
        )
    return phrase, f"{' and '.join(taken)} taken off {text!r}" if taken else None


def variants(gram: str, *, lossy: bool) -> list[bytes]:
    """The symbol strings that stand for a normalised gram: one, or one for each optional space of a lossy tokeniser.

    Args:
        gram: normalised text of the gram.
        lossy: whether spaces around each apostrophe and hyphen are optional.
    """
    symbols = b"".join(bytes([ord(c)]) if ord(c) < 0x80 or 0xC0 <= ord(c) <= 0xFF else c.encode("utf-8") for c in gram)
    if not lossy:
        return [symbols]
    parts = re.split(rb"(['-])", symbols)
    marks = parts[1::2]
    if len(marks) > 4:  # 4 ** 5 spellings of one phrase: no such gram exists in earnest
        raise DataError(f"the gram {gram!r} has more than four apostrophes and hyphens")
    spelled = []
    for spacing in itertools.product((b"%s", b" %s", b"%s ", b" %s "), repeat=len(marks)):
        body = parts[0]
        for mark, space, rest in zip(marks, spacing, parts[2::2], strict=True):
            body += space % mark + rest
        spelled.append(body)
    return spelled
