"""One port: what each first request becomes, and what slow, endless, wrong and too many ones cost."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import signal
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from config.edge import EdgeOptions
from gateway.edge import Edge
from gateway.handshake import Refusal
from gateway.heads import Request
from gateway.wire import Peer, WebSocketWire
from tests.gateway.edges import (
    ACCEPT,
    BINARY,
    CLOSE,
    TEXT,
    Client,
    Recorder,
    client_frame,
    close_payload,
    on_both_loops,
    served,
    upgrade_request,
)

GET = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"


class App:
    """An ASGI application: says whom it sees; `/slow` waits for `proceed`, `/bulk` sends much, `/body` reads it all."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.proceed = asyncio.Event()
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.started.set()
        body = f"{scope['method']} {scope['path']} {scope['client'][0]} {scope['scheme']}".encode()
        if scope["path"] == "/slow":
            await self.proceed.wait()
        if scope["path"] == "/body":
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
        if scope["path"] == "/bulk":
            body = bytes(8 << 20)
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


# What a first request becomes.


@on_both_loops
async def test_a_websocket_and_http_on_one_port() -> None:
    async with served(App(), lambda: Recorder(echo=True)) as (edge, peers):
        async with Client.connected(edge) as client:
            client.send(GET)
            status, head, body = await client.response()
            assert (status, body) == (200, b"GET /hello 127.0.0.1 http")
            assert b"\r\ndate: " in head
        async with Client.connected(edge) as client:
            client.send(upgrade_request("/ws?node=a"))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 101 ")
            assert ACCEPT in head
            client.send(client_frame(TEXT, b"hello"))
            assert await client.frame() == (TEXT, b"hello")
            peer = await peers.get()
            assert peer.request is not None
            assert (peer.request.path, peer.request.query, peer.request.address) == ("/ws", "node=a", "127.0.0.1")
            assert peer.wire.peer_address == "127.0.0.1"
            assert (edge.websockets, edge.connections) == (1, 1)


@on_both_loops
async def test_what_is_sent_on_opening_follows_the_response() -> None:
    class Greeter(Recorder):
        def opened(self, wire: WebSocketWire) -> None:
            super().opened(wire)
            wire.send(b"hello", True)

    async with served(peer=Greeter) as (edge, _), Client.websocket(edge) as client:
        assert await client.frame() == (BINARY, b"hello")


@on_both_loops
async def test_bytes_that_came_with_the_upgrade_are_not_lost() -> None:
    """A client may send frames without waiting for our response (uvicorn's hand-over drops them)."""
    async with served(peer=lambda: Recorder(echo=True)) as (edge, _), Client.connected(edge) as client:
        frames = b"".join(client_frame(TEXT, b"%d" % number) for number in range(3))
        client.send(upgrade_request() + frames[:-2])
        await client.head()
        assert await client.frame() == (TEXT, b"0")
        client.send(frames[-2:])
        assert [await client.frame(), await client.frame()] == [(TEXT, b"1"), (TEXT, b"2")]


@on_both_loops
async def test_an_upgrade_request_byte_by_byte() -> None:
    async with served(peer=lambda: Recorder(echo=True)) as (edge, _), Client.connected(edge) as client:
        for byte in upgrade_request() + client_frame(TEXT, b"hello"):
            client.send(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        await client.head()
        assert await client.frame() == (TEXT, b"hello")


@on_both_loops
async def test_an_upgrade_on_a_connection_kept_alive() -> None:
    """A proxy may reuse a connection that has served HTTP; here too nothing that follows is lost."""
    async with served(App(), lambda: Recorder(echo=True), subprotocols=("a", "b")) as (edge, peers):
        async with Client.connected(edge) as client:
            for _ in range(2):
                client.send(GET)
                assert (await client.response())[0] == 200
            assert edge.connections == 1
            client.send(upgrade_request("/ws?x=1", Sec_WebSocket_Protocol="b") + client_frame(TEXT, b"hello"))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nSec-WebSocket-Protocol: b\r\n" in head
            assert await client.frame() == (TEXT, b"hello")
            peer = await peers.get()
            assert peer.request is not None
            assert (peer.request.query, peer.request.subprotocol, peer.wire.subprotocol) == ("x=1", "b", "b")
            assert (edge.websockets, edge.connections) == (1, 1)
        await peer.until_closed()
        assert await edge.emptied(60)


@on_both_loops
async def test_an_upgrade_before_an_earlier_answer_ends_the_connection_after_that() -> None:
    app = App()
    async with served(app) as (edge, peers), Client.connected(edge) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + upgrade_request())
        await app.started.wait()
        app.proceed.set()
        assert (await client.response())[0] == 200
        assert await client.end() == b""
        assert peers.empty()


