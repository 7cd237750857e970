"""Looking on at a test, here and from another server: what is seen, when, and what follows."""

import asyncio
from collections.abc import Callable

import pytest

from tests.gateway.running import PATIENCE_S
from tests.gateway.typing_client import JSON, MSGPACK, client
from tests.gateway.watching.audience import Onlooker, Places


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_who_looks_on_sees_what_is_typed_as_it_is_typed(places: Places, subprotocol: str) -> None:
    """From the first key, though it came in the middle; then each further one, the figures, the result, the verdict."""
    async with client(places.here.url) as typist, client(places.there.url, subprotocol) as other:
        started = await typist.start(mode="words", count=4, language="en", watch=True)
        text = started["text"]
        await typist.keys(*text[:3])
        onlooker = Onlooker(other)
        answer = await onlooker.watch(started["session"])
        assert answer == onlooker.watched
        alike = ("session", "mode", "text", "language", "direction", "count", "cyclic")
        assert {name: answer[name] for name in alike} == {name: started[name] for name in alike}
        assert answer["own"] is False
        assert answer["name"].startswith("Guest ")
        assert not {"ticket", "seed", "user"} & set(answer), "what nobody else has to know"
        await onlooker.sees(text[:3])
        await typist.keys("~", "\b", text[3])
        await onlooker.sees([*text[:3], "~", "\b", text[3]])
        assert onlooker.figures["err"] == 1
        await typist.keys(*text[4:])
        result = await typist.finish()
        await onlooker.until(lambda one: "verdict" in one.end)
        assert onlooker.keys == [*text[:3], "~", "\b", *text[3:]]
        told = ("session", "wpm", "raw", "acc", "consistency", "chars", "duration_ms", "series")
        assert {name: onlooker.end[name] for name in told} == {name: result[name] for name in told}
        assert onlooker.end["how"] == "finished"
        assert (await typist.receive("stored"))["verdict"] == onlooker.end["verdict"]
        await onlooker.until(lambda one: one.state == "waiting")


async def test_one_goes_along_to_the_next_tests(places: Places) -> None:
    """Whose test is given up begins another: it is seen by who looked on, and found by the first one's id too."""
    async with client(places.here.url) as typist, client(places.there.url) as other, client(places.there.url) as late:
        first = await typist.start(mode="words", count=4, watch=True)
        onlooker = Onlooker(other)
        await onlooker.watch(first["session"])
        await typist.keys(*first["text"][:2])
        await onlooker.sees(first["text"][:2])
        second = await typist.start(mode="quote", language="en", watch=True)
        await onlooker.until(lambda one: one.watched["session"] == second["session"])
        ends = [message for message in other.seen if message["t"] == "watch.end"]
        assert [(end["session"], end["how"]) for end in ends] == [(first["session"], "aborted")]
        await typist.keys(*second["text"][:5])
        await onlooker.sees(second["text"][:5])
        for known in (first["session"], second["session"]):
            latecomer = Onlooker(late)
            await latecomer.watch(known)
            await latecomer.sees(second["text"][:5])
            assert latecomer.watched["session"] == second["session"]


async def test_between_two_tests_one_waits_for_the_next(places: Places) -> None:
    """Who comes after the end is told to wait where nobody saw the test, and sees the next one."""
    async with client(places.here.url) as typist, client(places.there.url) as other:
        first = await typist.start(mode="words", count=1, watch=True)
        await typist.type_all()
        await typist.receive("stored")
        onlooker = Onlooker(other)
        assert await onlooker.watch(first["session"]) == {
            "t": "watch.state", "session": first["session"], "state": "waiting",
        }  # fmt: skip
        second = await typist.start(mode="words", count=2, watch=True)
        await typist.keys(*second["text"][:2])
        await onlooker.until(lambda one: bool(one.watched))
        await onlooker.sees(second["text"][:2])


async def test_a_test_that_is_private_again_is_not_seen_and_the_next_open_one_is(places: Places) -> None:
    """Only by its own user, who looks on from elsewhere, and from the beginning."""
    async with (
        client(places.here.url) as typist,
        client(places.there.url) as other,
        client(places.there.url, token=typist.ready["token"]) as self_,
    ):
        first = await typist.start(mode="words", count=4, watch=True)
        onlooker, own = Onlooker(other), Onlooker(self_)
        assert (await onlooker.watch(first["session"]))["own"] is False
        assert (await own.watch(first["session"]))["own"] is True
        private = await typist.start(mode="words", count=4)
        await typist.keys(*private["text"][:3])
        await onlooker.until(lambda one: one.state == "waiting")
        await own.until(lambda one: one.watched["session"] == private["session"])
        await own.sees(private["text"][:3])
        text = await typist.start(mode="text", text="nobody else's")
        await typist.keys(*text["text"][:3])
        await own.until(lambda one: one.state == "waiting")
        again = await typist.start(mode="words", count=4, watch=True)
        for one in (onlooker, own):
            await one.until(lambda one: one.watched["session"] == again["session"])
        seen = {message["session"] for message in other.seen if message["t"] == "watched"}
        assert seen == {first["session"], again["session"]}
        assert text["session"] not in {message.get("session") for message in self_.seen}


