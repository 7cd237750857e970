"""What only races in Redis can meet: faults of the server, values that others left, and an answer that was lost."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgpack
import pytest
from structlog.testing import capture_logs

from loadtest.servers.redis import RedisServer
from persistence.errors import StoreError
from persistence.races import RacesOptions, RedisRaces
from persistence.redis import Call, RedisOptions, RedisServers
from session.messages import Error
from session.race import Race
from session.racing import Join, Ready
from tests.persistence.races.conftest import doing, making, race_id, until
from tests.servers import skip_without

ONE, TWO = race_id(1), race_id(2)


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that is this module's own, to be hurt."""
    skip_without("redis")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@asynccontextmanager
async def races_at(where: RedisOptions, **options: int) -> AsyncIterator[tuple[RedisRaces, RedisServers]]:
    async with (
        RedisServers(replace(where, prefix=f"{uuid.uuid4().hex}:")) as servers,
        RedisRaces(servers, RacesOptions(**options)) as races,
    ):
        yield races, servers


def at(server: RedisServer) -> RedisOptions:
    return RedisOptions(url=f"redis://{server.address}", call_ms=30_000, retry_min_ms=50, retry_max_ms=200)


async def made(races: RedisRaces, race: str = ONE, *, public: bool = False) -> Race:
    done = await races.change(race, making(race, public=public))
    assert isinstance(done, Race), done
    return done


async def refused(races: RedisRaces, why: str, *, retriable: bool) -> None:
    failures = races.facts().failures
    with pytest.raises(StoreError, match=why) as raised:
        await races.change(ONE, doing(Join(2, "Bob", "n1")))
    assert raised.value.retriable is retriable
    assert races.facts().failures == failures + 1


async def test_while_redis_is_dead_nothing_is_made_up_and_then_all_goes_on(server: RedisServer) -> None:
    async with races_at(at(server)) as (races, servers):
        await made(races)
        clock_ms = races.now_ms()
        server.kill()
        try:
            await refused(races, "refused|away", retriable=True)
            for asking in (races.read(ONE), races.open("en", 2), races.ping()):
                with pytest.raises(StoreError) as raised:
                    await asking
                assert raised.value.retriable
            assert races.now_ms() >= clock_ms  # the clock goes on
        finally:
            server.start()

        async def back() -> bool:
            return not servers.facts().away

        await until(back)
        assert await races.read(ONE) is None  # this server keeps nothing over its death
        assert (await made(races)).version == 1


async def test_redis_that_was_away_when_this_was_opened_is_found(server: RedisServer) -> None:
    """And its clock taken before anything is timed by it."""
    server.kill()
    async with races_at(at(server)) as (races, servers):
        await refused(races, "refused|away", retriable=True)
        server.start()

        async def back() -> bool:
            return not servers.facts().away

        await until(back)
        await made(races)


async def test_a_replica_takes_no_changes(server: RedisServer) -> None:
    """What a managed service does at a failover; what is there can be read."""
    async with races_at(at(server)) as (races, _):
        race = await made(races)
        server.ask("replicaof", "127.0.0.1", "1")
        try:
            await refused(races, "is a replica", retriable=True)
            assert await races.read(ONE) == race
        finally:
            server.ask("replicaof", "no", "one")
        assert isinstance(await races.change(ONE, doing(Join(2, "Bob", "n1"))), Race)


async def test_a_full_server_takes_no_changes(server: RedisServer) -> None:
    async with races_at(at(server)) as (races, _):
        race = await made(races)
        server.ask("config", "set", "maxmemory", "1")
        try:
            await refused(races, "is full", retriable=True)
            with pytest.raises(StoreError, match="is full"):
                await made(races, TWO)
            assert await races.read(ONE) == race
        finally:
            server.ask("config", "set", "maxmemory", "0")
        assert isinstance(await races.change(ONE, doing(Join(2, "Bob", "n1"))), Race)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (bytes(8) + msgpack.packb([2, "of a newer build"]), "a race of version 2; known is 1: another node is newer"),
        (bytes(8) + b"\xc1", "cannot be read"),
        (b"short", "cannot be read"),
        (b"", "cannot be read"),
    ],
    ids=["newer", "damaged", "short", "empty"],
)
async def test_what_cannot_be_read_is_left_as_it_is(redis_single: RedisOptions, value: bytes, why: str) -> None:
    """Nobody changes it, and it is said why; other races are not concerned."""
    async with races_at(redis_single) as (races, servers):
        key = f"{servers.prefix}race:{ONE}"
        await servers.ask(Call(key, ("SET", key, value)))
        with pytest.raises(StoreError, match=why) as raised:
            await races.read(ONE)
        assert not raised.value.retriable
        await refused(races, why, retriable=False)
        assert (await servers.ask(Call(key, ("GET", key)))).value == value
        await made(races, TWO)


