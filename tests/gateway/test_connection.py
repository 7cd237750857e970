"""One client and a whole gateway over a real socket: the life of a test, and every row of the table of bad input."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.edge import EdgeOptions
from config.gateway import AdminOptions, ConnectionOptions, NodeOptions
from config.settings import Settings
from gateway.app import Gateway
from session.options import SessionLimits
from tests.gateway.typing_client import JSON, MSGPACK, Closed, TypingClient, client


def settings(folder: Path, **sections: object) -> Settings:
    """Embedded defaults on a free port, without an admin port."""
    given: dict[str, Any] = {
        "server": EdgeOptions(port=0),
        "node": NodeOptions(name="node-1", data=folder),
        "admin": AdminOptions(enabled=False),
    }
    return Settings(**given | sections)


@pytest.fixture(name="gateway")
async def _gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Gateway(settings(tmp_path)) as gateway:
        yield gateway


@pytest.fixture(name="url")
def _url(gateway: Gateway) -> str:
    return gateway.url


@pytest.fixture(name="typist")
async def _typist(url: str) -> AsyncIterator[TypingClient]:
    async with client(url) as typist:
        yield typist


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


# --- the life of a test ---


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_a_test_from_hello_to_stored(url: str, subprotocol: str) -> None:
    """hello, ready, started, result, stored, in this order; the result has the figures of what was typed."""
    async with client(url, subprotocol) as typist:
        started = await typist.start("words", count=10, ref=1)
        assert len(started["text"].split()) == 10
        result = await typist.type_all(gap_ms=1000)
        assert result["session"] == started["session"]
        assert result["ref"] == 1
        assert result["state"] == "accepted"
        assert result["acc"] == 100
        assert result["chars"][1:] == [0, 0, 0]
        assert result["chars"][0] == len(started["text"])
        assert result["duration_ms"] == pytest.approx(1000 * (len(started["text"]) - 1), abs=5)
        stored = await typist.receive("stored")
        assert result["verdict"] == "review"  # of a clock that ran ahead; that all gaps are equal is found out later
        assert stored == {"t": "stored", "session": started["session"], "verdict": "void"}
        assert [message["t"] for message in typist.seen if message["t"] != "tick"] == [
            "hello",
            "ready",
            "started",
            "result",
            "stored",
        ]


async def test_ticks_acknowledge_with_a_receipt(typist: TypingClient) -> None:
    """Within about a second a tick has the figures of the first n events, and comes once for them."""
    text = (await typist.start("words", count=10))["text"]
    await typist.keys(*text[:6], gap_ms=200)
    tick = await typist.receive("tick")
    assert tick["n"] == 6
    assert tick["acc"] == 100
    assert tick["err"] == 0
    assert tick["r"]
    await typist.send("hb", c=1)
    await typist.receive("hb")
    await typist.keys(text[6], gap_ms=200)
    assert (await typist.receive("tick"))["n"] == 7


async def test_finish_again_is_answered_by_the_same_result(typist: TypingClient) -> None:
    """A client that did not hear the result asks again, before and after `stored`."""
    await typist.start("words", count=2)
    result = await typist.type_all()
    stored = await typist.receive("stored")
    again = await typist.finish()
    assert again == result
    assert await typist.receive("stored") == stored


async def test_restart_in_the_same_turn(typist: TypingClient) -> None:
    """`start` in mid-test aborts it; late keys of the old `ref` are dropped without a word."""
    await typist.start("words", count=10, ref=1)
    await typist.keys("a", "b")
    second = await typist.start("words", count=2, ref=2)
    await typist.send("keys", n=2, e=[100, "c"], ref=1)
    await typist.send("finish", n=3, ref=1)
    result = await typist.type_all()
    assert result["session"] == second["session"]
    assert not [message for message in typist.seen if message["t"] == "error"]


@pytest.mark.parametrize(
    ("code", "start"),
    [
        ("options", {"mode": "words", "count": 0}),
        ("unknown_language", {"mode": "words", "count": 5, "language": "tlh"}),
        ("unknown_test", {"mode": "quote", "test": "999999999"}),
        ("text", {"mode": "text", "text": " "}),
    ],
)
async def test_a_refused_start_leaves_the_running_test_alone(
    typist: TypingClient, code: str, start: dict[str, Any]
) -> None:
    """`error` means that nothing happened: what runs is typed on to its result."""
    started = await typist.start("words", count=3, ref=1)
    text = started["text"]
    await typist.keys(*text[:4])
    await typist.send("start", ref=2, **start)
    error = await typist.receive("error")
    assert (error["code"], error["ref"]) == (code, 2)
    await typist.keys(*text[4:])
    result = await typist.finish()
    assert (result["session"], result["ref"]) == (started["session"], 1)
    assert result["chars"] == [len(text), 0, 0, 0]


async def test_abort_leaves_no_result(typist: TypingClient) -> None:
    """After `abort` the session is gone, and says so to a resume."""
    started = await typist.start("words", count=10)
    await typist.keys("a")
    await typist.send("abort")
    await typist.send("resume", session=started["session"], ticket=started["ticket"], n=1)
    assert (await typist.receive("error"))["code"] == "gone"


async def test_every_mode(typist: TypingClient) -> None:
    """Quote, own text, timed text and zen come to a result too."""
    quote = await typist.start("quote", difficulty="easy")
    assert quote["test"]
    assert quote["title"]
    assert (await typist.type_all(gap_ms=90))["chars"][0] == len(quote["text"])

    own = await typist.start("text", text="  one\n two ")
    assert own["text"] == "one two"
    assert (await typist.type_all())["acc"] == 100

    await typist.start("text", text="one two three", seconds=1)
    await typist.keys(*"one two", gap_ms=200)
    assert (await typist.finish())["duration_ms"] == 1000

    await typist.start("zen")
    await typist.keys(*"what ever", gap_ms=150)
    assert (await typist.finish())["acc"] == 100

    timed = await typist.start("time", seconds=1)
    await typist.keys(*timed["text"][:8], gap_ms=150)
    result = await typist.finish()
    assert result["duration_ms"] == 1000
    assert result["chars"][0] <= 7


async def test_a_timed_test_ends_without_finish(typist: TypingClient) -> None:
    """Two seconds after the limit the server pings, and settles at the pong."""
    timed = await typist.start("time", seconds=1)
    await typist.keys(*timed["text"][:5], gap_ms=100)
    result = await typist.receive("result")
    assert result["duration_ms"] == 1000
    assert (await typist.receive("stored"))["session"] == timed["session"]


async def test_a_long_log_in_one_frame(typist: TypingClient) -> None:
    """Thousands of events in a frame are fed in slices, and what follows waits its turn."""
    await typist.start("zen")
    keys = ["a", "b", "c", " "] * 900
    await typist.keys(*keys, gap_ms=30)
    await typist.keys("z", gap_ms=30)
    result = await typist.finish()
    assert sum(result["chars"][:3]) == 3601


# --- identity ---


async def test_a_guest_comes_back(url: str) -> None:
    """The token of `ready` makes one the same guest again."""
    async with client(url) as first:
        assert first.ready["guest"] is True
        assert first.ready["user"].startswith("-")
    async with client(url, token=first.ready["token"]) as second:
        assert second.ready["user"] == first.ready["user"]


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "é", "x" * 5000])
async def test_a_token_that_is_none_of_ours(url: str, token: str) -> None:
    """Closed 4501, not to come back with the same."""
    async with client(url, auth=False) as typist:
        await typist.send("auth", token=token)
        end = await typist.closed()
        assert end.code == 4501, end


async def test_auth_has_a_deadline(tmp_path: Path) -> None:
    """Who says nothing is closed 4003 and may come back as who it is: a slow network is no token that is refused."""
    options = ConnectionOptions(auth_deadline_s=0.5)
    async with Gateway(settings(tmp_path, connection=options)) as gateway, client(gateway.url, auth=False) as typist:
        assert (await typist.closed()).code == 4003


async def test_the_end_of_a_timed_test_waits_for_its_pong(tmp_path: Path) -> None:
    """No pong within the heartbeat limit means detached, not finished, whatever else is heard."""
    options = ConnectionOptions(heartbeat_s=1)
    limits = SessionLimits(grace_ms=100)
    async with (
        Gateway(settings(tmp_path, connection=options, session=limits)) as gateway,
        RawClient(gateway.url) as typist,
    ):
        typist.send(t="auth")
        typist.send(t="start", mode="time", seconds=1)
        typist.send(t="keys", n=0, e=[100, "a", 100, "b"])
        async with asyncio.timeout(90):
            while chunk := await typist.reader.read(4096):
                typist.received += chunk
                if b"\x05alive" in chunk:  # one sign of life a ping, so that nothing but the missing pong is wrong
                    typist.send(t="hb")
        assert typist.received.endswith(b"not answered")
        assert struct.pack(">H", 4003) in typist.received
        assert b'"result"' not in typist.received
        typist.writer.close()
        await gateway.hub.drain(grace_s=10)
        assert gateway.hub.sessions() == {"live": 0, "held": 1, "submitted": 0}


async def test_silence_ends_the_connection(tmp_path: Path) -> None:
    """A client that answers no ping for two heartbeats is closed 4003; one that answers stays."""
    options = ConnectionOptions(heartbeat_s=1)
    async with Gateway(settings(tmp_path, connection=options)) as gateway, client(gateway.url) as lively:
        async with RawClient(gateway.url) as silent, asyncio.timeout(90):
            received = await silent.reader.read(-1)
        assert struct.pack(">H", 4003) in received
        await lively.send("hb", c=5)
        assert (await lively.receive("hb"))["c"] == 5


# --- resume ---


async def test_resume_on_the_holder(url: str) -> None:
    """A lost connection comes back and goes on from where the server stands."""
    async with client(url) as first:
        started = await first.start("words", count=3)
        await first.keys(*started["text"][:4])
        receipt = (await first.receive("tick"))["r"]
    fields = {"session": started["session"], "ticket": started["ticket"], "receipt": receipt}
    async with client(url, token=first.ready["token"]) as second:
        await second.send("resume", **fields, n=4, ref=7)
        resumed = await second.receive("resumed")
        assert resumed == {"t": "resumed", "session": started["session"], "n": 4, "ref": 7}
        second.started, second.log = started, list(first.log)
        await second.keys(*started["text"][4:])
        result = await second.finish()
        assert result["acc"] == 100
        assert result["verdict"] in ("ok", "review")


@pytest.mark.parametrize("again", [False, True], ids=["there", "lost again"])
async def test_two_tabs_that_go_apart_between_two_receipts(url: str, again: bool) -> None:
    """What a tab types after the receipt that both have is held to what the other one typed: no log of both."""
    async with client(url) as first:
        started = await first.start("words", count=3)
        await first.keys(*started["text"][:4])
        receipt = (await first.receive("tick"))["r"]
        await first.keys("x", "y")
        await first.send("hb")
        await first.receive("hb")
        fields = {"session": started["session"], "ticket": started["ticket"], "receipt": receipt}
        async with client(url, token=first.ready["token"]) as second:
            second.started, second.log = started, first.log[:8]
            await second.send("resume", **fields, n=7)
            assert (await second.receive("resumed"))["n"] == 4
            assert (await first.closed()).code == 4502
            await second.keys(started["text"][4])
            assert (await second.receive("error", "tick"))["code"] == "conflict"
            assert (await second.receive("resumed"))["n"] == 0
        if again:
            async with client(url, token=first.ready["token"]) as third:
                await third.send("resume", **fields, n=7)
                assert (await third.receive("error", "resumed"))["code"] == "conflict"
                assert (await third.receive("resumed"))["n"] == 0
                third.started = started
                assert (await third.type_all())["verdict"] == "void"


async def test_a_log_that_goes_apart_is_typed_to_its_end(url: str) -> None:
    """The result is that of the log that was sent last, void."""
    async with client(url) as first:
        started = await first.start("words", count=3)
        await first.keys(*started["text"][:4])
        await first.keys("x", "y")
        await first.receive("tick")
    async with client(url, token=first.ready["token"]) as second:
        second.started = started
        log = [each for key in started["text"] for each in (100, key)]
        await second.send("resume", session=started["session"], ticket=started["ticket"], n=len(log) // 2)
        assert (await second.receive("resumed"))["n"] == 0
        await second.send("keys", n=0, e=log[:20])
        await second.send("keys", n=10, e=log[20:])
        assert (await second.receive("error"))["code"] == "conflict"
        assert (await second.receive("resumed"))["n"] == 0
        assert (await second.receive("error"))["code"] == "gap", "what was on its way meanwhile"
        await second.send("keys", n=0, e=log)
        second.log = log
        result = await second.finish()
        assert (result["verdict"], result["chars"]) == ("void", [len(started["text"]), 0, 0, 0])


async def test_resume_takes_the_test_from_another_tab(url: str) -> None:
    """The last connection to resume has the test; the other is closed 4502."""
    async with client(url) as first:
        started = await first.start("words", count=3)
        await first.keys(*started["text"][:4])
        async with client(url, token=first.ready["token"]) as second:
            await second.send("resume", session=started["session"], ticket=started["ticket"], n=4)
            await second.receive("resumed")
            assert (await first.closed()).code == 4502


async def test_resume_after_stored(url: str) -> None:
    """A stored session answers with its result and `stored`, on a new connection too."""
    async with client(url) as first:
        started = await first.start("words", count=2)
        result = await first.type_all()
        stored = await first.receive("stored")
    async with client(url, token=first.ready["token"]) as second:
        await second.send("resume", session=started["session"], ticket=started["ticket"], n=len(first.log) // 2)
        again = await second.receive()
        assert again == result | {"verdict": stored["verdict"]}
        assert await second.receive() == stored


@pytest.mark.parametrize("seen_live", [0, 5])
async def test_resume_after_the_process_died(tmp_path: Path, seen_live: int) -> None:
    """A new process on the same folder takes the test over from ticket, receipt and log."""
    receipt = None
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as first:
        started = await first.start("words", count=4)
        if seen_live:
            await first.keys(*started["text"][:seen_live])
            receipt = (await first.receive("tick"))["r"]
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url, token=first.ready["token"]) as second:
        log = [item for key in started["text"] for item in (110, key)]
        fields = {"receipt": receipt} if receipt else {}
        if seen_live:
            log[: len(first.log)] = first.log
        await second.send("resume", session=started["session"], ticket=started["ticket"], n=len(log) // 2, **fields)
        assert (await second.receive("resumed", "error"))["n"] == 0
        await second.send("keys", n=0, e=log)
        second.log = log
        result = await second.finish()
        assert result["session"] == started["session"]
        assert result["acc"] == 100
        assert (await second.receive("stored"))["session"] == started["session"]


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


async def test_a_log_that_was_not_typed(url: str) -> None:
    """On the holder a log that differs from what was seen is a conflict; its result is void."""
    async with client(url) as first:
        started = await first.start("words", count=3)
        await first.keys(*started["text"][:4])
        receipt = (await first.receive("tick"))["r"]
    async with client(url, token=first.ready["token"]) as second:
        await second.send("resume", session=started["session"], ticket=started["ticket"], receipt=receipt, n=2)
        message = await second.receive("error", "resumed")
        assert message["t"] == "error"
        assert message["code"] == "conflict"
        resumed = await second.receive("resumed")
        assert resumed["n"] == 0
        second.started = started
        result = await second.type_all()
        assert result["verdict"] == "void"


async def test_tickets_of_others(url: str) -> None:
    """Somebody else's, a forged, a cut ticket and a forged receipt are refused, and the connection goes on."""
    async with client(url) as owner:
        started = await owner.start("words", count=3)
        await owner.keys(*started["text"][:4])
        receipt = (await owner.receive("tick"))["r"]
    fields = {"session": started["session"], "ticket": started["ticket"], "n": 4, "receipt": receipt}
    async with client(url) as thief:
        await thief.send("resume", **fields)
        assert (await thief.receive("error"))["code"] == "foreign"
    async with client(url, token=owner.ready["token"]) as typist:
        ticket = started["ticket"]
        flipped = ("B" if ticket[20] == "A" else "A").join((ticket[:20], ticket[21:]))
        for bad in (
            {"ticket": flipped},
            {"ticket": ticket[:40]},
            {"ticket": ""},
            {"ticket": receipt},
            {"receipt": ticket},
            {"receipt": receipt[:-4]},
            {"session": started["session"][:-1] + ("0" if started["session"][-1] != "0" else "1")},
        ):
            await typist.send("resume", **(fields | bad))
            assert (await typist.receive("error", "resumed")).get("code") == "ticket", bad
        await typist.send("resume", **fields)
        assert (await typist.receive("resumed"))["n"] == 4


