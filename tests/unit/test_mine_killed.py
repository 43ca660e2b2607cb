"""Killed in the middle, mining goes on where it was, and what it writes is whole or not there."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hicra import GramSet
from hicra.errors import DataError
from hicra.grams import vector_cache
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, evidence_path
from hicra.grams.mine import mine
from hicra.grams.scratch import scratch
from tests.gram_models import TrigramModel
from tests.mining_corpus import corpus

ROOT = Path(__file__).parents[2]
CHILD = """
import sys, time
from hicra.grams import embed
from hicra.grams.mine import mine
from hicra.grams.scratch import scratch
from tests.gram_models import TrigramModel

class Slow(TrigramModel):
    def vectors(self, texts):
        time.sleep(0.05)
        return super().vectors(texts)

embed._FLUSH_ROWS = 4
folder = sys.argv[1]
mine(f"{folder}/t.jsonl", encoder=embed.Encoder(Slow(), cache=f"{folder}/cache", batch=4), out=f"{folder}/grams.json",
     work_dir=f"{folder}/work")
"""


def shards(folder: Path) -> list[Path]:
    return list((folder / "cache").rglob("*.safetensors"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(dataclasses.asdict(t)) + "\n" for t in corpus()))
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_while_it_embeds_it_goes_on_and_gives_the_same_set(folder: Path) -> None:
    whole = TrigramModel()
    expected = mine(folder / "t.jsonl", encoder=Encoder(whole, cache=False, batch=4), name="grams")
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while len(shards(folder)) < 3 and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    alive = child.poll() is None
    child.send_signal(signal.SIGKILL)
    _, said = child.communicate()
    assert alive, said
    assert not list(folder.glob("grams*"))
    model = TrigramModel()
    grams = mine(
        folder / "t.jsonl",
        encoder=Encoder(model, cache=folder / "cache", batch=4),
        out=folder / "grams.json",
        work_dir=folder / "work",
    )
    assert grams.hash == expected.hash
    # what the killed run had finished is not computed again, and nothing else is left out
    batches = {tuple(batch) for batch in whole.batches}
    again = [tuple(batch) for batch in model.batches]
    assert len(again) == len(set(again)) <= len(batches) - 3
    assert set(again) <= batches
    assert GramSet.load(folder / "grams.json").hash == expected.hash
    assert list((folder / "work").iterdir()) == []


@pytest.mark.parametrize("fails", ["evidence", "set"])
def test_half_written_output_never_appears(folder: Path, monkeypatch, fails: str) -> None:
    """A disk that fills up while the evidence or the set is written leaves the older set, or none."""
    encoder = Encoder(TrigramModel(), cache=False)
    out = folder / "grams.json"
    before = GramSet.from_grams(["an older set"]).save(out).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "evidence":
        monkeypatch.setattr("hicra.grams.evidence.write_atomic", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match="No space left"):
        mine(folder / "t.jsonl", encoder=encoder, out=out)
    monkeypatch.undo()
    assert out.read_bytes() == before
    assert sorted(p.name for p in folder.glob("grams*")) in (
        ["grams.json"],
        ["grams.evidence.parquet", "grams.json"],
    )
    if evidence_path(out).exists():  # whole, and known to be of another set than the one that is there
        assert Evidence.load(evidence_path(out)).facts["grams_hash"] != GramSet.load(out).hash


def test_a_shard_that_is_being_written_is_not_read(folder: Path) -> None:
    cache = vector_cache.VectorCache(folder / "cache")
    shard = cache.add(["a"], vector_cache.np.ones((1, 2), "float32"))
    shard.rename(shard.with_name(f".{shard.name}.1.tmp"))
    assert not cache.find(["a"])[0].any()


def test_scratch_of_processes_that_are_gone_is_removed(tmp_path: Path) -> None:
    with scratch(tmp_path) as mine_now:
        stranger = tmp_path / "hicra-mine-another_host-1"
        gone = mine_now.with_name(mine_now.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
        for folder in (stranger, gone):
            folder.mkdir()
            (folder / "spilled").write_text("x")
        with scratch(tmp_path / "below"):
            assert gone.exists()
    assert not mine_now.exists()
    with scratch(tmp_path):
        assert not gone.exists()
        assert stranger.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make a scratch folder"), scratch(tmp_path / "file"):
        pass
