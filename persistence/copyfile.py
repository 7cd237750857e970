"""A copy of what a database had, in a file of the data folder: written anew as a whole, read when a server begins.

Layout: msgpack values one after the other, [layout, database, ...] first; then BLAKE2b-128 of all bytes before. One
that is missing, damaged, of another layout or of another database is as good as none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgpack
import structlog

__all__ = ["CopyFile"]

log = structlog.get_logger(__name__)

_DIGEST_BYTES: Final = 16


class CopyFile:
    """The file at `path`, of what the database that is called `database` had of `what`. It raises for no bad disk.

    Both methods are for a thread: they take a while.
    """

    def __init__(self, path: Path, *, what: str, layout: int, database: str) -> None:
        self._path = path
        self._what = what
        self._layout = layout
        self._database = database

    def load(self) -> tuple[list[Any], Iterator[Any]] | None:
        """What `save` was given last, head and values; None where there is nothing of use."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            self.damaged(fault)
            return None
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
            self.damaged(ValueError("its digest is another one"))
            return None
        values = msgpack.Unpacker(BytesIO(body))
        try:
            layout, database, *head = next(values)
        except (StopIteration, ValueError, TypeError) as fault:
            self.damaged(fault)
            return None
        if (layout, database) != (self._layout, self._database):
            log.warning(f"the copy of {self._what} is of another database or version; it is not used")
            return None
        return head, values

    def damaged(self, fault: Exception) -> None:
        """Say that it cannot be used."""
        log.warning(f"the copy of {self._what} is damaged; it is not used", why=str(fault))

    def save(self, head: Iterable[Any], values: Iterable[Any]) -> None:
        """Put this in the file's place, whole or not at all; without its folder, or room, there is no copy.

        Each value is packed in one call, in which nothing else of the process runs.
        """
        if not self._path.parent.is_dir():
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")  # other processes have the same folder
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                digest = blake2b(digest_size=_DIGEST_BYTES)
                for value in chain(([self._layout, self._database, *head],), values):
                    piece = msgpack.packb(value)
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as fault:
            log.warning(f"{self._what} could not be copied for the next start", why=fault.strerror)
            with suppress(OSError):
                fresh.unlink()