# --- the table of bad input ---


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mode": "sprint"}, "options"),
    ({"mode": "words"}, "options"),
    ({"mode": "words", "count": 0}, "options"),
    ({"mode": "words", "count": 10**9}, "options"),
    ({"mode": "time", "seconds": 601}, "options"),
    ({"mode": "text"}, "options"),
    ({"mode": "text", "text": ""}, "text"),
    ({"mode": "text", "text": "bell \x07"}, "text"),
    ({"mode": "text", "text": "e" * 50_000}, "options"),
    ({"mode": "words", "count": 5, "language": "tlh"}, "unknown_language"),
    ({"mode": "words", "count": 5, "language": "no such"}, "options"),
    ({"mode": "quote", "test": "999"}, "unknown_test"),
    ({"mode": "quote", "category": "nonsense"}, "unknown_test"),
    ({"mode": "words", "count": 5, "input": "telepathy"}, "options"),
    ({"mode": "words", "count": 5, "tags": ["no spaces allowed"]}, "options"),
]


async def test_a_recoverable_start(typist: TypingClient) -> None:
    """A `start` that is not allowed is an error with a sentence; the next one is fine."""
    for ref, (fields, code) in enumerate(REFUSED, 1):
        await typist.send("start", ref=2 * ref, **fields)
        error = await typist.receive("started", "error")
        assert (error["t"], error.get("code"), error["ref"]) == ("error", code, 2 * ref), fields
        assert len(error["message"]) > 10
        await typist.start("words", ref=2 * ref + 1)


