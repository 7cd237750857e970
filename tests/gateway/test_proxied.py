"""PROXY headers at the edge, before HTTP, WebSockets and TLS: who is believed, and what becomes of the rest."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.edge import Edge
from tests.gateway.edges import CLOSE, TEXT, Client, Recorder, client_frame, on_both_loops, served, upgrade_request
from tests.gateway.test_edge import certificate
from tests.gateway.test_proxy_header import binary

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
HERE = ("127.0.0.1",)


async def whose(scope: Any, receive: Any, send: Any) -> None:
    """An application that says whose the request is."""
    body = "{}:{} {}".format(*scope["client"], scope["scheme"]).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def required(**options: Any) -> AsyncIterator[tuple[Edge, "asyncio.Queue[Recorder]"]]:
    given: dict[str, Any] = {"proxy_protocol": "required", "trusted_proxies": HERE, **options}
    async with served(whose, lambda: Recorder(echo=True), **given) as (edge, peers):
        yield edge, peers


@on_both_loops
async def test_the_client_is_whom_the_header_tells() -> None:
    """For HTTP with port and scheme, for WebSockets, whatever comes with the header or after it, byte by byte too."""
    async with required() as (edge, peers):
        for header in (LINE, binary()):
            async with Client.connected(edge) as client:
                client.send(header + GET)
                assert (await client.response())[2] == b"192.0.2.7:4711 http"
                client.send(GET)
                assert (await client.response())[2] == b"192.0.2.7:4711 http"
            async with Client.connected(edge) as client:
                for byte in header:
                    client.send(bytes((byte,)))
                    await asyncio.sleep(0)
                client.send(upgrade_request() + client_frame(TEXT, b"hello"))
                assert (await client.head()).startswith(b"HTTP/1.1 101 ")
                assert await client.frame() == (TEXT, b"hello")
                peer = await peers.get()
                assert peer.request is not None
                assert peer.request.address == "192.0.2.7"
        assert edge.tally.accepted == 4


@on_both_loops
async def test_forwarded_addresses_of_the_told_client_are_not_believed() -> None:
    """It is no proxy of ours; one that is may tell of its own client."""
    async with required(trusted_proxies=("127.0.0.1", "192.0.2.8")) as (edge, _):
        told = GET[:-2] + b"X-Forwarded-For: 203.0.113.9\r\n\r\n"
        for header, client_ in ((LINE, b"192.0.2.7:4711 http"), (LINE.replace(b".7", b".8"), b"203.0.113.9:0 http")):
            async with Client.connected(edge) as client:
                client.send(header + told)
                assert (await client.response())[2] == client_


@on_both_loops
async def test_a_balancers_own_connection_is_its_own() -> None:
    """Health checks: LOCAL and UNKNOWN."""
    async with required() as (edge, _):
        for header in (binary(0x20, 0, b""), b"PROXY UNKNOWN\r\n"):
            async with Client.connected(edge) as client:
                client.send(header + GET)
                assert (await client.response())[2].startswith(b"127.0.0.1:")


@on_both_loops
async def test_who_is_no_trusted_proxy_or_says_nothing_is_closed() -> None:
    """Each for a reason that is counted; a header that does not come is waited for so long and no longer."""
    async with required(trusted_proxies=("192.0.2.1",)) as (edge, _), Client.connected(edge) as client:
        client.send(LINE + GET)
        assert await client.end() == b""
        assert edge.tally.proxy_untrusted == 1
    async with required() as (edge, _):
        for data in (GET, binary(0x22) + GET, b"PROXY TCP4 1 2 3 4\r\n" + GET, b"\x16\x03\x01" + bytes(50)):
            async with Client.connected(edge) as client:
                client.send(data)
                assert await client.end() == b""
        assert edge.tally.proxy_malformed == 4
    async with required(head_limit_s=0.3) as (edge, _):
        async with Client.connected(edge) as client:
            client.send(LINE[:20])
            assert await client.end() == b""
        assert edge.tally.proxy_late == 1
        async with Client.connected(edge) as client:
            client.send(LINE[:20])
        await edge.emptied(60)
        assert not edge.connections


@on_both_loops
async def test_where_it_is_optional_both_kinds_come_in() -> None:
    """Of trusted proxies those with a header and those without; of others none is believed."""
    async with required(proxy_protocol="optional") as (edge, _):
        async with Client.connected(edge) as client:
            client.send(LINE + GET)
            assert (await client.response())[2] == b"192.0.2.7:4711 http"
        async with Client.connected(edge) as client:
            client.send(GET)
            assert (await client.response())[2].startswith(b"127.0.0.1:")
        async with Client.connected(edge) as client:
            client.send(binary(0x22))
            assert await client.end() == b""
    async with required(proxy_protocol="optional", trusted_proxies=("192.0.2.1",)) as (edge, _):
        async with Client.connected(edge) as client:
            client.send(LINE + GET)
            assert (await client.response())[0] == 400
        async with Client.connected(edge) as client:
            client.send(GET)
            assert (await client.response())[2].startswith(b"127.0.0.1:")


@on_both_loops
async def test_where_it_is_off_a_header_is_no_request() -> None:
    """It is not looked for."""
    async with required(proxy_protocol="off") as (edge, _), Client.connected(edge) as client:
        client.send(LINE + GET)
        assert (await client.response())[0] == 400


@on_both_loops
async def test_limits_count_the_told_client() -> None:
    """One client may not take all places at the door, and a full server says so."""
    async with required(pending_per_address=1) as (edge, _), Client.connected(edge) as first:
        first.send(LINE + upgrade_request())
        assert (await first.head()).startswith(b"HTTP/1.1 101 ")
        async with Client.connected(edge) as second:
            second.send(LINE + upgrade_request())
            assert (await second.response())[0] == 429
        async with Client.connected(edge) as other:
            other.send(LINE.replace(b".7", b".8") + upgrade_request())
            assert (await other.head()).startswith(b"HTTP/1.1 101 ")
    async with required(http_per_address=1) as (edge, _), Client.connected(edge) as first:
        first.send(LINE + GET)
        await first.response()
        async with Client.connected(edge) as second:
            second.send(LINE + GET)
            assert (await second.response())[0] == 429
        async with Client.connected(edge) as other:
            other.send(LINE.replace(b".7", b".8") + GET)
            assert (await other.response())[0] == 200
    async with required(connections=1) as (edge, _), Client.connected(edge) as first:
        first.send(LINE + GET)
        await first.response()
        async with Client.connected(edge) as second:
            assert await second.end() == b""
        assert edge.tally.refused_full == 1


class Secure:
    """TLS over a connection, by hand: so that the header and the handshake go out as one."""

    def __init__(self, client: Client, context: ssl.SSLContext) -> None:
        self._client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    async def begin(self, header: bytes, request: bytes) -> None:
        """Header and ClientHello in one, and the request in one with the end of the handshake."""
        before = header
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._client.send(before + self._out.read())
                before = b""
                self._in.write(await self._client.reader.read(65_536))
            else:
                break
        self._tls.write(request)
        self._client.send(self._out.read())

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to this."""
        came = b""
        while mark not in came:
            try:
                came += self._tls.read(65_536)
            except ssl.SSLWantReadError:
                data = await self._client.reader.read(65_536)
                assert data, "the server ended the connection"
                self._in.write(data)
        return came


