"""Pictures of problems: where they lie, which are refused, and how they travel to a model.

A picture is read when it is asked for, never before, and goes out as a data URI. Files come from a benchmark's file, so
their paths are not trusted: they must lie in the folder of that file, by their real place, after links. What is no PNG,
JPEG, GIF or WebP by its first bytes, or is too large, is refused; nothing is decoded here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hicra.errors import DataError

MAX_BYTES = 20 * 2**20
"""Largest picture; endpoints refuse larger ones anyway."""

MAX_PICTURES = 32
"""Most pictures of one problem."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        name: for messages: its path as the benchmark has it, or its column and row.
        read: gives its bytes.
    """

    name: str
    read: Callable[[], bytes] = field(compare=False, repr=False)


def from_file(folder: Path, path: object) -> Picture:
    """A picture that a benchmark's file names, relative to the folder of that file.

    Raises:
        DataError: the path leads out of the folder, or to nothing.
    """
    if not isinstance(path, str) or not path or "\x00" in path:
        raise DataError("a picture's path is no path", expected="a string", got=repr(path)[:80])
    home = folder.resolve()
    try:
        place = (home / path).resolve()
        outside = Path(path).is_absolute() or not place.is_relative_to(home)
        there = place.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a loop of links
        raise DataError(f"the picture {path[:200]!r} cannot be found", got=str(error)[:120]) from error
    if outside:
        raise DataError(
            f"the picture {path[:200]!r} lies outside the benchmark's folder",
            expected=f"a path below {home}",
            mend="put the pictures beside the file; links that lead out are not followed",
        )
    if not there:
        raise DataError(f"the picture {path[:200]!r} is not there", expected=f"a file below {home}")

    def read() -> bytes:
        size = place.stat().st_size
        if size > MAX_BYTES:
            raise _too_large(path, size)
        return place.read_bytes()

    return Picture(path, read)


def data_uri(picture: Picture) -> str:
    """The picture as ``data:image/...;base64,...``.

    Raises:
        DataError: no picture that is known, or too large.
    """
    data = picture.read()
    if len(data) > MAX_BYTES:
        raise _too_large(picture.name, len(data))
    kind = _kind(data)
    if kind is None:
        raise DataError(
            f"{picture.name} is no picture", expected="PNG, JPEG, GIF or WebP", got=f"bytes that begin {data[:8]!r}"
        )
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _kind(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None


def _too_large(name: str, size: int) -> DataError:
    return DataError(
        f"the picture {name} is too large", expected=f"at most {MAX_BYTES // 2**20} MiB", got=f"{size:,} bytes"
    )
