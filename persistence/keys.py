"""The cluster's keys on disk: made once, kept in the data folder with mode 0600, loaded at boot, rotatable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from session.receipt import KeyRing


def load_keys(path: Path, *, now_ms: int, entropy: Callable[[int], bytes]) -> KeyRing:
    """The key ring in `path`, made there where the file does not exist. Raises `FolderError`, never makes a new one
    over a damaged file: with it every running test's ticket and every guest's token would be lost.
    """
    ...


def rotate_keys(path: Path, *, now_ms: int, entropy: Callable[[int], bytes]) -> KeyRing:
    """Put a fresh current key into `path`; old ones go on verifying until all that they signed has ended."""
    ...
