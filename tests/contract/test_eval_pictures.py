"""Vision benchmarks from end to end: pictures through an endpoint made here, an extracting model, the command line."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hicra.cli import main
from hicra.errors import ConfigError
from hicra.evals.asking import ask
from hicra.evals.harness import Labels, evaluate
from hicra.evals.models import ModelName, name_model
from hicra.evals.results import read_results
from tests.endpoint import QUIET, Reply, inspect_leaves_no_traces, question, serve  # noqa: F401

pytest.importorskip("inspect_ai")

pytestmark = QUIET

GIF = [b"GIF89a" + bytes([i]) * 40 for i in range(3)]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for i, data in enumerate(GIF):
        (tmp_path / "images" / f"{i}.gif").write_bytes(data)
    rows: list[dict[str, Any]] = [
        {"id": "v0", "problem": "First <image1> then <image2>?", "images": ["images/0.gif", "images/1.gif"]},
        {"id": "v1", "problem": "Which?", "options": ["6cm", "7cm"], "images": ["images/2.gif"]},
        {"id": "v2", "problem": "No picture."},
    ]
    about = [
        {"answer": "4", "question_type": "free_form", "answer_type": "integer"},
        {"answer": "7cm", "question_type": "multi_choice", "answer_type": "text"},
        {"answer": "1.2", "question_type": "free_form", "answer_type": "float", "precision": 1},
    ]
    both = [{**r, **a, "grader": "mathvista", "cluster": "c"} for r, a in zip(rows, about, strict=True)]
    place = tmp_path / "bench.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in both))
    return place


def uri(data: bytes) -> str:
    return "data:image/gif;base64," + base64.b64encode(data).decode()


def answer(number: int, body: dict[str, Any]) -> Reply:
    text = question(body)
    if "First" in text:
        return "I count. \\boxed{4}", "stop"
    return ("The answer is (B).", "stop") if "Which" in text else ("It must be 1", "length")


def test_pictures_reach_the_endpoint(bench: Path, tmp_path: Path) -> None:
    with serve(answer) as endpoint:
        model = name_model("m", base_url=endpoint.url)
        (outcome,) = evaluate(model, [ask("vista", 1, bench)], tmp_path / "out", labels=Labels("base"))
        bodies = {question(body)[-60:]: body["messages"][0]["content"] for body in endpoint.asked}
    assert (outcome.tally.right, outcome.tally.cut_off, outcome.tally.n) == (2, 1, 3)
    first = next(parts for parts in bodies.values() if "First" in str(parts))
    kinds = [(p["type"], p.get("text") or p["image_url"]["url"]) for p in first]
    assert [kind for kind, _ in kinds] == ["text", "image_url", "text", "image_url", "text"]
    assert (kinds[1][1], kinds[3][1]) == (uri(GIF[0]), uri(GIF[1]))
    assert kinds[0][1].startswith("Hint: Please answer the question requiring an integer")
    second = next(parts for parts in bodies.values() if "Which" in str(parts))
    assert [p["type"] for p in second] == ["image_url", "text"]
    assert second[0]["image_url"]["url"] == uri(GIF[2])
    assert "(A) 6cm\n(B) 7cm" in second[1]["text"]
    (result,) = read_results(str(outcome.path))
    assert result.clusters == ("c", "c", "c")
    raw = Path(str(outcome.log)).read_bytes()
    assert base64.b64encode(GIF[0])[:40] not in raw

    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(outcome.log))
    readings = {str(s.id): s.scores["hicra"].metadata["reading"] for s in log.samples or [] if s.scores}
    assert readings == {"v0": "box", "v1": "sentence", "v2": "number"}
    assert base64.b64encode(GIF[0]).decode()[:40] not in log.model_dump_json()


def test_a_model_finds_the_answers(bench: Path, tmp_path: Path) -> None:
    """The extractor is asked about each response, its word counts, and the authors' prompt has no box."""

    def judge(number: int, body: dict[str, Any]) -> Reply:
        text = question(body)
        return ("A" if "Which" in text else "none" if "First" in text else "Final answer: 1.2"), "stop"

    with serve(answer) as endpoint, serve(judge) as other:
        model = name_model("m", base_url=endpoint.url)
        asked = ask("vista", 1, bench, extractor=name_model("judge", base_url=other.url))
        (outcome,) = evaluate(model, [asked], tmp_path / "out", labels=Labels("base"))
        assert all("boxed" not in question(body) for body in endpoint.asked)
        assert (len(endpoint.asked), len(other.asked)) == (3, 3)
        assert all(body["temperature"] == 0 for body in other.asked)
        with pytest.raises(ConfigError, match=r"vista\.asked"):  # another grader is another evaluation
            evaluate(model, [ask("vista", 1, bench)], tmp_path / "out", labels=Labels("base"))
    (result,) = read_results(str(outcome.path))
    assert dict(zip(result.items, result.correct.tolist(), strict=True)) == {"v0": 0, "v1": 0, "v2": 1}
    assert (outcome.tally.no_answer, outcome.tally.wrong, outcome.tally.right) == (1, 1, 1)


def test_a_picture_that_is_none_fails_its_own_item_only(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "2.gif").write_bytes(b"root:x:0:0")
    with serve(answer) as endpoint:
        model = name_model("m", base_url=endpoint.url)
        (outcome,) = evaluate(model, [ask("vista", 1, bench)], tmp_path / "out", labels=Labels("base"))
        assert len(endpoint.asked) == 2
    assert not outcome.complete
    assert outcome.tally.n == 2
    assert len(outcome.errors) == 1
    assert "is no picture" in next(iter(outcome.errors))


def test_a_model_without_eyes_is_told(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vllm serve"):
        evaluate(ModelName("hf/a/b"), [ask("vista", 1, bench)], tmp_path / "out", labels=Labels("base"))
    assert not (tmp_path / "out").exists()


def test_the_command_line(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        command = ["hicra", "eval", "-m", "m", "--base-url", endpoint.url, "-b", f"vista={bench}", "-o", "out", *words]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    broken = True
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    with serve(lambda number, body: 400 if broken and "Which" in question(body) else answer(number, body)) as endpoint:
        status, out, err = run("--samples", "2", "--trained", "tiny")
        assert status == 1
        assert "4 of 6" in out
        assert "2 answers are missing" in err
        assert "this is a 400" in err
        broken = False
        status, out, err = run("--samples", "2", "--trained", "tiny", "--json")
        assert status == 0
        (row,) = json.loads(out)["benchmarks"]
        assert (row["complete"], row["right"], row["cut_off"], row["items"], row["samples"]) == (True, 4, 2, 3, 2)
        assert row["accuracy"] == pytest.approx(4 / 6)
        assert row["accuracy_of_finished"] == 1.0
        status, out, err = run("--samples", "2")
        assert (status, len(endpoint.asked)) == (0, 8)
        assert "66.7" in out
        assert "33.3 %" in out
        assert "inspect view" in out
        assert run("--temperature", "1")[0] == 1
        prompt = tmp_path / "prompt.txt"
        assert "is no file" in run("--prompt", str(prompt))[2]
    (result,) = read_results(tmp_path / "out" / "vista.parquet")
    assert (result.method, result.model) == ("out", "")
    monkeypatch.setattr(sys, "argv", ["hicra", "compare", "out", "--json"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
