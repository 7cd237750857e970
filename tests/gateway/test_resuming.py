"""`resume` over a real socket: where the test was, on another process, by two tabs, and by whose it is not."""

from pathlib import Path

import pytest

from gateway.app import Gateway
from tests.gateway.connecting import settings
from tests.gateway.typing_client import client


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
        await first.keys("~", "~")
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
        await first.keys("~", "~")
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
