"""Tests read over HTTP: from nginx with our configuration, and from Typegate itself.

A connection asks for the same again as soon as it has the answer. Every answer must be as long as the first: so it is
the same, and the generator need not read it. Even so the generator costs more than nginx, whose own CPU time tells what
it could do beside a faster one.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from loadtest.line import Address
from loadtest.meters import Times
from loadtest.served import Served, cpu_s
from loadtest.servers.nginx import Nginx

__all__ = ["Reading", "reads"]

_CONFIGURATION: Final = Path(__file__).resolve().parents[3] / "config" / "deploy" / "nginx-content.conf"
_READERS: Final = 32
_SILENT_S: Final = 10.0
_UNLIMITED: Final = {"TYPEGATE_HTTP_ADDRESS_PER_S": "1000000", "TYPEGATE_HTTP_ADDRESS_BURST": "10000000"}
"""All of it comes from one address, and it is not the limit that is measured."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading came to."""

    per_s: float
    cpu_us: float
    """CPU of the server, of one request."""
    p50_ms: float
    p99_ms: float


def reads(folder: Path, *, seconds: float) -> dict[str, Reading]:
    """Each way of reading for so long; what it came to, by its name."""
    missing = Nginx.missing()
    if missing is not None:
        raise RuntimeError(missing)
    content = folder / "content"
    subprocess.run(
        [sys.executable, "-m", "gateway.cli", "tests", "export", str(content), "--data", str(folder / "reads")],
        check=True,
        capture_output=True,
    )
    with Served(folder / "reads", variables=_UNLIMITED) as typegate:
        nginx = Nginx(
            _CONFIGURATION,
            folder / "nginx",
            {
                "worker_processes auto": "worker_processes 1",
                "keepalive_requests 100000": "keepalive_requests 1000000000",
                "/run/typegate-nginx.pid": str(folder / "nginx.pid"),
                "/var/cache/typegate-content": str(folder / "nginx-cache"),
                "/var/lib/typegate/content": str(content),
                "127.0.0.1:8080": "{}:{}".format(*typegate.address),
                "127.0.0.1:8088": "127.0.0.1:{port}",
            },
        )
        nginx.start()
        try:
            edge = ("127.0.0.1", nginx.port)
            test, page = "/v1/tests/1000000001", "/v1/tests?language=en"
            asyncio.run(_answer(edge, _request(test)))  # so that its processes are there, and know who they are
            worker = _worker(nginx.pid)
            ways: dict[str, tuple[Address, str, int, Callable[[], float]]] = {
                f"a test from nginx, {_READERS} readers": (edge, test, _READERS, lambda: cpu_s(worker)),
                f"a list from nginx's cache, {_READERS} readers": (edge, page, _READERS, lambda: cpu_s(worker)),
                "a test from nginx, 1 reader": (edge, test, 1, lambda: cpu_s(worker)),
                "a test from Typegate itself, 1 reader": (typegate.address, test, 1, typegate.cpu_s),
            }
            return {name: uvloop.run(_read(*way, seconds=seconds)) for name, way in ways.items()}
        finally:
            nginx.stop()


async def _read(address: Address, path: str, count: int, cpu: Callable[[], float], *, seconds: float) -> Reading:
    request = _request(path)
    answer = await _answer(address, request)
    loop = asyncio.get_running_loop()
    times = Times()
    readers = [_Reader(request, answer, times) for _ in range(count)]
    for reader in readers:
        await loop.create_connection(lambda reader=reader: reader, *address)  # type: ignore[misc]  # bound by the default
    await asyncio.sleep(seconds / 10)  # until connections and caches are warm
    times.clear()
    began_s, began_cpu_s = time.perf_counter(), cpu()
    await asyncio.sleep(seconds)
    while not times.n and time.perf_counter() < began_s + _SILENT_S:  # noqa: ASYNC110  # readers do nothing but count
        await asyncio.sleep(seconds)
    took_s, took_cpu_s = time.perf_counter() - began_s, cpu() - began_cpu_s
    requests = times.n
    p50, p99 = times.quantile(0.5), times.quantile(0.99)
    faults = [reader.fault for reader in readers if reader.fault]
    for reader in readers:
        reader.stop()
    if faults or p50 is None or p99 is None:
        raise RuntimeError(f"{path}: {faults[0] if faults else 'no answers'}")
    return Reading(requests / took_s, 1e6 * took_cpu_s / requests, p50, p99)


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: typegate\r\n\r\n".encode()


async def _answer(address: Address, request: bytes) -> int:
    """How long an answer is, head included; the second one, for a cache then has it. Raises RuntimeError."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        size = 0
        for _ in range(2):
            writer.write(request)
            async with asyncio.timeout(_SILENT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(f"the answer is {head[:200]!r}")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
            size = len(head) + length
        return size
    finally:
        writer.close()


class _Reader(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, request: bytes, answer: int, times: Times) -> None:
        self.fault = ""
        self._request, self._answer, self._times = request, answer, times
        self._got = 0
        self._asked_s = 0.0
        self._stopped = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # of uvloop, which has classes of its own
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Count; ask again when the answer is there."""
        if not self._got and not data.startswith(b"HTTP/1.1 200 "):
            self.fault = f"the answer is {data[:200]!r}"
            self._transport.abort()
            return
        self._got += len(data)
        if self._got == self._answer:
            self._times.add((time.perf_counter() - self._asked_s) * 1000)
            self._ask()
        elif self._got > self._answer:
            self.fault = f"{self._got} bytes came, and {self._answer} were due"
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """An end that we did not make is a fault."""
        if not self._stopped:
            self.fault = self.fault or f"the connection was closed: {exc}"

    def stop(self) -> None:
        """End it."""
        self._stopped = True
        self._transport.abort()

    def _ask(self) -> None:
        self._got = 0
        self._asked_s = time.perf_counter()
        self._transport.write(self._request)


def _worker(pid: int) -> int:
    """The process of nginx that answers; others look after its cache."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    (worker,) = (child for child in children if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes())
    return int(worker)