@pytest.mark.parametrize("first", [b"", GET], ids=["first request", "kept alive"])
def test_an_upgrade_on_any_other_path_is_404(first: bytes) -> None:
    async def play() -> None:
        async with served(App()) as (edge, peers):
            for path in ("/", "/hello", "/wss", "/ws/", "/w", "//ws", "/WS", "/%77s"):
                async with Client.connected(edge) as client:
                    if first:
                        client.send(first)
                        await client.response()
                    client.send(upgrade_request(path))
                    assert (await client.response())[0] == 404
                    assert await client.end() == b""
            assert peers.empty()

    asyncio.run(play())


@on_both_loops
async def test_a_refused_handshake_is_answered_and_ends_the_connection() -> None:
    async with served(App(), subprotocols=("typegate.v1.json",)) as (edge, peers):
        for request, status in (
            (upgrade_request(), 400),
            (upgrade_request(Sec_WebSocket_Protocol="typegate.v1.json", Sec_WebSocket_Version="7"), 426),
            (upgrade_request(Sec_WebSocket_Protocol="typegate.v1.json", Origin="https://evil.example"), 403),
            (b"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", 426),
            (b"DELETE /ws HTTP/1.1\r\nHost: h\r\n\r\n", 405),
            (b"GET /ws HTTP/1.1\r\nbad header\r\n\r\n", 400),
        ):
            async with Client.connected(edge) as client:
                client.send(request)
                assert (await client.response())[0] == status
                assert await client.end() == b""
        assert peers.empty()
        assert await edge.emptied(60)
        assert edge.tally.refused_handshakes == 5


@on_both_loops
async def test_a_peer_factory_may_refuse_and_may_fail() -> None:
    def refuse(request: Request) -> Peer | Refusal:
        if request.query == "bug":
            raise ZeroDivisionError
        return Refusal(503, "Come back later.", (("Retry-After", "7"),))

    async with Edge(EdgeOptions(port=0)) as edge:
        await edge.start(None, refuse)
        async with Client.connected(edge) as client:
            client.send(upgrade_request())
            status, head, body = await client.response()
            assert (status, body) == (503, b"Come back later.\n")
            assert b"\r\nRetry-After: 7\r\n" in head
        async with Client.connected(edge) as client:
            client.send(upgrade_request("/ws?bug"))
            assert (await client.response())[0] == 500
        assert await edge.emptied(60)
        assert len(edge.door) == 0


@on_both_loops
async def test_another_protocol_to_upgrade_to_is_left_out() -> None:
    """RFC 9110 7.8: a server may ignore Upgrade; `curl --http2` sends h2c with every request."""
    app = App()
    async with served(app) as (edge, _), Client.connected(edge) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        await app.started.wait()
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")  # is not looked at
        await client.writer.drain()
        app.proceed.set()
        assert (await client.response())[0] == 200
        assert await client.end() == b""


@on_both_loops
async def test_without_an_application_all_else_is_404() -> None:
    async with served() as (edge, _), Client.connected(edge) as client:
        client.send(GET)
        assert (await client.response())[0] == 404


@on_both_loops
async def test_what_is_no_http_is_400() -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
        async with served(App()) as (edge, _), Client.connected(edge) as client:
            client.send(garbage)
            assert (await client.response())[0] == 400
            assert await client.end() == b""


# Slow and endless requests.


@pytest.mark.parametrize(
    "part", [b"", b"G", upgrade_request()[:-2], GET[:-1], b"\r\n"], ids=["nothing", "a letter", "ws", "http", "a line"]
)
def test_a_first_request_that_does_not_arrive_is_408(part: bytes) -> None:
    async def play() -> None:
        async with served(App(), head_limit_s=0.2) as (edge, _), Client.connected(edge) as client:
            client.send(part)
            assert (await client.response())[0] == 408
            assert await client.end() == b""
            assert await edge.emptied(60)
            assert edge.tally.heads_overdue == 1
            assert len(edge.door) == 0

    asyncio.run(play())


@on_both_loops
async def test_a_dribble_does_not_prolong_the_time_for_a_head() -> None:
    async with served(head_limit_s=0.3) as (edge, _), Client.connected(edge) as client:
        head = asyncio.get_running_loop().create_task(client.head())
        while not head.done():
            client.send(b"x")
            await asyncio.sleep(0.02)
        assert (await head).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("part", [GET[:-1], b"\r\n", b"P"], ids=["head", "a line", "a letter"])
