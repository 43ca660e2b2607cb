"""Warnings of the engines: something is allowed but probably not meant."""

from __future__ import annotations

from hicra.errors import HicraWarning

__all__ = ["HicraWarning"]