@on_both_loops
async def test_the_header_comes_before_tls() -> None:
    """In one piece with the handshake, and the request in one piece with its end; WebSockets too."""
    server, trusting = certificate()
    async with required(ssl=server) as (edge, peers):
        for header in (LINE, binary()):
            async with Client.connected(edge) as client:
                secure = Secure(client, trusting)
                await secure.begin(header, GET)
                assert b"192.0.2.7:4711 https" in await secure.until(b"https")
            async with Client.connected(edge) as client:
                secure = Secure(client, trusting)
                await secure.begin(header, upgrade_request() + client_frame(TEXT, b"hello"))
                assert (await secure.until(b"hello")).startswith(b"HTTP/1.1 101 ")
                peer = await peers.get()
                assert peer.request is not None
                assert peer.request.address == "192.0.2.7"
                peer.wire.close(1000, "")
                await secure.until(client_frame(CLOSE, b"\x03\xe8", mask=None))


@on_both_loops
async def test_tls_that_does_not_come_ends_the_connection() -> None:
    """Garbage, silence, and a client that goes: none of them stays in the counts."""
    server, _ = certificate()
    async with required(ssl=server, head_limit_s=0.3) as (edge, _peers):
        for rest in (GET, b"", b"\x16\x03\x01"):
            async with Client.connected(edge) as client:
                client.send(LINE + rest)
                await client.end()
        async with Client.connected(edge) as client:
            client.send(LINE)
        assert await edge.emptied(60)
        async with Client.connected(edge) as client:
            client.send(LINE)
            await asyncio.sleep(0)
            await edge.close(timeout_s=0)
            await client.end()
        assert not edge.connections