async def test_somebody_else_s_value_under_a_race_s_key_is_told(redis_single: RedisOptions) -> None:
    async with races_at(redis_single) as (races, servers):
        key = f"{servers.prefix}race:{ONE}"
        await servers.ask(Call(key, ("LPUSH", key, "x")))
        await refused(races, "WRONGTYPE", retriable=False)


async def test_a_race_that_others_always_change_first_is_given_up(redis_single: RedisOptions) -> None:
    """After so many tries; the caller may try again."""
    async with races_at(redis_single, tries=4, retry_ms=1) as (races, servers):
        await made(races)
        key = f"{servers.prefix}race:{ONE}"
        packed: bytes = (await servers.ask(Call(key, ("GET", key)))).value
        await servers.ask(Call(key, ("SET", key, bytes(7) + b"\x09" + packed[8:])))
        await refused(races, "was changed by others 4 times", retriable=True)
        assert races.facts().conflicts == 3


async def test_a_change_that_is_carried_out_twice_is_made_once(redis_single: RedisOptions) -> None:
    """Redis may be asked again where an answer was lost: it finds its own value there, and says that it is written."""
    async with races_at(redis_single) as (races, servers):
        calls: list[Call] = []
        ask = servers.ask

        async def asking(call: Call) -> object:
            calls.append(call)
            answer = await ask(call)
            return await ask(call) if call.script is not None else answer

        servers.ask = asking  # type: ignore[assignment,method-assign]  # each script is sent twice
        race = await made(races)
        done = await races.change(ONE, doing(Ready(1)))
        assert isinstance(done, Race)
        assert (race.version, done.version, races.facts().conflicts) == (1, 2, 0)
        assert any(call.script is not None for call in calls)


async def test_lists_that_cannot_follow_do_not_stop_a_race(redis_single: RedisOptions) -> None:
    """The value decides; what strangers are shown is a hint. It is logged."""
    async with races_at(redis_single) as (races, servers):
        key = f"{servers.prefix}races:open:en"
        await servers.ask(Call(key, ("SET", key, "a string")))
        with capture_logs() as said:
            race = await made(races, public=True)
        assert await races.read(ONE) == race
        assert [entry["race"] for entry in said if "did not follow" in entry["event"]] == [ONE]


async def test_what_is_no_lobby_in_the_list_is_passed_over(redis_single: RedisOptions) -> None:
    async with races_at(redis_single) as (races, servers):
        await made(races, public=True)
        key = f"{servers.prefix}races:open:en"
        for member in (b"\xff\xfe", b"", b"2", b"2 short", b"x " + ONE.encode(), b"99 " + ONE.encode()):
            await servers.ask(Call(key, ("ZADD", key, races.now_ms() + 60_000, member)))
        assert await races.open("en", 2) == [ONE]


async def test_races_that_nobody_can_count_cannot_be_made(redis_single: RedisOptions) -> None:
    async with races_at(redis_single) as (races, servers):
        key = f"{servers.prefix}races"
        await servers.ask(Call(key, ("SET", key, "a string")))
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await made(races)
        assert await races.read(ONE) is None


async def test_a_race_that_was_counted_and_not_made_frees_its_place_when_it_is(redis_single: RedisOptions) -> None:
    """A node may die in between: the place is that race's, and is counted once."""
    async with races_at(redis_single, most=1) as (races, servers):
        key = f"{servers.prefix}races"
        await servers.ask(Call(key, ("ZADD", key, races.now_ms() + 60_000, ONE)))
        full = await races.change(TWO, making(TWO))
        assert isinstance(full, Error)
        await made(races)


async def test_what_is_kept_has_an_end(redis_single: RedisOptions) -> None:
    """Every key, so that nothing stays for ever."""
    async with races_at(redis_single) as (races, servers):
        await made(races, public=True)
        await made(races, TWO)
        for key in (f"race:{ONE}", f"race:{TWO}", "races", "races:open:en"):
            whole = f"{servers.prefix}{key}"
            assert 0 < (await servers.ask(Call(whole, ("PTTL", whole)))).value <= 7_200_000, key
