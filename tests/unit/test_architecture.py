"""The house keeps its order: stations import in one direction only, and the core stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import hicra

SOURCE = Path(hicra.__file__).parent
STATIONS = ["traces", "grams", "labels", "credit", "dynamics", "engines", "lab", "report"]
EVERYWHERE = {"errors", "_shapes"}
USES_EVALS = {"engines", "lab", "report"}
HEAVY = {"torch", "transformers", "trl", "numba", "pyarrow", "polars", "datasets", "matplotlib", "jinja2", "tokenizers"}
HEAVY |= {"sympy", "math_verify", "scipy", "inspect_ai", "openai"}


def imports_of(path: Path) -> set[str]:
    """Names of the hicra parts that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("hicra.")}
    return found


@pytest.mark.parametrize("station", STATIONS)
def test_a_station_imports_only_the_ones_before_it(station: str) -> None:
    allowed = {*STATIONS[: STATIONS.index(station) + 1], *EVERYWHERE, "__version__", "DEFAULT_GRAMS"}
    allowed |= {"evals"} if station in USES_EVALS else set()
    files = sorted((SOURCE / station).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(SOURCE)): sorted(imports_of(path) - allowed) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_evals_stands_beside_and_imports_traces_only() -> None:
    allowed = {"evals", "traces", *EVERYWHERE, "__version__"}
    files = sorted((SOURCE / "evals").rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(SOURCE)): sorted(imports_of(path) - allowed) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_every_folder_is_a_known_part() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert folders == {*STATIONS, "cli", "evals"}


def test_files_are_small() -> None:
    long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 450
    }
    assert long == {}, "split these"


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return set(json.loads(out.splitlines()[-1]))


def test_importing_hicra_loads_nothing_heavy() -> None:
    assert loaded_by("import hicra; dir(hicra)") & (HEAVY | {"numpy", "rich", "typer"}) == set()


@pytest.mark.parametrize(
    "code",
    [
        "from hicra import GramSet, Labeller, HicraCredit, CreditConfig, Labels, Gram, HicraError",
        "import hicra.evals.answers, hicra.evals.benchmarks, hicra.engines.rewards",
        "import hicra.evals.asking, hicra.evals.harness, hicra.evals.vision, hicra.cli.eval",
        "import hicra.credit, hicra.traces.read, hicra.traces.rundir, hicra.dynamics.semantic",
        "from hicra import GramSet; GramSet.load('paper').drop(.3, 0)",
        "import hicra; hicra.credit.hicra; hicra.engines; hicra.lab; hicra.report",
    ],
)
def test_names_load_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


def test_public_names_exist_and_unknown_ones_are_told() -> None:
    for name in hicra.__all__:
        assert getattr(hicra, name) is not None
    assert set(hicra.__all__) <= set(dir(hicra))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hicra.nothing


def test_no_pickle_anywhere() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        assert "import pickle" not in text, path
        assert "torch.save(" not in text, path
