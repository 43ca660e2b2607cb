"""Strategy flow: which moves follow which, where they help, and which tell right from wrong solutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hicra.report.figures import Figure
from hicra.report.picture import Column, Dot, Picture, dots_picture, grid_picture
from hicra.report.stats import difference, wilson
from hicra.report.style import visible
from hicra.report.words import interval_text, value_text

if TYPE_CHECKING:
    from hicra.dynamics.flow import Transitions
    from hicra.dynamics.odds import MoveOdds
    from hicra.dynamics.result import Analysis, Flow
    from hicra.report.runs import Run
    from hicra.report.stats import Interval

MAX_MOVES = 10
"""Moves of a grid and of a row of dots; the most frequent ones, or the strongest."""

MAX_GRIDS = 4
"""Runs whose transitions are drawn."""

OTHER = "(other)"
"""What the analysis calls all moves that it lumps together."""

_ENOUGH = 30


def flow_figures(runs: Sequence[Run], analysis: Analysis) -> list[Figure]:
    """Transitions, and moves against success."""
    return [transition_figure(runs, analysis), success_figure(runs, analysis)]


def transition_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """What follows what, early and late."""
    pictures: list[Picture] = []
    remarks: list[str] = []
    flows = [found.flow for found in analysis.runs if found.flow]
    for i, (run, found) in enumerate(zip(runs, analysis.runs, strict=True)):
        if found.flow is None:
            remarks.append(f"{run.name}: {found.missing.get('flow', 'no moves')}.")
        elif len(pictures) < 2 * MAX_GRIDS:
            same = [flow for flow in flows if set(flow.odds_moves) == set(found.flow.odds_moves)]
            pictures += _grids(i, run, found.flow, _most_frequent(same))
    level = next((r.flow.level for r in analysis.runs if r.flow), "gram")
    lead = (
        f"Which move comes after which. A row is the move before, a column what follows it, numbers are per cent of "
        f"the row. A move is a {level} of the gram set."
    )
    if len(runs) > MAX_GRIDS:
        remarks.append(f"The grids of the first {MAX_GRIDS} runs are shown; all are in the JSON.")
    if pictures:
        remarks.append(
            "Changes are between the first and the last third of the steps: the largest of those that hold at 5 % "
            "among all pairs of the grid (Holm's method). Tests and intervals take occurrences as independent, which "
            "those within one prompt are not: they see too much."
        )
    return Figure("flow", "Strategy flow", lead, (), tuple(remarks), pictures=tuple(pictures))


def _grids(i: int, run: Run, flow: Flow, order: Sequence[str]) -> list[Picture]:
    names = [str(m) for m in flow.moves]
    shown = [names.index(name) for name in order if name in names]
    rows, columns = [len(names), *shown], [*shown, len(names)]
    row_names = ["(start)" if r == len(names) else names[r] for r in rows]
    column_names = ["(end)" if c == len(names) else names[c] for c in columns]
    out = []
    for when, transitions in (("early", flow.early), ("late", flow.late)):
        share = transitions.probability[np.ix_(rows, columns)]
        counts = transitions.counts

        def says(r: int, c: int, counts=counts, share=share) -> str:  # type: ignore[no-untyped-def]
            number, of = counts[rows[r], columns[c]], counts[rows[r]].sum()
            head = f"{visible(row_names[r], 60)} → {visible(column_names[c], 60)}"
            return f"{head}\n{value_text(float(share[r, c]), 'share')}, {number:,} of {of:,}"

        findings = _change_words(run.name, flow, shown) if when == "late" else ()
        title = f"{run.name}, {'first' if when == 'early' else 'last'} third of the steps"
        out.append(grid_picture(f"flow-{i}-{when}", title, row_names, column_names, share, says, role=run.role,
                                findings=findings))  # fmt: skip
    return out


def _most_frequent(flows: Sequence[Flow]) -> list[str]:
    """The moves that runs on one set together make most often, so that their grids can be compared."""
    occurrences: dict[str, int] = {}
    for flow in flows:
        for name, number in zip(flow.moves, flow.all.counts.sum(axis=1).tolist(), strict=False):
            occurrences[str(name)] = occurrences.get(str(name), 0) + number
    made = sorted([n for n in occurrences if occurrences[n] and n != OTHER], key=lambda n: -occurrences[n])[:MAX_MOVES]
    return [*made, *([OTHER] if occurrences.get(OTHER) else [])]


def _change_words(run: str, flow: Flow, shown: Sequence[int]) -> list[str]:
    """The three largest changes from early to late, of those that hold among all that were looked at."""
    from hicra.dynamics.intervals import holm

    found: list[tuple[float, float, str]] = []
    names = [*(str(m) for m in flow.moves), "the end"]
    for a in [*shown, len(flow.moves)]:
        for b in [*shown, len(flow.moves)]:
            if (delta := _transition_change(flow.early, flow.late, a, b)) is None:
                continue
            before, after, change, p = delta
            first = "from the start" if a == len(flow.moves) else f"after “{visible(names[a], 40)}”"
            then = names[b] if b == len(flow.moves) else f"“{visible(names[b], 40)}”"
            text = f"{first} comes {then} in {value_text(before, 'share')} early, {value_text(after, 'share')} late"
            found.append((p, abs(change.value), f"{run}: {text} ({interval_text(change, 'share')})."))
    adjusted = holm([p for p, _, _ in found]).tolist()
    clear = [(size, text) for (_, size, text), p in zip(found, adjusted, strict=True) if p < 0.05]
    clear.sort(key=lambda f: -f[0])
    return [text for _, text in clear[:3]] or [f"{run}: no clear change, of {len(found)} looked at."]


def _transition_change(
    early: Transitions, late: Transitions, a: int, b: int
) -> tuple[float, float, Interval, float] | None:
    """Shares early and late, their difference and its p-value (two shares, pooled); None where a is too rare."""
    from hicra.dynamics.intervals import two_sided_p

    n = [int(t.counts[a].sum()) for t in (early, late)]
    if min(n) < _ENOUGH:
        return None
    before, after = (wilson(float(t.counts[a, b]) / size, size) for t, size in zip((early, late), n, strict=True))
    pooled = (early.counts[a, b] + late.counts[a, b]) / sum(n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n[0] + 1 / n[1]))
    p = two_sided_p((after.value - before.value) / error) if error > 0 else 1.0
    return before.value, after.value, difference(after, before), p


# --- success ----------------------------------------------------------------------------------------------------------


def success_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Odds ratios of moves, and success by move and position."""
    pictures = [p for p in (_odds(runs, analysis), _positions(runs, analysis)) if p is not None]
    remarks = [f"{run.name}: {a.missing.get('flow', 'no moves')}."
               for run, a in zip(runs, analysis.runs, strict=True) if a.flow is None]  # fmt: skip
    if pictures:
        remarks.append(
            "Neither picture shows an effect. Long solutions hold more of every move, and a policy backtracks where it "
            "has gone wrong: a move that is rare in right solutions may still be what saves the others."
        )
    lead = (
        f"A solution is right where its reward is above {analysis.settings.right_above:g}. Odds ratios compare "
        "completions of one prompt at one step with the move and without it, so hard prompts and late steps do not "
        "count for or against a move."
    )
    return Figure("moves", "Moves of right and wrong solutions", lead, (), tuple(remarks), pictures=tuple(pictures))


