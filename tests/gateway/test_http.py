"""What one read may bring of HTTP: thousands of requests, or of chunks, which are parsed a slice at a time."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from gateway.edge import Edge
from gateway.http import HttpConnection
from tests.gateway.edges import (
    TEXT,
    Client,
    MemoryTransport,
    Recorder,
    client_frame,
    on_both_loops,
    served,
    upgrade_request,
)

SLICE_BYTES = 1024
MANY = 3000


class App:
    """An ASGI application that answers with the path, once it may, and keeps the bodies that it was sent."""

    def __init__(self) -> None:
        self.proceed = asyncio.Event()
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await self.proceed.wait()
        self.paths.append(scope["path"])
        self.bodies.append(body)
        answer = scope["path"].encode()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


class Written(MemoryTransport):
    """A transport in memory that says when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.news.set()

    async def until(self, responses: int) -> None:
        while self.written.count(b"HTTP/1.1 200 OK") < responses:
            self.news.clear()
            await self.news.wait()


def connection_of(edge: Edge) -> tuple[HttpConnection, Written]:
    transport, connection = Written(), HttpConnection(edge)
    connection.connection_made(transport)
    return connection, transport


@on_both_loops
async def test_requests_that_wait_for_others_answers_wait_as_bytes() -> None:
    """However many one read brings, no more than a slice of them are requests already; each is answered in order."""
    app = App()
    requests = [b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(MANY)]
    async with served(app) as (edge, _):
        connection, transport = connection_of(edge)
        connection.data_received(b"".join(requests))
        for _ in range(10):
            assert len(connection.pipeline) <= SLICE_BYTES // len(requests[0])
            assert not transport.reading
            await asyncio.sleep(0)
        app.proceed.set()
        await transport.until(MANY)
        assert app.paths == [f"/{number}" for number in range(MANY)]
        assert transport.reading
        connection.data_received(b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
        await transport.until(MANY + 1)
        assert not transport.closed
        connection.connection_lost(None)


@on_both_loops
async def test_what_comes_while_some_waits_comes_behind_it() -> None:
    """A transport may still bring what it had read before it was told to read no more."""
    app = App()
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(MANY))
    async with served(app) as (edge, _):
        connection, transport = connection_of(edge)
        for start in range(0, len(requests), 10_007):
            connection.data_received(requests[start : start + 10_007])
        app.proceed.set()
        await transport.until(MANY)
        assert app.paths == [f"/{number}" for number in range(MANY)]
        connection.connection_lost(None)


@on_both_loops
async def test_a_body_of_tiny_chunks_is_parsed_in_turns() -> None:
    """A read of them takes a tenth of a second to parse: others have their turn after each slice that took too long."""
    app = App()
    app.proceed.set()
    body = bytes(range(256)) * 40
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with served(app) as (edge, _):
        seconds = count()
        edge.wires.clock = lambda: next(seconds)  # each look is a second later
        connection, transport = connection_of(edge)
        connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        held = len(connection.cycle.body), transport.reading
        assert held[0] < SLICE_BYTES
        assert not held[1]
        await transport.until(1)
        assert app.bodies == [body]
        assert transport.reading
        assert next(seconds) > len(chunks) // SLICE_BYTES
        connection.connection_lost(None)


@on_both_loops
async def test_a_connection_that_ends_in_its_flood_leaves_nothing_behind() -> None:
    app = App()
    async with served(app) as (edge, _):
        seconds = count()
        edge.wires.clock = lambda: next(seconds)
        connection, _ = connection_of(edge)
        connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + bytes(9_000))
        assert edge.wires.put_off
        connection.connection_lost(None)
        await asyncio.sleep(0)  # its turn
        assert not edge.wires.put_off
        assert not edge.http
        assert not app.paths


@on_both_loops
async def test_an_upgrade_takes_along_what_is_not_parsed_yet() -> None:
    """Frames that came with the upgrade of a kept connection are the WebSocket's, those behind its slice too."""
    app = App()
    app.proceed.set()
    async with served(app, lambda: Recorder(echo=True)) as (edge, _), Client.connected(edge) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.response())[0] == 200
        frames = b"".join(client_frame(TEXT, b"%d" % number) for number in range(500))
        client.send(upgrade_request() + frames)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert [await client.frame() for _ in range(500)] == [(TEXT, b"%d" % number) for number in range(500)]


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "http://["), ("GET", "http://"), ("GET", "http://h:99999/ws"), ("CONNECT", "h:1"), ("CONNECT", "?")],
)
async def test_an_upgrade_whose_target_is_none_is_400(
    caplog: pytest.LogCaptureFixture, method: str, target: str
) -> None:
    """Whatever the parser lets through as a target; nothing of it is in the log, which anybody could fill so."""
    async with served(App()) as (edge, _), Client.connected(edge) as client:
        client.send(upgrade_request(target).replace(b"GET", method.encode(), 1))
        assert (await client.response())[0] == 400
        assert await client.end() == b""
        assert not caplog.records
