"""Other tools' files become steps of completions; what cannot be read is told with its place."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hicra.errors import ConfigError, DataError
from hicra.traces.adapters import ADAPTERS, Options, Step, open_run
from tests import foreign
from tests.foreign import REWARDS, TEXTS, write_lines


def steps(path: Path, format: str | None = None, **options) -> tuple[str, list[Step], list[str]]:
    run = open_run(path, format, Options(**options))
    return run.adapter.name, list(run.steps()), run.source.notes


def encode(text: str) -> list[int]:
    return list(text.encode())


def test_trl(tmp_path) -> None:
    name, found, notes = steps(foreign.trl(tmp_path))
    assert (name, [s.number for s in found], notes) == ("trl", [1, 2], [])
    rows = found[1].rows
    assert [r.group for r in rows] == [0, 0, 1, 1]
    assert [r.reward for r in rows] == REWARDS
    assert [r.completion for r in rows] == [f"{t} 2" for t in TEXTS]
    assert rows[0].advantage == 0.7071
    assert rows[0].truncated is None
    assert rows[0].token_ids is None
    assert [s.number for s in steps(tmp_path / "completions")[1]] == [1, 2]
    assert [s.number for s in steps(tmp_path / "completions" / "completions_00002.parquet")[1]] == [2]


def test_trl_conversations(tmp_path) -> None:
    talk = [[{"role": "user", "content": p}] for p in ("a", "a", "b", "b")]
    said = [[{"role": "assistant", "content": t}] for t in TEXTS]
    _, found, _ = steps(foreign.trl(tmp_path, steps=[1], prompt=talk, completion=said))
    assert found[0].rows[2].prompt == [{"role": "user", "content": "b"}]
    assert [r.completion for r in found[0].rows] == TEXTS
    assert [r.group for r in found[0].rows] == [0, 0, 1, 1]


def test_trl_rewards_are_the_columns_that_the_advantages_follow(tmp_path) -> None:
    extra = foreign.trl(tmp_path / "a", steps=[1], format=[1.0, 1.0, 1.0, 1.0], noise=[3.0, 1.0, 4.0, 1.0])
    _, found, notes = steps(extra)
    assert [r.reward for r in found[0].rows] == [2.0, 1.0, 1.0, 2.0]
    assert notes == ["rewards: accuracy + format; the advantages do not follow noise, taken for extras"]
    _, found, notes = steps(extra, rewards={"accuracy": 0.5, "noise": 2.0})
    assert [r.reward for r in found[0].rows] == [6.5, 2.0, 8.0, 2.5]
    assert notes == []
    with pytest.raises(DataError, match="no reward column 'exact'"):
        steps(extra, rewards={"exact": 1.0})
    unclear = foreign.trl(tmp_path / "b", steps=[1], other=[9.0, 1.0, 2.0, 7.0], advantage=[1.0, 1.0, 3.0, -2.0])
    _, _, notes = steps(unclear)
    assert "--reward accuracy=1" in notes[0]
    none = foreign.trl(tmp_path / "c", steps=[1], accuracy=["a", "b", "c", "d"])
    with pytest.raises(DataError, match="no reward column"):
        steps(none)


def test_trl_rewards_that_do_not_apply(tmp_path) -> None:
    folder = foreign.trl(tmp_path, [1], accuracy=[1.0, None, None, 0.5], advantage=[1.0, 0.0, 0.0, 0.0])
    rewards = [r.reward for r in steps(folder)[1][0].rows]
    assert rewards[0] == 1.0
    assert math.isnan(rewards[1])


def test_trl_rewards_are_chosen_once_for_the_run(tmp_path) -> None:
    foreign.trl(tmp_path, [1], noise=[1.0, 1.0, 2.0, 2.0])  # in this step noise could be a reward
    foreign.trl(tmp_path, [2], noise=[5.0, 1.0, 2.0, 2.0])
    foreign.trl(tmp_path, [3], accuracy=[0.0] * 4, advantage=[0.0] * 4, noise=[5.0, 1.0, 2.0, 2.0])
    found = steps(tmp_path)[1]
    assert [[r.reward for r in s.rows] for s in found] == [REWARDS, REWARDS, [0.0] * 4]


def test_trl_what_the_trainer_logged_comes_along(tmp_path) -> None:
    foreign.trl(tmp_path, [1, 2])
    for number, state in ((2, {"log_history": foreign.TRL_HISTORY}), (10, {"log_history": "torn"})):
        (tmp_path / f"checkpoint-{number}").mkdir()
        (tmp_path / f"checkpoint-{number}" / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "checkpoint-11").mkdir()
    found = steps(tmp_path)[1]
    assert found[0].metrics == {"loss": 0.5, "entropy": 2.0, "truncated": 0.25, "rewards/accuracy/mean": 0.5}
    assert found[1].metrics == {}


def test_trl_groups_of_one_prompt_drawn_twice_are_two(tmp_path) -> None:
    folder = foreign.trl(tmp_path, [1])
    table = {
        "prompt": ["a"] * 4 + ["b"] * 2 + ["c"] * 2,
        "step": [1] * 8,
        "completion": TEXTS * 2,
        "accuracy": REWARDS * 2,
    }
    import pandas as pd

    path = folder / "completions" / "completions_00001.parquet"
    pd.DataFrame({**table, "advantage": [0.5] * 8}).to_parquet(path)
    assert [r.group for r in steps(folder)[1][0].rows] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_trl_leaves_out_what_is_no_new_batch(tmp_path) -> None:
    folder = foreign.trl(tmp_path, [0, 1, 3])
    again = (folder / "completions" / "completions_00001.parquet").read_bytes()
    (folder / "completions" / "completions_00002.parquet").write_bytes(again)
    (folder / "completions" / "completions_00004.parquet").write_bytes(again[:200])
    _, found, notes = steps(folder)
    assert [s.number for s in found] == [1, 3]
    assert [
        "before the first step" in n or "wrote that batch twice" in n or "still being written" in n for n in notes
    ] == [True] * 3
    (folder / "completions" / "completions_00005.parquet").write_bytes(again)
    with pytest.raises(DataError, match=r"completions_00004.parquet: ends in the middle"):
        steps(folder)


def test_verl(tmp_path) -> None:
    name, found, notes = steps(foreign.verl(tmp_path))
    assert (name, [s.number for s in found]) == ("verl", [1, 2, 10])
    assert [r.group for r in found[0].rows] == ["q_0", "q_0", "q_1", "q_1"]
    assert [r.reward for r in found[0].rows] == REWARDS
    assert found[0].rows[0].prompt == "user\n0 + 2?\nassistant\n"
    assert "special tokens" in notes[0]
    assert [r.group for r in steps(foreign.verl(tmp_path / "old", uid=False))[1][0].rows] == [None] * 4


def test_verl_files_that_are_cut_off(tmp_path) -> None:
    folder = foreign.verl(tmp_path)
    write_lines(folder / "10.jsonl", foreign.verl_rows(10), torn=True)
    _, found, notes = steps(folder)
    assert [s.number for s in found] == [1, 2]
    assert any("10.jsonl is still being written" in n for n in notes)
    write_lines(folder / "2.jsonl", foreign.verl_rows(2), torn=True)
    with pytest.raises(DataError, match=r"2.jsonl: ends in the middle"):
        steps(folder)
    (folder / "2.jsonl").write_text('{"input": "", "output": 7, "score": 1, "step": 2}\n')
    with pytest.raises(DataError, match=r"2.jsonl:1: 'output' is of the wrong type"):
        steps(folder)
    (folder / "2.jsonl").write_text(json.dumps(foreign.verl_rows(2)[0]) + '\n{"input": oops}\n')
    with pytest.raises(DataError, match=r"2.jsonl:2: broken JSON"):
        steps(folder)


def test_a_file_cut_inside_a_character_is_torn_too(tmp_path) -> None:
    folder = foreign.verl(tmp_path, [1])
    (folder / "2.jsonl").write_bytes('{"input": "é'.encode()[:-1])
    assert [s.number for s in steps(folder)[1]] == [1]


def test_prime_rl(tmp_path) -> None:
    name, found, _ = steps(foreign.prime_rl(tmp_path, encode))
    assert (name, [s.number for s in found]) == ("prime-rl", [0, 1])
    assert [len(s.rows) for s in found] == [8, 8]
    row = found[0].rows[0]
    assert bytes(row.prompt_token_ids or []) == b"2 + 0 ="
    assert bytes(row.token_ids or []) == TEXTS[0].encode()
    assert (row.reward, row.logprobs[0], row.entropies[0], row.advantage[0]) == (1.0, -0.25, 0.75, 0.5)  # type: ignore[index]
    assert row.mask is None
    assert row.completion is None


def test_prime_rl_tool_tokens_and_what_is_not_trained_on(tmp_path) -> None:
    tool = foreign.prime_row(0, [1], [2, 3, 4], 1.0, loss_mask=[False, True, False, True], trainer_logprobs=None)
    nothing = foreign.prime_row(0, [1], [2], 1.0, loss_mask=[False, False])
    write_lines(tmp_path / "step_0" / "rank_0.jsonl", [tool, nothing])
    _, found, _ = steps(tmp_path)
    assert len(found[0].rows) == 1
    assert found[0].rows[0].mask == [True, False, True]
    assert found[0].rows[0].logprobs == [-0.5] * 3  # the sampler's, where the trainer's are not there
    write_lines(tmp_path / "step_0" / "rank_0.jsonl", [foreign.prime_row(0, [1], [2], 1.0, entropy=[1.0])])
    with pytest.raises(DataError, match=r"rank_0.jsonl:1: 'entropy' has 1 values"):
        steps(tmp_path)
    write_lines(tmp_path / "step_0" / "rank_0.jsonl", [foreign.prime_row(0, [1], [2], 1.0, schema_version=2)])
    with pytest.raises(DataError, match="another version"):
        steps(tmp_path)


def test_prime_rl_steps_without_their_mark_are_left_out(tmp_path) -> None:
    folder = foreign.prime_rl(tmp_path, encode)
    (folder / "token_exports" / "step_1" / "STABLE").unlink()
    _, found, notes = steps(folder)
    assert [s.number for s in found] == [0]
    assert "no STABLE" in notes[0]
    assert [s.number for s in steps(foreign.prime_rl(tmp_path / "old", encode, stable=False))[1]] == [0, 1]


@pytest.mark.parametrize("kind", ["eval", "json"])
def test_inspect(tmp_path, kind) -> None:
    write = foreign.inspect_eval if kind == "eval" else foreign.inspect_json
    header = foreign.inspect_header("2026-01-01T00:00:00+00:00", metadata={"step": 40})
    write(tmp_path / f"a.{kind}", header, foreign.inspect_samples())
    name, found, notes = steps(tmp_path)
    assert (name, [s.number for s in found], notes) == ("inspect", [40], [])
    assert sorted(r.reward for r in found[0].rows) == [0.0, 0.0, 1.0, 1.0]
    assert sorted((r.group, r.completion) for r in found[0].rows) == sorted(
        (str(i // 2), t) for i, t in enumerate(TEXTS)
    )
    assert found[0].rows[0].truncated is False


def test_inspect_archives_of_zstd(tmp_path) -> None:
    header = foreign.inspect_header("2026-01-01T00:00:00+00:00", model="runs/checkpoint-7")
    plain = foreign.inspect_eval(tmp_path / "a.eval", header, foreign.inspect_samples())
    packed = foreign.zstd_zip(plain, tmp_path / "b.eval")
    plain.unlink()
    _, found, _ = steps(packed)
    assert found[0].number == 7
    assert {r.completion for r in found[0].rows} == set(TEXTS)
    whole = packed.read_bytes()
    (tmp_path / "b.eval").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no completion"):
        steps(tmp_path)


def test_inspect_logs_that_are_not_finished_are_left_out(tmp_path) -> None:
    header = foreign.inspect_header("2026-01-01", metadata={"step": 1})
    foreign.inspect_eval(tmp_path / "a.eval", header, foreign.inspect_samples())
    header = foreign.inspect_header("2026-01-01", metadata={"step": 2})
    foreign.inspect_json(tmp_path / "b.json", {**header, "status": "started"}, foreign.inspect_samples())
    _, found, notes = steps(tmp_path)
    assert [s.number for s in found] == [1]
    assert notes == ["b.json: the evaluation has not ended; it was left out"]


def test_inspect_details(tmp_path) -> None:
    logprobs = {"content": [{"token": "So", "logprob": -0.5}, {"token": " 4", "logprob": -1.0}]}
    message = {"role": "assistant", "content": "4"}
    choice = {"message": message, "stop_reason": "max_tokens", "logprobs": logprobs}
    thoughts = [{"type": "reasoning", "reasoning": "attachment://ab"}, {"type": "text", "text": "4"}]
    samples = [
        foreign.inspect_sample(1, 1, "4", 0.25, output={"choices": [choice]}, messages=[message]),
        foreign.inspect_sample(
            2, 1, "", {"a": 1}, messages=[{"role": "assistant", "content": thoughts}], attachments={"ab": "let me"}
        ),
        foreign.inspect_sample(3, 1, "", "C", output={"choices": []}),
    ]
    foreign.inspect_eval(tmp_path / "a.eval", foreign.inspect_header("2026-01-02"), samples)
    foreign.inspect_eval(tmp_path / "b.eval", foreign.inspect_header("2026-01-01"), foreign.inspect_samples())
    _, found, notes = steps(tmp_path)
    assert [len(s.rows) for s in found] == [4, 2]  # by time, not by name
    first, second = found[1].rows
    assert (first.pieces, first.logprobs, first.completion) == (["So", " 4"], [-0.5, -1.0], "So 4")
    assert (first.truncated, first.reward) == (True, 0.25)
    assert second.completion == "<think>let me</think>4"
    assert math.isnan(second.reward)
    assert any("numbered by the time" in n for n in notes)
    assert any("without an answer" in n for n in notes)
    with pytest.raises(DataError, match="no score 'f1'"):
        steps(tmp_path, scorer="f1")


def test_plain(tmp_path) -> None:
    rows = [
        {"step": s, "question": "q", "response": t, "score": r, "tokens": ["a"], "logprobs": [float("nan")], "id": 5}
        for s in (1, 3)
        for t, r in zip(TEXTS, REWARDS, strict=True)
    ]
    write_lines(tmp_path / "rollouts.jsonl", rows)
    name, found, notes = steps(tmp_path)
    assert (name, [s.number for s in found], notes) == ("plain", [1, 3], [])
    row = found[0].rows[0]
    assert (row.prompt, row.completion, row.reward, row.prompt_id) == ("q", TEXTS[0], 1.0, "5")
    assert (row.pieces, row.logprobs) == (["a"], [None])


def test_plain_merges_processes_and_takes_steps_from_names(tmp_path) -> None:
    for rank in (0, 1):
        rows = [{"step": s, "completion": f"{rank}"} for s in (1, 2)]
        write_lines(tmp_path / "ranks" / f"rank{rank}.jsonl", rows)
    assert [[r.completion for r in s.rows] for s in steps(tmp_path / "ranks")[1]] == [["0", "1"], ["0", "1"]]
    for step in (2, 10):
        write_lines(tmp_path / "names" / f"step_{step}.jsonl", [{"completion": "x"}])
    assert [s.number for s in steps(tmp_path / "names")[1]] == [2, 10]
    write_lines(tmp_path / "one" / "all.jsonl", [{"completion": "x"}] * 2)
    _, found, notes = steps(tmp_path / "one")
    assert [s.number for s in found] == [1]
    assert "no step" in notes[0]


def test_plain_columns_and_errors(tmp_path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"said": "x", "step": 1}])
    with pytest.raises(DataError, match="no rollouts of a tool") as error:
        steps(path)
    for adapter in ADAPTERS.values():
        assert adapter.looks_for in str(error.value)
    assert steps(path, columns={"completion": "said"})[1][0].rows[0].completion == "x"
    with pytest.raises(ConfigError, match="no field"):
        steps(path, "plain", columns={"said": "completion"})
    with pytest.raises(DataError, match="no column 'other'"):
        steps(path, columns={"completion": "other"})
    with pytest.raises(DataError, match=r"a.jsonl:1: no column for the completion"):
        steps(path, "plain")
    write_lines(path, [{"completion": "x", "step": 2}, {"completion": "x", "step": 1}])
    with pytest.raises(DataError, match=r"a.jsonl:2: step 1 comes after step 2"):
        steps(path)
    write_lines(path, [{"completion": "x", "step": "2"}])
    with pytest.raises(DataError, match="no whole number"):
        steps(path)
    write_lines(path, [{"completion": "x", "reward": "high"}])
    with pytest.raises(DataError, match="'reward' is no number"):
        steps(path)
    write_lines(path, [{"completion": "x", "token_ids": [1.5]}])
    with pytest.raises(DataError, match="no list of token ids"):
        steps(path)


def test_plain_folders_with_settings_beside(tmp_path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"completion": "x"}])
    (tmp_path / "config.json").write_text('{\n "model": "m"\n}')
    assert len(steps(tmp_path)[1]) == 1
    assert len(steps(write_lines(tmp_path / "rows.json", [{"completion": "x"}]))[1]) == 1


def test_plain_file_still_being_written(tmp_path) -> None:
    rows = [{"completion": "x", "step": 1}, {"completion": "yyyyyyyyyyyy", "step": 2}]
    _, found, notes = steps(write_lines(tmp_path / "a.jsonl", rows, torn=True))
    assert [s.number for s in found] == [1]
    assert "torn last row" in notes[0]
    write_lines(tmp_path / "b.jsonl", rows)
    with pytest.raises(DataError, match="ends in the middle"):
        steps(tmp_path)


def test_what_is_no_run_is_told(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_run(tmp_path / "none")
    with pytest.raises(DataError, match="an empty folder"):
        open_run(tmp_path)
    with pytest.raises(ConfigError, match="no such format"):
        open_run(tmp_path, "verll")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="run directory already"):
        open_run(tmp_path)
    (tmp_path / "run.json").unlink()
    foreign.verl(tmp_path)
    with pytest.raises(DataError, match="completions_<step>"):
        open_run(tmp_path, "trl")
