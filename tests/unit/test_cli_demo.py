"""`hicra demo` goes through every station and says what it found, to people and to machines."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from hicra.lab.settings import LabSettings
from tests.tiny_lab import tiny_lab

pytest.importorskip("trl")
pytest.importorskip("matplotlib")

TINY = tiny_lab(steps=2, samples=32)


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from hicra.cli import demo

    monkeypatch.setattr(demo, "_settings", lambda seed, steps, quick: TINY)
    out = tmp_path / "demo"
    demo.demo(out=out, json=True)
    first = capsys.readouterr()
    document = json.loads(first.out)
    assert document["report"] == str(out / "report.html")
    assert (out / "report.html").read_text("utf-8").count("HICRA") > 1
    assert set(document["runs"]) == {"grpo", "hicra"}
    assert document["last"]["hicra"]["step"] == 2
    assert document["hicra_minus_grpo"]["n"] == 4
    assert 0.02 < document["sample"]["long-cot"]["planning_share"] < 0.2
    assert "planning tokens in a real trace" in first.err

    demo.demo(out=out)  # it had ended: the same is said again, at once
    again = capsys.readouterr().out
    assert "kept from before" in again
    for sentence in document["words"]:
        assert sentence[:40] in again
    assert str(out / "report.html") in again.replace("\n", "")


def test_progress_on_a_terminal_and_elsewhere() -> None:
    from rich.console import Console

    from hicra.cli.demo_view import Bars

    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        with Bars(console, TINY) as bars:
            for done in range(1, 41):
                bars.warm_start(done, 40, 1.25)
            bars.arm("grpo", 0, 2, {}, [])
            bars.arm("grpo", 1, 2, {"reward": 0.25}, [{"step": 0, "accuracy": 0.125}])
        text = console.file.getvalue()  # type: ignore[attr-defined]
        for expected in ("warm start", "40/40", "loss 1.25", "GRPO", "1/2", "reward 0.25", "unseen problems 0.12"):
            assert expected in text, (terminal, expected)
        if not terminal:
            assert "\x1b" not in text
            assert 5 <= len(text.splitlines()) <= 14, "a line now and then"


def test_settings_of_the_command() -> None:
    from hicra.cli.demo import _settings

    assert _settings(3, None, False) == LabSettings(seed=3)
    assert _settings(0, 5, True).training.steps == 5
    assert _settings(0, None, True) == LabSettings.quick()
