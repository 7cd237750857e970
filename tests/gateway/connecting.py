"""What tests of connections need: a gateway by itself, and a client that answers no ping."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from config.edge import EdgeOptions
from config.gateway import AdminOptions, NodeOptions
from config.settings import Settings
from tests.gateway.running import PATIENCE_S


def settings(folder: Path, **sections: object) -> Settings:
    """Embedded defaults on a free port, without an admin port."""
    given: dict[str, Any] = {
        "server": EdgeOptions(port=0, head_limit_s=PATIENCE_S),
        "node": NodeOptions(name="node-1", data=folder),
        "admin": AdminOptions(enabled=False),
    }
    return Settings(**given | sections)


class RawClient:
    """A client that never answers a ping: frames go out as they are, and bytes come in."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, url: str) -> None:
        host, port = url.split("//")[1].strip("/").split(":")
        self.address = (host, int(port))
        self.received = b""

    async def __aenter__(self) -> "RawClient":
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: typegate.v1.json\r\n\r\n"
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()

    def send(self, **message: Any) -> None:
        """Send one short message in a frame masked with zeros."""
        payload = orjson.dumps(message)
        assert len(payload) < 126
        self.writer.write(bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
