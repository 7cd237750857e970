"""One client and a whole gateway over a real socket: the life of a test, and the table of bad input."""

import asyncio
import struct
from pathlib import Path

import pytest

from config.gateway import ConnectionOptions
from gateway.app import Gateway
from session.options import SessionLimits
from tests.gateway.connecting import RawClient, settings
from tests.gateway.typing_client import JSON, MSGPACK, TypingClient, client

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


async def test_who_is_not_read_from_is_not_silent(tmp_path: Path) -> None:
    """While its request waits for a slow store nothing that it says is heard: that is our silence, not the client's."""
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as typist:
        (connection,) = gateway.hub.connections
        answered = asyncio.Event()

        async def slow() -> None:
            await answered.wait()

        connection.wait_for(slow())
        for _ in range(100):
            connection.beat(gateway.hub.clock() * 1000)
        answered.set()
        await typist.send("hb", c=1)
        await typist.receive("hb")


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


async def test_abort_leaves_no_result(typist: TypingClient) -> None:
    """After `abort` the session is gone, and says so to a resume."""
    started = await typist.start("words", count=10)
    await typist.keys("a")
    await typist.send("abort")
    await typist.send("resume", session=started["session"], ticket=started["ticket"], n=1)
    assert (await typist.receive("error"))["code"] == "gone"


async def test_a_timed_test_ends_without_finish(typist: TypingClient) -> None:
    """Two seconds after the limit the server pings, and settles at the pong."""
    timed = await typist.start("time", seconds=1)
    await typist.keys(*timed["text"][:5], gap_ms=100)
    result = await typist.receive("result")
    assert result["duration_ms"] == 1000
    assert (await typist.receive("stored"))["session"] == timed["session"]


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


# --- the table of bad input ---


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


async def test_a_frame_of_the_other_kind(url: str) -> None:
    """Binary in JSON's subprotocol, text in msgpack's: 4500."""
    async with client(url) as typist:
        await typist.send_raw(b'{"t":"hb"}')
        assert (await typist.closed()).code == 4500
    async with client(url, MSGPACK) as typist:
        await typist.send_raw('{"t":"hb"}')
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
