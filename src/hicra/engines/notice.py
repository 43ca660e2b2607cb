"""Warnings of the engines: something is allowed but probably not meant."""

from __future__ import annotations


class HicraWarning(UserWarning):
    """A run goes on, but a person should look: odd labels, moved checkpoints, a resume that cannot be exact."""
