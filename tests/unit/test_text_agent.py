"""The text rules for code and agents: what is execution by definition is not seen, and the rest reads as ever."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra import Gram, GramSet, Labeller, mine
from hicra.errors import ConfigError, DataError
from hicra.grams.count import Counts, count_ngrams
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, evidence_path
from hicra.grams.profiles import PAPER
from hicra.grams.text import AGENT, CLAUSE, ENGLISH, OPENS, START_STATE, VERSIONS, text_rules, words
from hicra.labels.vocab import Vocab
from hicra.traces.schema import Trace
from tests.gram_models import TrigramModel
from tests.mining_corpus import corpus

RULES = text_rules(name=AGENT)

CALL = '<tool_call>\n{"name": "so we"}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wait, that's NOT right.\nLet me see", ["wait that's not right", "let me see"]),
        # code
        ("so ```\nwait\n``` we", ["so", "we"]),
        ("so\n```python\nwait\n\nwait `x`\n", ["so"]),  # never closed
        ("````\nwait\n````\nso", ["so"]),
        ("run `wait --all` now", ["run", "now"]),
        ("run `wait\nnow", ["run", "now"]),  # ends at the line
        ("call print(wait, so) now", ["call", "now"]),
        ("call foo_bar(so and os.path.so", ["call"]),
        ("in os.path.wait and /usr/wait or --wait", ["in os", "and", "or"]),
        ("x=wait @wait #wait $wait wait", ["x", "wait"]),
        ("Hmm...wait [so] (we) can", ["hmm", "wait", "so", "we can"]),
        # tools
        (f"so {CALL} we", ["so", "we"]),
        ("<think>so</think> we", ["so", "we"]),
        ("<function=edit>so</function>we", ["we"]),
        ('<invoke name="so">wait<b>so</b> so</invoke> we', ["we"]),
        ("<tool_call>so <a </toolish so", []),  # never closed
        ("<codeword so\nwe", ["we"]),  # a tag that is not closed in its line ends with it
        ("a < b so <br/> we <-- so", ["a", "b so", "we", "so"]),
        # JSON
        ('so {"a": "wait } so", "b": {"c": [1, "so"]}} we', ["so", "we"]),
        ('so [{"a": "wait\\" }"}] we', ["so", "we"]),
        ("so {'a': so} we", ["so", "we"]),
        ('so {"a": wait\n\nwe', ["so", "we"]),  # never closed: ends at the blank line
        ('{\n  "so": 1\n}\nwe', ["we"]),
        ("so {} we {so} [we]", ["so", "we", "so", "we"]),
        # diffs and transcripts
        ("- so\n- wait\n  we", ["so", "wait we"]),
        ("-    so\n-so\n+so\n--- so\nwe", ["we"]),
        ("@@ -1 +1 @@\n so\n+so\n\nwe", ["we"]),
        ("so\n@wait we", ["so", "we"]),
        ("$ so\nwait\n\nwe", ["we"]),
        ("so\n$wait we", ["so", "we"]),
        (">>> so\nwait\n \nwe", ["we"]),
        ("> so\n>> we", ["so", "we"]),
        # what english-maths takes for maths
        ("so $x$ we", ["so", "we"]),
        ("NAÏVE — “so”", ["naïve so"]),
    ],
)
def test_words_between_breaks(text: str, expected: list[str]) -> None:
    assert [" ".join(stretch) for stretch in words(text, RULES)] == expected


@settings(max_examples=300, deadline=None)
@given(st.text("abcXYZ', \n.!?;é’λ—*\"", max_size=60))
def test_prose_reads_as_by_the_other_rules(text: str) -> None:
    prose = "a" + text  # these rules begin at the beginning of a line, the others do not care
    dots = any(prose[i] in ".:" and prose[i + 1] not in " \n\"*,;!?.'’—" for i in range(len(prose) - 1))
    if not dots:
        assert words(prose, RULES) == words(prose)


PIECES = [
    *["so we", "wait", "```", "`", "\n", "\n\n", " ", "<tool_call>", "</tool_call>", '{"', '"', "}", "$ ", "+", "-"],
    *["(", ")", ".", "é", "@@", "x_", "</", "<"],
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.lists(st.integers(0, 200), max_size=30))
def test_labels_are_those_of_the_words_whatever_the_tokens(text: str, cuts: list[int]) -> None:
    """Counting, labelling and plain reading run one table."""
    grams = GramSet.from_grams(["so we", "wait"], rules=AGENT)
    spans = Labeller(grams).spans(text)
    stretches = words(text, RULES)
    assert len(spans) == sum(s.count("wait") + list(itertools.pairwise(s)).count(("so", "we")) for s in stretches)
    data = text.encode()
    edges = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    tokens = [data[a:b] for a, b in itertools.pairwise(edges)]
    if tokens:
        labels = Labeller(grams, Vocab.from_tokens(tokens)).label(np.arange(len(tokens)))
        assert int(labels.begin.sum()) <= len(spans)
        covered = {i for s in spans for i in range(len(text[: s.start].encode()), len(text[: s.end].encode()))}
        solid = [any(i in covered and data[i] != 32 for i in range(a, b)) for a, b in itertools.pairwise(edges)]
        assert labels.mask.tolist() == solid


@pytest.mark.parametrize("name", VERSIONS)
def test_what_the_inner_loops_count_on(name: str) -> None:
    """Letters lead from a gap, a newline or a word into a word, a space out of one, in the same states."""
    rules, english = text_rules(name=name), text_rules()
    step = lambda table, state, byte: int(table[state, byte])  # noqa: E731
    word = step(english.table, START_STATE, ord("a")) & 0xFF
    line = step(english.table, START_STATE, ord("\n")) & 0xFF
    number = step(english.table, START_STATE, ord("1")) & 0xFF
    assert step(rules.table, START_STATE, ord("1")) & 0xFF == number
    assert step(rules.table, START_STATE, ord("\n")) & 0xFF == line
    for byte in b"abcxyzABCXYZ":
        for state in (START_STATE, word, line):
            assert step(rules.table, state, byte) == step(english.table, state, byte)
    assert step(rules.table, word, ord(" ")) == step(english.table, word, ord(" "))
    assert OPENS[step(rules.table, word, ord(",")) >> 8 & 0xFF] == CLAUSE
    assert len(rules.table) <= 256
    assert int((rules.table & 0xFF).max()) < len(rules.table)


def test_counting_runs_them_too(tmp_path) -> None:
    traces = [Trace(id=str(i), problem=f"p{i}", solution="so we\n```\nso we\n```\nlet us wait") for i in range(3)]
    for rules, times in ((AGENT, 1), (ENGLISH, 2)):
        counts = count_ngrams(traces, min_problems=1, rules=rules)
        row = dict(zip(counts.text.tolist(), counts.tf.tolist(), strict=True))
        assert row["so we"] == 3 * times
        assert Counts.load(counts.save(tmp_path / "c.parquet")).rules == rules
    with pytest.raises(DataError, match="unknown text rules"):
        count_ngrams(traces, rules="klingon")


def test_sets_carry_their_rules_and_do_not_mix(tmp_path) -> None:
    agent = GramSet.from_grams([Gram("so we", at="clause"), "wait"], rules=AGENT, name="agent")
    english = GramSet.from_grams([Gram("so we", at="clause"), "wait"])
    assert agent.hash != english.hash
    back = GramSet.load(agent.save(tmp_path / "set.json"))
    assert (back.rules, back.hash, back.text_version) == (AGENT, agent.hash, VERSIONS[AGENT])
    assert agent.drop(0.5, 0).rules == AGENT
    assert GramSet.from_dict(agent.to_dict()) == agent
    text = "so we `wait` wait"
    assert [s.start for s in Labeller(agent).spans(text)] == [0, 13]
    assert [s.start for s in Labeller(english).spans(text)] == [0, 7, 13]
    with pytest.raises(DataError, match="different text rules") as caught:
        agent.merge(english)
    assert "code-agent version 1" in str(caught.value)
    with pytest.raises(DataError, match="unknown text rules: 'klingon'"):
        GramSet.from_grams(["so"], rules="klingon")
    with pytest.raises(DataError, match="unknown version of the text rules: 7"):
        GramSet.from_grams(["so"], rules=AGENT, text_version=7)
    with pytest.raises(DataError, match="holds a break"):
        GramSet.from_grams(["run `so`"], rules=AGENT)
    with pytest.raises(DataError, match="lines and spaces"):
        Labeller(agent, Vocab.from_tokens([b" so"], lossy=True))
    with pytest.raises(ConfigError, match="engine ray"):
        mine(str(tmp_path), engine="ray", rules=AGENT)


TRACE = """I'll start by looking at the failing test.
<tool_call>
{"name": "bash", "arguments": {"command": "let me check && wait"}}
</tool_call>
```
E   AssertionError: wait, that is not right
```
The error says `let me check` is missing. Wait, that didn't work. Let me quickly re-read the file:

