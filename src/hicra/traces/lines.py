"""Lines of a text file, plain, gzip or zstd, without holding more than one of them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from hicra.errors import DataError

_CHUNK = 1 << 16


def read_lines(path: Path, on_broken: Callable[[DataError], None] | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without the line end) of a UTF-8 file; blank lines are passed over.

    Only ``\\n`` ends a line: the other separators that Unicode knows may stand inside a JSON string.

    Args:
        path: the file.
        on_broken: is handed the error of a line that is not UTF-8, which is then skipped; default: raise it.

    Raises:
        DataError: unreadable file, damaged or truncated compression, or bytes that are not UTF-8 (with the line).
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(_split(_decompressed(file, path)), start=1):
                if number == 1:
                    _check_encoding(raw, path)
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if raw and not raw.isspace():
                    try:
                        line = _decode(raw, path, number)
                    except DataError as error:
                        if on_broken is None:
                            raise
                        on_broken(error)
                    else:
                        yield number, line
    except OSError as error:  # gzip.BadGzipFile is one
        raise DataError(f"{path}: cannot be read after line {number}", got=str(error)) from error


def _decompressed(file: BinaryIO, path: Path) -> Iterator[bytes]:
    if path.suffix == ".gz":
        return _gunzip(file, path)
    if path.suffix == ".zst":
        return _unzstd(file, path)
    return iter(lambda: file.read(_CHUNK), b"")


def _gunzip(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            while chunk := unzipped.read(_CHUNK):
                yield chunk
    except EOFError as error:
        raise _truncated(path, "gzip") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is not intact gzip", got=str(error), mend=f"check it with: gzip -t {path}") from error


def _unzstd(file: BinaryIO, path: Path) -> Iterator[bytes]:
    import pyarrow as pa

    # Of the readers at hand, Arrow's is the one that both tells a truncated file from a short one (zstandard's
    # stream_reader does not) and hands out bounded pieces of text that compresses a thousandfold (its decompressobj
    # does not).
    try:
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as unzipped:
            while chunk := unzipped.read(_CHUNK):
                yield chunk
    except OSError as error:
        if "Truncated" in str(error):
            raise _truncated(path, "zstd") from error
        mend = f"check it with: zstd -t {path} (a file made with --long has to be compressed again without)"
        raise DataError(f"{path}: is not intact zstd", got=str(error), mend=mend) from error


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []  # of the line that has not ended yet; joined once, so that a long line costs linear time
    for chunk in chunks:
        head, *lines = chunk.split(b"\n")
        parts.append(head)
        for line in lines:
            yield b"".join(parts)
            parts = [line]
    if any(parts):
        yield b"".join(parts)


def _check_encoding(raw: bytes, path: Path) -> None:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path}: line 1 is UTF-16",
            expected="UTF-8",
            got=f"the byte order mark {raw[:2].hex(' ')}",
            mend=f"iconv -f UTF-16 -t UTF-8 {path}",
        )


def _decode(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8",
            expected="UTF-8 text",
            got=f"{raw[error.start : error.start + 4].hex(' ')} ({error.reason})",
            mend=f"if the file is Latin-1: iconv -f LATIN1 -t UTF-8 {path}",
        ) from error


def _truncated(path: Path, kind: str) -> DataError:
    return DataError(
        f"{path}: the {kind} data ends early",
        expected="a complete file",
        got=f"{path.stat().st_size:,} bytes without their end",
        mend="copy or download the file again",
    )
