"""Text rules ``code-agent``: prose that steers, in the traces of agents and of people who reason about programs.

Code, tool calls and their results are execution by definition: they break, and no word in them is seen. What is left
follows the rules of `hicra.grams.text` but for maths, which these rules do not know (``$`` belongs to shells).

| text | becomes |
|---|---|
| ```` ``` ```` to ```` ``` ```` (or to the end) | a break |
| `` ` `` to `` ` `` (or to the end of the line) | a break |
| ``<tool_call>`` ... ``</tool_call>``, and all tags whose name begins with one of `TAGS` | a break, tags included |
| any other ``<tag ...>`` (or to the end of the line) | a break |
| ``{"`` ``{'`` ``["`` ``[{`` ``{}`` ... to the bracket that closes it (or to a blank line): JSON | a break |
| a line that begins with ``+``, ``---``, ``-x`` or ``-`` and two spaces: a diff | a break to its end |
| ``@@`` (a diff), ``>>>``, ``$`` and a space (transcripts) at the beginning of a line | a break to the blank line |
| ``name(...)``: a call | an identifier |
| a word right behind ``. / : = @ # & % ^ + | \\ $ --``: ``os.path``, ``/usr/bin``, ``--all`` | an identifier |

Not seen: code that stands on lines of its own without a fence and without any of these marks, and lines of a
transcript after a blank one.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from hicra.errors import DataError
from hicra.grams.text import (
    _CONTEXTS,
    _DIGIT,
    _LEADS,
    _LETTER,
    _SPACE,
    _UNDER,
    AGENT,
    BREAK,
    JUNK,
    NONE,
    VERSIONS,
    TextRules,
    _on,
    _plain,
    _Step,
    _text_step,
    packed,
)

TAGS = (
    "tool_", "function", "invoke", "parameter", "code", "python", "execute", "observation", "output", "bash",
)  # fmt: skip
"""Names of tags that hold execution begin with these."""
DEPTH = 5
"""Brackets of JSON are counted up to so many levels."""

_PREFIXES = tuple(sorted({tag[:i] for tag in TAGS for i in range(1, len(tag) + 1)}))
_NESTED = tuple(map(str, range(1, DEPTH + 1)))
_STATES: tuple[tuple[str, str], ...] = (
    *itertools.product(_CONTEXTS, _LEADS),
    ("joint", ""),  # after a sign: what touches it is an identifier
    ("dash", ""),
    ("minus", ""),  # a hyphen that begins a line
    ("minus", " "),
    ("line", ""),  # to the end of the line
    ("block", ""),  # to the blank line
    ("block", "line"),
    ("prompt", ""),  # a dollar sign, an at sign, angle brackets that begin a line
    ("at", ""),
    ("more", "1"),
    ("more", "2"),
    ("call", ""),
    ("tick", "1"),  # after so many backticks
    ("tick", "2"),
    ("inline", ""),
    *(("fence", n) for n in "012"),  # inside, after so many backticks
    ("less", ""),  # after <
    ("tag", ""),
    *(("opening", name) for name in _PREFIXES),
    ("opening", ">"),  # in what follows the name
    ("region", ""),
    ("region", "<"),
    ("region", "/"),
    *(("closing", name) for name in _PREFIXES),
    ("closing", ">"),
    *itertools.product(("bracket", "json", "json line", "string", "escape"), _NESTED),
)
_ID = {state: i for i, state in enumerate(_STATES)}
_GAP, _LINE, _GLUE = ("gap", ""), ("newline", ""), ("glue", "")
_TOUCHES = b"/=@#&%^+|\\$"


def _here(context: str, kind: int, symbol: int, wide: bool, lossy: bool, *, byte: int = -1) -> _Step:
    """What a known character does in prose; `byte` is given for those of one byte."""
    step = _on(context, kind, symbol, wide, lossy)
    if byte < 0:
        return step
    begins = context == "newline"
    if byte == ord("(") and context in ("word", "under", "glue"):
        return ("call", ""), NONE if context == "glue" else JUNK, 0
    if byte == ord("`"):
        return ("tick", "1"), BREAK, 0
    if byte == ord("<"):
        return ("less", ""), BREAK, 0
    if byte in b"{[":
        return ("bracket", "1"), BREAK, 0
    if byte == ord("-") and begins:
        return ("minus", ""), BREAK, 0
    if byte == ord("-") and context != "word":
        return ("dash", ""), BREAK, 0
    if begins and byte in b"+@$>":
        return {"+": ("line", ""), "@": ("at", ""), "$": ("prompt", ""), ">": ("more", "1")}[chr(byte)], BREAK, 0
    if byte in _TOUCHES or (byte in b".:" and context in ("word", "under", "glue")):
        return ("joint", ""), BREAK, 0
    return step


def _prose(context: str, lead: str, byte: int) -> _Step:
    """One byte of prose."""
    return _text_step(context, lead, byte, False, partial(_here, byte=byte if byte < 0x80 else -1))


def _after_sign(state: str, sub: str, byte: int) -> _Step:
    """One byte after a sign, or at the beginning of a line that may not be prose."""
    kind, _ = _plain(byte)
    word = kind in (_LETTER, _DIGIT, _UNDER) and byte not in (0xC2, 0xC3, 0xE2)  # these may begin punctuation
    if state == "minus":
        if sub == "":
            return (("minus", " "), NONE, 0) if byte == 32 else _skip("line", "", byte)
        return _skip("line", "", byte) if kind == _SPACE else _prose("gap", "", byte)
    if state == "at" and byte == ord("@"):
        return ("block", ""), NONE, 0
    if state == "prompt" and byte == 32:
        return ("block", ""), NONE, 0
    if state == "more":
        if byte == ord(">"):
            return (("more", "2") if sub == "1" else ("block", "")), NONE, 0
        return _prose("gap", "", byte)
    if state == "dash" and byte == ord("-"):
        return ("dash", ""), NONE, 0
    return (_GLUE, NONE, 0) if word else _prose("gap", "", byte)


def _skip(state: str, sub: str, byte: int) -> _Step:
    """One byte of a line, a block, a call, or of what backticks enclose."""
    newline = byte == ord("\n")
    if state == "block":
        if newline:
            return (_LINE, BREAK, 0) if sub == "line" else (("block", "line"), NONE, 0)
        return ("block", "line" if sub == "line" and byte in b" \t\r" else ""), NONE, 0
    if state == "fence":
        ticks = int(sub) + 1 if byte == ord("`") else 0
        return (_GAP, NONE, 0) if ticks == 3 else (("fence", str(ticks)), NONE, 0)
    if newline:
        return _LINE, BREAK, 0
    if state == "line":
        return ("line", ""), NONE, 0
    if state == "call":
        return (_GLUE if byte == ord(")") else ("call", "")), NONE, 0
    tick = byte == ord("`")
    if state == "tick":
        if tick:
            return (("tick", "2") if sub == "1" else ("fence", "0")), NONE, 0
        return (("inline", ""), NONE, 0) if sub == "1" else _prose("gap", "", byte)
    return (_GAP if tick else ("inline", "")), NONE, 0


def _tag(state: str, sub: str, byte: int) -> _Step:
    """One byte of a tag, or of what stands between tags that hold execution."""
    c = chr(byte)
    if state == "region":
        follows = {("", "<"): ("region", "<"), ("<", "<"): ("region", "<"), ("<", "/"): ("region", "/")}
        if sub == "/" and c in _PREFIXES:
            return ("closing", c), NONE, 0
        return follows.get((sub, c), ("region", "")), NONE, 0
    if state == "closing":
        if sub + c in _PREFIXES:
            return ("closing", sub + c), NONE, 0
        if sub == ">" or sub in TAGS:
            return (_GAP if c == ">" else ("closing", ">")), NONE, 0
        return ("region", "<" if c == "<" else ""), NONE, 0
    if byte == ord("\n"):
        return _LINE, BREAK, 0
    if state == "less":
        if c in _PREFIXES:
            return ("opening", c), NONE, 0
        return (("tag", ""), NONE, 0) if c in "/!|" or _plain(byte)[0] == _LETTER else _prose("gap", "", byte)
    if state == "opening":
        if sub + c in _PREFIXES:
            return ("opening", sub + c), NONE, 0
        if sub == ">" or sub in TAGS:
            return ("region", "") if c == ">" else ("opening", ">"), NONE, 0
    return (_GAP if c == ">" else ("tag", "")), NONE, 0


def _json(state: str, sub: str, byte: int) -> _Step:
    """One byte after a bracket that may begin JSON, or of JSON."""
    c, depth = chr(byte), int(sub)
    if state == "bracket" and c not in "\"'{[}] \n\t\r":
        return _prose("gap", "", byte)
    if state == "escape":
        return ("string", sub), NONE, 0
    if c == "\n" and state != "bracket":
        return (_LINE, BREAK, 0) if state == "json line" else (("json line", sub), NONE, 0)
    if state == "json line" and c in " \t\r":
        return (state, sub), NONE, 0
    if state == "string":
        return ({'"': "json", "\\": "escape"}.get(c, "string"), sub), NONE, 0
    if c in "}]":
        return (_GAP if depth == 1 else ("json", str(depth - 1))), NONE, 0
    if c in "{[":
        return ("bracket" if state == "bracket" else "json", str(min(depth + 1, DEPTH))), NONE, 0
    if state == "bracket" and c in " \n\t\r":
        return (state, sub), NONE, 0
    return ("string" if c == '"' else "json", sub), NONE, 0


def rules(*, lossy: bool = False) -> TextRules:
    """Compile the rules; use `hicra.grams.text.text_rules`, which keeps them.

    Raises:
        DataError: for tokenisers that lose white space: these rules look at lines and at what touches what.
    """
    if lossy:
        raise DataError(
            f"the text rules {AGENT} need to see lines and spaces",
            expected="a tokenizer that keeps white space (byte-level BPE, SentencePiece)",
            got="WordPiece or word tokens",
        )
    assert len(_STATES) <= 256
    table = np.zeros((len(_STATES), 256), np.uint32)
    for (state, sub), i in _ID.items():
        for byte in range(256):
            if state in _CONTEXTS:
                step = _prose(state, sub, byte)
            elif state in ("line", "block", "fence", "tick", "inline", "call"):
                step = _skip(state, sub, byte)
            elif state in ("less", "tag", "opening", "closing", "region"):
                step = _tag(state, sub, byte)
            elif state in ("bracket", "json", "json line", "string", "escape"):
                step = _json(state, sub, byte)
            else:
                step = _after_sign(state, sub, byte)
            table[i, byte] = packed(step, _ID)
    table.flags.writeable = False
    return TextRules(AGENT, VERSIONS[AGENT], lossy, table, _ID[_LINE])
