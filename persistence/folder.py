"""The data folder of one server: where each file lies, who may read it, who holds it, how much room is left."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self


class DataFolder:
    """The folder that `--data` names.

    `open()` makes it (0700) or checks it; `async with folder:` opens it and holds its lock, so that a second server on
    the same folder is refused with the first one's process id. Commands that only read need no lock.
    """

    def __init__(self, path: Path, *, min_free_bytes: int = 64 * 2**20) -> None: ...

    @property
    def spool(self) -> Path:
        """Folder of the spools, one file a process."""
        ...

    @property
    def results(self) -> Path:
        """SQLite file of the results."""
        ...

    @property
    def catalogue(self) -> Path:
        """SQLite file of tests and word lists."""
        ...

    @property
    def keys(self) -> Path:
        """JSON file of the cluster's keys, 0600."""
        ...

    def open(self) -> None:
        """Make the folder, or check that it is a folder of ours that we can write. Raises `FolderError`."""
        ...

    def free_bytes(self) -> int:
        """Room left on the volume for an ordinary user."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def ping(self) -> None:
        """Raise `StoreError` where the folder has gone, cannot be written, or its volume is nearly full."""
        ...
