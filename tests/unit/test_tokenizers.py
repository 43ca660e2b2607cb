"""The bytes of real tokenizers, and labels that do not depend on which of them cut the text."""

from __future__ import annotations

import numpy as np
import pytest

from hicra import GramSet, Labeller
from hicra.errors import ConfigError, DataError
from hicra.labels.vocab import Vocab, vocab_of
from tests import oracle

TEXTS = [
    "Wait, that's not right. Let me double-check the sum: 12 + 30 = 42.\n\nSo we can see that it’s fine.",
    "First, let’s consider the case where $x = 3$. However, we need\nto verify\r\n(step by step) naïve 中文 😀.",
    "Hmm, but wait: recons\u2026 LET'S RECONSIDER!  I   need to\tre-evaluate <think>now</think> so_what so2",
]
GRAMS = GramSet.load("paper")
PAIRS = [(g.text, g.at) for g in GRAMS]


def train(model, trainer, pre_tokenizer=None, decoder=None, normalizer=None):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer(model)
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    return tokenizer


def fast(tokenizer, **special):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="module")
def byte_level():
    """The kind of Qwen and Llama-3, with few merges so that words fall into pieces and characters into bytes."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", "<|im_end|>"],
        show_progress=False,
    )
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = train(models.BPE(), trainer, level, decoders.ByteLevel())
    made.add_tokens(["<think>"])
    return fast(made, pad_token="<pad>", eos_token="<|im_end|>")


@pytest.fixture(scope="module")
def sentencepiece():
    """The kind of Llama-2, Gemma and Mistral: spaces as U+2581, unknown characters as byte tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    bytes_ = {f"<0x{b:02X}>": i + 3 for i, b in enumerate(range(256))}
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **bytes_}
    for c in "▁abcdefghijklmnopqrstuvwxyzWLFHIETSRCOND.,'-:$=+0123456789\n()!<>/":
        vocab.setdefault(c, len(vocab))
    merges = []
    for a, b in [
        ("▁", "w"),
        ("l", "e"),
        ("le", "t"),
        ("▁", "let"),
        ("'", "s"),
        ("t", "h"),
        ("▁", "th"),
        ("a", "t"),
        ("▁th", "at"),
    ]:
        merges.append((a, b))
        vocab.setdefault(a + b, len(vocab))
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return fast(made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def wordpiece():
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    made = train(
        models.WordPiece(unk_token="[UNK]"),
        trainer,
        pre_tokenizers.BertPreTokenizer(),
        decoders.WordPiece(cleanup=False),
        normalizers.BertNormalizer(),
    )
    return fast(made, unk_token="[UNK]", pad_token="[PAD]")


def byte_ranges(vocab: Vocab, ids: list[int], text: str) -> list[tuple[int, int]]:
    """Character ranges of lossless tokens, by counting bytes."""
    starts = np.cumsum([0, *(len(c.encode()) for c in text)])
    ranges, at = [], 0
    for token in ids:
        end = at + len(vocab[token])
        ranges.append((int(np.searchsorted(starts, at, "right")) - 1, int(np.searchsorted(starts, end, "left"))))
        at = end
    return ranges


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@pytest.mark.parametrize("text", TEXTS)
def test_lossless_tokens_spell_the_text_and_get_its_labels(kind: str, text: str, request) -> None:
    tokenizer = request.getfixturevalue(kind)
    vocab = vocab_of(tokenizer)
    assert not vocab.lossy
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    spelled = b"".join(vocab[i] for i in ids)
    shift = 1 if kind == "sentencepiece" else 0  # the space that SentencePiece puts in front
    assert spelled == b" " * shift + text.encode()
    labels = Labeller(GRAMS, tokenizer).label(ids)
    mask, gram_id, begin = oracle.label_ranges(" " * shift + text, byte_ranges(vocab, ids, " " * shift + text), PAIRS)
    assert labels.mask.tolist() == mask
    assert labels.gram_id.tolist() == gram_id
    assert labels.begin.tolist() == begin
    assert sum(mask) > 4


def test_special_and_padding_tokens_break_and_have_no_bytes(byte_level) -> None:
    labeller = Labeller(GRAMS, byte_level)
    ids = byte_level("wait no", add_special_tokens=False)["input_ids"]
    alone = labeller.label(ids)
    assert {GRAMS[g].text for g in set(alone.gram_id.tolist()) - {-1}} == {"wait no"}
    middle = next(i for i in range(1, len(ids)) if labeller.vocab[ids[i]].startswith(b" "))
    for special in (byte_level.eos_token_id, byte_level.pad_token_id):
        assert labeller.vocab[special] == b""
        cut = labeller.label([*ids[:middle], special, *ids[middle:]])
        assert {GRAMS[g].text for g in set(cut.gram_id.tolist()) - {-1}} == {"wait"}
    think = byte_level.convert_tokens_to_ids("<think>")
    assert labeller.vocab[think] == b"<think>"  # added, but ordinary text


def test_wordpiece_follows_the_oracle_on_the_decoded_text(wordpiece) -> None:
    vocab = vocab_of(wordpiece)
    assert vocab.lossy
    labeller = Labeller(GRAMS, wordpiece)
    for text in TEXTS:
        ids = wordpiece(text, add_special_tokens=False)["input_ids"]
        spelled = b"".join(vocab[i] for i in ids).decode()
        ranges, at = [], 0
        for token in ids:
            ranges.append((at, at + len(vocab[token].decode())))
            at = ranges[-1][1]
        labels = labeller.label(ids)
        # a special token (an unknown word) breaks; the oracle sees a full stop there
        seen, moved = "", []
        for token in ids:
            piece = vocab[token].decode() or "."
            moved.append((len(seen), len(seen) + len(piece)))
            seen += piece
        assert seen.replace(".", "") == spelled.replace(".", "")
        mask, gram_id, begin = oracle.label_ranges(seen, moved, PAIRS, lossy=True)
        assert (labels.mask.tolist(), labels.gram_id.tolist(), labels.begin.tolist()) == (mask, gram_id, begin)
    ids = wordpiece("let's reconsider", add_special_tokens=False)["input_ids"]
    assert labeller.label(ids).mask.all()


def test_word_level_spaces_around_marks_are_optional() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "let", "'s", "'", "s", "double", "-", "check", "wait", "."]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = fast(made, pad_token="<pad>")
    labeller = Labeller(GRAMS, tokenizer)
    for text in ("let 's double - check", "let ' s double - check"):
        labels = labeller.label(tokenizer(text)["input_ids"])
        assert labels.mask.all()
        assert {GRAMS[g].text for g in labels.gram_id.tolist()} == {"let's double-check"}
        assert labels.begin.sum() == 1