async def test_a_gap_is_sent_again(typist: TypingClient) -> None:
    """Missing events are asked for by number; what was sent before is skipped."""
    text = (await typist.start("words", count=3))["text"]
    await typist.send("keys", n=0, e=[100, text[0], 100, text[1]])
    await typist.send("keys", n=3, e=[100, text[3]])
    error = await typist.receive("error")
    assert (error["code"], error["expected"]) == ("gap", 2)
    await typist.send("keys", n=1, e=[item for key in text[1:] for item in (100, key)])
    await typist.send("finish", n=len(text))
    assert (await typist.receive("result"))["acc"] == 100


WRONG = [
    '{"t":"keys","n":0,"e":[1.5,"a"]}',
    '{"t":"keys","n":0,"e":[-1,"a"]}',
    '{"t":"keys","n":0,"e":[1e300,"a"]}',
    '{"t":"keys","n":0,"e":[99999999999999999999,"a"]}',
    '{"t":"keys","n":0,"e":[true,"a"]}',
    '{"t":"keys","n":0,"e":[null,"a"]}',
    '{"t":"keys","n":0,"e":[100]}',
    '{"t":"keys","n":0,"e":[100,1]}',
    '{"t":"keys","n":0,"e":[100,""]}',
    '{"t":"keys","n":0,"e":[100,"ab"]}',
    '{"t":"keys","n":0,"e":[100,"\\u0000"]}',
    '{"t":"keys","n":0,"e":[100,"a' + "\u0301" * 200 + '"]}',
    '{"t":"keys","n":0,"e":[[[100]],"a"]}',
    '{"t":"keys","n":0,"e":{"0":1}}',
    '{"t":"keys","n":-1,"e":[100,"a"]}',
    '{"t":"keys","n":"0","e":[100,"a"]}',
    '{"t":"keys","n":true,"e":[100,"a"]}',
    '{"t":"keys","n":1e400,"e":[100,"a"]}',
    '{"t":"keys","e":[100,"a"]}',
    '{"t":"keys","n":0}',
    '{"t":"keys","n":0,"e":[100,"a"],"h":[0]}',
    '{"t":"keys","n":0,"e":[100,"a"],"h":["x",1]}',
    '{"t":"keys","n":0,"e":[100,"a"],"h":[0,-5]}',
    '{"t":"keys","n":0,"e":[100,"a"],"ref":"x"}',
    '{"t":"nonsense"}',
    '{"t":["keys"]}',
    '{"t":null}',
    "{}",
    "[]",
    "null",
    "{",
    '{"t":"start","mode":7}',
    '{"t":"start","mode":"words","count":2.5}',
    '{"t":"start","mode":"words","count":true}',
    '{"t":"finish"}',
    '{"t":"finish","n":null}',
    '{"t":"resume","session":"x","ticket":"","n":0}',
    '{"t":"resume","session":"../../etc","ticket":"AA","n":0}',
    '{"t":"auth"}',
]


