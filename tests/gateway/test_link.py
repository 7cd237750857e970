"""The link to one client: its messages one at a time, how much may come, and how it ends."""

import asyncio
import struct
from collections.abc import Generator
from pathlib import Path

import pytest

from config.gateway import ConnectionOptions
from gateway.app import Gateway
from gateway.connection import Connection
from gateway.costs import RESUME_COST
from gateway.said import Said
from session.messages import CloseCode, Error
from tests.gateway.connecting import RawClient, settings
from tests.gateway.running import PATIENCE_S
from tests.gateway.typing_client import Closed, TypingClient, client


async def test_a_long_log_in_one_frame(typist: TypingClient) -> None:
    """Thousands of events in a frame are fed in slices, and what follows waits its turn."""
    await typist.start("zen")
    keys = ["a", "b", "c", " "] * 900
    await typist.keys(*keys, gap_ms=30)
    await typist.keys("z", gap_ms=30)
    result = await typist.finish()
    assert sum(result["chars"][:3]) == 3601


async def test_frames_behind_a_resume_wait_for_it(tmp_path: Path) -> None:
    """Looking a long text up and making it ready takes its time; what the client sends meanwhile is not lost."""
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as first:
        started = await first.start("text", text="several words to type " * 800)
        await first.keys(*"several")
        await first.receive("tick")
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url, token=first.ready["token"]) as second:
        fields = {"session": started["session"], "ticket": started["ticket"], "text": started["text"]}
        await second.send("resume", n=7, **fields)
        await second.send("keys", n=0, e=first.log)
        second.log = first.log
        await second.send("hb")
        assert [(await second.receive("resumed", "hb"))["t"] for _ in range(2)] == ["resumed", "hb"]
        assert gateway.hub.sessions()["live"] == 1
        assert (await second.finish())["chars"][0] == 7


@pytest.mark.parametrize(
    ("first", "more"), [(b"", b"\x89"), (b"", b"\x8a"), (b"\x01", b"\0")], ids=["pings", "pongs", "fragments"]
)
async def test_a_flood_of_what_is_no_message(tmp_path: Path, first: bytes, more: bytes) -> None:
    """Pings, pongs and fragments that never become a message are counted too: 4004."""
    options = ConnectionOptions(burst_bytes=65_536)
    empty = b"\x80\0\0\0\0"
    async with (
        Gateway(settings(tmp_path, connection=options)) as gateway,
        RawClient(gateway.url) as typist,
        asyncio.timeout(90),
    ):
        typist.send(t="auth")
        typist.writer.write((first and first + empty) + (more + empty) * 2000)
        while b"slow down" not in typist.received:
            chunk = await typist.reader.read(65_536)
            assert chunk, typist.received[-200:]
            typist.received += chunk
        assert struct.pack(">H", 4004) + b"rate limited" in typist.received


async def test_a_flood_of_resumes(tmp_path: Path) -> None:
    """Each is small and has a text made anew: they count for more than their bytes."""
    options = ConnectionOptions(burst_bytes=65_536, bytes_per_s=1024)
    async with Gateway(settings(tmp_path, connection=options)) as gateway, client(gateway.url) as typist:
        started = await typist.start("words", count=3)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(40):
            await typist.send("resume", session=started["session"], ticket=started["ticket"], n=0)
        assert (await typist.closed()).code == 4004
        allowed = options.burst_bytes + options.bytes_per_s * (loop.time() - began_s + 1)
        assert 10 < sum(message["t"] == "resumed" for message in typist.seen) <= allowed / RESUME_COST


async def test_too_many_bytes(tmp_path: Path) -> None:
    """A flood of frames is closed 4004."""
    options = ConnectionOptions(burst_bytes=65_536, bytes_per_s=1024)
    async with Gateway(settings(tmp_path, connection=options)) as gateway, client(gateway.url) as typist:

        async def flood() -> None:
            while True:
                await typist.send("hb", c=1)
                await typist.receive("hb")

        async with asyncio.timeout(90):
            with pytest.raises(Closed) as end:
                await flood()
        assert end.value.code == 4004


def only(gateway: Gateway) -> Connection:
    """The only connection that there is."""
    (connection,) = gateway.hub.connections
    return connection


async def test_what_nobody_waits_for_is_left_out_where_the_client_does_not_read(
    gateway: Gateway, typist: TypingClient
) -> None:
    """News, and what many are told; what was asked for comes all the same."""
    connection = only(gateway)
    wire = connection._wire
    assert wire is not None
    wire.pause_writing()
    assert not connection.hear(Said({"t": "event", "n": 1}))
    assert not connection.hear(Said({"t": "event", "n": 2}), {"more": 3})
    connection.notify({"t": "event", "n": 4})
    connection.refuse(Error("busy", "later", 5))
    wire.resume_writing()
    assert connection.hear(Said({"t": "event", "n": 6}))
    assert connection.hear(Said({"t": "event", "n": 7}), {"more": 8})
    connection.notify({"t": "event", "n": 9})
    heard = [await typist.receive() for _ in range(4)]
    assert heard[0]["code"] == "busy"
    assert heard[1:] == [{"t": "event", "n": 6}, {"t": "event", "n": 7, "more": 8}, {"t": "event", "n": 9}]


async def test_a_reason_is_cut_between_characters(gateway: Gateway, typist: TypingClient) -> None:
    """A close frame has room for 123 bytes of it; who is gone is told nothing more."""
    connection = only(gateway)
    connection.ban("é" * 100)
    end = await typist.closed()
    assert (end.code, end.reason) == (4505, "banned: " + "é" * 57)
    async with asyncio.timeout(PATIENCE_S):
        while connection.alive:  # noqa: ASYNC110  # the wire tells nobody
            await asyncio.sleep(0.01)
    connection.close(CloseCode.INTERNAL, "a fault of ours")
    assert not connection.hear(Said({"t": "event"}))
    assert connection.address == ""


@pytest.mark.parametrize("how", ["in slices", "at its end", "in a task"])
async def test_work_that_fails_closes_its_own_connection_alone(
    gateway: Gateway, typist: TypingClient, how: str
) -> None:
    """Its client comes back: 4000. What it raises is logged, and nobody else's."""
    connection = only(gateway)

    def job(fails: bool) -> Generator[None, None, None]:
        yield
        if fails:
            raise RuntimeError("a bug")

    def done(_: None) -> None:
        raise RuntimeError("a bug")

    async def task() -> None:
        raise RuntimeError("a bug")

    async with client(gateway.url) as other:
        match how:
            case "in slices":
                connection.work(job(True), done)
            case "at its end":
                connection.work(job(False), done)
            case _:
                connection.wait_for(task())
        end = await typist.closed()
        assert (end.code, end.reason) == (4000, "internal: a fault of ours")
        await other.start("words")
        assert (await other.type_all())["acc"] == 100