def test_a_later_request_that_does_not_arrive_is_408(part: bytes) -> None:
    """uvicorn never times a half-sent request out; and any byte ends its wait for the next request."""

    async def play() -> None:
        async with served(App(), head_limit_s=1) as (edge, _), Client.connected(edge) as client:
            client.send(GET)
            await client.response()
            client.send(part)
            assert (await client.response())[0] == 408
            assert await client.end() == b""
            assert await edge.emptied(60)

    asyncio.run(play())


@on_both_loops
async def test_a_body_that_does_not_arrive_ends_the_connection() -> None:
    app = App()
    async with served(app, body_limit_s=0.2) as (edge, _), Client.connected(edge) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
        assert await client.end() == b""
        await app.disconnected.wait()
        assert await edge.emptied(60)


@on_both_loops
async def test_a_body_that_nobody_waits_for_must_arrive_too() -> None:
    """The answer is out, the body is not in: without a limit this connection would stay for ever."""
    async with served(App(), body_limit_s=1) as (edge, _), Client.connected(edge) as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
        assert (await client.response())[0] == 200
        client.send(b"x")
        await client.end()
        assert await edge.emptied(60)


@on_both_loops
async def test_an_idle_connection_is_kept_for_its_time_only() -> None:
    async with served(App(), keep_alive_s=0.2) as (edge, _), Client.connected(edge) as client:
        client.send(GET)
        await client.response()
        assert await client.end() == b""


@pytest.mark.parametrize("first", [b"", GET], ids=["first request", "kept alive"])
@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 3000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 3000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        upgrade_request(X="y" * 3000),
    ],
    ids=["line", "header", "headers", "whole", "ws"],
)
def test_too_long_a_head_is_431(first: bytes, request_: bytes) -> None:
    """uvicorn (with httptools) takes headers without end. Sent in two parts, and in one."""

    async def play() -> None:
        async with served(App(), head_bytes=2048) as (edge, peers):
            for cut in (1500, len(request_)):
                async with Client.connected(edge) as client:
                    if first:
                        client.send(first)
                        await client.response()
                    client.send(request_[:cut])
                    await client.writer.drain()
                    await asyncio.sleep(0.01)
                    client.send(request_[cut:] + b"x" * (3000 if not request_.endswith(b"\r\n\r\n") else 0))
                    assert (await client.response())[0] == 431
            assert peers.empty()
            assert await edge.emptied(60)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("stall_limit_s", "close_limit_s", "header"),
    [(0.3, 60, b""), (60, 0.3, b"Connection: close\r\n")],
    ids=["kept alive", "its last"],
)
def test_a_response_that_nobody_reads_is_cut(stall_limit_s: float, close_limit_s: float, header: bytes) -> None:
    """Also where uvicorn has closed the connection, which then waits to be rid of its bytes."""

    async def play() -> None:
        app = App()
        limits = {"stall_limit_s": stall_limit_s, "close_limit_s": close_limit_s}
        async with served(app, wire_options=limits) as (edge, _), Client.connected(edge) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads, too
            client.send(b"GET /bulk HTTP/1.1\r\nHost: h\r\n" + header + b"\r\n")
            await app.started.wait()
            assert await edge.emptied(60)

    asyncio.run(play())


@on_both_loops
async def test_a_response_that_is_read_slowly_is_not_cut() -> None:
    """The limit is on standing still, not on a response as a whole."""
    app = App()
    async with served(app) as (edge, _), Client.connected(edge) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
        client.send(b"GET /bulk HTTP/1.1\r\nHost: h\r\n\r\n")
        await app.started.wait()
        await asyncio.sleep(0)  # the application's response is in the transport
        assert len(edge.wires.stalled) == 1
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        assert len((await client.response())[2]) == 8 << 20
        assert len(edge.wires.stalled) == 0
        client.send(GET)
        assert (await client.response())[0] == 200


# Too many.


@on_both_loops
async def test_one_connection_too_many_is_503() -> None:
    async with served(App(), connections=3) as (edge, _):
        async with Client.websocket(edge), Client.connected(edge) as http, Client.connected(edge) as idle:
            http.send(GET)
            await http.response()
            async with Client.connected(edge) as refused:
                assert (await refused.response())[0] == 503
            assert edge.tally.refused_full == 1
            idle.send(GET)  # those who are in are served
            assert (await idle.response())[0] == 200
        assert await edge.emptied(60)
        async with Client.websocket(edge):
            pass