async def test_a_frame_that_is_wrong_closes_4500(url: str) -> None:
    """Undecodable, of a wrong type, out of place: 4500 with a reason, and another client notices nothing."""
    async with client(url) as other:
        await other.start("words", count=2)
        for frame in WRONG:
            async with client(url) as typist:
                await typist.start("words", count=3)
                await typist.send_raw(frame)
                end = await typist.closed()
                assert (end.code, end.reason[:10]) == (4500, "protocol: "), (frame, end)
        assert (await other.type_all())["acc"] == 100


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
        for _ in range(20):
            await typist.send("resume", session=started["session"], ticket=started["ticket"], n=0)
        assert (await typist.closed()).code == 4004
        assert 10 < sum(message["t"] == "resumed" for message in typist.seen) < 16


async def test_a_frame_of_the_other_kind(url: str) -> None:
    """Binary in JSON's subprotocol, text in msgpack's: 4500."""
    async with client(url) as typist:
        await typist.send_raw(b'{"t":"hb"}')
        assert (await typist.closed()).code == 4500
    async with client(url, MSGPACK) as typist:
        await typist.send_raw('{"t":"hb"}')
        assert (await typist.closed()).code == 4500


async def test_the_first_frame_is_auth(url: str) -> None:
    """Anything else first is out of place."""
    async with client(url, auth=False) as typist:
        await typist.send("start", mode="words", count=3)
        assert (await typist.closed()).code == 4500


