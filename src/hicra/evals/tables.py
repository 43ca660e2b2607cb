"""A comparison as a table: what stands in it, and that as Markdown, as LaTeX, as HTML (terminal.py has the terminal).

The paper's layout: one column a benchmark, one block of rows a model, one row a method, then the differences to the
baseline. Names come from files that anybody may have written, so each format escapes them in its own way.
"""

from __future__ import annotations

import html as _html
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from hicra.evals.compare import NAMES, Comparison, Delta, Group
from hicra.evals.stats import Estimate

_UNSEEN = {"Cc", "Cf", "Cs"}  # controls, directions and joiners, lone surrogates


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place: a number, its interval, and whether it is marked."""

    number: str = ""
    interval: str = ""
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row: of a method, or of differences (``delta``)."""

    label: str
    delta: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one model under its heading."""

    heading: str
    rows: tuple[Row, ...]


def blocks(comparison: Comparison) -> Iterator[Block]:
    """The table's content as plain text, the same for every format (minus signs are U+2212)."""
    for group in comparison.groups:
        rows = [
            Row(plain(m), False, tuple(_accuracy(group.cells.get((m, b))) for b in comparison.benchmarks))
            for m in group.methods
        ]
        for m in dict.fromkeys(method for method, _ in group.deltas):
            cells = tuple(_difference(group.deltas.get((m, b))) for b in comparison.benchmarks)
            rows.append(Row(f"Δ {plain(m)} − {plain(group.baseline or '')}", True, cells))
        yield Block(_heading(group), tuple(rows))


def markdown(comparison: Comparison) -> str:
    """A pipe table and its notes."""
    lines = [_pipe(["", *map(_md, columns(comparison))]), _pipe(["---", *["---:"] * len(comparison.benchmarks)])]
    for block in blocks(comparison):
        if block.heading:
            lines.append(_pipe([f"**{_md(block.heading)}**", *[""] * len(comparison.benchmarks)]))
        for row in block.rows:
            lines.append(_pipe([_md(row.label), *(_md_cell(cell) for cell in row.cells)]))
    notes = [_md(note) for note in comparison.notes]
    return "\n".join([*lines, "", *("\n\n".join(notes)).split("\n")]) + "\n"


def latex(comparison: Comparison) -> str:
    """A `tabular` with booktabs' rules and a comment for each note; needs ``\\usepackage{booktabs}``."""
    n = len(comparison.benchmarks)
    lines = [r"\begin{tabular}{l" + "r" * n + "}", r"\toprule"]
    lines.append(" & ".join(["", *map(_tex, columns(comparison))]) + r" \\")
    for block in blocks(comparison):
        lines.append(r"\midrule")
        if block.heading:
            lines.append(rf"\multicolumn{{{n + 1}}}{{l}}{{\textbf{{{_tex(block.heading)}}}}} \\")
        for row in block.rows:
            lines.append(" & ".join([_tex(row.label), *map(_tex_cell, row.cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*(f"% {plain(note)}" for note in comparison.notes), *lines]) + "\n"


def html(comparison: Comparison) -> str:
    """A page of its own: no script, nothing from elsewhere, and a policy that forbids both."""
    n = len(comparison.benchmarks)
    head = "".join(f"<th scope=col>{_esc(name)}</th>" for name in columns(comparison))
    body = []
    for block in blocks(comparison):
        if block.heading:
            body.append(f"<tr><th scope=rowgroup colspan={n + 1} class=model>{_esc(block.heading)}</th></tr>")
        for row in block.rows:
            cells = "".join(_html_cell(cell) for cell in row.cells)
            body.append(f"<tr{' class=delta' if row.delta else ''}><th scope=row>{_esc(row.label)}</th>{cells}</tr>")
    notes = "".join(f"<p>{_esc(note)}</p>" for note in comparison.notes)
    return _PAGE.format(head=head, body="\n".join(body), notes=notes)


def text(comparison: Comparison, form: str) -> str:
    """The comparison as ``markdown``, ``latex`` or ``html``."""
    return {"markdown": markdown, "latex": latex, "html": html}[form](comparison)


def columns(comparison: Comparison) -> list[str]:
    """Headings of the columns."""
    return [plain(NAMES.get(name, name)) for name in comparison.benchmarks]


def _heading(group: Group) -> str:
    return plain(group.model) + (" (published)" if group.published else "")


def _accuracy(cell: Estimate | None) -> Cell:
    if cell is None:
        return Cell("–")
    return Cell(f"{100 * cell.value:.1f}", f"{100 * cell.low:.1f}–{100 * cell.high:.1f}")


def _difference(delta: Delta | None) -> Cell:
    if delta is None:
        return Cell("–")
    d = delta.difference
    return Cell(signed(d.value), f"{signed(d.low)} to {signed(d.high)}", delta.mark)


def signed(share: float) -> str:
    """Points with a sign; a difference that rounds to nothing has none.

    >>> signed(0.046), signed(-0.0301), signed(-0.0001)
    ('+4.6', '−3.0', '0.0')
    """
    shown = f"{100 * share:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def plain(text: str) -> str:
    """One line without characters that steer a terminal or turn the words around them."""
    return "".join("\ufffd" if unicodedata.category(c) in _UNSEEN or c in "\u2028\u2029" else c for c in text)


def _pipe(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md(text: str) -> str:
    escaped = "".join("\\" + c if c in "\\`*_{}[]#|~$" else c for c in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _md_cell(cell: Cell) -> str:
    number = f"**{cell.number}**\\*" if cell.mark else cell.number
    return number if not cell.interval else f"{number} ({cell.interval})"


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "Δ": r"$\Delta$",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in text)


def _tex_cell(cell: Cell) -> str:
    number = rf"\textbf{{{_tex(cell.number)}}}$^{{*}}$" if cell.mark else _tex(cell.number)
    return number if not cell.interval else rf"{number} {{\scriptsize ({_tex(cell.interval)})}}"


def _esc(text: str) -> str:
    return _html.escape(plain(text), quote=True)


def _html_cell(cell: Cell) -> str:
    number = f"<b>{_esc(cell.number)}*</b>" if cell.mark else _esc(cell.number)
    interval = f"<small>{_esc(cell.interval)}</small>" if cell.interval else ""
    return f"<td>{number}{interval}</td>"


_PAGE = """<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>hicra compare</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#17191e, #eceef2); --soft: light-dark(#5c636f, #a0a8b6);
  --rule: light-dark(#e3e4e2, #2a2f38); --paper: light-dark(#fefefd, #111317); }}
body {{ font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .8rem; text-align: right; vertical-align: top; white-space: nowrap; }}
th:first-child, .model {{ text-align: left; font-weight: normal; }}
thead th, thead td {{ border-bottom: 1px solid var(--soft); font-weight: 600; }}
th.model {{ font-weight: 600; padding-top: .9rem; border-top: 1px solid var(--rule); }}
.delta th, .delta td {{ font-style: italic; }}
small {{ display: block; color: var(--soft); font-style: normal; }}
p {{ color: var(--soft); max-width: 46rem; margin: .4rem 0; }}
</style></head><body>
<div><table>
<thead><tr><td></td>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
{notes}
</body></html>
"""
