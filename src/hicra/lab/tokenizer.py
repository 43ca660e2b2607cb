"""The lab's tokenizer: one token a word, as a real `PreTrainedTokenizerFast`, so that everything that takes a
tokenizer takes this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hicra.lab.phrases import clusters
from hicra.lab.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, BOS, UNKNOWN = "<pad>", "<eos>", "<bos>", "<unk>"
_SYMBOLS = "0 1 2 3 4 5 6 7 8 9 neg huge + - * = : , . use drill make vs yes miss so answer i stop here"


def vocabulary(world: World) -> list[str]:
    """The words of a world, special tokens first, in the order of their ids."""
    words = [PAD, EOS, BOS, UNKNOWN, *_SYMBOLS.split()]
    words += [word for phrases in clusters(world).values() for phrase in phrases for word in phrase.split()]
    return list(dict.fromkeys(words))


def build_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """The word-level tokenizer of a world: splits at spaces, decodes with single spaces, pads on the left."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: id for id, word in enumerate(vocabulary(world))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        bos_token=BOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
