"""Gram sets on the hub: one commit with set, table and card; what comes back is what went up. The hub is a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from hicra import Gram, GramSet
from hicra.errors import ConfigError, DataError
from hicra.grams.hub import CARD_FILE, SET_FILE, TABLE_FILE, card, push

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GRAMS = GramSet.from_grams(
    [Gram("let me check", "clause", "check", "backtracing"), "so"],
    name="mine",
    provenance={"note": "```\n<script>alert(1)</script>"},
)


@pytest.fixture
def hub(monkeypatch, tmp_path: Path) -> Path:
    """The hub's two calls that write and the one that reads, over a folder of commits."""
    root = tmp_path / "hub"

    class Api:
        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, *, repo_type: str, private: bool | None, exist_ok: bool) -> None:
            assert repo_type == "dataset"
            assert exist_ok
            if repo_id.startswith("other/"):
                raise PermissionError("403 Forbidden\nyou may not")
            (root / repo_id / COMMIT).mkdir(parents=True)

        def create_commit(self, repo_id: str, operations: list[Any], **options: Any) -> Any:
            for operation in operations:
                shutil.copy(operation.path_or_fileobj, root / repo_id / COMMIT / operation.path_in_repo)
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/{COMMIT}")

    def download(repo_id: str, name: str, *, repo_type: str, revision: str | None, token: str | None) -> str:
        path = root / repo_id / COMMIT / name
        if not path.exists():
            raise FileNotFoundError(f"404: {repo_id}")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return root


def test_what_goes_up_comes_back(hub: Path, tmp_path: Path) -> None:
    assert GRAMS.push_to_hub("me/grams", licence="cc0-1.0") == f"https://hub/me/grams/commit/{COMMIT}"
    back = GramSet.from_hub("me/grams")
    assert back.hash == GRAMS.hash
    assert back.name == "mine"
    assert back.provenance == {**GRAMS.provenance, "hub": {"repository": "me/grams", "revision": COMMIT}}
    assert sorted(p.name for p in (hub / "me" / "grams" / COMMIT).iterdir()) == [CARD_FILE, SET_FILE, TABLE_FILE]


def test_the_table_is_read_by_datasets(hub: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    push(GRAMS, "me/grams")
    files = str(hub / "me" / "grams" / COMMIT / TABLE_FILE)
    rows = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")).to_list()
    assert rows[0] == {"text": "let me check", "at": "clause", "cluster": "check", "function": "backtracing"}
    assert rows[1] == {"text": "so", "at": "any", "cluster": None, "function": None}


def test_evidence_goes_up_only_when_it_is_handed_over(hub: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.evidence.parquet"
    with pytest.raises(DataError, match="no evidence file"):
        push(GRAMS, "me/grams", evidence=path)
    path.write_bytes(b"PAR1")
    push(GRAMS, "me/grams", evidence=path)
    assert (hub / "me" / "grams" / COMMIT / "grams.evidence.parquet").read_bytes() == b"PAR1"


def test_an_edited_set_is_refused(hub: Path) -> None:
    push(GRAMS, "me/grams")
    path = hub / "me" / "grams" / COMMIT / SET_FILE
    path.write_text(path.read_text().replace("let me check", "let me cheat"))
    with pytest.raises(DataError, match="its hash does not fit"):
        GramSet.from_hub("me/grams")


def test_what_the_hub_says_is_told(hub: Path) -> None:
    with pytest.raises(DataError, match=r"'other/x'(?s:.*)PermissionError: 403 Forbidden(?s:.*)hf auth login"):
        push(GRAMS, "other/x")
    with pytest.raises(DataError, match=r"404: me/none(?s:.*)grams\.json"):
        GramSet.from_hub("me/none")
    with pytest.raises(ConfigError, match="licence"):
        push(GRAMS, "me/grams", licence="my own\nevil: yaml")


def test_the_card_says_what_it_is_and_nothing_breaks_out_of_it() -> None:
    text = card(GramSet(GRAMS.grams, "a|b\n---\n<i>", provenance=GRAMS.provenance), "cc0-1.0")
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert "license: cc0-1.0" in head
    assert f"data_files: {TABLE_FILE}" in head
    assert "# Gram set a?b?---??i?" in body
    assert GRAMS.hash in body
    fenced = body.split("````json\n")[1].split("\n````")[0]
    assert json.loads(fenced) == GRAMS.provenance
