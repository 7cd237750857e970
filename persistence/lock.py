"""A lock that dies with its holder: flock on a file of its own.

It is released by the kernel however the process ends (kill -9 too), so a lock that can be taken means that nobody
works here any more; no process id is ever compared. The locked file is never the database itself: closing any handle of
a file drops the locks that SQLite holds on it in the same process.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_LOOKING_S = 5.0
"""So long it is waited for who only looks at what is locked; a look takes milliseconds."""
_AGAIN_S = 0.01


class FileLock:
    """A held lock; make one with `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Lock `path` (made where it is missing) for this process; None where another one holds it.

        Who only looks does not hold it, and is waited for.
        """
        until = time.monotonic() + _LOOKING_S
        while True:
            try:
                return cls.wait_for(path, flags=fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            if time.monotonic() >= until or (looking := cls.look(path)) is None:
                return None
            looking.release()
            time.sleep(_AGAIN_S)

    @classmethod
    def look(cls, path: Path) -> FileLock | None:
        """Lock `path` for as long as it takes to look at something, beside others who look; None where it is held."""
        try:
            return cls.wait_for(path, flags=fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    @classmethod
    def wait_for(cls, path: Path, *, flags: int = fcntl.LOCK_EX) -> FileLock:
        """Lock `path`, waiting for its holder to let go (it blocks: not on the event loop)."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, flags)
                if _same_file(path, descriptor):
                    lock = cls(path, descriptor)
                    lock._write_holder()
                    return lock
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last holder removed it between our open and our flock: try the new one

    @staticmethod
    def holder(path: Path) -> str:
        """Who wrote the lock file last, for messages: `process 123`."""
        try:
            digits = path.read_text(errors="replace").strip()
        except OSError:
            digits = ""
        return f"process {digits}" if digits.isdigit() else "another process"

    def fileno(self) -> int:
        """The open file. A child process that inherits it holds the lock too, as long as it lives."""
        return self._descriptor

    def release(self, *, remove: bool = False) -> None:
        """Let go, and remove the file where asked to. Doing it twice does nothing."""
        if self._descriptor < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _write_holder(self) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # only a message would be poorer: on a full disk the lock holds all the same


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
