"""Writes that are either there completely or not at all, and errors that say what is safe."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hicra.errors import RunDirError

TMP_SUFFIX = ".tmp"
"""Ending of files that are being written; nobody reads them, a resume deletes those that a killed process left."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a machine that lost power, sees the old file or the new one."""
    tmp = path.with_name(f".{path.name}.{os.getpid()}{TMP_SUFFIX}")
    try:
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(tmp, path)
    except BaseException:
        with suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def append(path: Path, data: bytes) -> None:
    """Append `data` and wait until it is on the disk; after an error the file is what it was before."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        before = os.fstat(fd).st_size
        try:
            _write_all(fd, data)
            os.fsync(fd)
        except BaseException:
            os.ftruncate(fd, before)  # half a line would spoil the next one
            raise
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make renames in `path` survive a loss of power (Windows cannot, and need not)."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def explained(path: Path, safe: str) -> Iterator[None]:
    """Turn an `OSError` of writing to `path` into a `RunDirError` that says what is `safe`.

    Raises:
        RunDirError: the block raised an `OSError`, such as a full disk or a missing permission.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RunDirError(
            f"{path}: {'the disk is full' if full else 'cannot be written'}; {safe}",
            expected="room to write" if full else "a place that can be written",
            got=str(error),
            mend="free some space, then resume from the last checkpoint" if full else "choose another run directory",
        ) from error


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
