"""Where a session is when its connection is lost, and how all clients are sent away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from config.edge import EdgeOptions, WireOptions
from config.gateway import ConnectionOptions
from gateway import hub as module
from gateway.app import Gateway
from session.identity import session_from_text
from session.options import SessionLimits
from tests.gateway.connecting import settings
from tests.gateway.typing_client import MSGPACK, TypingClient, client


@asynccontextmanager
async def silent(url: str) -> AsyncIterator[None]:
    """A client that opens a WebSocket and then neither says nor answers anything."""
    host, port = url.split("//")[1].strip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: typegate.v1.json\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    yield
    writer.close()


async def lose_a_test(url: str, *, token: str | None = None) -> tuple[dict[str, Any], str]:
    """Type three keys and lose the connection: what was started, with a receipt, and the guest's token."""
    async with client(url, token=token) as typist:
        started = await typist.start("words", count=5)
        await typist.keys(*started["text"][:3])
        started["receipt"] = (await typist.receive("tick"))["r"]
    return started, typist.ready["token"]


async def resume(typist: TypingClient, started: dict[str, Any]) -> int:
    """Resume with three events; from which one the server wants them."""
    await typist.send("resume", **{name: started[name] for name in ("session", "ticket", "receipt")}, n=3)
    n = (await typist.receive("resumed"))["n"]
    assert isinstance(n, int)
    return n


async def test_an_event_reaches_every_connection_of_its_user_and_no_other(tmp_path: Path) -> None:
    """Several tabs, whatever their encoding; who has gone or never said who he is gets none, and is forgotten."""
    event = {"t": "event", "kind": "best", "session": "019b76da-9000-7123-8000-000000000001", "board": "time-15-en"}
    async with Gateway(settings(tmp_path)) as gateway:
        hub = gateway.hub
        async with client(gateway.url) as first, client(gateway.url) as stranger, client(gateway.url, auth=False):
            token, user = first.ready["token"], int(first.ready["user"])
            async with client(gateway.url, MSGPACK, token=token) as second, client(gateway.url, token=token) as third:
                hub.deliver(user, event)
                for tab in (first, second, third):
                    assert await tab.receive("event") == event
            await first.send("hb")
            await first.receive("hb")
            hub.deliver(user, event | {"board": "words-50-en"})
            assert (await first.receive("event"))["board"] == "words-50-en"
            await stranger.send("hb")
            await stranger.receive("hb")
            assert "event" not in [message["t"] for message in stranger.seen]
        await hub.drain(grace_s=10)  # nobody is there any more
        hub.deliver(user, event)
        assert not hub._users


async def test_a_lost_session_is_held(tmp_path: Path) -> None:
    """It is live with its connection, held without, and live again when it is resumed."""
    async with Gateway(settings(tmp_path)) as gateway:
        hub = gateway.hub
        started, token = await lose_a_test(gateway.url)
        assert hub.sessions() == {"live": 0, "held": 1, "submitted": 0}
        async with client(gateway.url, token=token) as typist:
            assert await resume(typist, started) == 3
            assert hub.sessions() == {"live": 1, "held": 0, "submitted": 0}


@pytest.mark.parametrize("known", [True, False], ids=["held", "made anew"])
async def test_a_start_right_behind_a_resume_aborts_nothing(tmp_path: Path, known: bool) -> None:
    """A page resumes a finished log when it is back, and its user may ask for the next test before that is through."""
    async with Gateway(settings(tmp_path)) as gateway:
        started, token = await lose_a_test(gateway.url)
        if not known:
            gateway.hub.release(session_from_text(started["session"]))
        async with client(gateway.url, token=token) as typist:
            await typist.send("resume", **{name: started[name] for name in ("session", "ticket", "receipt")}, n=3)
            await typist.send("start", mode="words", count=5)
            assert (await typist.receive("started"))["session"] != started["session"]
            async with client(gateway.url, token=token) as other:
                assert await resume(other, started) == (3 if known else 0)


