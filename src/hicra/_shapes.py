"""Whether shape annotations are checked at run time.

Signatures say their shapes with jaxtyping (``Float[Tensor, "B T"]``; letters: B batch of completions, G group, T
completion tokens, V vocabulary, N documents, K grams, C clusters). jaxtyping is a development dependency and torch is
heavy, so the annotations stay strings and their names are imported only for type checkers, or where `CHECKED` was set
before the import: the test session sets it and installs jaxtyping's import hook. A module that wants to be checked
writes

    from hicra import _shapes

    if TYPE_CHECKING or _shapes.CHECKED:
        from jaxtyping import Float
        from torch import Tensor
"""

from __future__ import annotations

CHECKED = False
