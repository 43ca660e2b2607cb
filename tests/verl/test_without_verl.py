"""In an environment without verl."""

from __future__ import annotations

import subprocess
import sys


def test_the_engine_says_which_line_brings_verl() -> None:
    code = "import sys; sys.modules['verl'] = None; import hicra.engines.verl"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "MissingExtraError" in done.stderr
    assert 'pip install "hicra[verl]"' in done.stderr


def test_settings_can_be_checked_without_verl() -> None:
    code = "from hicra.engines.verl_config import VerlSettings; print(VerlSettings.of({'alpha': 0.5}).alpha)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.5\n"
