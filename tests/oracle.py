"""A slow and obvious labeller, written apart from the package: characters, regular expressions and free lookahead.

It reads the rules of `hicra.grams.text` as prose. Tests compare the package's transducer and automaton with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SPACES = " \t\r\v\f\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200d\u202f"
BLANK_LINE = re.compile(rf"\n[{SPACES}]*\n")
QUOTES = '"(*`~)«»“”„‟‹›'
DASHES = "\u2012–—\u2015"
STOPS = ".!?:;"


@dataclass
class Word:
    text: str
    chars: list[int]  # positions of its characters in the text
    clause: bool
    sentence: bool


def letter(c: str) -> bool:
    if c in "×÷":
        return False
    if c.isascii():
        return c.isalpha()
    code = ord(c)
    return not (0x80 <= code <= 0xBF or 0x2000 <= code <= 0x2FFF)


def apostrophe(c: str) -> bool:
    return c in "'‘’‛"


def hyphen(c: str) -> bool:
    return c in "-‐‑"


def lower(c: str) -> str:
    return c.lower() if ord(c) < 0x100 and len(c.lower()) == 1 else c


def maths_end(text: str, i: int) -> int:
    """Where ordinary text goes on after the maths or the amount of money that begins at i."""
    if text[i] == "\\":
        if text[i + 1 : i + 2] in ("(", "["):
            return closing(text, i + 2, "\\)" if text[i + 1] == "(" else "\\]")
        # a command's letters, or the one sign that is escaped
        return re.compile(r"\\([A-Za-z]+|[!-/:-@\[-`{-~]|)").match(text, i).end()
    if text[i + 1 : i + 2] == "$":
        return closing(text, i + 2, "$$")
    amount = re.compile(r"\$[0-9][0-9.,%]*([ \t\r\v\f]*)").match(text, i)
    if not amount:
        return closing(text, i + 1, "$")
    k = amount.end()
    if k == len(text):
        return k
    c = text[k]
    if c in ')\n!?:;"' or (amount[1] and (c in "(*`~" or letter(c) or not c.isascii())):
        return k
    while k < len(text):
        if text[k] == "\\" and text[k + 1 : k + 2] != "\n":
            k += 2
        elif text[k] == "$":
            return k + 1
        elif text[k] == "\n":
            return k
        else:
            stop = re.compile(r"[.!?][ \t\r\v\f]+(?=[A-Z])").match(text, k)
            if stop:
                return stop.end()
            k += 1
    return k


def closing(text: str, k: int, mark: str) -> int:
    while k < len(text):
        blank = re.compile(r"\n[ \t\r]*\n").match(text, k)
        if blank:
            return blank.start()
        if text.startswith(mark, k):
            return k + len(mark)
        k += 2 if text[k] == "\\" and text[k + 1 : k + 2] not in ("\n", "") else 1
    return len(text)


def stretches(text: str, *, lossy: bool = False) -> list[list[Word]]:
    """Words between breaks."""
    out: list[list[Word]] = [[]]
    clause = sentence = True
    i, n = 0, len(text)

    def stop() -> None:
        nonlocal clause, sentence
        out.append([])
        clause = sentence = True

    while i < n:
        c = text[i]
        if c in "$\\":
            stop()
            i = maths_end(text, i)
            continue
        if c == "\n" and BLANK_LINE.match(text, i):
            stop()
            i += 1
            continue
        if c == "\n":
            clause = sentence = True
            i += 1
            continue
        if c == "," or c in DASHES:
            clause = True
            i += 1
            continue
        if c in SPACES or c in QUOTES or c == "_":
            i += 1
            continue
        marks = lossy and (apostrophe(c) or hyphen(c))
        if letter(c) or marks:
            j = i
            chars = []
            while j < n:
                d = text[j]
                inner = (apostrophe(d) or hyphen(d)) and j + 1 < n and letter(text[j + 1])
                if letter(d) or (inner and not lossy) or (lossy and (apostrophe(d) or hyphen(d))):
                    chars.append(j)
                    j += 1
                else:
                    break
            glued = j < n and (text[j] in "0123456789" or (text[j] == "_" and j + 1 < n and glues(text[j + 1], lossy)))
            if glued:
                # an identifier: everything up to the next character that cannot be part of one
                while j < n and (letter(text[j]) or text[j] in "0123456789_" or identifier_mark(text[j], lossy)):
                    j += 1
                stop()
                i = j
                continue
            word = "".join("'" if apostrophe(text[k]) else "-" if hyphen(text[k]) else lower(text[k]) for k in chars)
            out[-1].append(Word(word, chars, clause, sentence))
            clause = sentence = False
            i = j
            continue
        if c in "0123456789":
            while i < n and (letter(text[i]) or text[i] in "0123456789_" or identifier_mark(text[i], lossy)):
                i += 1
            stop()
            continue
        if apostrophe(c):  # not between letters: a space
            i += 1
            continue
        stop()  # stops, signs, dangling hyphens
        i += 1
    return out


def glues(c: str, lossy: bool) -> bool:
    return letter(c) or c in "0123456789" or (lossy and (apostrophe(c) or hyphen(c)))


def identifier_mark(c: str, lossy: bool) -> bool:
    return apostrophe(c) or (lossy and hyphen(c))


SLOTS = json.loads((Path(__file__).parents[1] / "src" / "hicra" / "grams" / "slots.json").read_text("utf-8"))


@cache
def expression(gram: str, lossy: bool) -> re.Pattern[str]:
    """A gram or pattern as a regular expression over words with single spaces between."""

    def spelled(phrase: str) -> str:
        return "".join(f" ?{c} ?" if lossy and c in "'-" else re.escape(c) for c in phrase)

    def forms(item: str) -> list[str]:
        return [form for family in SLOTS["forms"] if item in family for form in family]

    def part(m: re.Match[str]) -> str:
        whole = m[0]
        if whole == "[":
            return "(?:"
        if whole == "]":
            return ")?"
        if not whole.startswith("<"):
            return f"(?: {spelled(whole)})"
        name = whole[1:-1]
        if name == "word":
            return "(?: [^ ]+)"
        if "|" in name or "~" in name:
            choices = [c for item in name.split("|") for c in (forms(item[:-1]) if item.endswith("~") else [item])]
        else:
            choices = SLOTS["slots"][name]["words"]
        return "(?: (?:" + "|".join(map(spelled, choices)) + "))"

    return re.compile(re.sub(r"<[^>]*>|\[|\]|[^<>\[\] ]+| ", lambda m: "" if m[0] == " " else part(m), gram))


def matches(text: str, grams: list[tuple[str, str]], *, lossy: bool = False) -> list[tuple[int, int, list[int]]]:
    """Every match of (text, at) grams: (first character, gram index, positions of its non-space characters)."""
    found = []
    for words in stretches(text, lossy=lossy):
        for first in range(len(words)):
            for last in range(first, len(words)):
                phrase = " ".join(w.text for w in words[first : last + 1])
                for g, (gram, at) in enumerate(grams):
                    if expression(gram, lossy).fullmatch(f" {phrase}") is None:
                        continue
                    if (at == "clause" and not words[first].clause) or (at == "sentence" and not words[first].sentence):
                        continue
                    chars = [c for w in words[first : last + 1] for c in w.chars]
                    found.append((chars[0], g, chars))
    return found


def rank(match: tuple[int, int, list[int]], grams: list[tuple[str, str]]) -> tuple[int, int, bool, int]:
    """The match with the least rank has a character or token."""
    first, g, chars = match
    return first, -chars[-1], "<" in grams[g][0] or "[" in grams[g][0], g


def label_ranges(
    text: str, ranges: list[tuple[int, int]], grams: list[tuple[str, str]], *, lossy: bool = False
) -> tuple[list[bool], list[int], list[bool]]:
    """Labels of tokens given as character ranges, straight from the definition.

    A token belongs to the match that overlaps it and begins leftmost, the longest of these; of several grams that match
    the same words, a phrase comes before patterns, and these in their order. An occurrence begins at the first token
    that belongs to it.
    """
    found = matches(text, grams, lossy=lossy)
    owner: list[int] = []
    for lo, hi in ranges:
        over = [m for m, (_, _, chars) in enumerate(found) if any(lo <= c < hi for c in chars)]
        owner.append(min(over, key=lambda m: rank(found[m], grams)) if over else -1)
    gram_id = [found[m][1] if m >= 0 else -1 for m in owner]
    begin = [m >= 0 and m not in owner[:i] for i, m in enumerate(owner)]
    return [m >= 0 for m in owner], gram_id, begin
