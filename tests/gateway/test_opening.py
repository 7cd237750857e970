"""What composition roots share: keys that change under a server."""

import asyncio
import os
from pathlib import Path

from structlog.testing import capture_logs

from gateway.opening import owned, renewing
from persistence.keys import SETTLED_MS, KeyFile, rotate_keys
from session.receipt import KeyRing


class Watched(KeyFile):
    """A file of keys that tells when it was looked at."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looked: asyncio.Queue[None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def look(self, *, now_ms: int) -> KeyRing | None:
        try:
            return super().look(now_ms=now_ms)
        finally:
            self._loop.call_soon_threadsafe(self.looked.put_nowait, None)


async def test_keys_that_cannot_be_read_leave_the_old_ones_and_are_looked_at_again(tmp_path: Path) -> None:
    """The fault is told once, however often it is met."""
    path, look = tmp_path / "keys.json", asyncio.Event()
    keys = Watched(path)
    keys.load(now_ms=0, entropy=os.urandom)
    await keys.looked.get()
    good = path.read_bytes()
    taken: asyncio.Queue[KeyRing] = asyncio.Queue()
    with capture_logs() as logs:
        async with asyncio.timeout(60), owned(renewing(keys, taken.put_nowait, look), name="renewing"):
            path.write_bytes(b"{")
            for _ in range(2):
                look.set()
                await keys.looked.get()
            beside = tmp_path / "beside.json"
            beside.write_bytes(good)
            beside.chmod(0o600)
            rotate_keys(beside, now_ms=SETTLED_MS, entropy=os.urandom)
            beside.rename(path)
            look.set()
            assert (await taken.get()).ids == (2, 1)
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert taken.empty()
