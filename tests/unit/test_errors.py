"""Errors speak to people, and a missing extra prints the line that brings it."""

from __future__ import annotations

import sys

import pytest

from hicra.errors import ConfigError, HicraError, MissingExtraError, require


def test_messages_say_what_was_expected_what_came_and_how_to_mend_it() -> None:
    error = ConfigError("alpha is out of range", expected="0 <= alpha < 1", got="1.5", mend="choose 0.2")
    assert isinstance(error, HicraError)
    assert str(error).splitlines() == [
        "alpha is out of range",
        "  expected: 0 <= alpha < 1",
        "  got:      1.5",
        "  mend:     choose 0.2",
    ]
    assert str(HicraError("no more")) == "no more"


def test_a_missing_extra_prints_its_pip_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r'pip install "hicra\[train\]"'):
        require("trl", "train")
    with pytest.raises(ImportError):
        require("no_such_package_at_all.part", "mine")
    assert require("json", "train").loads("1") == 1


def test_a_module_that_is_broken_inside_is_not_called_missing(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all") as caught:
        require("broken_inside", "train")
    assert not isinstance(caught.value, MissingExtraError)
