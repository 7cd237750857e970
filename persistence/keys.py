"""The cluster's keys on disk: made once, kept with mode 0600, rotatable while servers run.

The file is JSON, the sealing key first:

    {"version": 1, "keys": [{"id": 1, "secret": "<base64>", "made_ms": 1790000000000, "retired_ms": null}, ...]}

A retired key goes on opening what it sealed until the longest-lived of that has ended, then the next rotation drops it.
A new one opens at once, and seals when every process that shares the file has had time to read it.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from persistence.errors import FolderError
from persistence.folder import sync_folder
from persistence.lock import FileLock
from session.receipt import KeyRing

SECRET_BYTES = 32
KEPT_MS = 31 * 86_400_000
"""How long a retired key is kept: guest tokens live 30 days, tickets 7; a day for clocks that differ."""

SETTLED_MS = 15_000
"""How old a key is before it seals: processes look at the file every 5 s, and none may be shown a seal that it cannot
open. The first key has nobody to wait for."""

_VERSION = 1
_MAX_FILE_BYTES = 64 * 1024

Entropy = Callable[[int], bytes]
"""So many bytes of chance: `os.urandom`."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: int
    secret: bytes
    made_ms: int
    retired_ms: int | None


class KeyFile:
    """The keys of a server that runs while a command may rotate them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: list[_Key] = []
        self._sealing: int | None = None

    def load(self, *, now_ms: int, entropy: Entropy) -> KeyRing:
        """The key ring in the file; made there where no file exists. Blocking.

        Raises `FolderError`; it never makes a new ring in place of a damaged file, for with it every running test's
        ticket and every guest's token would be lost.
        """
        if not self._path.exists():  # one that is there may lie where nobody can write
            with _Held(self._path):
                if not self._path.exists():
                    _write(self._path, [_Key(1, entropy(SECRET_BYTES), now_ms, None)])
        self._seen = None
        ring = self.look(now_ms=now_ms)
        assert ring is not None
        return ring

    def look(self, *, now_ms: int) -> KeyRing | None:
        """The ring where it is another one than at the last look: the file has changed, or a new key is to seal.

        Blocking. Raises `FolderError`.
        """
        try:
            facts = self._path.stat()
        except OSError as error:
            raise FolderError(f"cannot read the keys in {self._path}: {error.strerror}") from error
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen != self._seen:
            self._keys = _read(self._path)
            self._seen = seen
            self._sealing = None
        ring = _ring(self._keys, now_ms=now_ms)
        if ring.ids[0] == self._sealing:
            return None
        self._sealing = ring.ids[0]
        return ring


def load_keys(path: Path, *, now_ms: int, entropy: Entropy) -> KeyRing:
    """As `KeyFile.load`, for who looks once."""
    return KeyFile(path).load(now_ms=now_ms, entropy=entropy)


def rotate_keys(path: Path, *, now_ms: int, entropy: Entropy) -> tuple[int, ...]:
    """Put a fresh key into `path`; the ids that are there then, the new one first.

    Old keys stay for `KEPT_MS` after they retired.
    """
    with _Held(path):
        old = [
            replace(key, retired_ms=now_ms) if key.retired_ms is None else key
            for key in _read(path)
            if key.retired_ms is None or now_ms - key.retired_ms < KEPT_MS
        ]
        taken = {key.id for key in old}
        # Ids are one byte and go round; one that is free again belonged to a key long gone.
        free = next((i for step in range(1, 256) if (i := (old[0].id + step) % 256) not in taken), None)
        if free is None:
            raise FolderError(
                f"{path} holds 256 keys, all younger than {KEPT_MS // 86_400_000} days: rotate less often"
            )
        keys = [_Key(free, entropy(SECRET_BYTES), now_ms, None), *old]
        _write(path, keys)
        return tuple(key.id for key in keys)


class _Held:
    """Two processes must not both make, or both rotate, the keys."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")

    def __enter__(self) -> None:
        try:
            self._lock = FileLock.wait_for(self._path)
        except OSError as error:
            raise FolderError(f"cannot lock {self._path}: {error.strerror}") from error

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _ring(keys: list[_Key], *, now_ms: int) -> KeyRing:
    """All keys, first the youngest that is settled (the oldest where none is), which seals."""
    sealing = next((key for key in keys if now_ms - key.made_ms >= SETTLED_MS), keys[-1])
    return KeyRing([(key.id, key.secret) for key in sorted(keys, key=lambda key: key is not sealing)])


def _read(path: Path) -> list[_Key]:
    try:
        facts = path.stat()
        content = path.read_bytes() if facts.st_size <= _MAX_FILE_BYTES else b""
    except OSError as error:
        raise FolderError(f"cannot read the keys in {path}: {error.strerror}") from error
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FolderError(
            f"others may read the keys in {path} (mode {stat.S_IMODE(facts.st_mode):04o}); do: chmod 600 {path}; "
            "if they may have been read, rotate them"
        )
    try:
        document = orjson.loads(content)
        if document["version"] != _VERSION:
            raise FolderError(f"{path} has version {document['version']!r}; this Typegate reads {_VERSION}")
        keys = [
            _Key(
                int(row["id"]),
                base64.b64decode(row["secret"], validate=True),
                int(row["made_ms"]),
                None if row["retired_ms"] is None else int(row["retired_ms"]),
            )
            for row in document["keys"]
        ]
        _ring(keys, now_ms=0)
    except (ValueError, TypeError, KeyError, IndexError, binascii.Error) as error:
        raise FolderError(
            f"{path} is damaged ({error}); restore it from a backup. Only if there is none move it away: a new one is "
            "made then, running tests cannot be resumed, and guests begin anew"
        ) from error
    return keys


def _write(path: Path, keys: list[_Key]) -> None:
    """Write the whole file beside and rename: after a crash there is the old one or the new one."""
    rows = [
        {
            "id": key.id,
            "secret": base64.b64encode(key.secret).decode(),
            "made_ms": key.made_ms,
            "retired_ms": key.retired_ms,
        }
        for key in keys
    ]
    content = orjson.dumps({"version": _VERSION, "keys": rows}, option=orjson.OPT_INDENT_2) + b"\n"
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)  # left by a crash, perhaps with another mode
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise FolderError(f"cannot write the keys to {path}: {error.strerror}") from error