$ cat so.py
therefore

Now I need to fix it.
+ therefore
"""


def test_the_seeded_set_labels_what_an_agent_says_and_nothing_that_it_does() -> None:
    agent = GramSet.load("agent")
    assert (agent.rules, agent.name) == (AGENT, "agent")
    assert {g.function for g in agent} == {"branching", "deduction", "backtracing"}
    assert [TRACE[s.start : s.end] for s in Labeller(agent).spans(TRACE)] == [
        "I'll start by",
        "The error says",
        "Wait",
        "that didn't work",
        "Let me quickly re-read",
        "Now I need to",
    ]


def test_the_seeded_set_is_what_its_script_writes() -> None:
    from scripts.seed_agent import grams

    assert GramSet.from_grams(grams(), rules=AGENT).hash == GramSet.load("agent").hash


def test_a_set_mined_by_these_rules_carries_them_and_saw_no_code(tmp_path) -> None:
    quoted = [
        Trace(id=t.id, problem=t.problem, solution=f"{t.solution}\n`run all the tests again`") for t in corpus(40)
    ]
    settings = {"profile": PAPER, "encoder": Encoder(TrigramModel(), cache=False)}
    made = mine(quoted, rules=AGENT, out=tmp_path / "set.json", **settings)
    assert made.rules == GramSet.load(tmp_path / "set.json").rules == AGENT
    evidence = Evidence.load(evidence_path(tmp_path / "set.json"))
    assert evidence.facts["counted"]["rules"] == AGENT
    assert evidence.counts_of("let me check").rules == AGENT
    assert evidence.row("run all the tests") is None
    mine(quoted, out=tmp_path / "other.json", **settings)
    assert Evidence.load(evidence_path(tmp_path / "other.json")).row("run all the tests") is not None
