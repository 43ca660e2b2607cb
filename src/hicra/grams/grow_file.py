"""Proposals on disk: written by `hicra.grams.grow`, accepted by rule or by hand, applied to the set.

A file is TSV (``.tsv``; opens in any spreadsheet) or JSON lines. Its first line says which set it is for; ``accept`` is
``yes``, ``no`` or empty (not looked at: no). A rule is thresholds joined by ``and``: ``problems >= 20 and likeness >=
.8``; ``kind = frame`` compares words. It is read by a parser of its own and never run as code.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.grams.grow import Kind, Proposal
from hicra.traces.disk import write_atomic

FORMAT = "hicra-proposals"
FORMAT_VERSION = 1
_NAMES = tuple(f.name for f in fields(Proposal))
_TYPES = get_type_hints(Proposal)
_NUMBERS = tuple(name for name in _NAMES if _TYPES[name] in (int, float))
_COLUMNS = ("accept", *_NAMES)
_YES, _NO = ("yes", "y", "x", "1", "true"), ("no", "n", "0", "false", "")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
_TERM = re.compile(r"\s*(\w+)\s*(>=|<=|!=|==|=|>|<)\s*([\w.+-]+)\s*")

Rule = Callable[[Proposal], bool]


def accept_rule(written: str) -> Rule:
    """A rule as a function of a proposal.

    A number that a proposal does not have (nan) meets no threshold.

    Raises:
        ConfigError: it cannot be read, or names a column that there is not.
    """
    terms: list[tuple[str, Callable[[Any, Any], bool], float | str]] = []
    for part in re.split(r"\s+and\s+", written.strip()):
        term = _TERM.fullmatch(part)
        expected = f"thresholds joined by 'and', e.g. problems >= 20 and clause >= .5; {', '.join(_NUMBERS)}, kind"
        if term is None or term[1] not in (*_NUMBERS, "kind", "at", "cluster", "function"):
            raise ConfigError(f"the rule {written!r} cannot be read", expected=expected, got=repr(part))
        name, compare, value = term[1], _COMPARE[term[2]], term[3]
        if name not in _NUMBERS:
            if term[2] not in ("=", "==", "!="):
                raise ConfigError(f"the rule {written!r} orders words", expected=f"{name} = ... or {name} != ...")
            terms.append((name, compare, value))
            continue
        try:
            terms.append((name, compare, float(value)))
        except ValueError:
            raise ConfigError(f"the rule {written!r} cannot be read", expected="a number", got=value) from None
    return lambda p: all(_holds(getattr(p, name), compare, value) for name, compare, value in terms)


def _holds(have: Any, compare: Callable[[Any, Any], bool], value: float | str) -> bool:
    if isinstance(value, float) and have != have:
        return False
    return bool(compare(have, value))


def write_proposals(
    path: str | Path, proposals: Sequence[Proposal], grams: GramSet, *, accept: str | None = None
) -> int:
    """Write proposals, with ``yes`` where the rule accepts; returns how many it accepts.

    Raises:
        ConfigError: the rule cannot be read; the file is neither .tsv nor .jsonl.
        DataError: the file cannot be written.
    """
    path = Path(path)
    rule = accept_rule(accept) if accept else None
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "set": grams.name,
        "hash": grams.hash,
        **({"accept": accept} if accept else {}),
    }
    verdicts = ["yes" if rule and rule(p) else "" for p in proposals]
    rows = [
        {"accept": verdict} | {k: None if v != v else v for k, v in asdict(p).items()}
        for verdict, p in zip(verdicts, proposals, strict=True)
    ]
    if _kind_of(path) == ".jsonl":
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [head, *rows])
    else:
        out = io.StringIO()
        out.write(f"# {json.dumps(head, ensure_ascii=False)}\n")
        table = csv.writer(out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
        table.writerow(_COLUMNS)
        table.writerows([_plain(row[name]) for name in _COLUMNS] for row in rows)
        content = out.getvalue()
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise DataError(f"cannot write the proposals {path}", got=str(error)) from error
    return verdicts.count("yes")


def _plain(value: Any) -> str:
    return "" if value is None else re.sub(r"\s+", " ", str(value))


def apply_proposals(grams: GramSet, path: str | Path, *, name: str | None = None) -> GramSet:
    """The set with the accepted proposals.

    Args:
        grams: the set that the file was made for.
        path: what `write_proposals` wrote, with ``accept`` filled in by rule or by hand; text, position, cluster and
            function may have been edited too.
        name: of the result; default: ``<name>-grown``.

    Returns:
        The new set. Its provenance has the parent, the hash of the file and how many of each kind were accepted.

    Raises:
        DataError: the file cannot be read, is of another set, holds a value that cannot be, or accepts nothing.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the proposals {path}", got=str(error)) from error
    head = _head(lines, path)
    if head.get("hash") != grams.hash:
        raise DataError(
            f"the proposals {path} are for another set",
            expected=f"{grams.name} {grams.hash[:12]}",
            got=f"{head.get('set')} {str(head.get('hash'))[:12]}",
        )
    found: dict[str, dict[str, Any]] = {}
    kinds: Counter[str] = Counter()
    proposed = 0
    for number, row in _rows(lines, path):
        proposed += 1
        if _accepted(row.get("accept"), f"{path}:{number}"):
            gram = {k: row.get(k) or None for k in ("text", "at", "cluster", "function")}
            try:
                made = GramSet.from_grams([{k: v for k, v in gram.items() if v is not None}], rules=grams.rules)[0]
            except DataError as error:
                raise DataError(f"{path}:{number}: {error.problem}", expected=error.expected, got=error.got) from error
            if made.text not in grams and made.text not in found:
                found[made.text] = asdict(made)
                kinds[str(row.get("kind"))] += 1
    if not found:
        raise DataError(
            f"{path} accepts nothing that the set does not hold",
            expected="'yes' in the column accept",
            got=f"{proposed:,} proposals, none accepted",
            mend='fill the column in, or write the file again with --accept "problems >= 20 and likeness >= .8"',
        )
    grown = {
        "parent": grams.name,
        "parent_hash": grams.hash,
        "proposals_sha256": hashlib.sha256(content).hexdigest(),
        "proposed": proposed,
        "accepted": {kind: kinds[kind] for kind in (*get_args(Kind), *sorted(kinds)) if kinds[kind]},
        "accept_rule": head.get("accept"),
        "parent_provenance": dict(grams.provenance),
    }
    return GramSet.from_grams(
        [*grams, *found.values()],
        name=name or f"{grams.name}-grown",
        text_version=grams.text_version,
        rules=grams.rules,
        provenance={"source": f"{grams.name}, grown by {len(found):,} proposals", "grown": grown},
    )


