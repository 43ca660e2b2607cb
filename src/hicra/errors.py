"""What can go wrong, said so that a person can mend it.

Every error that hicra raises on purpose is a `HicraError`. Its message has up to three parts: what is wrong (with the
place: file, line, column, step), what was expected and what came, and how to mend it.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class HicraError(Exception):
    """Base of every error raised on purpose. `str(error)` is meant for a person's eyes.

    Args:
        problem: what is wrong and where, one sentence.
        expected: what would have been right.
        got: what came instead.
        mend: what to do about it.
    """

    def __init__(
        self, problem: str, *, expected: str | None = None, got: str | None = None, mend: str | None = None
    ) -> None:
        self.problem, self.expected, self.got, self.mend = problem, expected, got, mend
        parts = [problem]
        if expected is not None:
            parts.append(f"  expected: {expected}")
        if got is not None:
            parts.append(f"  got:      {got}")
        if mend is not None:
            parts.append(f"  mend:     {mend}")
        super().__init__("\n".join(parts))


class DataError(HicraError):
    """A file, row, column or array that was handed in is not what it should be."""


class ConfigError(HicraError):
    """A setting is unknown, out of range or does not go with another one."""


class RunDirError(HicraError):
    """A run directory is missing, damaged, of another schema version, or cannot be written."""


class MissingExtraError(HicraError, ImportError):
    """An optional dependency is not installed; the message holds the pip line that brings it."""


class HicraWarning(UserWarning):
    """Work goes on, but a person should look: skipped lines, odd labels, a resume that cannot be exact."""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Args:
        module: dotted name of the module to import, e.g. ``"trl"``.
        extra: name of the extra in pyproject.toml that installs it, e.g. ``"train"``.

    Raises:
        MissingExtraError: the module (or a parent of it) is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise  # something deeper is broken: hiding it behind a pip line would mislead
        raise MissingExtraError(
            f"this part of hicra needs the package {error.name!r}, which is not installed",
            mend=f'pip install "hicra[{extra}]"',
        ) from error
