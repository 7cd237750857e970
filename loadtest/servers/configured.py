"""Configurations that we ship, made to fit a machine's addresses and folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["adapted"]


def adapted(configuration: Path, replaced: Mapping[str, str]) -> str:
    """The file's text with each key of `replaced` as its value.

    Raises ValueError where a key does not stand there: the configuration has changed.
    """
    text = configuration.read_text(encoding="utf-8")
    for old, new in replaced.items():
        if old not in text:
            raise ValueError(f"{configuration.name} has no {old!r}")
        text = text.replace(old, new)
    return text