async def test_a_session_is_held_for_its_time_only(tmp_path: Path) -> None:
    """After 120 s it is forgotten without a result; ticket and log still resume it, from event 0."""
    async with Gateway(settings(tmp_path)) as gateway:
        hub = gateway.hub
        before_ms = hub.clock() * 1000
        started, token = await lose_a_test(gateway.url)
        hub.beat(before_ms + SessionLimits().detached_ms - 1000)
        assert hub.sessions()["held"] == 1
        hub.beat(hub.clock() * 1000 + SessionLimits().detached_ms + 1000)
        assert hub.sessions()["held"] == 0
        assert await hub.store.by_id(session_from_text(started["session"])) is None
        async with client(gateway.url, token=token) as typist:
            assert await resume(typist, started) == 0


async def test_only_so_many_are_held(tmp_path: Path) -> None:
    """Beyond the limit the oldest is forgotten, and its client's log still resumes it."""
    options = ConnectionOptions(held_sessions=2)
    async with Gateway(settings(tmp_path, connection=options)) as gateway:
        lost = [await lose_a_test(gateway.url) for _ in range(3)]
        assert gateway.hub.sessions()["held"] == 2
        for (started, token), n in zip(reversed(lost), (3, 3, 0), strict=True):
            async with client(gateway.url, token=token) as typist:
                assert await resume(typist, started) == n


async def test_what_was_aborted_is_remembered_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first: it then resumes like any other."""
    monkeypatch.setattr(module, "KEPT_ABORTED", 1)
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as typist:
        started = [await typist.start("words", count=5) for _ in range(3)]
        await typist.send("abort")
        codes = []
        for each in reversed(started):
            await typist.send("resume", session=each["session"], ticket=each["ticket"], n=0)
            answer = await typist.receive("resumed", "error")
            codes.append(answer.get("code", "resumed"))
            if codes[-1] == "resumed":
                await typist.send("abort")
        assert codes == ["gone", "resumed", "resumed"]


async def test_a_drain_goes_in_waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are not all sent away at once, each is told when to come back, and each is closed with 1012."""
    monkeypatch.setattr(module, "WAVE", 5)
    async with Gateway(settings(tmp_path)) as gateway, AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(client(gateway.url)) for _ in range(12)]
        connections = gateway.hub.connections
        left: list[int] = []
        leave = gateway.hub.left

        def leaving(connection: Any) -> None:
            leave(connection)
            left.append(len(connections))

        monkeypatch.setattr(gateway.hub, "left", leaving)
        await gateway.hub.drain(grace_s=5)
        assert left == list(range(11, -1, -1))
        for each in clients:
            assert (await each.receive("reconnect"))["after_ms"] >= 0
            assert (await each.closed()).code == 1012


async def test_who_does_not_answer_holds_up_no_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that never complete the close are told once; the waves behind them come all the same."""
    monkeypatch.setattr(module, "WAVE", 2)
    patient = EdgeOptions(port=0, wire=WireOptions(close_limit_s=300))
    async with Gateway(settings(tmp_path, server=patient)) as gateway, AsyncExitStack() as opened:
        for _ in range(6):
            await opened.enter_async_context(silent(gateway.url))
        clients = [await opened.enter_async_context(client(gateway.url)) for _ in range(2)]
        connections = gateway.hub.connections
        assert len(connections) == 8
        draining = asyncio.get_running_loop().create_task(gateway.hub.drain(grace_s=60))
        for each in clients:
            assert (await each.closed()).code == 1012
        assert len(connections) == 6  # their time to answer is not over
        draining.cancel()


async def test_a_drain_without_grace_ends_at_once(tmp_path: Path) -> None:
    """With no grace left nobody is waited for, who types neither."""
    async with Gateway(settings(tmp_path)) as gateway, client(gateway.url) as typist:
        started = await typist.start("words", count=5)
        await typist.keys(*started["text"][:3])
        await typist.receive("tick")
        async with asyncio.timeout(60):
            await gateway.hub.drain(grace_s=0)
        assert (await typist.closed()).code == 1012


async def test_a_task_that_fails_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hub owns the tasks of its connections, and says so when one has failed."""

    async def failing() -> None:
        raise RuntimeError("a bug")

    async with Gateway(settings(tmp_path)) as gateway:
        gateway.hub.spawn(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not gateway.hub._tasks
    assert capsys.readouterr().out.count("a connection's task failed") == 1