def _odds(runs: Sequence[Run], analysis: Analysis) -> Picture | None:
    by_run: list[dict[str, MoveOdds]] = []
    best: dict[str, float] = {}
    for found in analysis.runs:
        odds = {} if found.flow is None else {str(found.flow.odds_moves[o.move]): o for o in found.flow.odds}
        by_run.append(odds)
        for name, o in odds.items():
            p = o.within.p if math.isfinite(o.within.p) else 1.0
            best[name] = min(best.get(name, 1.0), p)
    if not best:
        return None
    names = sorted(best, key=lambda n: (best[n], n))[:MAX_MOVES]
    drawn = list(zip(runs, by_run, strict=True))[:MAX_GRIDS]
    dots = [[_odds_dot(run, odds.get(name)) for run, odds in drawn] for name in names]
    ends = [v for row in dots for d in row for v in (d.low, d.high, d.value) if math.isfinite(v) and v > 0]
    reach = max([2.0, *(max(v, 1 / v) for v in ends)])
    reach = min(100.0, reach * 1.1)
    column = Column("odds of being right with the move, over without (within prompts)", dots, (1 / reach, reach), 1.0,
                    "odds")  # fmt: skip
    said = [_odds_words(run.name, odds) for run, odds in drawn]
    return dots_picture("move-odds", "Which moves tell right from wrong", names, [column], findings=said)


