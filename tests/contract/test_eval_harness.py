"""The harness from end to end on inspect-ai: an endpoint made here, a local model, errors, a kill, a resume."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hicra.errors import ConfigError, DataError
from hicra.evals.asking import ask
from hicra.evals.boxed import last_boxed
from hicra.evals.harness import Labels, Limits, Outcome, evaluate
from hicra.evals.logs import read_answers
from hicra.evals.models import ModelName, name_model
from hicra.evals.results import read_results
from hicra.evals.task import Asked, Sampling
from tests.endpoint import QUIET, Reply, inspect_leaves_no_traces, question, serve  # noqa: F401

pytest.importorskip("inspect_ai")

pytestmark = QUIET

HOSTILE = "\ud800 \x00\x1b]0;title\x07\x1b[31m <script>alert(1)</script> [red]x[/red] {problem} " + "{" * 20_000


def write(place: Path, items: int) -> Path:
    rows = [{"id": f"q{i}", "problem": f"What is {i} + 2? (item {i})", "answer": str(i + 2)} for i in range(items)]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def item_of(body: dict[str, Any]) -> int:
    found = re.search(r"\(item (\d+)\)", question(body))
    assert found is not None
    return int(found[1])


def run(model: ModelName, asked: Asked, out: Path, sampling: Sampling | None = None, **limits: Any) -> Outcome:
    labels = Labels("GRPO", "tiny", 3)
    return evaluate(model, [asked], out, labels=labels, sampling=sampling, limits=Limits(**limits))[0]


def test_an_endpoint_with_errors_and_hostile_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HICRA_API_KEY", "secret-of-the-test")
    refused = True

    def answer(number: int, body: dict[str, Any]) -> Reply:
        item = item_of(body)
        if number in (0, 1):
            return (429, 500)[number]
        if item == 1 and refused:
            return 400
        if item == 2:
            return f"I think {HOSTILE}", "length"
        return f"{HOSTILE} so \\boxed{{{item + 2 if item != 3 else 0}}}", "stop"

    asked = ask("mine", 2, write(tmp_path / "mine.jsonl", 5))
    heard: list[str] = []
    with serve(answer) as endpoint:
        model = name_model("org/m", base_url=endpoint.url)
        first = evaluate(
            model,
            [asked],
            tmp_path / "out",
            labels=Labels("GRPO", "tiny", 3),
            sampling=Sampling(seed=5, system="Be brief.", top_k=7),
            on_answer=lambda name, graded: heard.append(f"{name} {graded.grade}"),
        )[0]
        assert first.errors == {"NoAnswerError('Error code: 400 - this is a 400')": 2}
        assert (first.complete, first.path, first.tally.n, first.wanted) == (False, None, 8, 10)
        assert sorted(os.listdir(tmp_path / "out")) == [".lock", "logs", "settings.json"]
        assert len(endpoint.asked) == 12
        refused = False
        second = run(model, asked, tmp_path / "out", Sampling(seed=5, system="Be brief.", top_k=7))
        assert len(endpoint.asked) == 14
        assert {item_of(body) for body in endpoint.asked[12:]} == {1}
        assert run(model, asked, tmp_path / "out", Sampling(seed=5, system="Be brief.", top_k=7)) == second
        assert len(endpoint.asked) == 14
        body = endpoint.asked[0]
        assert endpoint.keys == {"Bearer secret-of-the-test"}
    assert Counter(heard) == {"mine right": 4, "mine wrong": 2, "mine cut_off": 2}
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["messages"][1]["content"].endswith("put your final answer within \\boxed{}.")
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"], body["top_k"]) == (
        ("org/m", 0.6, 0.95, 32_768, 7)
    )
    seeds = {(item_of(b), b["seed"]) for b in endpoint.asked[2:]}
    assert len(seeds) == 10  # one of its own for each answer, the same when it is asked again

    assert second.path == tmp_path / "out" / "mine.parquet"
    (result,) = read_results(second.path)
    assert (result.model, result.method, result.seed, result.benchmark) == ("tiny", "GRPO", 3, "mine")
    assert dict(zip(result.items, result.correct.tolist(), strict=True)) == {
        "q0": 2,
        "q1": 2,
        "q2": 0,
        "q3": 0,
        "q4": 2,
    }
    assert (result.samples.tolist(), result.truncated) == ([2] * 5, 2)
    assert (second.tally.right, second.tally.wrong, second.tally.cut_off) == (6, 2, 2)
    assert "secret-of-the-test" not in (tmp_path / "out" / "settings.json").read_text()

    from inspect_ai.log import read_eval_log

    logs = list((tmp_path / "out" / "logs").glob("*.eval"))
    assert [str(path) for path in logs] == [str(second.log)]  # one log a benchmark: the viewer shows it as one
    log = read_eval_log(str(second.log))
    assert (log.status, log.eval.task, len(log.samples or [])) == ("success", "mine", 10)
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 0.6
    assert b"secret-of-the-test" not in Path(str(second.log)).read_bytes()
    assert "secret-of-the-test" not in log.model_dump_json()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_evaluation_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    """Killed or stopped in the middle: nothing that was finished is asked again or lost, nothing is there twice."""

    def answer(number: int, body: dict[str, Any]) -> Reply:
        return f"nonce {number} \\boxed{{{item_of(body) + 2}}}", "stop"

    data = write(tmp_path / "mine.jsonl", 20)
    connections = 4
    with serve(answer, delay=0.15) as endpoint:
        command = [sys.executable, "-m", "hicra.cli", "eval", "--model", "m", "--base-url", endpoint.url, "--json"]
        command += ["--bench", f"mine={data}", "--samples", "3", "-o", str(tmp_path / "out")]
        command += ["--connections", str(connections)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while endpoint.served < 25 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL), err
        assert out == ""
        assert ("goes on from here" in err) == (how is signal.SIGINT)
        before = endpoint.served
        assert 25 <= before < 55
        endpoint.delay = 0
        model = name_model("m", base_url=endpoint.url)
        outcome = run(model, ask("mine", 3, data), tmp_path / "out", connections=connections)
        total = len(endpoint.asked)
    assert (outcome.tally.n, outcome.tally.right, outcome.complete) == (60, 60, True)
    # in flight when it was killed, or served and not yet written by a process that waits for its turn on a busy machine
    # (a connection has one of each at most): asked again, and nothing else
    assert total - 60 <= 2 * connections
    rows = list(read_answers(str(outcome.log)))
    assert Counter((r.item, r.sample) for r in rows) == {(f"q{i}", s): 1 for i in range(20) for s in range(3)}

    from inspect_ai.log import read_eval_log_samples

    nonces = [
        int(re.findall(r"nonce (\d+)", sample.output.completion)[0])
        for sample in read_eval_log_samples(str(outcome.log))
    ]
    assert len(set(nonces)) == 60
    assert sum(nonce < before for nonce in nonces) >= before - 2 * connections
    (result,) = read_results(str(outcome.path))
    assert result.correct.tolist() == [3] * 20


def test_a_local_model_by_transformers(tmp_path: Path) -> None:
    from tests.tiny_trl import make_tiny

    make_tiny().make(tmp_path)
    model = name_model(str(tmp_path / "model"))
    asked = ask("mine", 4, write(tmp_path / "mine.jsonl", 3), prompt="{problem}")
    outcome = run(model, asked, tmp_path / "out", Sampling(max_tokens=24, seed=1), connections=12)
    assert outcome.complete
    assert outcome.wanted == outcome.tally.n == 12

    from inspect_ai.log import read_eval_log_samples
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    cut, in_a_box = 0, 0
    for sample in read_eval_log_samples(str(outcome.log)):
        text = sample.output.completion
        assert "\ue000" not in text
        tokens = len(tokenizer(text)["input_ids"])
        is_cut = sample.output.stop_reason == "max_tokens"
        assert tokens < 24 or is_cut  # special tokens are not in the text
        assert sample.messages[0].text == f"What is {str(sample.id)[1:]} + 2? (item {str(sample.id)[1:]})"
        cut += is_cut
        in_a_box += not is_cut and "\\boxed" in text and last_boxed(text) is None
    (result,) = read_results(str(outcome.path))
    assert result.truncated == cut + in_a_box

    greedy = run(model, asked, tmp_path / "greedy", Sampling(temperature=0, max_tokens=6), connections=12)
    texts: dict[str, set[str]] = {}
    for sample in read_eval_log_samples(str(greedy.log)):
        texts.setdefault(str(sample.id), set()).add(sample.output.completion)
    assert [len(found) for found in texts.values()] == [1, 1, 1]


def test_a_folder_holds_one_evaluation(tmp_path: Path) -> None:
    asked = ask("mine", 1, write(tmp_path / "mine.jsonl", 2))
    with serve(lambda number, body: ("\\boxed{2}", "stop")) as endpoint:
        model = name_model("m", base_url=endpoint.url)
        run(model, asked, tmp_path / "out")
        with pytest.raises(ConfigError, match=r"sampling.temperature: 0.6 -> 1.0"):
            run(model, asked, tmp_path / "out", Sampling(temperature=1.0))
        with pytest.raises(ConfigError, match=r"model.name"):
            run(name_model("other", base_url=endpoint.url), asked, tmp_path / "out")
        with pytest.raises(ConfigError, match=r"mine.asked"):
            run(model, ask("mine", 1, tmp_path / "mine.jsonl", prompt="Say {problem}"), tmp_path / "out")
        with pytest.raises(ConfigError, match=r"mine.problems_sha256"):
            run(model, ask("mine", 1, write(tmp_path / "more.jsonl", 3)), tmp_path / "out")
        assert len(endpoint.asked) == 2
        more = run(model, ask("mine", 3, tmp_path / "mine.jsonl"), tmp_path / "out")
        assert (more.tally.n, len(endpoint.asked)) == (6, 6)  # more samples of the same: only the new ones
        with pytest.raises(ConfigError, match="samples: 3 -> 1"):
            run(model, asked, tmp_path / "out")
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        run(model, asked, tmp_path / "out")
    with pytest.raises(ConfigError, match="each once"):
        evaluate(model, [asked, asked], tmp_path / "two", labels=Labels("x"))


def test_one_evaluation_at_a_time(tmp_path: Path) -> None:
    import fcntl

    asked = ask("mine", 1, write(tmp_path / "mine.jsonl", 1))
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another evaluation is working"):
            run(name_model("m", base_url="http://127.0.0.1:1/v1"), asked, tmp_path / "out")


def test_a_log_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.eval").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"x\.eval cannot be read"):
        list(read_answers(tmp_path / "x.eval"))