async def test_who_looks_away_is_told_nothing_more_and_costs_nothing(places: Places) -> None:
    """Neither its server hears of the test any more, nor does the typist's show it for long."""
    async with client(places.here.url) as typist, client(places.there.url) as other, client(places.there.url) as gone:
        started = await typist.start(mode="words", count=4, watch=True)
        onlooker, leaver = Onlooker(other), Onlooker(gone)
        await onlooker.watch(started["session"])
        await leaver.watch(started["session"])
        watching = places.there.hub.watching
        assert watching is not None
        assert watching.figures()["watchers"] == 2
        channels = watching.bus.facts().channels
        await gone.socket.close()
        await typist.keys("x")
        await onlooker.sees("x")
        await until(lambda: watching.figures()["watchers"] == 1)
        await other.send("unwatch")
        await until(lambda: watching.figures()["watched"] == 0)
        assert watching.bus.facts().channels == channels - 1
        told = onlooker.frames
        await typist.keys("y")
        await typist.receive("tick")
        await other.send("hb", c=1)
        assert (await other.receive())["t"] == "hb"
        assert onlooker.frames == told


async def test_one_looks_at_one_thing_at_a_time(places: Places) -> None:
    """At a race or at a test; the later takes the former's place."""
    async with (
        client(places.here.url) as typist,
        client(places.here.url) as host,
        client(places.there.url) as other,
    ):
        started = await typist.start(mode="words", count=4, watch=True)
        await host.send("race.create", mode="words", count=5)
        race = (await host.receive("race.state"))["race"]
        await other.send("watch", race=race)
        assert (await other.receive("race.state", "error"))["race"] == race
        onlooker = Onlooker(other)
        assert (await onlooker.watch(started["session"]))["t"] == "watched"
        before = len(other.seen)
        await host.send("race.ready")
        while not (await host.receive("race.state"))["racers"][0]["ready"]:
            pass
        await typist.keys("a")
        await onlooker.sees("a")
        assert {message["t"] for message in other.seen[before:]} == {"watch.keys"}
        await other.send("watch", race=race)
        assert (await other.receive("race.state", "error"))["race"] == race
        watching = places.there.hub.watching
        assert watching is not None
        assert watching.figures()["watchers"] == 0


async def test_who_is_gone_is_said_to_be(places: Places) -> None:
    """The page was closed after a test; nobody waits for ever."""
    async with client(places.here.url) as typist, client(places.there.url) as other:
        started = await typist.start(mode="words", count=1, watch=True)
        onlooker = Onlooker(other)
        await onlooker.watch(started["session"])
        await typist.type_all()
        await typist.receive("stored")
        await onlooker.until(lambda one: one.end.get("how") == "finished")
        await typist.socket.close()
        await onlooker.until(lambda one: one.state == "gone")
        watching = places.there.hub.watching
        assert watching is not None
        await until(lambda: watching.figures()["watchers"] == 0)


async def test_a_lost_connection_is_told_and_its_return(places: Places) -> None:
    """The test waits for its client, who comes back to the same server."""
    async with client(places.there.url) as other:
        async with client(places.here.url) as typist:
            started = await typist.start(mode="words", count=4, watch=True)
            await typist.keys(*started["text"][:3])
            onlooker = Onlooker(other)
            await onlooker.watch(started["session"])
            await onlooker.sees(started["text"][:3])
        await onlooker.until(lambda one: one.state == "away")
        async with client(places.here.url, token=typist.ready["token"]) as back:
            await back.send("resume", session=started["session"], ticket=started["ticket"], n=3)
            n = (await back.receive("resumed"))["n"]
            await back.send("keys", n=n, e=typist.log[2 * n :])
            await onlooker.until(lambda one: one.state == "typing")
            await back.send("keys", n=3, e=[90, "q"])
            await onlooker.sees([*started["text"][:3], "q"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)