def test_torch_tensors_come_back_as_torch_on_their_device(byte_level) -> None:
    import torch

    ids = torch.tensor([byte_level("wait, but why")["input_ids"]])
    labels = Labeller(GRAMS, byte_level).label(ids, torch.ones_like(ids))
    assert labels.mask.dtype == torch.bool
    assert labels.gram_id.dtype == torch.int32
    assert labels.begin.dtype == torch.bool
    assert labels.mask.shape == ids.shape
    assert labels.mask.device == ids.device
    assert labels.mask.any()


def test_vocabularies_are_built_once_and_again_after_a_token_was_added(byte_level) -> None:
    first = vocab_of(byte_level)
    assert vocab_of(byte_level) is first
    byte_level.add_tokens(["<answer>"])
    second = vocab_of(byte_level)
    assert second is not first
    assert second[byte_level.convert_tokens_to_ids("<answer>")] == b"<answer>"


def test_a_model_path_is_loaded(byte_level, tmp_path) -> None:
    byte_level.save_pretrained(tmp_path)
    labels = Labeller("paper", str(tmp_path)).label(byte_level("hold on")["input_ids"])
    assert labels.mask.mean() > 0.8  # all but a space that is a token of its own
    assert labels.begin.sum() == 1


def test_what_cannot_be_labelled_is_told(byte_level) -> None:
    with pytest.raises(ConfigError, match="no tokenizer that hicra can read"):
        Labeller("paper", tokenizer=object())
    with pytest.raises(ConfigError, match="no tokenizer, so it can label text only"):
        Labeller("paper").label([1, 2])
    labeller = Labeller("paper", byte_level)
    with pytest.raises(DataError, match=r"outside the vocabulary: completion 1, token 0[\s\S]*got: +99999"):
        labeller.label([[1, 2], [99999, 1]])
    with pytest.raises(DataError, match="outside the vocabulary"):
        labeller.label(np.array([-100]))
    assert not labeller.label(np.array([-100, 5]), np.array([0, 1])).mask[0]  # outside the mask nothing is looked at
    with pytest.raises(DataError, match="mask is of another shape"):
        labeller.label(np.zeros((2, 3), int), np.ones((2, 2)))
    with pytest.raises(DataError, match="mask is of another shape"):
        labeller.label([[1, 2], [3]], [[1, 1], [1, 1]])
    with pytest.raises(DataError, match="offsets do not fit"):
        labeller.label(np.arange(5), offsets=[0, 3, 4])
    with pytest.raises(DataError, match="offsets do not fit"):
        labeller.label(np.arange(5), offsets=[0, 4, 3, 5])
    with pytest.raises(DataError, match="no integers"):
        labeller.label(np.array([0.5, 1.0]))
    with pytest.raises(DataError, match="too many dimensions"):
        labeller.label(np.zeros((1, 2, 3), int))
    with pytest.raises(DataError, match="needs a text"):
        labeller.spans(b"wait")  # type: ignore[arg-type]


def test_empty_input_gives_empty_labels(byte_level) -> None:
    labeller = Labeller("paper", byte_level)
    assert labeller.label([]).mask.shape == (0,)
    assert labeller.label(np.zeros((0, 4), int)).mask.shape == (0, 4)
    assert labeller.label(np.zeros((3, 0), int)).mask.shape == (3, 0)
    ragged = labeller.label([[], [1]])
    assert [len(row) for row in ragged.mask] == [0, 1]
    assert labeller.spans("") == []