def _kind_of(path: Path) -> str:
    if path.suffix not in (".tsv", ".jsonl"):
        raise ConfigError(f"proposals cannot be kept in {path.name!r}", expected="a name that ends in .tsv or .jsonl")
    return path.suffix


def _head(lines: list[str], path: Path) -> dict[str, Any]:
    try:
        head = json.loads(lines[0].removeprefix("# ")) if lines else None
    except json.JSONDecodeError:
        head = None
    if not isinstance(head, dict) or (head.get("format"), head.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise DataError(
            f"{path} holds no proposals",
            expected="a file that 'hicra grams grow' wrote, its first line as it was",
            got=repr(lines[0][:80]) if lines else "an empty file",
        )
    return head


def _rows(lines: list[str], path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """Line numbers and rows."""
    if _kind_of(path) == ".jsonl":
        for number, line in enumerate(lines[1:], start=2):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}:{number}: broken JSON", got=error.msg) from error
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: no proposal", expected="an object", got=line[:80])
                yield number, row
        return
    table = csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\")
    names = next(table, [])
    if not {"accept", "text"} <= set(names):
        raise DataError(f"{path}:2: columns are missing", expected=", ".join(_COLUMNS), got=", ".join(names))
    for number, values in enumerate(table, start=3):
        if any(values):
            yield number, dict(zip(names, values, strict=False))


def _accepted(value: Any, where: str) -> bool:
    plain = "" if value is None else str(value).strip().lower()
    if plain not in (*_YES, *_NO):
        raise DataError(f"{where}: the column accept cannot be read", expected="yes, no or nothing", got=repr(value))
    return plain in _YES
