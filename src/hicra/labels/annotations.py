"""Annotation by hand or by a program: excerpts out, marked spans back in, every character checked.

The way there and back:

    excerpts = draw(traces, 100, seed=0)               windows of solutions
    write_excerpts("work/excerpts.jsonl", excerpts)    the texts as they are: what comes back is held against them
    write_marks("work/ann.txt", excerpts)              one copy for each annotator; `.jsonl` for annotation tools
    ...                                                marking, see docs/annotation.md
    rows = join(excerpts, read_marks("work/ann.txt", excerpts), read_marks("work/bob.txt", excerpts))
    write_annotated("annotated.jsonl", rows)           what `hicra.labels.quality.read_excerpts` reads

A text file of marks holds each excerpt under a line ``%%%% id``, with spans written into it as ``[[b Let me try]]``:
``b`` branching, ``d`` deduction, ``k`` backtracing (back to something). Nothing needs escaping: the
file is read along the excerpt's own text, so brackets that belong to the text stay text, and the first character that
was changed by mistake is told with its line. A ``.jsonl`` file of marks has ``{"id", "text", "label": [[start, end,
class], ...]}`` in each line, which doccano and others read and write.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.errors import ConfigError, DataError
from hicra.labels.quality import Excerpt, Marked

if TYPE_CHECKING:
    from hicra.traces.schema import Trace

KEYS = {"b": "branching", "d": "deduction", "k": "backtracing"}
"""Letter of a mark -> function of the span."""

_LETTER = {function: letter for letter, function in KEYS.items()}
_HEAD = "%%%% "
_OPEN = re.compile(r"\[\[([a-z]) ")
_CLOSE = "]]"

Marks = Mapping[str, tuple[Marked, ...]]
"""The spans of one pass: id of the excerpt -> spans, in order, none overlapping another."""


# --- drawing ----------------------------------------------------------------------------------------------------------
def draw(
    traces: Iterable[Trace], count: int, *, seed: int = 0, characters: int = 700, per_problem: int = 1
) -> list[Excerpt]:
    """Draw windows of solutions, whole words, at random places; every fifth begins where its solution does.

    Args:
        traces: where from; all are read once.
        count: how many; fewer come where the traces hold no more.
        seed: of the draw.
        characters: about how long a window is (from 6/7 to 8/7 of it).
        per_problem: most excerpts of solutions to one problem.

    Returns:
        Excerpts without spans, in random order; a window with fewer than 150 characters, or of which less than 35 %
        are letters, is passed over.

    Raises:
        ConfigError: a number that is not positive.
    """
    if min(count, characters, per_problem) < 1:
        raise ConfigError(
            "count, characters and per_problem are at least 1", got=f"{count}, {characters}, {per_problem}"
        )
    rng = random.Random(seed)
    rows = list(traces)
    rng.shuffle(rows)
    of_problem: dict[str, int] = {}
    found: list[Excerpt] = []
    for trace in rows:
        if len(found) == count:
            break
        start, text = _window(trace.solution, rng, characters)
        if of_problem.get(trace.problem, 0) >= per_problem or len(text) < min(150, characters // 2):
            continue
        if sum(map(str.isalpha, text)) < 0.35 * len(text):
            continue
        of_problem[trace.problem] = of_problem.get(trace.problem, 0) + 1
        name = f"{trace.id}@{start}"
        found.append(Excerpt(name, trace.source or "", text, (), (), trace.id, trace.license, start))
    return found


def _window(text: str, rng: random.Random, characters: int) -> tuple[int, str]:
    length = rng.randint(characters * 6 // 7, characters * 8 // 7)
    if len(text) <= length:
        return 0, text
    start = 0 if rng.random() < 0.2 else rng.randrange(0, len(text) - length // 2)
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    end = min(len(text), start + length)
    while start < end < len(text) and not text[end].isspace():
        end -= 1
    return start, text[start:end]


# --- excerpts ---------------------------------------------------------------------------------------------------------
def write_excerpts(path: str | Path, excerpts: Sequence[Excerpt]) -> None:
    """The texts, without spans, as JSON lines."""
    _write(path, (json.dumps(_plain(e), ensure_ascii=False) for e in excerpts))


def write_annotated(path: str | Path, excerpts: Sequence[Excerpt]) -> None:
    """The texts with the spans of both passes, as JSON lines."""
    rows = (
        _plain(e) | {"annotator_a": _spans(e.text, e.first), "annotator_b": _spans(e.text, e.second)} for e in excerpts
    )
    _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def read_texts(path: str | Path) -> list[Excerpt]:
    """What `write_excerpts` wrote, or any JSON lines with ``id`` and ``text``.

    Raises:
        DataError: the file cannot be read, a line is no excerpt, or an id comes twice.
    """
    found: dict[str, Excerpt] = {}
    for where, row in _rows(path):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str) or not row["id"].strip():
            raise DataError(f"{where}: no excerpt", expected='{"id": "...", "text": "..."}', got=str(row)[:120])
        if row["id"] in found:
            raise DataError(f"{where}: the excerpt {row['id']!r} is there twice")
        found[row["id"]] = Excerpt(
            row["id"], str(row.get("source") or ""), row["text"], (), (),
            row.get("trace_id"), row.get("license"), int(row.get("start") or 0),
        )  # fmt: skip
    if not found:
        raise DataError(f"{path} holds no excerpts")
    return list(found.values())


# --- marks ------------------------------------------------------------------------------------------------------------
def write_marks(path: str | Path, excerpts: Sequence[Excerpt], marks: Marks | None = None) -> None:
    """A file to mark: text, or for a name that ends in ``.jsonl`` one that annotation tools read.

    Args:
        path: where to.
        excerpts: see `draw`.
        marks: spans that are there already; default: none.
    """
    marks = marks or {}
    if Path(path).suffix == ".jsonl":
        rows = (
            {"id": e.id, "text": e.text, "label": [[s.start, s.end, s.function] for s in marks.get(e.id, ())]}
            for e in excerpts
        )
        _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))
        return
    _write(path, (f"{_HEAD}{e.id}\n{_marked(e.text, marks.get(e.id, ()))}" for e in excerpts))


def read_marks(path: str | Path, excerpts: Sequence[Excerpt]) -> dict[str, tuple[Marked, ...]]:
    """The spans of one pass, checked against the excerpts' texts.

    Args:
        path: what an annotator made of a file of `write_marks`; ``.jsonl`` for that of a tool. A part of the excerpts
            is fine.
        excerpts: see `read_texts`.

    Raises:
        DataError: a text was changed, an excerpt is unknown or there twice, a span is empty, overlaps another, leaves
            its text, begins or ends with white space, or has no known class. File and line are told.
    """
    texts = {e.id: e.text for e in excerpts}
    found: dict[str, tuple[Marked, ...]] = {}
    reader = _read_jsonl if Path(path).suffix == ".jsonl" else _read_text
    for where, name, spans in reader(Path(path), texts):
        if name in found:
            raise DataError(f"{where}: the excerpt {name!r} is there twice")
        found[name] = _checked(spans, texts[name], where)
    if not found:
        raise DataError(f"{path} holds no marked excerpts")
    return found


def join(excerpts: Sequence[Excerpt], first: Marks, second: Marks) -> list[Excerpt]:
    """The excerpts that both passes hold, with the spans of both.

    Raises:
        DataError: there is none.
    """
    both = [replace(e, first=first[e.id], second=second[e.id]) for e in excerpts if e.id in first and e.id in second]
    if not both:
        raise DataError("the two passes have no excerpt in common", got=f"{len(first)} and {len(second)} excerpts")
    return both


# --- one text with its marks ------------------------------------------------------------------------------------------
def _marked(text: str, spans: Sequence[Marked]) -> str:
    out, at = [], 0
    for span in spans:
        out += [text[at : span.start], f"[[{_LETTER[str(span.function)]} ", text[span.start : span.end], _CLOSE]
        at = span.end
    return "".join([*out, text[at:]])


def _unmarked(marked: str, text: str, where: str, line: int) -> list[Marked]:
    """Spans of a marked text, read along the text itself: what the text has too is text, the rest must be marks."""
    spans: list[Marked] = []
    i = j = 0  # in `marked`, in `text`
    opened: tuple[int, str] | None = None
    while i < len(marked):
        mark = _OPEN.match(marked, i)
        if opened is None and mark and not text.startswith(mark[0], j):
            if mark[1] not in KEYS:
                raise DataError(
                    f"{where}:{line + marked.count(chr(10), 0, i)}: unknown mark {mark[0].strip()!r}",
                    expected=" | ".join(f"[[{k} = {v}" for k, v in KEYS.items()),
                )
            opened, i = (j, KEYS[mark[1]]), mark.end()
        elif opened is not None and marked.startswith(_CLOSE, i) and not _goes_on(marked, i, text, j):
            spans.append(Marked(opened[0], j, opened[1]))
            opened, i = None, i + len(_CLOSE)
        elif j < len(text) and marked[i] == text[j]:
            i, j = i + 1, j + 1
        elif marked.startswith("\r\n", i) and text.startswith("\n", j):  # what editors make of line ends
            i += 1
        elif marked.startswith("\n", i) and text.startswith("\r\n", j):
            j += 1
        else:
            break
    at = f"{where}:{line + marked.count(chr(10), 0, i)}"
    if i < len(marked) or j < len(text):
        raise DataError(
            f"{at}: the text is not the excerpt's",
            expected=repr(text[j : j + 40]),
            got=repr(marked[i : i + 40]),
            mend="put the text back as it was; only [[b ...]], [[d ...]], [[k ...]] may be added, none inside another",
        )
    if opened is not None:
        raise DataError(f"{at}: a mark is not closed", expected="]]", got=repr(text[opened[0] : opened[0] + 40]))
    return spans


def _goes_on(marked: str, i: int, text: str, j: int) -> bool:
    """Whether the two brackets at `i` are the text's own: they are, unless more follow than the text has.

    So a mark closes at the first brackets that are too many; what the text has stays outside.
    """

    def run(string: str, at: int) -> int:
        return len(string) - at - len(string[at:].lstrip("]"))

    return run(text, j) > 0 and run(marked, i) < run(text, j) + len(_CLOSE)


def _checked(spans: Sequence[Marked], text: str, where: str) -> tuple[Marked, ...]:
    ordered = tuple(sorted(spans))
    end = 0
    for span in ordered:
        inside = text[span.start : span.end]
        problem = (
            "leaves the text"
            if not 0 <= span.start <= span.end <= len(text)
            else "is empty"
            if not inside
            else "overlaps the one before it"
            if span.start < end
            else "begins or ends with white space"
            if inside != inside.strip()
            else "has no known class"
            if span.function not in _LETTER
            else ""
        )
        if problem:
            raise DataError(
                f"{where}: a span {problem}",
                expected=f"characters of the text, classes {' | '.join(_LETTER)}",
                got=f"[{span.start}, {span.end}, {span.function!r}] {inside[:60]!r}",
            )
        end = span.end
    return ordered


# --- files ------------------------------------------------------------------------------------------------------------
def _read_text(path: Path, texts: Mapping[str, str]) -> Iterator[tuple[str, str, list[Marked]]]:
    lines = _content(path).split("\n")
    heads = [i for i, line in enumerate(lines) if line.startswith(_HEAD) and line[len(_HEAD) :].strip() in texts]
    stray = next((i for i, line in enumerate(lines[: heads[0] if heads else None]) if line.strip()), None)
    if stray is not None:
        raise DataError(
            f"{path}:{stray + 1}: text before the first known excerpt",
            expected=f"a line {_HEAD!r} and the id of an excerpt",
            got=repr(lines[stray][:60]),
        )
    for k, head in enumerate(heads):
        name = lines[head][len(_HEAD) :].strip()
        end = heads[k + 1] if k + 1 < len(heads) else len(lines)
        marked = "\n".join(lines[head + 1 : end])
        text = texts[name]
        tail = text[len(text.rstrip("\r\n")) :]  # editors end a file with a newline, and some add a line
        marked = marked.rstrip("\r\n") + tail
        yield f"{path}:{head + 1}", name, _unmarked(marked, text, str(path), head + 2)


def _read_jsonl(path: Path, texts: Mapping[str, str]) -> Iterator[tuple[str, str, list[Marked]]]:
    for where, row in _rows(path):
        name = str(row.get("id"))
        if name not in texts:
            raise DataError(f"{where}: unknown excerpt", expected="an id of the excerpts", got=repr(name))
        if row.get("text") != texts[name]:
            raise DataError(f"{where}: the text is not the excerpt's", expected=repr(texts[name][:60]))
        try:
            spans = [Marked(int(a), int(b), str(c)) for a, b, c in row["label"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: the spans cannot be read", expected='"label": [[start, end, class], ...]', got=str(error)
            ) from error
        yield where, name, spans


def _rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_content(Path(path)).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: broken JSON", got=str(error)) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: no object", got=line[:60])
        yield f"{path}:{number}", row


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}", got=str(error)) from error


def _plain(excerpt: Excerpt) -> dict[str, Any]:
    return {
        "id": excerpt.id, "trace_id": excerpt.trace_id, "source": excerpt.source, "license": excerpt.license,
        "start": excerpt.start, "text": excerpt.text,
    }  # fmt: skip


def _spans(text: str, spans: Sequence[Marked]) -> list[dict[str, Any]]:
    return [{"start": s.start, "end": s.end, "text": text[s.start : s.end], "class": s.function} for s in spans]


def _write(path: str | Path, lines: Iterable[str]) -> None:
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}", got=str(error)) from error
