"""What the engines tell people while they train: what is allowed but probably not meant, or has just been changed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hicra.credit.apply import HicraCredit
from hicra.errors import DataError, HicraWarning
from hicra.labels.audit import share_warning

if TYPE_CHECKING:
    from torch import Tensor


class FirstBatch:
    """Whether a run's first batch has a believable share of planning tokens; asked at every batch, it looks once.

    Args:
        tokenizer: the model's, for its name.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
        self._looked = False

    def look(self, planning: Tensor, mask: Tensor, grams: str) -> str | None:
        """What is odd, or None.

        Args:
            planning, mask: bool (B, T), planning tokens and completion tokens.
            grams: name of the set that labelled them.
        """
        tokens = 0 if self._looked else int(mask.sum())
        if not tokens:  # a batch may be masked out as a whole, e.g. where all of it is truncated
            return None
        self._looked = True
        odd = share_warning(int((planning & mask).sum()) / tokens, grams, self._tokenizer)
        return odd and f"of the first batch, {odd}. Look at what is labelled with `hicra label --audit`."


def redraw_placebo(credit: HicraCredit, texts: Sequence[str], step: int) -> str:
    """Draw the placebo anew from a batch's completions; too small a batch leaves it as it is, with a warning.

    Returns:
        What came of it, for the run directory.
    """
    try:
        grams = credit.redraw(texts, step=step)
    except DataError as error:
        text = f"the placebo stays as it was, this batch is too small to draw it anew: {error.problem}"
        warnings.warn(text, HicraWarning, stacklevel=3)
        return text
    return f"the placebo was drawn anew from this batch: {grams.name}"
