"""Gram sets on the Hugging Face hub: a data set repository with the set, a table of it and a card.

`push` makes one commit of ``grams.json`` (the set as `GramSet.save` writes it, provenance and hash included),
``grams.parquet`` (its grams as a table, which `datasets.load_dataset` and the hub's viewer read) and ``README.md``
(the card); with it goes the evidence of the mining run where it is handed over. `pull` reads ``grams.json`` and checks
its hash.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hicra.errors import ConfigError, DataError, require
from hicra.grams.gramset import GramSet

SET_FILE, TABLE_FILE, CARD_FILE, EVIDENCE_FILE = "grams.json", "grams.parquet", "README.md", "grams.evidence.parquet"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LICENCE = re.compile(r"[A-Za-z0-9.+-]{1,64}")


def push(
    grams: GramSet,
    repo_id: str,
    *,
    licence: str | None = None,
    evidence: str | Path | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a gram set.

    Args:
        grams: the set.
        repo_id: ``"user/name"``; made if it is not there.
        licence: the hub's identifier, e.g. ``"apache-2.0"``, for the card. A set of phrases is yours to license; what
            may be said of the corpus is for you to know.
        evidence: the ``.evidence.parquet`` of the mining run, if it is to be published: it holds every counted n-gram,
            also those that were dropped, so it tells more of the corpus than the set does.
        private: whether a new repository is private; default: as the account has it.
        revision: branch to commit to.
        token: of the hub; default: the one that ``hf auth login`` stored.

    Returns:
        The address of the commit.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        ConfigError: `licence` is no identifier.
        DataError: there is no such evidence file, or the hub refuses or cannot be reached.
    """
    hub = require("huggingface_hub", "hub")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ConfigError(
            "the licence is no identifier", expected='for example "apache-2.0" or "cc0-1.0"', got=repr(licence)
        )
    if evidence is not None and not Path(evidence).is_file():
        raise DataError(f"there is no evidence file {evidence}")
    with TemporaryDirectory() as folder:
        grams.save(Path(folder) / SET_FILE)
        _write_table(grams, Path(folder) / TABLE_FILE)
        (Path(folder) / CARD_FILE).write_text(card(grams, licence), "utf-8")
        paths = {name: Path(folder) / name for name in (CARD_FILE, SET_FILE, TABLE_FILE)}
        if evidence is not None:
            paths[EVIDENCE_FILE] = Path(evidence)
        operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in paths.items()]
        api = hub.HfApi(token=token)
        with _told(repo_id, "hf auth login, and check that you may write there"):
            api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
            made = api.create_commit(
                repo_id,
                operations,
                commit_message=f"{grams.name}: {len(grams)} grams, {grams.hash[:12]}",
                repo_type="dataset",
                revision=revision,
            )
    return str(made.commit_url)


def pull(repo_id: str, *, revision: str | None = None, token: str | None = None) -> GramSet:
    """Load a gram set that `push` published.

    Args:
        repo_id: ``"user/name"``.
        revision: branch, tag or commit; give a commit to get the same set for ever.
        token: for a private repository.

    Returns:
        The set; where it came from is in its provenance under ``"hub"``.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        DataError: there is no such repository or file, the hub cannot be reached, or the file is no intact gram set.
    """
    hub = require("huggingface_hub", "hub")
    with _told(repo_id, f"give a data set repository that holds {SET_FILE}; for a private one: hf auth login"):
        path = Path(hub.hf_hub_download(repo_id, SET_FILE, repo_type="dataset", revision=revision, token=token))
    grams = GramSet.load(path)
    commit = path.parent.name if _COMMIT.fullmatch(path.parent.name) else revision
    return replace(grams, provenance={**grams.provenance, "hub": {"repository": repo_id, "revision": commit}})


def card(grams: GramSet, licence: str | None = None) -> str:
    """The card: what the set is, where it comes from, how to load it."""
    head = [f"license: {licence}"] if licence else []
    head += ["tags: [hicra, strategic-grams]", "configs:", "- config_name: default", f"  data_files: {TABLE_FILE}"]
    lengths = Counter(len(g.text.split(" ")) for g in grams)
    functions = Counter(g.function or "unknown" for g in grams)
    facts = {
        "grams": len(grams),
        "by words": ", ".join(f"{n}: {count}" for n, count in sorted(lengths.items())),
        "clusters": len(grams.clusters),
        "functions": ", ".join(f"{name} {count}" for name, count in sorted(functions.items())),
        "text rules": f"{grams.rules} version {grams.text_version}",
        "hash": f"`{grams.hash}`",
    }
    examples = "\n".join(
        f"- {name}: {', '.join(g.text for g in grams if (g.function or 'unknown') == name and _shown(g.text))[:400]}"
        for name in sorted(functions)
    )
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    # a fence longer than any run of backticks inside it, for provenance is free text
    provenance = json.dumps(dict(grams.provenance), ensure_ascii=False, indent=1)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", provenance)), default=0))
    return f"""---
{chr(10).join(head)}
---
# Gram set {_plain(grams.name)}

Strategic Grams: phrases that steer a solution (arXiv 2509.03646), for labelling planning tokens.

| | |
|---|---|
{rows}

```python
from hicra import GramSet, Labeller

grams = GramSet.from_hub("<this repository>")
Labeller(grams).spans("Wait, let me check that again.")
```

## Examples

{examples}

## Where it comes from

{fence}json
{provenance}
{fence}
"""


def _shown(text: str) -> bool:
    return len(text) <= 40


def _plain(text: str) -> str:
    """A name that cannot be read as Markdown or HTML."""
    return re.sub(r"[^\w .+@/-]", "?", text)


def _write_table(grams: GramSet, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("text", "at", "cluster", "function")])
    pq.write_table(pa.Table.from_pylist([asdict(g) for g in grams], schema=schema), path)


@contextmanager
def _told(repo_id: str, mend: str) -> Iterator[None]:
    """Turn what the hub's client raises into an error of ours."""
    errors: Any = require("huggingface_hub.errors", "hub")
    try:
        yield
    except (OSError, ValueError, getattr(errors, "HTTPError", OSError)) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise DataError(
            f"the hub does not answer as hoped for {repo_id!r}",
            got=f"{type(error).__name__}: {(lines or [''])[0][:300]}",
            mend=mend,
        ) from error
