"""Run directories as flat arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.dynamics.reading import read_completions, read_tokens, step_texts
from hicra.dynamics.result import Settings
from hicra.dynamics.sweep import sweep
from hicra.dynamics.vocabulary import Vocabulary
from hicra.traces import RunReader
from tests.rundir_rows import GRAMS, completion_row, new_run, rollout_row


@pytest.fixture
def reader(tmp_path) -> RunReader:
    """Two ranks; completions with and without grams; entropies of some tokens only."""
    writers = [new_run(tmp_path, rank=rank) for rank in (0, 1)]
    writers[0].write_rows(
        3,
        [completion_row(0, gram_ids=[1, 0], gram_counts=[2, 1]), completion_row(1, gram_ids=[], gram_counts=[])],
        [rollout_row(0, entropy=None), rollout_row(1, entropy=[0.5, None, 0.25])],
    )
    writers[1].write_rows(
        3,
        [completion_row(5, prompt_id="p0", reward=2.0, sum_entropy_planning=4.0)],
        [
            rollout_row(
                5,
                prompt_id="p0",
                entropy=[1.0],
                logprob=[-1.0],
                token_ids=[7],
                token_text=["x"],
                advantage=[0.0],
                planning=[False],
                gram_id=[-1],
                begin=[False],
            )
        ],
    )
    writers[0].commit(3, {})
    writers[0].write_rows(4, [completion_row(0)])
    writers[0].commit(4, {})
    return RunReader(tmp_path)


def test_completions(reader) -> None:
    notes: list[str] = []
    found = read_completions(reader, notes)
    assert found is not None
    assert notes == []
    assert found.steps.tolist() == [3, 4]
    assert found.step_of.tolist() == [0, 0, 0, 1]
    assert found.prompt.tolist() == [0, 0, 0, 0]
    assert found.group.tolist() == [0, 0, 1, 2]  # a group of another rank or step is another group
    assert found.columns["reward"].tolist() == [0.0, 1.0, 2.0, 0.0]
    assert np.isnan(found.columns["sum_entropy_planning"]).tolist() == [True, True, False, True]
    assert found.gram_row.tolist() == [0, 0, 2, 3]
    assert found.gram_id.tolist() == [1, 0, 1, 1]
    assert found.gram_count.tolist() == [2, 1, 1, 1]


def test_tokens(reader) -> None:
    (found,) = read_tokens(reader, [])  # step 4 kept none
    assert found.step == 3
    assert found.offsets.tolist() == [0, 3, 6, 7]
    assert found.row.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert found.prompt.tolist() == [0, 0, 0]
    assert found.entropy is not None
    assert np.isnan(found.entropy).tolist() == [True, True, True, False, True, False, False]
    assert found.entropy[[3, 5, 6]].tolist() == [0.5, 0.25, 1.0]
    assert found.logprob is not None
    assert found.logprob.tolist() == [-0.5, -1.0, -0.25] * 2 + [-1.0]
    assert found.gram_id.tolist() == [0, 0, -1, 0, 0, -1, -1]
    codes, texts = step_texts(reader, 3, np.array([1, 6, 4]))
    assert [texts[i] for i in codes] == [" me", "x", " me"]


def test_sums_by_gram(reader) -> None:
    swept = sweep(reader, Settings(), [])
    sums = swept.sums_by_gram(2)
    assert sums["n"].tolist() == [[4.0, 0.0, 3.0]]  # gram 0, gram 1, none
    assert sums["n_entropy"].tolist() == [[1.0, 0.0, 2.0]]
    assert sums["entropy"].tolist() == [[0.5, 0.0, 1.25]]
    assert sums["logprob"].tolist() == [[-3.0, 0.0, -1.5]]


@pytest.mark.parametrize("ids", [[5, 6, 7, 8], [-1, -1, -1, -1], [5, 6, -1, -1]])
def test_tokens_are_folded_by_their_text_with_ids_or_without(tmp_path, ids: list[int]) -> None:
    writer = new_run(tmp_path)
    flags = {"planning": [True, True, False, False], "gram_id": [0, 0, -1, -1], "begin": [True, False, False, False]}
    numbers = {"logprob": None, "advantage": [0.0] * 4, "token_ids": ids, **flags}
    texts = [["let", " me", " 2", " +"], ["let", " me", " 3", " +"], ["let", " me", " so", " +"]]
    for step in (1, 2):
        rows = [rollout_row(i, token_text=t, **numbers) for i, t in enumerate(texts)]
        if ids[2] > 0:  # one id is one text
            rows[2] = rollout_row(2, token_text=texts[2], **{**numbers, "token_ids": [5, 6, 9, 8]})
        writer.write_rows(step, [completion_row(i) for i in range(3)], rows)
        writer.commit(step, {})
    found = [f for f, _ in sweep(RunReader(tmp_path), Settings(ngram=2), []).followings]
    assert [f.gram.tolist() for f in found] == [[0, 0, 0]] * 2
    for f in found:
        assert f.ngram[0] == f.ngram[1] != f.ngram[2]  # another number is no other procedure, another word is


def test_vocabulary() -> None:
    found = Vocabulary.of(GRAMS, largest=2)
    assert found.grams == ("let me", "wait", "gram 2")  # one that the set does not list
    assert found.clusters == ("a",)
    assert found.cluster_of.tolist() == [0, -1, -1]
    assert found.moves[0] == "cluster"
    assert list(found.levels()) == ["gram", "cluster"]
    nothing = Vocabulary.of(None, largest=-1)
    assert nothing.levels() == {}
    assert nothing.moves == ("gram", (), None)