def _odds_dot(run: Run, odds: MoveOdds | None) -> Dot:
    if odds is None:
        return Dot(math.nan, math.nan, math.nan, run.role, run.name)
    return Dot(odds.within.ratio, odds.within.low, odds.within.high, run.role, run.name)


def _odds_words(run: str, odds: dict[str, MoveOdds]) -> str:
    clear = [(name, o) for name, o in odds.items() if math.isfinite(o.adjusted_p) and o.adjusted_p < 0.05]
    if not clear:
        return f"{run}: no move tells right from wrong solutions, of {len(odds)} looked at (Holm's method, 5 %)."
    up = [n for n, o in clear if o.within.ratio > 1]
    down = [n for n, o in clear if o.within.ratio < 1]
    parts = [f"{verb} right: {_listed(names)}" for verb, names in (("more often", up), ("less often", down)) if names]
    return f"{run}: solutions with these moves are {'; '.join(parts)} (Holm's method, 5 %)."


def _listed(names: Sequence[str]) -> str:
    shown = [f"“{visible(n, 40)}”" for n in names[:4]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _positions(runs: Sequence[Run], analysis: Analysis) -> Picture | None:
    flows = [(run, a.flow) for run, a in zip(runs, analysis.runs, strict=True) if a.flow is not None][:MAX_GRIDS]
    if not flows:
        return None
    seen: dict[str, int] = {}
    for _, flow in flows:
        for m, name in enumerate(flow.moves):
            seen[str(name)] = seen.get(str(name), 0) + int(flow.success.completions[m].sum())
    names = [n for n in sorted(seen, key=lambda n: -seen[n]) if n != OTHER][:MAX_MOVES]
    parts = analysis.settings.parts
    columns = []
    for part in range(parts):
        dots = [[_position_dot(run, flow, name, part) for run, flow in flows] for name in names]
        columns.append(Column(_part_name(part, parts), dots, (0.0, 1.0), None, "share"))
    ends = [v for c in columns for row in c.dots for d in row for v in (d.high, d.value) if math.isfinite(v)]
    top = min(1.0, max([0.1, *ends]) * 1.05)
    columns = [Column(c.name, c.dots, (0.0, top), None, "share") for c in columns]
    title = "Right solutions among those with the move, by where it stands"
    return dots_picture("move-success", title, names, columns)


def _position_dot(run: Run, flow: Flow, name: str, part: int) -> Dot:
    moves = [str(m) for m in flow.moves]
    if name not in moves:
        return Dot(math.nan, math.nan, math.nan, run.role, run.name)
    m, s = moves.index(name), flow.success
    return Dot(float(s.share[m, part]), float(s.low[m, part]), float(s.high[m, part]), run.role, run.name)


def _part_name(part: int, parts: int) -> str:
    if parts == 3:
        return ("first third", "middle", "last third")[part]
    return f"part {part + 1} of {parts}"
