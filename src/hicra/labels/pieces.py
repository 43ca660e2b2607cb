"""Labels of tokens that are known as text only: the bytes of the text are labelled, and each piece takes its bytes'.

A piece is a planning token where one of its non-space bytes lies in an occurrence; it belongs to the first one that it
overlaps. This is what `Labeller.label` says of the same pieces as token ids of a lossless vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hicra.errors import DataError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller, Labels
from hicra.labels.vocab import byte_vocab

_WORD = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")


def words_and_signs(text: str) -> list[str]:
    """The text cut into words and single signs, each with the white space before it; joined they are the text."""
    return _WORD.findall(text)


class PieceLabeller:
    """Labels texts that come in pieces.

    Args:
        grams: the gram set.

    Raises:
        DataError: the gram set was made for other text rules.
    """

    def __init__(self, grams: GramSet) -> None:
        self._labeller = Labeller(grams, byte_vocab())

    def label(
        self, rows: Sequence[Sequence[str]], masks: Sequence[np.ndarray[Any, Any] | None] | None = None
    ) -> Labels:
        """Label rows of pieces.

        Args:
            rows: B texts in T pieces each; T may differ.
            masks: for each row (T,) which pieces are the policy's own, or None for all. The others break matches.

        Returns:
            Labels as lists of B arrays (T,).

        Raises:
            DataError: a mask of another length than its row.
        """
        pieces = [[piece.encode("utf-8", "replace") for piece in row] for row in rows]
        owners = [np.repeat(np.arange(len(row)), [len(piece) for piece in row]) for row in pieces]
        data = [np.frombuffer(b"".join(row), np.uint8) for row in pieces]
        keep = None
        if masks is not None:
            for row, mask in zip(rows, masks, strict=True):
                if mask is not None and len(mask) != len(row):
                    raise DataError(
                        "the mask is of another length than its row", expected=f"{len(row)}", got=f"{len(mask)}"
                    )
            keep = [
                np.ones(len(owner), np.bool_) if mask is None else np.asarray(mask, np.bool_)[owner]
                for owner, mask in zip(owners, masks, strict=True)
            ]
        found = self._labeller.label(data, keep) if data else Labels([], [], [])
        out: list[tuple[np.ndarray[Any, Any], ...]] = []
        for row, owner, gram_id, begin in zip(rows, owners, found.gram_id, found.begin, strict=True):
            ids = np.full(len(row), -1, np.int32)
            begins = np.zeros(len(row), np.bool_)
            labelled = np.flatnonzero(gram_id >= 0)
            first, at = np.unique(owner[labelled], return_index=True)
            ids[first] = gram_id[labelled[at]]
            occurrence = np.cumsum(begin)[labelled[at]]  # of each labelled piece; it begins at the first piece it owns
            begins[first[np.unique(occurrence, return_index=True)[1]]] = True
            out.append((ids >= 0, ids, begins))
        return Labels([o[0] for o in out], [o[1] for o in out], [o[2] for o in out])