async def test_keys_before_any_start(typist: TypingClient) -> None:
    """There is no test to type."""
    await typist.send("keys", n=0, e=[100, "a"])
    assert (await typist.closed()).code == 4500


async def test_finish_and_abort_without_a_test(typist: TypingClient) -> None:
    """A recoverable mistake."""
    await typist.send("finish", n=0)
    assert (await typist.receive("error"))["code"] == "idle"
    await typist.send("abort")
    assert (await typist.receive("error"))["code"] == "idle"


async def test_finish_before_the_end(typist: TypingClient) -> None:
    """`words` is not given up by `finish`: the error says so, and the test goes on."""
    text = (await typist.start("words", count=3))["text"]
    await typist.keys(text[0])
    await typist.send("finish", n=1)
    assert (await typist.receive("error"))["code"] == "unfinished"
    await typist.keys(*text[1:])
    await typist.finish()


async def test_finish_without_an_insert(typist: TypingClient) -> None:
    """Nothing typed, no result; the next test is fine."""
    await typist.start("zen")
    await typist.send("finish", n=0)
    assert (await typist.receive("error"))["code"] == "empty"
    await typist.start("words")


async def test_an_oversized_message(typist: TypingClient) -> None:
    """Over 64 KiB: 1009."""
    await typist.send_raw('{"t":"hb","x":"' + "x" * 70_000 + '"}')
    assert (await typist.closed()).code == 1009


