"""The disk under a gateway's spool is full while people type: they are told so, nothing is claimed, and all goes on."""

from __future__ import annotations

import asyncio
import resource
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from loadtest.servers.addresses import Addresses
from loadtest.servers.process import unused_port
from tests.gateway.load import typing
from tests.gateway.plant import Plant, build, gateway_program, nothing_lost
from tests.gateway.running import Program, worker_program
from tests.gateway.typing_client import client

TYPISTS = 8
FEW = 3
"""So many tests show that something goes on."""
LEAST_FREE = 2**20

# In a mount namespace of its own, which ends with the process: nobody else sees the volume.
MOUNT = 'mount -t tmpfs -o size=24m,mode=0700 typegate "$0" && exec "$@"'


class Volume:
    """A small volume of the gateway's own, which is filled by a file: no space left on device."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be made here."""
        tried = subprocess.run(
            [*_unshare(), "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
        )
        return tried.stderr.strip() or None

    @property
    def through(self) -> Sequence[str]:
        """The command that runs the gateway on it."""
        return [*_unshare(), "sh", "-c", MOUNT, str(self._folder)]

    def _filler(self, gateway: Program) -> Path:
        return Path(f"/proc/{gateway.process.pid}/root{self._folder}/filler")

    def fill(self, gateway: Program) -> None:
        """Leave not a byte."""
        with self._filler(gateway).open("wb", buffering=0) as filler:
            for size in (2**16, 2**12, 1):
                while True:
                    try:
                        filler.write(bytes(size))
                    except OSError:
                        break

    def free(self, gateway: Program) -> None:
        """Give the room back."""
        self._filler(gateway).unlink()


class Quota:
    """A limit to what the gateway's files may come to, as a quota is: every write beyond fails."""

    def __init__(self, folder: Path) -> None:
        self.through: Sequence[str] = ()

    @staticmethod
    def missing() -> str | None:
        """Any process may have its limit lowered."""
        return None

    def fill(self, gateway: Program) -> None:
        """No byte more."""
        self._limit(gateway, 0)

    def free(self, gateway: Program) -> None:
        """As many as there is room for."""
        self._limit(gateway, resource.RLIM_INFINITY)

    def _limit(self, gateway: Program, size: int) -> None:
        pid = gateway.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard)
        )


def _unshare() -> Sequence[str]:
    """What gives a command a mount namespace of its own, root or not."""
    return ["unshare", "--mount", "--map-root-user"]


@pytest.fixture(name="plant")
async def _plant(
    fresh_name: Callable[[str], str], kafka_servers: list[str], mariadb_servers: Addresses, redis_servers: Addresses
) -> Plant:
    return await build(
        fresh_name, kafka=kafka_servers, mariadb=mariadb_servers, redis=redis_servers["url"], patient=True
    )


@pytest.mark.parametrize("kind", [Volume, Quota])
async def test_the_disk_is_full_under_load(kind: type[Volume | Quota], plant: Plant, tmp_path: Path) -> None:
    """New tests are refused, results of running ones wait with their clients, until there is room again."""
    if (missing := kind.missing()) is not None:
        pytest.skip(f"no volume can be mounted here: {missing}")
    disk = kind(tmp_path / "disk")
    (tmp_path / "disk").mkdir(exist_ok=True)
    port = unused_port()
    variables = {"TYPEGATE_SPOOL_MIN_FREE_BYTES": str(LEAST_FREE), "TYPEGATE_SPOOL_PATIENCE_MS": "300"}
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        gateway = await enter(gateway_program(plant, tmp_path / "disk", port, through=disk.through, **variables))
        await enter(worker_program(tmp_path / "worker", **plant.variables()))
        with typing(("127.0.0.1", port), TYPISTS) as load:
            await load.confirmed(FEW)
            async with client(gateway.url) as typist, client(gateway.url) as late:
                started = await typist.start(count=5)
                await asyncio.to_thread(disk.fill, gateway)
                await load.refused(FEW)
                await late.send("start", mode="words", count=3, ref=1)
                refusal = await late.receive("started", "error")
                assert (refusal["t"], refusal["code"], refusal["retry"]) == ("error", "full", 5_000)
                assert "spool" in refusal["message"]
                await load.settled()
                accepted, stored = load.meters.accepted, load.meters.stored
                for word in started["text"].split(" "):
                    await typist.keys(*word, " ")
                await typist.send("finish", n=len(typist.log) // 2)
                refusal = await typist.receive("result", "error")
                assert (refusal["t"], refusal["code"], refusal["retry"]) == ("error", "full", 5_000)
                assert "keep the log and send finish again" in refusal["message"]
                assert load.meters.accepted == accepted
                assert load.meters.stored == stored
                await asyncio.to_thread(disk.free, gateway)
                while True:
                    await typist.send("finish", n=len(typist.log) // 2)
                    answer = await typist.receive("result", "error")
                    if answer["t"] == "result":
                        break
                    assert answer["code"] == "full"
                assert (await typist.receive("stored"))["session"] == started["session"]
            await load.confirmed(FEW)
        await nothing_lost(plant, load)
