"""A comparison in a terminal: the table, in as many pieces as its width asks for, and the differences one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hicra.evals.compare import NAMES, Comparison
from hicra.evals.power import GAIN, POWER
from hicra.evals.tables import Block, Cell, blocks, columns, plain

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP = 2
_LABEL = 34


def tables(comparison: Comparison, width: int) -> Iterator[Table]:
    """The table as one or more rich tables that are at most `width` wide, with as many benchmarks as fit into each."""
    content, heads = list(blocks(comparison)), columns(comparison)
    labels = [row.label for block in content for row in block.rows]
    label = min(_LABEL, max(map(len, labels), default=0))
    widths = [
        max(len(head), *(len(part) for block in content for row in block.rows for part in _parts(row.cells[i])))
        for i, head in enumerate(heads)
    ]
    start = 0
    while start < len(heads):
        end, used = start + 1, label + widths[start] + 3 * _GAP
        while end < len(heads) and used + widths[end] + _GAP <= width:
            used += widths[end] + _GAP
            end += 1
        yield _piece(content, heads, label, range(start, end))
        start = end


def _piece(content: list[Block], heads: list[str], label: int, chosen: range) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", min_width=label, max_width=_LABEL, overflow="fold")
    for i in chosen:
        table.add_column(Text(heads[i]), justify="right", no_wrap=True)
    for block in content:
        rows = [row for row in block.rows if any(row.cells[i].number != "–" for i in chosen)]
        if rows and block.heading:
            table.add_row(Text(block.heading, style="bold"))
        for row in rows:
            style = "italic" if row.delta else ""
            table.add_row(
                Text(row.label, style=style), *(_cell(row.cells[i]) for i in chosen), end_section=row is rows[-1]
            )
    return table


def _parts(cell: Cell) -> tuple[str, str]:
    return cell.number + "*" * cell.mark, cell.interval


def _cell(cell: Cell) -> Text:
    from rich.text import Text

    number, interval = _parts(cell)
    shown = Text(number, style="bold green" if cell.mark else "")
    return Text.assemble(shown, "\n", (interval, "dim")) if interval else shown


def details(comparison: Comparison, gain: float = GAIN) -> Table:
    """One row a difference: its p-values, and what it would take to show a true gain of `gain` (a share)."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    plans = {
        (g, at): found
        for g, group in enumerate(comparison.groups)
        for at, delta in group.deltas.items()
        if (found := delta.difference.plan(gain)) is not None
    }
    title = f"Differences in points. Shown: the smallest true gain that is found {POWER:.0%} of the time; "
    title += f"items, samples: how many would find one of {100 * gain:g}."
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=title if plans else "Differences in points.",
        title_justify="left",
        title_style="",
    )
    table.add_column("", overflow="fold")
    for head in ("points", "p", "Holm", *(("shown", "items", "samples") if plans else ())):
        table.add_column(head, justify="right", no_wrap=True)
    for g, group in enumerate(comparison.groups):
        if group.deltas and group.model:
            table.add_row(Text(plain(group.model) + (" (published)" if group.published else ""), style="bold"))
        for (method, benchmark), delta in group.deltas.items():
            d, label = delta.difference, plain(f"{method} − {group.baseline}, {NAMES.get(benchmark, benchmark)}")
            numbers = f"{100 * d.value:+.1f}".replace("-", "−"), _p(d.p), _p(delta.adjusted)
            plan = plans.get((g, (method, benchmark)))
            if plan is None:
                table.add_row(Text(label), *numbers)
                continue
            items = "-" if plan.items is None else f"{plan.items:,}"
            samples = "?" if not plan.split else "none" if plan.samples is None else f"{plan.samples:,}"
            table.add_row(Text(label), *numbers, f"{100 * plan.shown:.1f}", items, samples)
    return table


def _p(value: float) -> str:
    if value != value:  # not in the family
        return "-"
    return "<.001" if value < 0.0005 else f"{value:.3f}".removeprefix("0")
