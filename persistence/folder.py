"""The data folder of one server: where each file lies, who may read it, who holds it, how much room is left.

data/               0700
├── lock            held by the running server
├── keys.json       0600, the cluster's keys (and keys.json.lock, held while they are made or rotated)
├── results.db      finished results
├── catalogue.db    tests and word lists that were added
├── catalogue.copy  what was last read of those in MySQL, where they are there
├── bans.db         who may not come in
├── bans.copy       who last might not, by what MySQL said, where that is kept there
└── spool/          results on their way, one file a process
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from persistence.errors import FolderError, StoreError
from persistence.lock import FileLock

log = structlog.get_logger(__name__)


class DataFolder:
    """The folder that `--data` names; the keys lie elsewhere where `keys` says so.

    `open()` makes it (0700) or checks it; `async with folder:` opens it and holds its lock, so that a second server on
    the same folder is refused with the first one's process id. Commands that only read need no lock.

    `held`: this is a process of a server that has the lock already, and that lent it to us.
    """

    def __init__(
        self, path: Path, *, keys: Path | None = None, min_free_bytes: int = 64 * 2**20, held: bool = False
    ) -> None:
        self.path = path
        self.keys = keys or path / "keys.json"
        """JSON file of the cluster's keys, 0600."""
        self._min_free_bytes = min_free_bytes
        self._held = held
        self._lock: FileLock | None = None

    @property
    def spool(self) -> Path:
        """Folder of the spools, one file a process."""
        return self.path / "spool"

    @property
    def results(self) -> Path:
        """SQLite file of the results."""
        return self.path / "results.db"

    @property
    def catalogue(self) -> Path:
        """SQLite file of tests and word lists."""
        return self.path / "catalogue.db"

    @property
    def catalogue_copy(self) -> Path:
        """What was last read of the content database that `mysql.content` names."""
        return self.path / "catalogue.copy"

    @property
    def bans(self) -> Path:
        """SQLite file of the bans."""
        return self.path / "bans.db"

    @property
    def bans_copy(self) -> Path:
        """The bans that were last read of the content database that `mysql.content` names."""
        return self.path / "bans.copy"

    def open(self) -> None:
        """Make the folder, or check that it is a folder that we can write. Raises `FolderError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise FolderError(f"{self.path} is not a folder; name another one as data folder") from None
        except OSError as error:
            raise FolderError(f"cannot make the data folder {self.path}: {error.strerror}") from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise FolderError(f"the data folder {self.path} cannot be read and written by this user")
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o002:
            raise FolderError(
                f"anybody may write into the data folder {self.path} (mode {mode:04o}); do: chmod 700 {self.path}"
            )
        if mode & 0o055:
            # Keystroke timing identifies people: say it, but a group of operators may be meant.
            log.warning("others may look into the data folder", folder=str(self.path), mode=f"{mode:04o}")

    def free_bytes(self) -> int:
        """Room left on the volume for an ordinary user."""
        return free_bytes(self.path)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._take)
        return self

    def _take(self) -> None:
        self.open()
        if self._held:
            return
        path = self.path / "lock"
        try:
            self._lock = FileLock.take(path)
        except OSError as error:
            raise FolderError(f"cannot lock the data folder {self.path}: {error.strerror}") from error
        if self._lock is None:
            raise FolderError(
                f"the data folder {self.path} is in use by {FileLock.holder(path)}; stop it or name another folder"
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def lock(self) -> FileLock:
        """The lock, while it is open and not `held` by another."""
        assert self._lock is not None
        return self._lock

    async def ping(self) -> None:
        """Raise `StoreError` where the folder has gone, cannot be written, or its volume is nearly full."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StoreError(f"the data folder {self.path} is gone or cannot be written", retriable=True)
        free = self.free_bytes()
        if free < self._min_free_bytes:
            raise StoreError(f"only {free >> 20} MiB are free for the data folder {self.path}", retriable=True)


def free_bytes(path: Path) -> int:
    """Room left for an ordinary user on the volume that holds `path`."""
    volume = os.statvfs(path)
    return volume.f_bavail * volume.f_frsize


def sync_folder(folder: Path) -> None:
    """Make names that were made, renamed or removed in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