@on_both_loops
async def test_an_address_may_have_so_many_pending_connections() -> None:
    """Those that the application calls ready, those that speak HTTP, and those that are gone do not count."""
    async with served(App(), pending_per_address=2) as (edge, peers):
        async with Client.websocket(edge) as first, Client.connected(edge):
            peer = await peers.get()
            async with Client.connected(edge) as refused:
                assert (await refused.response())[0] == 429
            peer.wire.ready()
            peer.wire.ready()
            async with Client.websocket(edge), Client.connected(edge) as refused:
                assert (await refused.response())[0] == 429
            second = await peers.get()
            await second.until_closed()
            async with Client.connected(edge) as http:
                http.send(GET)
                assert (await http.response())[0] == 200
                async with Client.websocket(edge):
                    pass
            first.send(client_frame(TEXT, b"still there"))
            await peer.until(lambda peer: bool(peer.frames))
        assert await edge.emptied(60)
        assert len(edge.door) == 0
        assert edge.tally.refused_address == 2


@on_both_loops
async def test_an_upgrade_on_a_kept_connection_counts_at_the_door_too() -> None:
    async with served(App(), pending_per_address=1) as (edge, _), Client.connected(edge) as client:
        client.send(GET)
        await client.response()
        async with Client.websocket(edge):
            client.send(upgrade_request())
            assert (await client.response())[0] == 429
        assert await client.end() == b""
        assert await edge.emptied(60)
        assert len(edge.door) == 0


@on_both_loops
async def test_an_address_may_have_so_many_connections_that_speak_http() -> None:
    """One that becomes a WebSocket, or is gone, counts no more; those of a trusted proxy are its clients'."""
    async with served(App(), http_per_address=2) as (edge, _):
        async with Client.connected(edge) as one, Client.connected(edge) as two, Client.connected(edge) as third:
            for client in (one, two):
                client.send(GET)
                assert (await client.response())[0] == 200
            third.send(GET)
            assert (await third.response())[0] == 429
            assert await third.end() == b""
            one.send(upgrade_request())
            assert (await one.head()).startswith(b"HTTP/1.1 101 ")
            async with Client.connected(edge) as fourth:
                fourth.send(GET)
                assert (await fourth.response())[0] == 200
                two.send(GET)  # those who are in are served
                assert (await two.response())[0] == 200
        assert await edge.emptied(60)
        assert len(edge.http_door) == 0
        assert edge.tally.refused_address == 1
    async with (
        served(App(), http_per_address=1, trusted_proxies=("127.0.0.1",)) as (edge, _),
        Client.connected(edge) as one,
        Client.connected(edge) as two,
    ):
        for client in (one, two):
            client.send(GET)
            assert (await client.response())[0] == 200


# Proxies.


@on_both_loops
async def test_x_forwarded_for_of_trusted_proxies_only() -> None:
    async def seen(trusted: tuple[str, ...]) -> tuple[str, str]:
        async with served(App(), trusted_proxies=trusted) as (edge, peers), Client.connected(edge) as client:
            client.send(
                b"GET /hello HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n"
                b"X-Forwarded-Proto: https\r\n\r\n"
            )
            http = (await client.response())[2].decode()
            client.send(upgrade_request(X_Forwarded_For="6.6.6.6, 203.0.113.9"))
            await client.head()
            return http, (await peers.get()).wire.peer_address

    assert await seen(("127.0.0.0/8",)) == ("GET /hello 203.0.113.9 https", "203.0.113.9")
    assert await seen(("10.0.0.0/8",)) == ("GET /hello 127.0.0.1 http", "127.0.0.1")
    assert await seen(()) == ("GET /hello 127.0.0.1 http", "127.0.0.1")


@on_both_loops
async def test_clients_behind_a_proxy_are_counted_each() -> None:
    async with (
        served(pending_per_address=1, trusted_proxies=("127.0.0.1",)) as (edge, _),
        Client.connected(edge) as one,
        Client.connected(edge) as two,
        Client.connected(edge) as again,
    ):
        one.send(upgrade_request(X_Forwarded_For="203.0.113.1"))
        assert (await one.head()).startswith(b"HTTP/1.1 101 ")
        two.send(upgrade_request(X_Forwarded_For="203.0.113.2"))
        assert (await two.head()).startswith(b"HTTP/1.1 101 ")
        again.send(upgrade_request(X_Forwarded_For="203.0.113.1"))
        assert (await again.head()).startswith(b"HTTP/1.1 429 ")


# TLS.


def certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server with a fresh certificate for `localhost`, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "localhost.pem")
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + cert.public_bytes(serialization.Encoding.PEM)
        )
        server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=cert.public_bytes(serialization.Encoding.PEM).decode())
    return server, client


@on_both_loops
async def test_tls_for_both() -> None:
    """HTTP, upgrade with bytes behind it, echo of many frames, and both ways to close."""
    server, trusting = certificate()
    async with served(App(), lambda: Recorder(echo=True), ssl=server) as (edge, _):
        async with Client.connected(edge, trusting) as client:
            client.send(GET)
            assert (await client.response())[2] == b"GET /hello 127.0.0.1 https"
            client.send(upgrade_request() + client_frame(TEXT, b"early"))
            await client.head()
            assert await client.frame() == (TEXT, b"early")
        async with Client.websocket(edge, trusting) as client:
            for size in (10, 1000, 60_000):
                client.send(client_frame(BINARY, bytes(size)) * 10)
                assert [await client.frame() for _ in range(10)] == [(BINARY, bytes(size))] * 10
            client.send(client_frame(CLOSE, close_payload(1000)))
            assert await client.frame() == (CLOSE, close_payload(1000))
            assert await client.end() == b""
        async with Client.websocket(edge, trusting) as client:
            client.send(client_frame(3))
            opcode, payload = await client.frame()
            assert (opcode, payload[:2]) == (CLOSE, close_payload(1002))
            assert await client.end() == b""
        assert await edge.emptied(60)


@on_both_loops
async def test_a_tls_handshake_that_does_not_go_on_is_timed_out() -> None:
    server, _ = certificate()
    async with served(ssl=server, head_limit_s=0.3) as (edge, _), Client.connected(edge) as client:
        client.send(b"\x16\x03\x01")
        assert await client.end() == b""
        assert edge.connections == 0


# Going.


@on_both_loops
async def test_sigterm_is_left_to_us_and_the_listener_stays_open_in_the_drain() -> None:
    """uvicorn's server would take the signal, close its listener and wait for no WebSocket."""
    async with served(App(), lambda: Recorder(echo=True)) as (edge, _), Client.websocket(edge) as client:
        draining = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, draining.set)
        try:
            signal.raise_signal(signal.SIGTERM)
            await draining.wait()
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
        edge.begin_drain()
        client.send(client_frame(TEXT, b"typing on"))
        assert await client.frame() == (TEXT, b"typing on")
        async with Client.connected(edge) as late:
            late.send(GET)
            status, head, _ = await late.response()
            assert status == 200
            assert b"\r\nconnection: close\r\n" in head
            assert await late.end() == b""
        async with Client.websocket(edge):
            pass


@on_both_loops
async def test_closing_tells_websockets_and_waits_for_running_requests() -> None:
    app = App()
    async with served(app) as (edge, peers):
        address = edge.addresses[0]
        async with Client.websocket(edge) as client, Client.connected(edge) as slow, Client.connected(edge) as idle:
            peer = await peers.get()
            idle.send(GET)
            await idle.response()
            app.started.clear()
            slow.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            await app.started.wait()
            closing = asyncio.get_running_loop().create_task(edge.close(timeout_s=10))
            assert await client.frame() == (CLOSE, close_payload(1012, "restarting"))
            client.send(client_frame(CLOSE, close_payload(1012)))
            assert await client.end() == b""
            client.writer.close()
            assert await idle.end() == b""
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection(*address)
            assert not closing.done()
            app.proceed.set()
            assert (await slow.response())[0] == 200
            await closing
            assert peer.closes == [(1012, "restarting")]
            assert edge.connections == 0


@on_both_loops
async def test_closing_takes_no_longer_than_it_may() -> None:
    """A request that never ends, a WebSocket that never answers, and a head that never comes are cut."""
    app = App()
    async with (
        served(app) as (edge, peers),
        Client.websocket(edge),
        Client.connected(edge) as slow,
        Client.connected(edge) as silent,
    ):
        slow.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await app.started.wait()
        await edge.close(timeout_s=0.2)
        assert edge.connections == 0
        assert (await peers.get()).closes == [(1012, "restarting")]
        assert await silent.end() == b""
        assert await slow.end() == b""
        await edge.close(timeout_s=0.2)  # closing again does nothing


@on_both_loops
async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async with served() as (edge, _):
        host, port = edge.addresses[0]
        async with Edge(EdgeOptions(host=host, port=port)) as second:
            with pytest.raises(OSError, match=str(port)):
                await second.start(None, lambda request: Recorder())
