"""A place for scratch files that a killed process does not leave behind for ever."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hicra.errors import DataError

_NAME = "hicra-mine"


@contextmanager
def scratch(folder: str | Path | None) -> Iterator[Path]:
    """A new folder in `folder` (None: the system's place for temporary files), removed at the end.

    Such folders of processes of this machine that are no more are removed first.

    Raises:
        DataError: nothing can be written there.
    """
    base = Path(folder or tempfile.gettempdir())
    owner = f"{_NAME}-{socket.gethostname().replace('-', '_')}-"
    try:
        base.mkdir(parents=True, exist_ok=True)
        for left in base.glob(f"{owner}*"):
            if not _runs(left.name.removeprefix(owner).partition("-")[0]):
                shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f"{owner}{os.getpid()}-", dir=base))
    except OSError as error:
        raise DataError(
            f"cannot make a scratch folder in {base}", got=str(error), mend="name another place: work_dir=..."
        ) from error
    try:
        yield made
    finally:
        with suppress(OSError):
            shutil.rmtree(made)


def _runs(pid: str) -> bool:
    """Whether a process runs; True where that cannot be told."""
    if os.name == "nt" or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