async def test_too_many_starts(typist: TypingClient) -> None:
    """Thirty at once, then `busy` with the time to wait; what is running goes on."""
    started = 0
    while True:
        await typist.send("start", mode="words", count=1)
        error = await typist.receive("started", "error")
        if error["t"] == "error":
            break
        started += 1
    assert started >= 30, "and as many more as the time that this took allows"
    assert error["code"] == "busy"
    assert 0 < error["retry"] <= 500
    await typist.send("keys", n=0, e=[100, "x", 100, " "])
    assert (await typist.receive("result"))["chars"][1:] != [0, 0, 0], "the last test that was started goes on"


async def test_more_keys_than_anybody_types(url: str) -> None:
    """Over 500 a second of claimed time: 4504. Over 50: at least `review`."""
    async with client(url) as typist:
        await typist.start("zen")
        await typist.keys(*("ab" * 2500), gap_ms=1)
        assert (await typist.closed()).code == 4504
    async with client(url) as typist:
        await typist.start("zen")
        await typist.keys(*("ab" * 200), gap_ms=10)
        assert (await typist.finish())["verdict"] in ("review", "void")


async def test_a_million_events(tmp_path: Path) -> None:
    """A log ends at its limit of events, whatever goes on arriving."""
    limits = SessionLimits(events=1000)
    async with Gateway(settings(tmp_path, session=limits)) as gateway, client(gateway.url) as typist:
        await typist.start("zen")
        for _ in range(10):
            await typist.keys(*("abcd " * 40), gap_ms=50)
        result = await typist.receive("result")
        assert sum(result["chars"][:3]) == 1000


