"""A client of `typegate.v1` on the `websockets` library: what a page would say, and whatever else a test likes to."""

from asyncio import timeout
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

JSON = "typegate.v1.json"
MSGPACK = "typegate.v1.msgpack"
PATIENCE_S = 90.0
"""No answer takes that long; a test that waits longer fails."""


class Closed(Exception):
    """The server closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class TypingClient:
    """One connection, and the log of the test that it types."""

    def __init__(self, socket: ClientConnection, subprotocol: str) -> None:
        self.socket = socket
        self.binary = subprotocol == MSGPACK
        self.seen: list[dict[str, Any]] = []
        """Every message so far."""
        self.started: dict[str, Any] = {}
        self.ready: dict[str, Any] = {}
        self.log: list[Any] = []
        """Flat [dt, key, ...] of the present test."""

    @property
    def sealed_by(self) -> int:
        """The id of the key that sealed the guest's token."""
        return urlsafe_b64decode(self.ready["token"] + "==")[0]

    async def send(self, t: str, **fields: Any) -> None:
        """Send one message."""
        message = {"t": t} | fields
        await self.send_raw(msgpack.packb(message) if self.binary else orjson.dumps(message).decode())

    async def send_raw(self, payload: bytes | str) -> None:
        """Send one frame as it stands."""
        try:
            await self.socket.send(payload)
        except ConnectionClosed:
            await self.receive()
            raise

    async def receive(self, *wanted: str) -> dict[str, Any]:
        """The next message, or the next of these kinds. Raises `Closed`."""
        async with timeout(PATIENCE_S):
            while True:
                try:
                    payload = await self.socket.recv()
                except ConnectionClosed:
                    raise Closed(self.socket.close_code or 0, self.socket.close_reason or "") from None
                message: dict[str, Any] = (
                    msgpack.unpackb(payload) if isinstance(payload, bytes) else orjson.loads(payload)
                )
                self.seen.append(message)
                if not wanted or message["t"] in wanted:
                    return message

    async def closed(self) -> Closed:
        """Wait for the server to close."""
        while True:
            try:
                await self.receive()
            except Closed as end:
                return end

    async def auth(self, token: str | None = None) -> dict[str, Any]:
        """Say who we are; the `ready`."""
        await self.send("auth", **({} if token is None else {"token": token}))
        self.ready = await self.receive("ready")
        return self.ready

    async def start(self, mode: str = "words", **fields: Any) -> dict[str, Any]:
        """Start a test; the `started`."""
        if mode == "words":
            fields.setdefault("count", 3)
        await self.send("start", mode=mode, **fields)
        message = await self.receive("started", "error")
        assert message["t"] == "started", message
        self.started = message
        self.log = []
        return message

    async def keys(self, *keys: str, gap_ms: int = 100) -> None:
        """Type these keys in one frame."""
        n = len(self.log) // 2
        events: list[Any] = []
        for key in keys:
            events += [gap_ms, key]
        self.log += events
        await self.send("keys", n=n, e=events)

    async def finish(self) -> dict[str, Any]:
        """Say that the test is over; the result."""
        await self.send("finish", n=len(self.log) // 2)
        message = await self.receive("result", "error")
        assert message["t"] == "result", message
        return message

    async def type_all(self, *, gap_ms: int = 100) -> dict[str, Any]:
        """Type the whole text, word by word, and finish; the result."""
        text = self.started["text"]
        for word in text.split(" "):
            await self.keys(*word, gap_ms=gap_ms)
            if len(self.log) // 2 < len(text):
                await self.keys(" ", gap_ms=gap_ms)
        return await self.finish()


@asynccontextmanager
async def client(
    url: str, subprotocol: str = JSON, *, token: str | None = None, auth: bool = True, query: str = "", **options: Any
) -> AsyncIterator[TypingClient]:
    """Connect to the gateway at this http address, and be `ready` unless `auth` is False."""
    address = url.replace("http", "ws", 1).rstrip("/") + "/ws" + f"?{query}" * bool(query)
    patient = {"open_timeout": PATIENCE_S, "ping_timeout": PATIENCE_S}
    async with connect(
        address, subprotocols=[Subprotocol(subprotocol)], compression=None, proxy=None, **patient | options
    ) as socket:
        typist = TypingClient(socket, subprotocol)
        await typist.receive("hello")
        if auth:
            await typist.auth(token)
        yield typist
