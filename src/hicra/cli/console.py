"""The two consoles of the command line: results go to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

out = Console()
err = Console(stderr=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, bare of colours and of line folding, for a machine to read."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))
