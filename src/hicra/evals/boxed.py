r"""The final answer of a completion: what stands in its last ``\boxed{...}``."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\\+(?:boxed|fbox)\s*\{|\\.|[{}]", re.S)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` with balanced braces, or None.

    An unclosed last box counts as none: a completion cut off inside its answer has not answered. Of boxes inside each
    other the outermost counts. ``\fbox{...}`` and a space before the brace are boxes too; ``\boxed 9`` is not. One
    pass from the first box on, whatever the text.
    """
    first = min((at for box in (r"\boxed", r"\fbox") if (at := text.find(box)) >= 0), default=-1)
    if first < 0:
        return None
    opened: list[int | None] = []  # where the content of each open box begins; None for a brace that is no box
    answer: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text, first):
        found = token[0]
        if found == "}":
            begin = opened.pop() if opened else None
            if begin is not None:
                answer = begin, token.start()
        elif found[-1] == "{" and found[-2:] != r"\{":
            is_box = len(found) > 1
            opened.append(token.end() if is_box else None)
            if is_box:
                answer = None
    return None if answer is None else text[slice(*answer)]
