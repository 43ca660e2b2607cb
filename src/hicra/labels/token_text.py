"""Token ids as text, token by token."""

from __future__ import annotations

import codecs
from typing import Any

from hicra.labels.vocab import Vocab


class TokenText:
    """Token ids as text.

    Args:
        tokenizer: names special tokens and decodes prompts.
        vocab: its bytes.
    """

    def __init__(self, tokenizer: Any, vocab: Vocab) -> None:
        self.tokenizer, self._lossy = tokenizer, vocab.lossy
        self._bytes, self._offset = vocab.data.tobytes(), vocab.offset.tolist()
        self._whole: dict[int, str] = {}  # of tokens that spell whole characters, once they were seen

    def prompt(self, token_ids: list[int]) -> str:
        """A prompt as the model saw it, special tokens included."""
        return str(self.tokenizer.decode(token_ids))

    def pieces(self, token_ids: list[int]) -> list[str]:
        """Text of each token; joined, they are the text of all.

        A character that is split over tokens stands at the token that completes it; bytes that are no UTF-8 become
        U+FFFD. Special tokens show their names.
        """
        data, offset, known = self._bytes, self._offset, len(self._offset) - 1
        whole = self._whole
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        torn = False  # whether the decoder holds the beginning of a character
        pieces: list[str] = []
        for token_id in token_ids:
            if not torn and (text := whole.get(token_id)) is not None:
                pieces.append(text)
                continue
            raw = data[offset[token_id] : offset[token_id + 1]] if 0 <= token_id < known else b""
            if raw:
                piece, before = decoder.decode(raw), torn
                torn = bool(decoder.getstate()[0])
                pieces.append(piece)
                if not (torn or before) and piece.encode("utf-8", "surrogatepass") == raw:
                    whole[token_id] = piece
            else:  # a special token; what was cut off before it stays a torn character
                name = str(self.tokenizer.convert_ids_to_tokens(token_id) or "")
                pieces.append(decoder.decode(b"", final=True) + (" " if self._lossy else "") + name)
                decoder.reset()
                torn = False
        if pieces:
            pieces[-1] += decoder.decode(b"", final=True)
            if self._lossy:  # these vocabularies put a space before every word, also before the first
                pieces[0] = pieces[0].removeprefix(" ")
        return pieces