async def test_words_have_no_result_at_the_limit_of_events(tmp_path: Path) -> None:
    """A text that is not typed to its end by then is `expired`; the connection has room for the next test."""
    limits = SessionLimits(events=60)
    async with Gateway(settings(tmp_path, session=limits)) as gateway, client(gateway.url) as typist:
        started = await typist.start("words", count=50)
        for _ in range(60):
            await typist.keys("\u00e9" if started["text"][0] != "\u00e9" else "a")
        assert (await typist.receive("error"))["code"] == "expired"
        assert gateway.hub.sessions()["live"] == 0
        await typist.send("resume", session=started["session"], ticket=started["ticket"], n=60)
        assert (await typist.receive("resumed", "error"))["t"] == "resumed"


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


# --- going away ---


async def test_a_drain_sends_the_idle_away_and_lets_typists_finish(tmp_path: Path) -> None:
    """`reconnect` and 1012 for the idle at once; a running test ends, is stored, and then its client goes too."""
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as idle, client(gateway.url) as typist:
        text = (await typist.start("words", count=3))["text"]
        await typist.keys(text[0])
        await typist.send("hb")
        await typist.receive("hb")
        draining = asyncio.get_running_loop().create_task(gateway.drain(asyncio.Event()))
        assert (await idle.receive())["t"] == "reconnect"
        assert (await idle.closed()).code == 1012
        await typist.send("start", mode="words", count=3)
        assert (await typist.receive("error"))["code"] == "draining"
        await typist.keys(*text[1:])
        await typist.finish()
        await typist.receive("stored")
        assert (await typist.closed()).code == 1012
        await draining


async def test_a_drain_ends_with_its_grace(tmp_path: Path) -> None:
    """Who still types when grace is over is sent away with a receipt, and goes on after the restart."""
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as typist:
        started = await typist.start("words", count=3)
        await typist.keys(*started["text"][:3])
        await typist.send("hb")
        await typist.receive("hb")
        await gateway.hub.drain(grace_s=0.05)
        assert (await typist.closed()).code == 1012
        receipt = next(message for message in typist.seen if message["t"] == "tick")["r"]
        assert [message["t"] for message in typist.seen][-1] == "reconnect"
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url, token=typist.ready["token"]) as again:
        await again.send("resume", session=started["session"], ticket=started["ticket"], receipt=receipt, n=3)
        assert (await again.receive())["t"] == "resumed"
