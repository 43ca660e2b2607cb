"""Write the seeded set ``agent``: moves of agents that work with tools, and of reasoning about programs.

    python scripts/seed_agent.py            # writes src/hicra/grams/data/agent.json

Nothing is mined and nothing is fitted: phrases and patterns are written down here from what is known of such traces
(CRUX solutions of ZeroEval among them were read), by move. ``@clause`` and ``@sentence`` say where one may begin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams.gramset import At, Function, Gram, GramSet
from hicra.grams.text import AGENT

TARGET = Path(__file__).parents[1] / "src" / "hicra" / "grams" / "data" / "agent.json"

TOOL = "add|create|debug|edit|execute|fix|implement|locate|open|remove|reproduce|run|search|update"
"""What agents do that is no verb of reasoning; ``<TOOL>`` below."""
MOVES: dict[tuple[Function, str], str] = {
    ("branching", "next step"): """
        <let's~|let me> [<adv>] <verb> @clause
        <let's~|let me> [<adv>] <TOOL> @clause
        <now|next|first|then|finally> <let's~|let me|i need to|we need to|i should|i want to> @clause
        <i'll~|we'll~> [<adv>] <verb> @clause
        <i'll~|we'll~> [<adv>] <TOOL> @clause
        <i'll~|we'll~> <start by|begin by|need to|try to> @clause
        <i'm~|we're~> going to @clause
        <i|we> [<adv>] need to @clause
        <i|we> [<adv>] need to [<adv>] <verb> @clause
        <i|we> <should|want to|have to|must> [<adv>] <verb> @clause
        the next step is to @clause
        to <verb> this @clause
        next up @clause""",
    ("branching", "plan"): """
        my plan is @clause
        here's <my|the> plan @clause
        the plan is @clause
        here is <my|the> plan @clause
        <the|my> approach is @clause
        <let's~|let me> break <this|it> down @clause
        <let's~|let me> think <about|through> @clause
        <let's~|let me> think [<adv>] @clause
        <let's~|let me> take a <step back|look|closer look|different approach> @clause
        the goal is to @clause
        the task is to @clause
        the user <wants|asked|is asking|needs> @clause
        step by step
        before <i|we> <start|begin|make|do> @clause
        to do <this|that|so> @clause
        first @sentence
        next @sentence
        finally @sentence""",
    ("branching", "alternatives"): """
        alternatively @clause
        another <approach|option|possibility|way|idea> @clause
        <let's~|let me> try <another|a different|something else> @clause
        a <better|simpler|cleaner|different|safer> <approach|way|solution|fix|option> @clause
        instead @sentence
        instead of @sentence
        one <option|approach|possibility> <is|would be> @clause
        <maybe|perhaps> <i|we> <can|could|should|need to> @clause
        what if @clause
        it <might|may|would> be better to @clause
        as a workaround @clause""",
    ("branching", "case"): """
        in this case @clause
        <if|when> that <fails|works|is the case> @clause
        for <each|the> <first|second|third|next|last> <case|iteration|call|test> @clause
        assuming @clause
        suppose @clause""",
    ("branching", "tracing"): """
        <let's~|let me> <trace|walk|step|go> through @clause
        <let's~|let me> <trace|follow> <the execution|this> @clause
        given the input @clause
        given this @clause""",
    ("deduction", "conclude"): """
        therefore @clause
        thus @clause
        hence @clause
        so @sentence
        so <the|this|that|it|we|i> @sentence
        <this|that|which> <means|implies|suggests|indicates|shows|confirms|explains|tells me> [that] @clause
        it follows that @clause
        as a result @clause
        the <output|result|answer|assertion|return value> <is|will be|should be|would be> @sentence
        <i|we> can <conclude|see|confirm> [that] @clause
        in <summary|conclusion|short|other words> @clause
        to summarize @clause""",
    ("deduction", "diagnosis"): """
        the <issue|problem|error|bug|cause|root cause|culprit> <is|was|seems|must be|appears|comes from|lies in> @clause
        the <error|output|traceback|log|test|message> <says|shows|indicates|suggests|means|tells> @clause
        <it|this> <looks|seems|appears> [<like|that|to be>] @clause
        it turns out @clause
        <now|ok now|okay now> <i|we> <see|understand|know|have> @clause
        i <see|understand> @sentence
        <i|we> found <the|it|that> @clause
        this is because @clause
        that's why @clause
        the reason <is|for> @clause
        because of this @clause
        based on <this|that|the> @clause
        according to @clause""",
    ("backtracing", "check"): """
        <let's~|let me> [<adv>] <check|confirm|double-check|inspect|re-read|recheck|review|test|verify> @clause
        to <verify|confirm|make sure|be sure|double-check|check> @clause
        <let's~|let me> make sure @clause
        <let's~|let me> see <if|whether|what|why|how> @clause
        <i|we> <should|need to|must|have to> <verify|check|confirm|test|make sure|double-check> @clause
        does <this|that> <work|make sense|fix> @clause
        is <this|that> <right|correct> @clause
        just to be <sure|safe> @clause
        all tests pass @clause
        <that|this> worked @clause""",
    ("backtracing", "doubt"): """
        wait @clause
        hmm @clause
        hold on @clause
        actually @clause
        oops @clause
        but wait @clause
        but @sentence
        however @clause
        <that|this|it> <didn't~|doesn't~|won't~> <work|help|fix|make sense> @clause
        <that|this> <isn't~|is> [not] <right|wrong|the issue|the problem|correct> @clause
        <that|this> <failed|is odd|is strange|is weird|is unexpected|is interesting> @clause
        i <made|see> <a|the|my> <mistake|error> @clause
        i <missed|forgot|overlooked|misread|misunderstood> @clause
        i was wrong @clause
        on second thought @clause
        still <failing|fails|not working|broken> @clause
        the <test|tests|build|command> [still] <fail~> @clause
        unexpectedly @clause
        strange @clause
        interesting @clause""",
    ("backtracing", "go back"): """
        <let's~|let me> <go back|revert|undo|start over|rethink|reconsider|step back|retry|look again> @clause
        <let's~|let me> try [<that|this|it>] again @clause
        going back to @clause
        back to @clause
        <let's~|let me> <fix|correct> <that|this|it|the> @clause""",
}


def grams() -> Iterator[Gram]:
    """The grams of all moves; a pattern that is written for two moves is the first one's."""
    seen: set[str] = set()
    for (function, cluster), lines in MOVES.items():
        for line in lines.strip().splitlines():
            text, _, at = line.strip().partition(" @")
            text = text.replace("TOOL", TOOL)
            if text not in seen:
                seen.add(text)
                yield Gram(text, cast(At, at or "any"), cluster, function)


def main() -> None:
    """Write the set."""
    made = GramSet.from_grams(
        grams(), name="agent", rules=AGENT, provenance={"source": "written for hicra by hand, scripts/seed_agent.py"}
    )
    made.save(TARGET)
    print(f"{made.name}: {len(made)} grams, {made.patterns} of them patterns, {len(made.clusters)} clusters")


if __name__ == "__main__":
    main()
