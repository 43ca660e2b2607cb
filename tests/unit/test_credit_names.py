"""`hicra.credit.hicra` is the function in every import order, and importing credit loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

ORDERS = {
    "function first": "from hicra.credit import hicra as f",
    "package first": "import hicra.credit; f = hicra.credit.hicra",
    "submodule first": "import hicra.credit.hicra; f = hicra.credit.hicra",
    "other names first": "from hicra.credit.hicra import hicra_symmetric; from hicra.credit import hicra as f",
    "submodule by name first": "import importlib; m = importlib.import_module('hicra.credit.hicra'); "
    "from hicra.credit import hicra as f; assert m.hicra is f and m.hicra_positive",
    "submodule after the function": "from hicra.credit import hicra as f; import importlib; "
    "importlib.import_module('hicra.credit.hicra'); import hicra.credit; assert hicra.credit.hicra is f",
    "through apply": "import hicra.credit.apply; from hicra.credit import hicra as f",
    "through the top": "import hicra; hicra.HicraCredit; f = hicra.credit.hicra",
    "two ways": "import hicra; hicra.credit; import hicra.credit.hicra; from hicra.credit import hicra as f; "
    "import sys; assert sys.modules['hicra.credit.hicra'].hicra is f",
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_name_is_the_function(order: str) -> None:
    check = "; import types, sys; assert type(f) is types.FunctionType, f; assert f.__name__ == 'hicra'"
    subprocess.run([sys.executable, "-c", ORDERS[order] + check], check=True)


def test_light() -> None:
    heavy = "{'torch', 'transformers', 'trl', 'numba', 'pyarrow', 'datasets', 'matplotlib'}"
    code = (
        "import hicra.credit, hicra.credit.config, hicra.credit.apply, hicra.dynamics.semantic, sys; "
        f"loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lazy_names() -> None:
    import hicra.credit as credit

    for name in credit.__all__:
        assert getattr(credit, name) is not None
    assert set(credit.__all__) == set(dir(credit))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        credit.nonsense  # noqa: B018
